//! Why something cannot be, in the words of the condition.

use std::ops::Range;

use super::{
    Steps,
    known::Known,
    parts::span_of,
    ways::{Literal, Way},
};
use crate::{
    Rule,
    condition::{
        Formula,
        expr::{Comparison, Logic, Term, Test},
    },
};

/// The longest piece of a condition that is repeated, in characters.
const MAX_WRITTEN: usize = 60;
/// Of more literals than this no pair is looked for.
const MAX_PAIRED: usize = 24;

/// Literals that cannot be together, and of which none can be left out.
#[derive(Debug)]
pub(super) struct Core<'f> {
    pub(super) literals: Vec<Literal<'f>>,
    /// They could be, if the rule were asked about closed issues.
    pub(super) for_open: bool,
}

/// Why a way is impossible. None when the search ends before.
pub(super) fn core<'f>(rule: &Rule, way: &Way<'f>, steps: &Steps) -> Option<Core<'f>> {
    let possible = |base: &Known<'f>, literals: &[Literal<'f>]| base.with(literals, steps).is_possible(steps);
    let anywhere = Known::default();
    let for_open = possible(&anywhere, &way.literals);
    let base = if for_open { Known::when_asked(rule) } else { anywhere };
    let mut literals = fewest(&way.literals, &|literals| possible(&base, literals));
    if steps.are_spent() || literals.is_empty() || possible(&base, &literals) {
        return None;
    }
    literals.sort_by_key(|literal| literal.shown.span.start);
    Some(Core { literals, for_open })
}

fn fewest<'f>(all: &[Literal<'f>], possible: &dyn Fn(&[Literal<'f>]) -> bool) -> Vec<Literal<'f>> {
    if all.len() <= MAX_PAIRED {
        if let Some(one) = all.iter().find(|one| !possible(&[**one])) {
            return vec![*one];
        }
        for (place, one) in all.iter().enumerate() {
            if let Some(other) = all[..place].iter().find(|other| !possible(&[**other, *one])) {
                return vec![*other, *one];
            }
        }
    }
    let mut left = all.to_vec();
    let mut place = 0;
    while place < left.len() {
        let removed = left.remove(place);
        if possible(&left) {
            left.insert(place, removed);
            place += 1;
        }
    }
    left
}

impl Core<'_> {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let places = |core: &Self| -> Vec<_> {
            core.literals.iter().map(|literal| (literal.shown.span.clone(), literal.holds)).collect()
        };
        self.for_open == other.for_open && places(self) == places(other)
    }

    /// From the first of them to the last.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        let spans: Option<Vec<_>> = self.literals.iter().map(|literal| span_of(literal.shown)).collect();
        let spans = spans?;
        let start = spans.iter().map(|span| span.start).min()?;
        let end = spans.iter().map(|span| span.end).max()?;
        Some(start..end)
    }
}

/// A hint from one or two cores.
pub(super) fn why(text: &str, cores: &[Core<'_>]) -> String {
    let said: Vec<_> = cores.iter().take(2).map(|core| because(text, core)).collect();
    let more = if cores.len() > said.len() { "; and so on" } else { "" };
    format!("{}{more}", said.join("; "))
}

fn because(text: &str, core: &Core<'_>) -> String {
    let names: Vec<_> = core.literals.iter().map(|literal| shown(text, literal)).collect();
    if core.for_open {
        let wants = if names.len() == 1 { "wants" } else { "want" };
        return format!("{} {wants} a closed issue: give the rule `on_closed: true`", list(&names));
    }
    match (core.literals.as_slice(), names.as_slice()) {
        (_, [name]) => format!("{name} is true of nothing"),
        ([one, other], [a, b]) if wants_null(one) && !is_about_null(other) => {
            format!("{b} needs a value, and {a} says that there is none")
        }
        ([one, other], [a, b]) if wants_null(other) && !is_about_null(one) => {
            format!("{a} needs a value, and {b} says that there is none")
        }
        (_, [_, _]) => format!("{} exclude each other", list(&names)),
        _ => format!("{} cannot all hold", list(&names)),
    }
}

/// `a`, `b` and `c`.
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Whether a literal says that something is null.
fn wants_null(literal: &Literal<'_>) -> bool {
    match &literal.leaf.logic {
        Logic::Test(Test::ListIsNull { null, .. }) => *null == literal.holds,
        Logic::Test(Test::Compare { op, .. }) => {
            is_about_null(literal) && (*op == Comparison::Equal) == literal.holds
        }
        _ => false,
    }
}

fn is_about_null(literal: &Literal<'_>) -> bool {
    match &literal.leaf.logic {
        Logic::Test(Test::ListIsNull { .. }) => true,
        Logic::Test(Test::Compare { op: Comparison::Equal | Comparison::NotEqual, left, right }) => {
            *left == Term::Null || *right == Term::Null
        }
        _ => false,
    }
}

/// A literal as it is written, negated where it is to be false.
fn shown(text: &str, literal: &Literal<'_>) -> String {
    let written = cut(text, literal.shown);
    match literal.holds || !std::ptr::eq(literal.shown, literal.leaf) {
        true => format!("`{written}`"),
        false => format!("`!({written})`"),
    }
}

/// A part of a condition as it is written, in back ticks.
pub(super) fn written(text: &str, formula: &Formula) -> String {
    format!("`{}`", cut(text, formula))
}

fn cut(text: &str, formula: &Formula) -> String {
    let written = text.get(formula.span.clone()).filter(|written| !written.is_empty()).unwrap_or("…");
    let one_line = written.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut cut: String =
        one_line.chars().take(MAX_WRITTEN).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    if one_line.chars().nth(MAX_WRITTEN).is_some() {
        cut.push('…');
    }
    cut
}
