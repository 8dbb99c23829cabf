//! Policies that are as dear as the limits let them be, and an issue on which they are: how long one decision takes, and how much
//! memory the process then holds.

use std::fmt::Write;

use criterion::measurement::Measurement;
use events::{EventType, FieldChange, IssueEvent, Said, Source};
use policy::{Input, Ruleset, State, decide, load, trial::Walk};

use crate::{cpu_time::CpuTime, world::now};

/// None of them holds for the issue, and none requires anything that an index could know it by.
fn conditions() -> Vec<(&'static str, String)> {
    let long = |part: &str, operator: &str| vec![part; 7900 / (part.len() + operator.len())].join(operator);
    vec![
        ("element is a text", r#"issue.labels.exists(l, l == issue.title)"#.into()),
        ("element contains", r#"issue.labels.exists(l, l.contains("zzzzq"))"#.into()),
        ("element of another list", "issue.labels.exists(l, l in event.labels_added)".into()),
        ("lists in lists", "issue.assignees.exists(a, issue.assignees.exists(b, a < b && b < a))".into()),
        ("lower case in a loop", "issue.assignees.exists(a, a == issue.priority)".into()),
        ("pattern over elements", r#"issue.labels.exists(l, l.matches("^area/.*x"))"#.into()),
        ("word boundaries", r#"issue.title.matches("(?i)\\bcrash\\b")"#.into()),
        ("repetitions", r#"issue.title.matches("(?:.?){40}\\bb")"#.into()),
        ("large repetitions", r#"issue.title.matches("(?:😀?){700}b")"#.into()),
        ("large cache", r#"issue.url.matches("(?:a|b)*a(?:a|b){12}c")"#.into()),
        ("8 KiB of contains", long(r#"issue.title.contains("zzzzq")"#, " || ")),
        ("8 KiB of sizes", long("size(issue.title) > 5000", " || ")),
        (
            "8 KiB of times",
            format!("now < {}", long("issue.updated_at - duration(\"1h\")", " - duration(\"1h\") || now < ")),
        ),
    ]
}

fn ruleset(condition: &str, rules: usize) -> Option<Ruleset> {
    let mut text = "version: 1\nrules:\n".to_owned();
    for number in 0..rules {
        let _ = writeln!(
            text,
            "  - {{ id: r{number}, when: '{condition}', then: {{ action: post_nudge, target: \"owner:u\" }}, rationale: r }}"
        );
    }
    load(&text).ok()
}

/// The largest policy of such rules that is not refused, to within an eighth.
fn largest(condition: &str) -> (usize, Ruleset) {
    let (mut fits, mut refused) = (1, 10_001);
    let mut best = ruleset(condition, fits).expect("one rule");
    while refused - fits > fits / 8 + 1 {
        let tried =
            if refused > 2 * fits + 2 && fits * 8 < refused { fits * 8 } else { fits.midpoint(refused) };
        match ruleset(condition, tried) {
            Some(ruleset) => (fits, best) = (tried, ruleset),
            None => refused = tried,
        }
    }
    (fits, best)
}

pub(crate) fn print() {
    let word =
        |n: usize| format!("{}{}", "😀".repeat(1020), char::from_u32(0x4e00 + n as u32).unwrap_or('x'));
    let mut event =
        IssueEvent::new("e", "alpha", Source::Github, EventType::IssueUpdated, "github:o/r#1".to_owned());
    event.labels = Said::Value((0..256).map(word).collect());
    event.assignees = Said::Value((300..556).map(word).collect());
    event.title = Said::Value("😀".repeat(1024));
    event.priority = Said::Value("Ü".repeat(1024));
    event.url = Said::Value(
        (0..1024_u32).map(|n| if n.wrapping_mul(2_654_435_761) >> 13 & 1 == 0 { 'a' } else { 'b' }).collect(),
    );
    event.updated_at = Some(now());
    let added = FieldChange { added: (600..856).map(word).collect(), ..FieldChange::default() };
    event.change.insert("labels".to_owned(), added);
    let none = load("{ version: 1, rules: [] }").unwrap();
    let mut state = State::default();
    state.apply(decide(&state, Input::Event { event: &event, payload_hash: None }, now(), &none));
    let issue = state.issue("alpha", "github:o/r#1").unwrap();
    let walk = Walk {
        project: "alpha",
        issue_ref: "github:o/r#1",
        issue,
        event: Some(&event),
        now: now(),
        momentary: true,
        lasting: true,
    };
    println!("\n### The dearest policies that are not refused, on an issue of the greatest size\n");
    println!("| every rule | rules | loading, ms | one decision, ms | resident, MiB |");
    println!("|---|---:|---:|---:|---:|");
    for (name, condition) in conditions() {
        let (rules, ruleset) = largest(&condition);
        let started = CpuTime.start();
        let loaded = load(ruleset.text()).unwrap();
        let loading = CpuTime.end(started) as f64 / 1e6;
        drop(loaded);
        let mut times: Vec<f64> = (0..3)
            .map(|_| {
                let started = CpuTime.start();
                let met = walk.indexed(&ruleset, |_| {});
                assert!(met.is_empty(), "{name}");
                CpuTime.end(started) as f64 / 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("| {name} | {rules} | {loading:.0} | {:.0} | {} |", times[1], resident_mib());
    }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
