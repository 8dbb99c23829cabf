//! Policies that are as large as one may be, ordinary and hostile: how long loading takes, checks included, how much memory, and what is
//! said of those that are refused.

use std::fmt::Write;

use criterion::measurement::Measurement;
use policy::{MAX_RULES, MAX_TEXT_BYTES, load};

use crate::{
    cpu_time::CpuTime,
    world::{Kind, World},
};

/// Almost the longest condition.
const MAX_CONDITION: usize = 8 * 1024 - 50;

/// A policy of as many of these conditions as fit.
fn policy_of(condition: impl Fn(usize) -> String) -> String {
    let mut text = "version: 1\nrules:\n".to_owned();
    for number in 0..MAX_RULES {
        let mut rule = format!("  - {{ id: r{number}, when: '");
        rule.push_str(&condition(number).replace('\'', "''"));
        let _ = writeln!(rule, "', then: {{ action: post_nudge, target: assignee }}, rationale: r }}");
        if text.len() + rule.len() > MAX_TEXT_BYTES {
            break;
        }
        text += &rule;
    }
    text
}

/// A condition of the greatest length: parts, each different from all others of the policy.
fn long(rule: usize, operator: &str, part: impl Fn(usize) -> String) -> String {
    let mut text = part(rule * 10_000);
    for number in 1.. {
        let part = part(rule * 10_000 + number);
        if text.len() + operator.len() + part.len() > MAX_CONDITION {
            break;
        }
        text += operator;
        text += &part;
    }
    text
}

/// A pattern of the greatest length that a condition holds: `part` again and again.
fn pattern(rule: usize, before: &str, part: &str, after: &str) -> String {
    let room = 1000 - before.len() - after.len();
    format!(r#"issue.title.matches(r"{rule}{before}{}{after}")"#, part.repeat(room / part.len()))
}

fn policies() -> Vec<(&'static str, String)> {
    let world = |kind| World::new(kind, MAX_RULES).policy();
    let labels = |n: usize| format!(r#""label-{n}" in issue.labels"#);
    vec![
        ("10,000 usual rules", world(Kind::Usual)),
        ("10,000 usual rules, skewed labels", world(Kind::Skewed)),
        (
            "10,000 rules of 200 bytes",
            policy_of(|n| {
                format!(
                    r#"{} && issue.title.contains("{}") && issue.priority == "p{n}""#,
                    labels(n),
                    "x".repeat(40)
                )
            }),
        ),
        ("8 KiB of labels", policy_of(|n| long(n, " || ", labels))),
        ("8 KiB of labels, all of them", policy_of(|n| long(n, " && ", labels))),
        ("8 KiB of one label", policy_of(|n| long(n, " || ", |_| labels(n)))),
        ("8 KiB of texts", policy_of(|n| long(n, " || ", |n| format!(r#"issue.title.contains("{n}")"#)))),
        (
            "8 KiB of pairs",
            policy_of(|n| long(n, " && ", |n| format!(r#"({} || issue.priority == "p{n}")"#, labels(n)))),
        ),
        ("8 KiB of numbers", policy_of(|n| format!("issue.number in [{}]", long(n, ",", |n| n.to_string())))),
        (
            "8 KiB of words",
            policy_of(|n| format!("issue.priority in [{}]", long(n, ",", |n| format!("\"{n}\"")))),
        ),
        (
            "8 KiB of times",
            policy_of(|n| long(n, " || ", |n| format!("issue.due_at < now - duration(\"{}s\")", n + 1))),
        ),
        (
            "8 KiB of exists",
            policy_of(|n| long(n, " || ", |n| format!("issue.labels.exists(l, l.startsWith(\"{n}\"))"))),
        ),
        ("8 KiB of &&", policy_of(|n| long(n, "&&", |_| "true".to_owned()))),
        ("short rules", policy_of(|n| format!("issue.number == {n}"))),
        ("the same rule", policy_of(|_| "issue.due_at < now".to_owned())),
        ("ends too early", policy_of(|_| "(".repeat(8000))),
        ("deep", policy_of(|_| format!("{}true{}", "(".repeat(31), ")".repeat(31)))),
        ("unknown names", policy_of(|_| format!("a{}", "||a".repeat(2500)))),
        ("small patterns", policy_of(|n| format!("issue.title.matches('^fix{n}-')"))),
        ("small patterns anywhere", policy_of(|n| format!("issue.title.matches('(fix|crash|outage) *{n}')"))),
        (
            "small patterns, many in a rule",
            policy_of(|n| long(n, "||", |n| format!("issue.title.matches('{n}')"))),
        ),
        ("boundaries", policy_of(|n| format!(r#"issue.title.matches(r"(?i)\bcrash {n}\b")"#))),
        ("digits and words", policy_of(|n| format!(r#"issue.title.matches(r"\d+\w{n}")"#))),
        ("words, case-insensitive", policy_of(|n| format!(r#"issue.title.matches(r"(?i)[\w-]+{n}")"#))),
        ("letters, case-insensitive", policy_of(|n| format!(r#"issue.title.matches(r"(?i)\p{{L}}{n}")"#))),
        ("ages", policy_of(|n| format!(r#"issue.title.matches(r"\p{{age=16.0}}{n}")"#))),
        ("repetitions", policy_of(|n| format!("issue.title.matches('^{n}[a-z]{{2000}}')"))),
        ("repetitions of words", policy_of(|n| format!(r#"issue.title.matches(r"{n}\w{{1000}}{{1000}}")"#))),
        ("repetitions just below", policy_of(|n| format!("issue.title.matches('{n}(?:.?){{300}}b')"))),
        ("repetitions of nothing", policy_of(|n| pattern(n, "(?:", "|", "){500}"))),
        (
            "nested repetitions",
            policy_of(|n| format!("issue.title.matches('{n}((((a{{9}}){{9}}){{9}}){{9}}){{9}}')")),
        ),
        (
            "nested repetitions of nothing",
            policy_of(|n| {
                format!("issue.title.matches('{n}(?:(?:(?:(?:a{{0}}){{99}}){{99}}){{99}}){{99}}')")
            }),
        ),
        ("wide ranges, folded, never", policy_of(|n| pattern(n, "(?i)(?:", "[\u{100}-\u{10ffff}]", "){0}"))),
        ("wide ranges, folded", policy_of(|n| pattern(n, "(?i)", "[\u{100}-\u{10ffff}]", ""))),
        ("wide ranges in a class, folded", policy_of(|n| pattern(n, "(?i)[", "\u{100}-\u{10ffff}", "]{0}"))),
        ("all properties, never", policy_of(|n| pattern(n, "(?:", r"\pL", "){0}"))),
        ("all properties in a class", policy_of(|n| pattern(n, "[", r"\pL\pN", "]{0}"))),
        ("ages, never", policy_of(|n| pattern(n, "(?:", r"\p{age=16.0}", "){0}"))),
        ("script extensions, never", policy_of(|n| pattern(n, "(?:", r"\p{scx=Grek}", "){0}"))),
        ("set operations", policy_of(|n| pattern(n, "[", r"\pL&&\w--\pN~~", "a]{0}"))),
        ("set operations, folded", policy_of(|n| pattern(n, "(?i)[", r"\pL&&\w--\pN~~", "a]{0}"))),
        ("nested classes", policy_of(|n| pattern(n, &"[\\w".repeat(45), "a", &"]".repeat(45)))),
        (
            "nested classes, folded",
            policy_of(|n| pattern(n, &format!("(?i){}", "[^\\w".repeat(45)), "a", &"]".repeat(45))),
        ),
        ("alternatives that are classes", policy_of(|n| pattern(n, "(?:", r"[ab]|", "c){0}"))),
        ("alternatives that are properties", policy_of(|n| pattern(n, "(?:", r"\pL|\pN|", "c){0}"))),
        (
            "characters from the last to the first",
            policy_of(|n| {
                let chars: String = (0..300).map(|n| char::from_u32(0x9000 - 2 * n).unwrap()).collect();
                format!("issue.title.matches('{n}[{chars}]')")
            }),
        ),
        ("classes of ten", policy_of(|n| pattern(n, "x+", "[a-j]", ""))),
        ("classes of ten, each by itself", policy_of(|n| pattern(n, "x+", "[a-j]k+", ""))),
        ("words, each by itself", policy_of(|n| pattern(n, "x+", r"(abc|def|ghi)\s+", ""))),
        (
            "alternatives",
            policy_of(|n| {
                format!(
                    "issue.title.matches('{}')",
                    (0..200).map(|m| format!("a{n}b{m}")).collect::<Vec<_>>().join("|")
                )
            }),
        ),
        ("captures", policy_of(|n| pattern(n, "", "(a)", ""))),
        ("one pass", policy_of(|n| pattern(n, r"^(?:a)\b", "(b)?c", "$"))),
        ("broken patterns", policy_of(|n| format!("issue.title.matches('{n}(')"))),
    ]
}

pub(crate) fn print(only: Option<&str>) {
    println!("\n### Policies of the greatest size\n");
    println!("| every rule | rules | KiB | loading, ms | at most resident, MiB | |");
    println!("|---|---:|---:|---:|---:|---|");
    for (name, text) in policies() {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        // From here on the highest is counted anew.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = status_mib("VmRSS:");
        let started = CpuTime.start();
        let loaded = load(&text);
        let ms = CpuTime.end(started) as f64 / 1e6;
        let peak = status_mib("VmHWM:").saturating_sub(before);
        let verdict = match &loaded {
            Ok(_) => "loaded".to_owned(),
            Err(mistakes) => mistakes[0].message.clone(),
        };
        let rules = text.lines().count() - 2;
        println!("| {name} | {rules} | {} | {ms:.0} | {peak} | {verdict} |", text.len() / 1024);
    }
}

fn status_mib(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(of));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
