//! What to write instead.

use super::{Lowered, Typed};
use crate::{
    condition::{
        expr::{Comparison, List, Term},
        field::{Field, Type},
        slip,
    },
    diagnostic::did_you_mean,
    load::duration,
};

/// Where a condition belongs, and something else stands (`written`).
pub(super) fn as_formula(it: &Lowered, written: &str, negated: bool) -> String {
    match it {
        Lowered::List(_) if negated => format!("write `size({written}) == 0`, or `!(\"…\" in {written})`"),
        Lowered::List(_) => format!("write `\"…\" in {written}`, or `size({written}) > 0`"),
        Lowered::Term(Typed { it: Term::Text(_), .. }) => {
            format!("write every comparison out, or `issue.priority in [{written}, \"…\"]`")
        }
        Lowered::Term(Typed { value_type: None, .. }) => {
            "compare something with it, such as `issue.due_at == null`".to_owned()
        }
        Lowered::Term(Typed { it: Term::Now, .. }) => {
            "compare something with it, such as `issue.due_at < now`".to_owned()
        }
        Lowered::Term(_) if negated => format!("write `{written} == null`"),
        Lowered::Term(Typed { value_type: Some(value_type), .. }) => match value_type {
            Type::Text => format!("write `{written} == \"…\"`, or `{written} != null`"),
            Type::Int => format!("write `{written} > 0`"),
            Type::Time => format!("write `{written} < now`, or `{written} != null`"),
            Type::Duration => format!("write `{written} > duration(\"24h\")`"),
            Type::Bool => format!("write `{written}`"),
        },
        Lowered::Formula(_) => "write it by itself".to_owned(),
    }
}

/// Where a list is compared with a single value.
pub(super) fn for_list(op: Comparison, list: &str, value: &str, of: Option<Type>) -> String {
    match (op, of) {
        (_, Some(Type::Int)) => {
            format!("its length is `size({list})`: write `size({list}) {} {value}`", op.symbol())
        }
        (Comparison::Equal, _) => format!("write `{value} in {list}`"),
        (Comparison::NotEqual, _) => format!("write `!({value} in {list})`"),
        (_, None) => format!("write `{list} == null`, or `size({list}) > 0`"),
        _ => format!("its length is `size({list})`; for an element ask `{value} in {list}`"),
    }
}

/// Where two lists are compared.
pub(super) fn for_lists((a, a_list): (&str, &List), (b, b_list): (&str, &List), op: Comparison) -> String {
    let empty = |list: &List| matches!(list, List::Of(terms) if terms.is_empty());
    let operator = if op == Comparison::NotEqual { ">" } else { "==" };
    match (empty(a_list), empty(b_list)) {
        (_, true) => format!("write `size({a}) {operator} 0`"),
        (true, _) => format!("write `size({b}) {operator} 0`"),
        _ => format!("write `{a}.all(x, x in {b})`, or compare their lengths: `size({a})`"),
    }
}

/// Where values of two types are compared.
pub(super) fn for_types(a: (&Typed<Term>, &str), b: (&Typed<Term>, &str)) -> Option<String> {
    let types = [a.0.value_type?, b.0.value_type?];
    let other = |this: Type| if types[0] == this { types[1] } else { types[0] };
    if types.contains(&Type::Text) {
        let (text, value) = if types[0] == Type::Text { (a, b) } else { (b, a) };
        return match (&text.0.it, &value.0.it) {
            (Term::Text(literal), _) => Some(of_text(literal, other(Type::Text))),
            (_, Term::Int(_)) => Some(format!("text stands in quotes: `\"{}\"`", value.1)),
            _ => None,
        };
    }
    Some(match (types.contains(&Type::Duration), types.contains(&Type::Int)) {
        (true, true) => "a duration is written `duration(\"24h\")`".to_owned(),
        (true, false) => "from one time to another it is `now - issue.created_at`".to_owned(),
        _ => "a time is written `timestamp(\"2026-11-21T16:00:00Z\")`".to_owned(),
    })
}

/// How a text is written that is meant as something else.
fn of_text(literal: &str, meant: Type) -> String {
    match meant {
        Type::Duration => match duration::of_file(literal) {
            Ok(_) => format!("write `duration(\"{}\")`", slip::in_hours(literal)),
            Err(_) => "a duration is written `duration(\"24h\")`".to_owned(),
        },
        Type::Time if slip::date_at(literal.get(..10).unwrap_or_default()).is_some() => {
            format!("write `timestamp(\"{}\")`", slip::whole_time(literal))
        }
        Type::Time => match duration::of_file(literal) {
            Ok(_) => format!("write `now + duration(\"{}\")`, or `-`", slip::in_hours(literal)),
            Err(_) => "a time is written `timestamp(\"2026-11-21T16:00:00Z\")`".to_owned(),
        },
        _ => match literal.parse::<i64>() {
            Ok(number) => format!("write `{number}`, without quotes"),
            Err(_) => "a number is written without quotes, such as `12`".to_owned(),
        },
    }
}

/// Where something is added or taken away that cannot be.
pub(super) fn for_sum(a: (&Typed<Term>, &str), b: (&Typed<Term>, &str), symbol: &str) -> String {
    let of_time = |it: &Typed<Term>| matches!(it.value_type, Some(Type::Time | Type::Duration));
    match (&a.0.it, &b.0.it) {
        (_, Term::Text(literal)) if of_time(a.0) && duration::of_file(literal).is_ok() => {
            format!("write `{} {symbol} duration(\"{}\")`", a.1, slip::in_hours(literal))
        }
        (Term::Text(literal), _) if of_time(b.0) && duration::of_file(literal).is_ok() => {
            format!("write `duration(\"{}\") {symbol} {}`", slip::in_hours(literal), b.1)
        }
        _ => "such as `now + duration(\"24h\")`, or `now - issue.created_at`".to_owned(),
    }
}

/// Where a field of few values is compared with something that it never is.
pub(super) fn for_value(field: Field, word: &str, values: &[&str]) -> String {
    let change = |name: &str| format!("write `\"{name}\" in event.changed`");
    // GitHub's names, and Jira's.
    let bare = word.to_ascii_lowercase();
    let bare =
        bare.trim_start_matches("issue").trim_start_matches("s").trim_start_matches(['_', '.', ':', ' ']);
    match (field, bare) {
        (Field::EventType, "labeled" | "labelled") => "write `\"bug\" in event.labels_added`".to_owned(),
        (Field::EventType, "unlabeled" | "unlabelled") => {
            "write `\"bug\" in event.labels_removed`".to_owned()
        }
        (Field::EventType, "assigned" | "unassigned" | "assignee_changed") => change("assignees"),
        (Field::EventType, "milestoned" | "demilestoned") => change("due_at"),
        (Field::EventType, "edited" | "changed") => "did you mean `issue_updated`?".to_owned(),
        (Field::EventType, "comment" | "comment_created") => "did you mean `issue_commented`?".to_owned(),
        (Field::EventType, "transferred") => "did you mean `issue_deleted`?".to_owned(),
        (Field::State, "done" | "resolved" | "fixed" | "completed") => "did you mean `closed`?".to_owned(),
        (Field::State, "new" | "todo" | "reopened" | "in progress") => "did you mean `open`?".to_owned(),
        _ => did_you_mean(word, values.iter().copied())
            .or_else(|| did_you_mean(&format!("issue_{bare}"), values.iter().copied()))
            .unwrap_or_else(|| format!("it is one of {}", values.join(", "))),
    }
}
