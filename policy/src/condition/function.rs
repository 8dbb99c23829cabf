//! The operators and functions of a condition: the one table. Messages and docs/policy.md are made from it.

/// An operator or a function.
#[derive(Debug)]
pub(crate) struct Function {
    /// Of a function, its name; of an operator, nothing.
    pub(crate) name: &'static str,
    /// How it is written, with the types of its parts.
    pub(crate) form: &'static str,
    /// What it is.
    #[cfg_attr(not(test), allow(dead_code, reason = "for docs/policy.md"))]
    pub(crate) result: &'static str,
    pub(crate) example: &'static str,
    #[cfg_attr(not(test), allow(dead_code, reason = "for docs/policy.md"))]
    pub(crate) meaning: &'static str,
    /// What it is when a part is null.
    #[cfg_attr(not(test), allow(dead_code, reason = "for docs/policy.md"))]
    pub(crate) null: &'static str,
}

const fn row(
    name: &'static str,
    form: &'static str,
    result: &'static str,
    example: &'static str,
    meaning: &'static str,
    null: &'static str,
) -> Function {
    Function { name, form, result, example, meaning, null }
}

/// Operators before functions.
pub(crate) static FUNCTIONS: [Function; 20] = [
    row("", "a && b", "bool", r#"issue.state == "open" && issue.assignee == null"#, "both", "–"),
    row("", "a || b", "bool", r#""bug" in issue.labels || "p0" in issue.labels"#, "one or both", "–"),
    row(
        "",
        "!a",
        "bool",
        r#"!("bug" in issue.labels)"#,
        "not; before `in` and comparisons with parentheses",
        "–",
    ),
    row(
        "",
        "c ? a : b",
        "that of a and b",
        r#"(issue.priority == null ? "P3" : issue.priority) == "P0""#,
        "a where c holds, else b",
        "chosen like any value",
    ),
    row(
        "",
        "x == y, x != y",
        "bool",
        r#"issue.due_at != null"#,
        "the same, not the same; of one type, or null; a list only with null",
        "compared: null is null, and nothing else is",
    ),
    row(
        "",
        "x < y, <=, >, >=",
        "bool",
        "issue.due_at < now",
        "the order; of texts letter by letter",
        "an error",
    ),
    row(
        "",
        "x in list",
        "bool",
        r#"issue.priority in ["P0", "P1"]"#,
        "x is an element of a list field, or of a list that is written out",
        "x: compared; the list: an error",
    ),
    row(
        "",
        "time + duration, time - duration",
        "timestamp",
        r#"issue.due_at - duration("24h") < now"#,
        "so much later, earlier",
        "an error",
    ),
    row(
        "",
        "time - time",
        "duration",
        r#"now - issue.created_at > duration("72h")"#,
        "how long from the second to the first",
        "an error",
    ),
    row(
        "",
        "duration + duration, duration - duration",
        "duration",
        r#"now - issue.created_at + duration("1h") > duration("72h")"#,
        "together, the difference",
        "an error",
    ),
    row(
        "size",
        "size(text), size(list)",
        "int",
        "size(issue.labels) > 3",
        "how many characters, how many elements; also `list.size()`",
        "an error",
    ),
    row(
        "startsWith",
        "text.startsWith(text)",
        "bool",
        r#"issue.title.startsWith("WIP")"#,
        "the text begins so",
        "an error",
    ),
    row(
        "endsWith",
        "text.endsWith(text)",
        "bool",
        r#"issue.repo.endsWith("/web")"#,
        "the text ends so",
        "an error",
    ),
    row(
        "contains",
        "text.contains(text)",
        "bool",
        r#"issue.title.contains("crash")"#,
        "the text has this part",
        "an error",
    ),
    row(
        "matches",
        r#"text.matches("pattern")"#,
        "bool",
        r#"issue.title.matches("^(fix|feat)\\b")"#,
        "the [pattern](https://docs.rs/regex/#syntax) is found somewhere in the text",
        "an error",
    ),
    row(
        "exists",
        "list.exists(name, condition)",
        "bool",
        r#"issue.labels.exists(label, label.startsWith("area/"))"#,
        "the condition holds for an element",
        "the list: an error",
    ),
    row(
        "all",
        "list.all(name, condition)",
        "bool",
        r#"issue.labels.all(label, label != "wontfix")"#,
        "it holds for every element; of no elements, true",
        "the list: an error",
    ),
    row(
        "timestamp",
        r#"timestamp("…")"#,
        "timestamp",
        r#"issue.due_at < timestamp("2026-11-21T16:00:00Z")"#,
        "a time that is written out, with its zone",
        "–",
    ),
    row(
        "duration",
        r#"duration("…")"#,
        "duration",
        r#"now - issue.updated_at > duration("1h30m")"#,
        "whole `h`, `m`, `s`, `ms`, largest first, `-` before it; no days; at most 87600h",
        "–",
    ),
    row(
        "",
        r#""text", 'text', r"raw""#,
        "string",
        r#"issue.title.matches(r"\bcrash\b")"#,
        r#"a text; `\\`, `\"`, `\n`, `\u00fc` in it are escapes, unless it is raw"#,
        "–",
    ),
];

/// The functions' names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name).filter(|name| !name.is_empty())
}

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| !name.is_empty() && function.name == name)
}

/// Other languages' names for what there is.
const SYNONYMS: &[(&str, &str)] = &[
    ("len", "size"),
    ("length", "size"),
    ("count", "size"),
    ("includes", "contains"),
    ("has", "contains"),
    ("hasLabel", "contains"),
    ("any", "exists"),
    ("some", "exists"),
    ("every", "all"),
    ("regex", "matches"),
    ("match", "matches"),
    ("test", "matches"),
    ("date", "timestamp"),
    ("datetime", "timestamp"),
    ("time", "timestamp"),
    ("days", "duration"),
    ("hours", "duration"),
    ("minutes", "duration"),
];

/// What a function is called here that has this name elsewhere.
pub(crate) fn synonym(name: &str) -> Option<&'static Function> {
    SYNONYMS.iter().find(|(other, _)| *other == name).and_then(|(_, known)| find(known))
}

/// What CEL has besides, or an extension of it, and what is written instead.
pub(crate) fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "int" | "uint" | "double" | "string" | "bool" | "bytes" | "dyn" | "type" | "bin" => {
            "nothing is converted: both sides of a comparison have the same type already"
        }
        "getFullYear" | "getMonth" | "getDate" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear"
        | "getHours" | "getMinutes" | "getSeconds" | "getMilliseconds" => {
            "compare times: `issue.due_at < timestamp(\"2026-11-21T16:00:00Z\")`, `now - issue.created_at > duration(\"24h\")`"
        }
        "lowerAscii" | "upperAscii" | "toLowerCase" | "toUpperCase" | "lower" | "upper" | "tolower"
        | "toupper" => {
            "labels and priorities compare without regard to case; elsewhere write `matches(\"(?i)…\")`"
        }
        "split" | "join" | "replace" | "substring" | "trim" | "charAt" | "indexOf" | "lastIndexOf"
        | "format" | "reverse" | "quote" | "concat" => {
            "ask what a text has in it, with `contains`, `startsWith`, `endsWith` or `matches`"
        }
        "first" | "last" | "slice" | "sort" | "distinct" | "flatten" | "range" => {
            "ask for an element with `in`, or with `exists`"
        }
        "orValue" | "hasValue" | "value" | "optMap" | "optFlatMap" => {
            "every field is always there, null when unknown: write `issue.due_at != null`"
        }
        _ => return None,
    })
}
