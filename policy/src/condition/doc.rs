//! The parts of docs/policy.md that are made from the tables of the type checker.
//!
//! `UPDATE_DOCS=1 cargo test -p policy` writes them; without it, the test fails where they are stale.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write, fs, path::Path};

use super::{
    Budget, Condition, MAX_BYTES, MAX_DEPTH, MAX_RECURSION, MAX_TOKENS, Problem, TOKENS_OF_WIDE_CHAR, cost,
    field::{FIELDS, NOW, Spec, Type},
    function::{FUNCTIONS, Function},
    pattern,
};
use crate::{
    load::{MAX_JSON_BYTES, MAX_RULES, MAX_TEXT_BYTES},
    state::{MAX_LIST, MAX_LIST_BYTES},
};

fn fields() -> String {
    let mut table = String::from("| field | type | meaning |\n|---|---|---|\n");
    for spec in &FIELDS {
        let kind = match spec.is_list {
            true => format!("list of {}s", spec.value_type.cel_name()),
            false => spec.value_type.cel_name().to_owned(),
        };
        writeln!(table, "| `{}` | {kind} | {} |", spec.field, meaning(spec)).unwrap();
    }
    writeln!(table, "| `now` | {} | {NOW}; never null |", Type::Time.cel_name()).unwrap();
    table
}

fn meaning(spec: &Spec) -> String {
    let mut meaning = spec.meaning.to_owned();
    if let Some(values) = spec.values {
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        write!(meaning, ": {}", values.join(", ")).unwrap();
    }
    if spec.caseless {
        meaning.push_str("; case does not count");
    }
    meaning
}

fn functions() -> String {
    let mut table = String::from("| written | is | meaning | with null | example |\n|---|---|---|---|---|\n");
    for Function { form, result, example, meaning, null, .. } in &FUNCTIONS {
        let (form, example) = (form.replace('|', "\\|"), example.replace('|', "\\|"));
        writeln!(table, "| `{form}` | {result} | {meaning} | {null} | `{example}` |").unwrap();
    }
    table
}

fn limits() -> String {
    let mib = |bytes: usize| bytes / 1024 / 1024;
    format!(
        "A file of {} MiB, and of {} MiB as a JSON string (line breaks, quotes and backslashes count twice), which is how the log keeps it;\n\
         {} rules, ten actions a rule, ten targets an action, a meeting of 24 hours. A condition of \
         {} KiB, {MAX_RECURSION} levels of\nparentheses, {MAX_DEPTH} of operators, {} steps with lists as long as they can be \
         ({MAX_LIST} elements, {} KiB); in all {} words\nand signs (what stands between `&&` and `||` counts once, however many rules say it; a \
         character beyond ASCII counts\nas {TOKENS_OF_WIDE_CHAR}), {} million steps and {} MiB of patterns. A pattern of {} KiB \
         when compiled, {} million steps to compile it,\n{} million for all: it is `(?i)` before a class of thousands of \
         characters, such as `[\\w-]`, that takes them.\n",
        mib(MAX_TEXT_BYTES),
        mib(MAX_JSON_BYTES),
        grouped(MAX_RULES as u64),
        MAX_BYTES / 1024,
        grouped(cost::MAX_STEPS),
        MAX_LIST_BYTES / 1024,
        grouped(MAX_TOKENS as u64),
        cost::MAX_POLICY_STEPS / 1_000_000,
        mib(pattern::MAX_PATTERNS_BYTES),
        pattern::MAX_PATTERN_BYTES / 1024,
        pattern::MAX_PATTERN_WORK / 1_000_000,
        pattern::MAX_PATTERNS_WORK / 1_000_000,
    )
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

#[test]
fn the_documentation_is_made_from_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    let written = fs::read_to_string(&path).unwrap();
    let mut made = written.clone();
    for (name, part) in [("fields", fields()), ("functions", functions()), ("limits", limits())] {
        let begin = format!("<!-- generated: {name} -->\n");
        let end = format!("<!-- end: {name} -->");
        let from = made.find(&begin).unwrap_or_else(|| panic!("docs/policy.md has no {begin}")) + begin.len();
        let to = from + made[from..].find(&end).unwrap_or_else(|| panic!("docs/policy.md has no {end}"));
        made.replace_range(from..to, &part);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).unwrap();
    } else {
        assert!(written == made, "docs/policy.md is stale: UPDATE_DOCS=1 cargo test -p policy");
    }
}

fn parse(condition: &str) -> Result<Condition, Vec<Problem>> {
    Condition::parse(condition, &mut Budget::default())
}

/// What docs/policy.md says to write instead is a condition, and what it is written for is none.
#[test]
fn what_is_to_be_written_instead() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md")).unwrap();
    let table = text.split("| instead of | write |\n|---|---|\n").nth(1).unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<_> = row.split('|').collect();
        let conditions = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(|condition| condition.replace('\u{1}', "|")).collect()
        };
        for wrong in conditions(cells[1]) {
            assert!(parse(&wrong).is_err(), "{wrong} is a condition");
        }
        for right in conditions(cells[2]) {
            parse(&right).unwrap_or_else(|problems| panic!("{right}\n{problems:?}"));
        }
    }
}

#[test]
fn every_example_is_a_condition() {
    for Function { example, .. } in &FUNCTIONS {
        parse(example).unwrap_or_else(|problems| panic!("{example}\n{problems:?}"));
    }
}
