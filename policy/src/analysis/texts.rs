//! Texts that are compared in a way in which they do not compare: in an order that is that of letters, and people's names in
//! capitals.

use super::{
    Steps,
    known::{Known, member_of},
    parts::span_of,
    ways::Ways,
};
use crate::{
    Rule,
    condition::{
        Formula, Problem,
        expr::{Comparison, List, Logic, Term, Test},
        field::Field,
    },
    diagnostic::cut,
};

/// The longest login at GitHub.
const MAX_LOGIN: usize = 39;

pub(super) fn look_into<'f>(
    rule: &'f Rule,
    ways: &Ways<'f>,
    steps: &Steps,
    report: &mut impl FnMut(Problem),
) {
    rule.condition.formula().visit(&mut |formula| {
        if let Some(problem) = order(formula) {
            report(problem);
        }
    });
    let base = Known::when_asked(rule);
    let mut said: Vec<&Formula> = Vec::new();
    for way in ways.possible.iter().flatten() {
        for literal in &way.literals {
            let Some((field, name)) = name_in_capitals(literal.leaf) else { continue };
            let is_said = said.iter().any(|leaf| std::ptr::eq(*leaf, literal.leaf));
            if is_said || !may_be_of_github(&base.with(&way.literals, steps)) {
                continue;
            }
            said.push(literal.leaf);
            let message = format!(
                "`{name}` is no login of GitHub's here: `{field}` has them in lower case, and case counts"
            );
            let hint = format!(
                "write \"{}\"; for a name of Jira's, add `issue.source == \"jira\" &&`",
                name.to_lowercase()
            );
            report(Problem::new(span_of(literal.leaf), message).hint(hint));
        }
    }
}

/// `issue.priority < "P2"`. Of titles, people and repositories the alphabet is an order that can be meant.
fn order(formula: &Formula) -> Option<Problem> {
    let Logic::Test(Test::Compare { op, left, right }) = &formula.logic else { return None };
    let (op, field, other) = match (left, right) {
        (Term::Field(field), other) => (*op, *field, other),
        (other, Term::Field(field)) => (op.mirrored(), *field, other),
        _ => return None,
    };
    if matches!(op, Comparison::Equal | Comparison::NotEqual) {
        return None;
    }
    let example = match field {
        Field::Priority | Field::Status => "\"P10\" comes before \"P2\", \"High\" before \"Low\"",
        Field::Key | Field::Ref => "\"OPS-10\" comes before \"OPS-9\"",
        _ => return None,
    };
    let list = match (field, other) {
        (Field::Priority, Term::Text(text)) => priorities(op, text),
        _ => None,
    };
    let list = list.unwrap_or_else(|| match field {
        Field::Priority => "\"P0\", \"P1\"".to_owned(),
        _ => "\"…\", \"…\"".to_owned(),
    });
    let message = format!("texts are compared letter by letter: {example}");
    Some(
        Problem::new(span_of(formula), message)
            .hint(format!("write out those that are meant: `{field} in [{list}]`")),
    )
}

/// The priorities `P0` to `P4` that stand so to another.
fn priorities(op: Comparison, other: &str) -> Option<String> {
    let digit =
        other.strip_prefix('p').and_then(|digit| digit.parse::<u8>().ok()).filter(|digit| *digit < 5)?;
    let meant = |one: &u8| match op {
        Comparison::Less => *one < digit,
        Comparison::LessOrEqual => *one <= digit,
        Comparison::Greater => *one > digit,
        _ => *one >= digit,
    };
    let names: Vec<_> = (0..5).filter(meant).map(|digit| format!("\"P{digit}\"")).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A person's name with capitals that is compared, as it may be a login at GitHub.
fn name_in_capitals(formula: &Formula) -> Option<(Field, String)> {
    let is_person = |field: &Field| matches!(field, Field::Assignee | Field::Assignees | Field::EventActor);
    let (field, names): (_, Vec<&str>) = match &formula.logic {
        Logic::Test(Test::Compare { left: Term::Field(field), right: Term::Text(name), .. })
        | Logic::Test(Test::Compare { left: Term::Text(name), right: Term::Field(field), .. })
        | Logic::Test(Test::In { term: Term::Text(name), list: List::Field(field) }) => (*field, vec![name]),
        Logic::Test(Test::In { term: Term::Field(field), list: List::Of(names) }) => {
            let names = names.iter().filter_map(|name| match name {
                Term::Text(name) => Some(&**name),
                _ => None,
            });
            (*field, names.collect())
        }
        Logic::Each { list: List::Field(field), body, .. } => (*field, member_of(body).into_iter().collect()),
        _ => return None,
    };
    let name = names.into_iter().filter(|_| is_person(&field)).find(|name| {
        let is_login =
            name.len() <= MAX_LOGIN && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        // What Jira Data Center calls those whom it renamed.
        is_login && name.bytes().any(|b| b.is_ascii_uppercase()) && !name.starts_with("JIRAUSER")
    })?;
    Some((field, cut(name, MAX_LOGIN)))
}

/// Whether what is known can be of an issue at GitHub.
fn may_be_of_github(known: &Known<'_>) -> bool {
    let is_of_jira = known
        .values()
        .any(|(field, values)| matches!(field, Field::Source | Field::EventSource) && values == ["jira"]);
    !is_of_jira && known.may_be_null(&Term::Field(Field::Key))
}
