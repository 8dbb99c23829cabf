//! How many steps an evaluation can take: when every text and every list is as long as it can be, or with those that a view has.
//!
//! The members of a list count as if they were all of one length. They may be of any: what is done with a text takes time in
//! proportion to its length, so that the sum over the list is the same.

use events::MAX_TEXT_CHARS;

use super::{
    View,
    expr::{Formula, List, Logic, Method, Term, Test},
    field::{Field, Type},
};
use crate::state::{MAX_LIST, MAX_LIST_BYTES};

/// The most steps of one condition. A step takes some ten nanoseconds, twenty at worst.
pub(crate) const MAX_STEPS: u64 = 1 << 22;
/// What all conditions of a policy may take together: an event that meets every one of them is decided within a second.
pub(crate) const MAX_POLICY_STEPS: u64 = 1 << 25;
/// The longest text.
const MAX_TEXT_BYTES: u64 = 4 * MAX_TEXT_CHARS as u64;
/// Beginning a search for a pattern.
const SEARCH: u64 = 16;
/// So many bytes of a text, each at one place of the pattern, are a step: where the pattern has to be followed place by place. It
/// mostly has not, and takes a hundredth.
const MATCHED: u64 = 2;
/// The places that every search is at, whatever the pattern.
const PLACES: u64 = 2;
/// Of a text in which a part is searched, and of the part, so many bytes are a step: where the text repeats itself as
/// the part does, each takes two to seven nanoseconds.
const SEARCHED: u64 = 4;
/// Of two texts that are compared, so many bytes are a step.
const COMPARED: u64 = 512;
/// Of a text whose characters are counted, so many bytes are a step.
const COUNTED: u64 = 256;
/// Each byte that is brought to lower case is so many steps: a final sigma takes two hundred nanoseconds.
const LOWERED: u64 = 5;

/// Of a condition; without a view, at worst.
pub(super) fn of(it: &Formula, seen: Option<&View<'_>>) -> u64 {
    Counting { seen, elements: Vec::new() }.formula(it)
}

struct Counting<'c, 'a> {
    seen: Option<&'c View<'a>>,
    /// What the variables of the enclosing `exists` and `all` stand for, innermost last.
    elements: Vec<Element>,
}

#[derive(Clone, Copy)]
struct Element {
    bytes: u64,
    /// How much of it has to be brought to lower case where that is asked for: nothing of what the view knows so.
    lowered: u64,
}

impl Counting<'_, '_> {
    fn formula(&mut self, it: &Formula) -> u64 {
        let parts = match &it.logic {
            Logic::Always(_) => 0,
            Logic::Not(inner) => self.formula(inner),
            Logic::And(parts) | Logic::Or(parts) => sum(parts.iter().map(|part| self.formula(part))),
            Logic::If(parts) => sum(parts.iter().map(|part| self.formula(part))),
            Logic::Each { list, body, .. } => {
                let around = self.said(list);
                let element = Element { bytes: self.element_bytes(list), lowered: self.lowered_bytes(list) };
                self.elements.push(element);
                let body = self.formula(body).saturating_add(1);
                self.elements.pop();
                around.saturating_add(self.length(list).saturating_mul(body))
            }
            Logic::Test(test) => self.test(test),
        };
        parts.saturating_add(1)
    }

    fn test(&mut self, it: &Test) -> u64 {
        match it {
            Test::Compare { left, right, .. } => {
                let compared = self.bytes(left).min(self.bytes(right)) / COMPARED;
                sum([self.term(left), self.term(right), compared])
            }
            Test::Flag(_) | Test::ListIsNull { .. } => 1,
            Test::In { term, list } => {
                let bytes = self.bytes(term);
                let compared = match list {
                    List::Field(_) => {
                        self.length(list).saturating_mul(bytes.min(self.element_bytes(list))) / COMPARED
                    }
                    List::Of(terms) => sum(terms.iter().map(|it| bytes.min(self.bytes(it)) / COMPARED)),
                };
                sum([self.term(term), self.said(list), self.length(list), compared])
            }
            Test::Text { method, text, part } => {
                let (bytes, part_bytes) = (self.bytes(text), self.bytes(part));
                let looked_at = match method {
                    Method::Contains => bytes.saturating_add(part_bytes.min(bytes)) / SEARCHED,
                    Method::StartsWith | Method::EndsWith => bytes.min(part_bytes) / COMPARED,
                };
                sum([self.term(text), self.term(part), looked_at])
            }
            Test::Matches { text, pattern } => {
                let places = pattern.positions().saturating_add(PLACES);
                sum([self.term(text), SEARCH, self.bytes(text).saturating_mul(places) / MATCHED])
            }
        }
    }

    fn term(&mut self, it: &Term) -> u64 {
        let parts = match it {
            Term::Sum { left, right, .. } => self.term(left).saturating_add(self.term(right)),
            Term::Length(inner) => self.term(inner).saturating_add(self.bytes(inner) / COUNTED),
            Term::Lower(inner) => {
                let made = self.lowered_of(inner);
                self.term(inner).saturating_add(made.saturating_mul(LOWERED))
            }
            Term::Size(list) => self.said(list).saturating_add(self.length(list)),
            Term::If(parts) => sum([self.formula(&parts.0), self.term(&parts.1), self.term(&parts.2)]),
            _ => 0,
        };
        parts.saturating_add(1)
    }

    /// What it costs to say the elements of a list that is written out.
    fn said(&mut self, it: &List) -> u64 {
        match it {
            List::Field(_) => 0,
            List::Of(terms) => sum(terms.iter().map(|it| self.term(it))),
        }
    }

    fn length(&self, it: &List) -> u64 {
        match (it, self.seen) {
            (List::Field(_), None) => MAX_LIST as u64,
            (List::Field(field), Some(view)) => view.list(*field).map_or(0, <[_]>::len) as u64,
            (List::Of(terms), _) => terms.len() as u64,
        }
    }

    /// How long a text is; 0 where the term is none.
    fn bytes(&self, it: &Term) -> u64 {
        match it {
            Term::Text(text) => text.len() as u64,
            Term::Field(field) => self.field_bytes(*field),
            Term::Element(out) => self.element(*out).bytes,
            Term::Lower(inner) => self.bytes(inner),
            Term::If(parts) => self.bytes(&parts.1).max(self.bytes(&parts.2)),
            _ => 0,
        }
    }

    fn field_bytes(&self, field: Field) -> u64 {
        match self.seen {
            _ if field.spec().value_type != Type::Text => 0,
            None => MAX_TEXT_BYTES,
            Some(view) => view.text(field).map_or(0, str::len) as u64,
        }
    }

    /// How long an element is: of a field, as they are together by how many they are.
    fn element_bytes(&self, it: &List) -> u64 {
        match (it, self.seen) {
            (List::Field(_), None) => (MAX_LIST_BYTES / MAX_LIST) as u64,
            (List::Field(field), Some(view)) => {
                let members = view.list(*field).unwrap_or_default();
                let bytes: usize = members.iter().map(|member| member.len()).sum();
                bytes.div_ceil(members.len().max(1)) as u64
            }
            (List::Of(terms), _) => terms.iter().map(|it| self.bytes(it)).max().unwrap_or(0),
        }
    }

    /// How long the longest element is that has to be brought to lower case where that is asked for.
    fn lowered_bytes(&self, it: &List) -> u64 {
        match it {
            List::Field(_) => 0,
            List::Of(terms) => terms.iter().map(|it| self.lowered_of(it)).max().unwrap_or(0),
        }
    }

    fn lowered_of(&self, it: &Term) -> u64 {
        match it {
            // Once for all conditions.
            Term::Field(_) => 0,
            Term::Element(out) => self.element(*out).lowered,
            other => self.bytes(other),
        }
    }

    fn element(&self, out: usize) -> Element {
        let place = self.elements.len().checked_sub(out + 1);
        // Loading bound every variable.
        let unbound = Element { bytes: MAX_TEXT_BYTES, lowered: MAX_TEXT_BYTES };
        place.and_then(|place| self.elements.get(place)).copied().unwrap_or(unbound)
    }
}

fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, Condition};

    fn steps(condition: &str) -> u64 {
        let parsed = Condition::parse(condition, &mut Budget::default());
        parsed.unwrap_or_else(|problems| panic!("{condition}: {problems:?}")).most_steps()
    }

    /// What a condition can take with texts of 4,096 bytes, and lists of 256 members of 64 bytes.
    #[test]
    fn what_takes_time_is_counted() {
        for (condition, counted) in [
            (r#"issue.title == "x""#, 3),
            ("issue.title == issue.url", 3 + 8),
            (r#"issue.title.contains("wxyz")"#, 3 + 4100 / 4),
            (r#"issue.title.startsWith("wxyz")"#, 3),
            ("issue.title.startsWith(issue.url)", 3 + 8),
            ("issue.title.contains(issue.url)", 3 + 8192 / 4),
            ("size(issue.title) > 1", 4 + 16),
            ("size(issue.labels) > 1", 3 + 256),
            (r#""x" in issue.labels"#, 2 + 256),
            ("issue.title in event.changed", 2 + 256 + 256 * 64 / 512),
            // Each field once more, and the texts that are compared.
            ("issue.title in [issue.url, \"x\"]", 2 + 2 + 2 + 8),
            (r#"issue.labels.exists(l, l == "x")"#, 1 + 256 * (1 + 3)),
            // Its lower case is known to the view.
            ("issue.labels.exists(l, l == issue.title)", 1 + 256 * (1 + 4)),
            ("issue.assignees.exists(a, a == issue.priority)", 1 + 256 * (1 + 4)),
            ("[issue.title].exists(t, t == issue.priority)", 1 + 1 + (1 + 4 + 8)),
            ("issue.assignees.exists(a, [a].exists(x, x == issue.priority))", 1 + 256 * (1 + 2 + (1 + 4))),
            // This one is made for each element.
            (r#"["Ab", "c"].exists(x, x == issue.priority)"#, 1 + 2 + 2 * (1 + 4 + 2 * 5)),
            (r#"issue.labels.exists(l, l.contains("wxyz"))"#, 1 + 256 * (1 + 3 + 68 / 4)),
            ("issue.labels.exists(l, issue.url.contains(l))", 1 + 256 * (1 + 4 + 4160 / 4)),
            // Three letters, two classes, and two places that every search is at.
            (r#"issue.title.matches("fix.[0-9a-zA-Z_]")"#, 2 + 16 + 4096 * (3 + 1 + 1 + 2) / 2),
            (r#"issue.title.matches("(?:a|bc){3}")"#, 2 + 16 + 4096 * ((1 + 1 + 2 + 1) * 3 + 2) / 2),
            (r#"issue.title.matches("a{2,4}?")"#, 2 + 16 + 4096 * ((1 + 2) * 4 + 2) / 2),
        ] {
            assert_eq!(steps(condition), counted, "{condition}");
        }
    }
}
