//! A backtest's report for a person.

use std::{cmp::Reverse, fmt::Write};

use ::policy::backtest::{Both, Busiest, Counts, Example, Load, Made, Report, RuleReport};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{Backtest, Gone, Named, Replayed};
use crate::commands::inert;

/// How many targets are listed: those whose days change most.
const MAX_TARGETS: usize = 20;
/// How many rules without any action are named.
const MAX_IDLE: usize = 12;
/// How much of a title, rationale or name is shown, in characters.
const MAX_CHARS: usize = 80;

const CAVEAT: &str = "\
The history is what happened under the policy of then. Under the candidate people would have reacted to other actions, and other
events would have come: this is the direct difference only.";

const LEGEND: &str = "\
added: only the candidate makes it · removed: only the current policy does · same: both do
changed: both make one of its kind for the issue at that time, by another rule, for somebody else, or with another meeting (it counts for
both rules)";

pub(super) fn text(args: &Backtest, policies: &Both<Named>, replayed: &Replayed) -> String {
    let report = &replayed.report;
    let parts = [
        head(args, policies, replayed),
        counts(report),
        targets(report),
        examples(report),
        rules_that_failed(report),
        CAVEAT.to_owned(),
    ];
    parts.iter().filter(|part| !part.is_empty()).map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n")
}

/// What was replayed through what, and what was out of the ordinary with it.
fn head(args: &Backtest, policies: &Both<Named>, replayed: &Replayed) -> String {
    let Both { current, candidate } = policies;
    let Replayed { report, skipped, .. } = replayed;
    let history = &report.history;
    let mut lines = vec![
        "What the candidate would have done otherwise than the current policy".to_owned(),
        format!("  candidate  {}", inert(&candidate.name)),
        format!("  current    {}", inert(&current.name)),
    ];
    if current.ruleset.hash() == candidate.ruleset.hash() {
        lines.push("Both are the same text: nothing can differ.".into());
    }
    lines.extend(gone(replayed.gone));
    let (Some(first_at), Some(last_at), Some(to)) = (history.first_at, history.last_at, replayed.to) else {
        lines.push("There was no event to replay.".into());
        return lines.join("\n");
    };
    let end = match args.to {
        Some(_) => "",
        None => ", with the last event (--to sets another end)",
    };
    lines.push(format!(
        "{} about {}, from {} to {}",
        many(history.events, "event"),
        many(history.issues, "issue"),
        instant(first_at),
        instant(last_at)
    ));
    lines.push(format!("The replay ends at {}{end}", instant(to)));
    if let Some(from) = args.from {
        lines.push(format!(
            "Reported is what was decided from {} on: {}",
            instant(from),
            many(history.reported, "event")
        ));
    }
    for (count, word, what) in [
        (history.duplicates, "event", "counted before, and so changed nothing"),
        (history.late, "event", "older than what was known of the issue when it came"),
        (history.old_answers, "answer", "of somebody, more than seven days old when it came, and so none"),
        (skipped.unreadable, "record", "not readable as an event; a gateway makes a dead letter of such"),
        (skipped.other_topics, "line", "of another topic, and passed over"),
        (
            skipped.raised,
            "stamp",
            "earlier than the one before, and taken for that; is the file in order of time?",
        ),
    ] {
        if count > 0 {
            lines.push(format!("{}: {what}", many(count, word)));
        }
    }
    if args.against.is_none()
        && let Some(last) = replayed.last_policy.as_deref().filter(|last| *last != current.ruleset.hash())
    {
        lines.push(format!(
            "The policy last in force on this log is another one ({:.12}) than {} ({:.12}); --against names what to compare with",
            last,
            inert(&current.name),
            current.ruleset.hash()
        ));
    }
    lines.join("\n")
}

/// What is missing before the first event.
pub(super) fn gone(Gone { partitions, records }: Gone) -> Option<String> {
    let told = format!(
        "The log no longer keeps the beginning of {partitions} partitions of issues, {records} records in all: what was known of \
         their issues by then is missing, to both policies"
    );
    (partitions > 0).then_some(told)
}

/// In all, by rule and by project; what differs most stands first.
fn counts(report: &Report) -> String {
    let mut rules: Vec<_> =
        report.rules.iter().filter(|(_, rule)| rule.counts != Counts::default()).collect();
    rules.sort_by_key(|(_, rule)| Reverse(difference(&rule.counts)));
    let mut projects: Vec<_> = report.projects.iter().collect();
    projects.sort_by_key(|(_, counts)| Reverse(difference(counts)));

    let names = rules.iter().map(|(id, _)| id).chain(projects.iter().map(|(id, _)| id));
    let width = names.map(|name| name.chars().count() + 2).max().unwrap_or_default().clamp(11, MAX_CHARS);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "current", "candidate", "added", "removed", "changed", "same"
    );
    let mut row = |name: &str, counts: &Counts, remark: &str| {
        let Counts { actions, added, removed, changed, unchanged, .. } = counts;
        let [added, removed, changed] = [("+", added), ("-", removed), ("~", changed)]
            .map(|(sign, count)| if *count == 0 { "0".into() } else { format!("{sign}{count}") });
        let line = format!(
            "{:width$} {:>9} {:>9} {added:>9} {removed:>9} {changed:>9} {unchanged:>9}  {remark}",
            short(name),
            actions.current,
            actions.candidate,
        );
        out.push_str(line.trim_end());
        out.push('\n');
    };
    row("all actions", &report.total, "");
    for (id, rule) in rules {
        let remark = match rule.defined {
            Both { current: true, candidate: true } => "",
            Both { current: false, candidate: _ } => "new rule",
            Both { current: true, candidate: false } => "rule is gone",
        };
        row(&format!("  {id}"), &rule.counts, remark);
    }
    if projects.len() > 1 {
        row_of_projects(&mut row, projects.into_iter());
    }
    let _ = writeln!(out, "{LEGEND}");
    let idle = |rule: &RuleReport| rule.defined.candidate && rule.counts.actions.candidate == 0;
    let idle: Vec<_> = report.rules.iter().filter(|(_, rule)| idle(rule)).map(|(id, _)| short(id)).collect();
    if !idle.is_empty() {
        let more = idle.len().saturating_sub(MAX_IDLE);
        let named = idle.into_iter().take(MAX_IDLE).collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "Rules of the candidate that made no action: {named}{more}");
    }
    if report.total.reworded > 0 {
        let _ = writeln!(out, "Of the same, {} with another rationale", report.total.reworded);
    }
    out
}

fn row_of_projects<'a>(
    row: &mut impl FnMut(&str, &Counts, &str),
    projects: impl Iterator<Item = (&'a String, &'a Counts)>,
) {
    projects.for_each(|(id, counts)| row(&format!("  {id}"), counts, "project"));
}

/// Whom it asks more or less of.
fn targets(report: &Report) -> String {
    let asked = |(name, load): (_, &Load)| (name, load.differs(), load.actions(), load.busiest());
    let mut targets: Vec<_> =
        report.targets.iter().map(|(name, load)| asked((name.as_str(), load))).collect();
    targets.retain(|(_, differs, ..)| *differs);
    if targets.is_empty() {
        return String::new();
    }
    let day = |busiest: &Option<Busiest>| busiest.map_or(0, |busiest| busiest.actions);
    targets.sort_by_key(|(_, _, actions, busiest)| {
        let by_day = day(&busiest.current).abs_diff(day(&busiest.candidate));
        Reverse((by_day, actions.current.abs_diff(actions.candidate)))
    });
    let more = targets.len().saturating_sub(MAX_TARGETS);
    let width =
        targets.iter().take(MAX_TARGETS).map(|(name, ..)| short(name).chars().count()).max().unwrap_or(0);
    let mut out = "Who would have had more or less to do, current → candidate: actions in all, and on the busiest day (UTC)\n".to_owned();
    for (name, _, actions, busiest) in targets.into_iter().take(MAX_TARGETS) {
        let day = |busiest: Option<Busiest>| {
            busiest
                .map_or_else(|| "0".to_owned(), |busiest| format!("{} on {}", busiest.actions, busiest.day))
        };
        let _ = writeln!(
            out,
            "  {:width$}  {:>6} → {:<6} {} → {}",
            short(name),
            actions.current,
            actions.candidate,
            day(busiest.current),
            day(busiest.candidate)
        );
    }
    if more > 0 {
        let _ = writeln!(out, "  and {more} more (--json lists all)");
    }
    out
}

/// The first differences of each rule.
fn examples(report: &Report) -> String {
    let mut out = String::new();
    for (id, rule) in &report.rules {
        let examples = &rule.examples;
        let all = [&examples.added, &examples.removed, &examples.changed];
        if all.iter().all(|list| list.is_empty()) {
            continue;
        }
        let _ = writeln!(out, "rule {}", short(id));
        for (sign, list) in ["+", "-", "~"].iter().zip(all) {
            list.iter().for_each(|example| out.push_str(&shown(sign, example)));
        }
    }
    match out.is_empty() {
        true => out,
        false => {
            format!(
                "Examples, the first of each rule (+ added, - removed, ~ changed; --examples N shows more)\n{out}"
            )
        }
    }
}

fn shown(sign: &str, example: &Example) -> String {
    let title = example.title.as_deref().map(|title| format!("  {}", short(title))).unwrap_or_default();
    let mut out = format!("  {sign} {}  {}{title}\n", instant(example.at), short(&example.issue_ref));
    let made = |made: &Made| format!("{} {}", short(&made.action), short(&made.target));
    match (&example.current, &example.candidate) {
        (Some(current), Some(candidate)) => {
            let rule = |of: &Made| match current.rule == candidate.rule {
                true => String::new(),
                false => format!(" by rule {}", short(&of.rule)),
            };
            let differs: Vec<_> = example.differs.iter().map(|name| in_words(name)).collect();
            let _ = writeln!(
                out,
                "      {}{} → {}{} ({})\n      {}",
                made(current),
                rule(current),
                made(candidate),
                rule(candidate),
                differs.join(", "),
                short(&candidate.rationale)
            );
        }
        (one, other) => {
            if let Some(of) = one.as_ref().or(other.as_ref()) {
                let _ = writeln!(out, "      {}: {}", made(of), short(&of.rationale));
            }
        }
    }
    out
}

/// What differs in two actions, for people.
fn in_words(differs: &str) -> &str {
    match differs {
        "rule" => "another rule",
        "target" => "somebody else",
        "start_at" => "another start",
        "duration_min" => "another length",
        "participants" => "other participants",
        "to" => "the same people, known to tools by other names",
        "of" => "about another action",
        other => other,
    }
}

/// Rules that could not do what they say.
fn rules_that_failed(report: &Report) -> String {
    let mut out = String::new();
    for (what, of) in [
        (
            "its condition was an error (null where a value is needed), and so did not hold",
            (|rule| rule.condition_errors) as fn(&RuleReport) -> Both<u64>,
        ),
        ("there was nobody to do it for: no target of an action resolved", |rule| rule.unresolved),
        ("its cooldown held it back", |rule| rule.suppressed),
        ("the issue had had its actions of the hour (limits.actions_per_issue)", |rule| rule.capped),
    ] {
        for (id, rule) in report.rules.iter().filter(|(_, rule)| of(rule) != Both::default()) {
            let Both { current, candidate } = of(rule);
            let _ = writeln!(out, "  {current:>6} → {candidate:<6} rule {}: {what}", short(id));
        }
    }
    let Both { current, candidate } = report.history.unnamed_errors;
    if (current, candidate) != (0, 0) {
        let _ = writeln!(
            out,
            "  {current:>6} → {candidate:<6} other rules: conditions that were errors beyond the first twenty of a decision"
        );
    }
    match out.is_empty() {
        true => out,
        false => format!("How often rules did not act though it was their turn, current → candidate\n{out}"),
    }
}

fn many(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn difference(counts: &Counts) -> u64 {
    counts.added + counts.removed + counts.changed
}

/// Text from events and policies, inert and short.
fn short(text: &str) -> String {
    let text = inert(text);
    match text.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
