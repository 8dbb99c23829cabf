//! What a condition requires.
//!
//! For each formula two things are worked out at once: what must be there for it to be true or an error, and what for it to be false
//! or an error; `!` exchanges the two. Where a field is null that a test errs on, all of the field's keys count as there
//! ([`Vocabulary::keys_of`]): a condition that forgets to ask whether there are labels is noted where it errs, and not passed over.

use chrono::TimeDelta;

use super::{Key, KeyId, Vocabulary, bit};
use crate::condition::{
    expr::{Comparison, Formula, List, Logic, Method, Quantifier, Term, Test},
    field::Field,
};

/// What must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    /// At least one of these, each once and in order; of none where it can never be. `None`: no key has to be there.
    pub(super) one_of: Option<Vec<KeyId>>,
    /// The bits of keys all of which must be there.
    pub(super) mask: u64,
}

impl Need {
    const NOTHING: Self = Self { one_of: None, mask: 0 };

    /// What can never be.
    fn impossible() -> Self {
        Self { one_of: Some(Vec::new()), mask: !0 }
    }

    fn key(key: KeyId) -> Self {
        Self { one_of: Some(vec![key]), mask: bit(key) }
    }

    /// What can never be of an element can still be an error of the list.
    fn in_a_list(self) -> Self {
        if self.one_of.as_ref().is_some_and(Vec::is_empty) { Self::NOTHING } else { self }
    }

    fn either(self, other: Self) -> Self {
        let one_of = self.one_of.zip(other.one_of).map(|(mut a, b)| {
            a.extend(b);
            a.sort_unstable();
            a.dedup();
            a
        });
        Self { one_of, mask: self.mask & other.mask }
    }
}

/// What must be there for a formula to be true, and for it to be false.
struct Needs {
    holds: Need,
    fails: Need,
}

/// A formula being read.
pub(super) struct Reading<'r> {
    /// Finds or adds a key.
    key: &'r mut dyn FnMut(Field, Key<'_>) -> Option<KeyId>,
    cost: &'r dyn Fn(KeyId) -> u64,
    /// The lists over which the enclosing `exists` and `all` go, innermost last.
    lists: Vec<Field>,
}

impl<'r> Reading<'r> {
    /// Every key that a formula speaks of, added to the vocabulary where it is new.
    pub(super) fn keys(vocabulary: &mut Vocabulary, formula: &Formula) -> Vec<KeyId> {
        let mut keys = Vec::new();
        let mut add = |field: Field, key: Key<'_>| {
            let id = vocabulary.add(field, key);
            keys.push(id);
            Some(id)
        };
        Reading { key: &mut add, cost: &|_| 1, lists: Vec::new() }.formula(formula);
        keys
    }

    /// What must be there for a formula to be true; the cheapest that can be said of it. Its keys have been added before.
    pub(super) fn need(vocabulary: &Vocabulary, cost: &dyn Fn(KeyId) -> u64, formula: &Formula) -> Need {
        let mut find = |field: Field, key: Key<'_>| vocabulary.find(field, key);
        Reading { key: &mut find, cost, lists: Vec::new() }.formula(formula).holds
    }

    fn formula(&mut self, it: &Formula) -> Needs {
        match &it.logic {
            Logic::Always(true) => Needs { holds: Need::NOTHING, fails: Need::impossible() },
            Logic::Always(false) => Needs { holds: Need::impossible(), fails: Need::NOTHING },
            Logic::Not(inner) => {
                let Needs { holds, fails } = self.formula(inner);
                Needs { holds: fails, fails: holds }
            }
            Logic::And(parts) => {
                let mut needs = Needs { holds: Need::NOTHING, fails: Need::impossible() };
                for part in parts {
                    let part = self.formula(part);
                    needs.holds = self.both(needs.holds, part.holds);
                    needs.fails = needs.fails.either(part.fails);
                }
                needs
            }
            Logic::Or(parts) => {
                let mut needs = Needs { holds: Need::impossible(), fails: Need::NOTHING };
                for part in parts {
                    let part = self.formula(part);
                    needs.holds = needs.holds.either(part.holds);
                    needs.fails = self.both(needs.fails, part.fails);
                }
                needs
            }
            // Where the condition is an error, so is the whole, whatever the two sides need.
            Logic::If(_) => Needs { holds: Need::NOTHING, fails: Need::NOTHING },
            Logic::Each { quantifier, list, body } => {
                // A list with an element that is an error is an error, too.
                let List::Field(list) = list else {
                    return Needs { holds: Need::NOTHING, fails: Need::NOTHING };
                };
                self.lists.push(*list);
                let body = self.formula(body);
                self.lists.pop();
                // One element decides; otherwise there may be none at all.
                match quantifier {
                    Quantifier::Exists => Needs { holds: body.holds.in_a_list(), fails: Need::NOTHING },
                    Quantifier::All => Needs { holds: Need::NOTHING, fails: body.fails.in_a_list() },
                }
            }
            Logic::Test(test) => self.test(test),
        }
    }

    fn test(&mut self, it: &Test) -> Needs {
        let mut needs = Needs { holds: Need::NOTHING, fails: Need::NOTHING };
        match it {
            Test::Compare { op: Comparison::Equal, left, right } => {
                needs = Needs { holds: self.equal(left, right), fails: self.unequal(left, right) };
            }
            Test::Compare { op: Comparison::NotEqual, left, right } => {
                needs = Needs { holds: self.unequal(left, right), fails: self.equal(left, right) };
            }
            Test::ListIsNull { list, null } => {
                needs = Needs { holds: self.is(*list, Key::Null), fails: self.is(*list, Key::NotNull) };
                if !null {
                    std::mem::swap(&mut needs.holds, &mut needs.fails);
                }
            }
            Test::Compare { op, left: Term::Size(List::Field(list)), right: Term::Int(number) } => {
                let more = number.saturating_add(1);
                match op {
                    Comparison::Greater => needs.holds = self.is(*list, Key::AtLeast(more)),
                    Comparison::GreaterOrEqual => needs.holds = self.is(*list, Key::AtLeast(*number)),
                    Comparison::Less => needs.fails = self.is(*list, Key::AtLeast(*number)),
                    _ => needs.fails = self.is(*list, Key::AtLeast(more)),
                }
            }
            Test::Compare { op, left: Term::Field(field), right } => {
                if let Some(age) = age(right) {
                    match op {
                        Comparison::Less | Comparison::LessOrEqual => {
                            needs.holds = self.is(*field, Key::OfAge(age));
                        }
                        _ => needs.fails = self.is(*field, Key::OfAge(age)),
                    }
                }
            }
            Test::In { term: Term::Text(word), list: List::Field(list) } => {
                needs.holds = self.is(*list, Key::Word(word));
            }
            Test::In { term, list: List::Of(terms) }
                if is_never_an_error(term) && terms.iter().all(is_never_an_error) =>
            {
                needs.holds = Need::impossible();
                for other in terms {
                    needs.holds = needs.holds.either(self.equal(term, other));
                }
            }
            Test::Text { method: Method::StartsWith, text, part: Term::Text(prefix) } => {
                if let Some(field) = self.field(text)
                    && !prefix.is_empty()
                {
                    needs.holds = self.is(field, Key::Prefix(prefix));
                }
            }
            // Rules that ask for it are few, and asked about few events.
            Test::Flag(_)
            | Test::Compare { .. }
            | Test::In { .. }
            | Test::Text { .. }
            | Test::Matches { .. } => {}
        }
        needs
    }

    /// For `a == b` to be true.
    fn equal(&mut self, a: &Term, b: &Term) -> Need {
        let (field, other) = match (self.field(a), self.field(b)) {
            (Some(field), _) => (field, b),
            (None, Some(field)) => (field, a),
            (None, None) => return Need::NOTHING,
        };
        match other {
            Term::Text(word) => self.is(field, Key::Word(word)),
            Term::Int(number) => self.is(field, Key::Number(*number)),
            Term::Null => self.is(field, Key::Null),
            _ => Need::NOTHING,
        }
    }

    /// For `a == b` to be false.
    fn unequal(&mut self, a: &Term, b: &Term) -> Need {
        match (a, b) {
            (Term::Null, other) | (other, Term::Null) => {
                self.field(other).map_or(Need::NOTHING, |field| self.is(field, Key::NotNull))
            }
            _ => Need::NOTHING,
        }
    }

    /// The field whose value a term is, or one of whose elements.
    fn field(&self, it: &Term) -> Option<Field> {
        match it {
            Term::Field(field) => Some(*field),
            Term::Element(out) => {
                self.lists.len().checked_sub(out + 1).and_then(|place| self.lists.get(place)).copied()
            }
            _ => None,
        }
    }

    fn is(&mut self, field: Field, key: Key<'_>) -> Need {
        // Where one of the lists around is null the whole is an error: only their own keys are there then.
        let of_null = matches!(key, Key::Null | Key::NotNull);
        if self.lists.iter().any(|list| of_null || *list != field) {
            return Need::NOTHING;
        }
        (self.key)(field, key).map_or(Need::NOTHING, Need::key)
    }

    /// All that the one and the other need: the cheaper of their alternatives.
    fn both(&self, a: Need, b: Need) -> Need {
        let cost = |keys: &Vec<KeyId>| keys.iter().map(|&key| (self.cost)(key)).fold(0, u64::saturating_add);
        let one_of = match (a.one_of, b.one_of) {
            (Some(a), Some(b)) => Some(if cost(&b) < cost(&a) { b } else { a }),
            (a, b) => a.or(b),
        };
        Need { one_of, mask: a.mask | b.mask }
    }
}

/// Of `now - duration`, the duration.
fn age(it: &Term) -> Option<TimeDelta> {
    match it {
        Term::Sum { left, right, minus: true } => match (&**left, &**right) {
            (Term::Now, Term::Duration(duration)) => Some(*duration),
            _ => None,
        },
        _ => None,
    }
}

fn is_never_an_error(it: &Term) -> bool {
    match it {
        Term::Lower(inner) => is_never_an_error(inner),
        Term::Sum { .. } | Term::Length(_) | Term::Size(_) | Term::If(_) => false,
        _ => true,
    }
}
