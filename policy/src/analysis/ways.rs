//! The ways in which a condition comes to hold.

use super::{Steps, known::Known};
use crate::{
    Rule,
    condition::{Formula, expr::Logic},
};

/// The most ways of one condition; one with more is not looked into.
pub(super) const MAX_WAYS: usize = 64;
/// How many impossible ways are kept to say why.
const MAX_FAILED: usize = 32;

/// A leaf of a condition that is true, or that is false: no error either way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Literal<'f> {
    /// A test, `exists` or `all`.
    pub(super) leaf: &'f Formula,
    pub(super) holds: bool,
    /// What to show for it: the leaf, or the `!` right before it.
    pub(super) shown: &'f Formula,
}

/// Literals that together make a condition hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Way<'f> {
    pub(super) literals: Vec<Literal<'f>>,
    /// Which parts of `||` it goes through.
    pub(super) parts: Vec<usize>,
    /// How many of the literals are known to be possible together.
    checked: usize,
}

/// An operand of `||` in a place where the condition holds when it does.
#[derive(Debug)]
pub(super) struct Part<'f> {
    pub(super) formula: &'f Formula,
    /// The part in which it stands.
    pub(super) within: Option<usize>,
}

/// What a condition comes to.
#[derive(Debug)]
pub(super) struct Ways<'f> {
    /// Each way that nothing speaks against; `None` when there are too many to tell.
    pub(super) possible: Option<Vec<Way<'f>>>,
    /// Some of those that are impossible.
    pub(super) failed: Vec<Way<'f>>,
    pub(super) parts: Vec<Part<'f>>,
}

/// There are too many ways.
struct TooMany;

/// The search for ways under what is known beforehand.
pub(super) struct Expansion<'f, 's> {
    base: Known<'f>,
    steps: &'s Steps,
    failed: Vec<Way<'f>>,
    parts: Vec<Part<'f>>,
}

impl<'f, 's> Expansion<'f, 's> {
    pub(super) fn new(base: Known<'f>, steps: &'s Steps) -> Self {
        Self { base, steps, failed: Vec::new(), parts: Vec::new() }
    }

    /// For a rule's condition.
    pub(super) fn of_rule(rule: &Rule, steps: &'s Steps) -> Self {
        Self::new(Known::when_asked(rule), steps)
    }

    /// How a condition comes to hold.
    pub(super) fn ways(mut self, formula: &'f Formula) -> Ways<'f> {
        let possible =
            self.expand(formula, true, vec![Way::default()], Some(None)).and_then(|ways| self.sift(ways));
        let Self { failed, parts, .. } = self;
        Ways { possible: possible.ok(), failed, parts }
    }

    /// Whether all of these can be so together; true when it cannot be told.
    pub(super) fn can_all_be(mut self, all: &[(&'f Formula, bool)]) -> bool {
        let mut ways = Ok(vec![Way::default()]);
        for &(formula, holds) in all {
            ways = ways.and_then(|ways| self.expand(formula, holds, ways, None));
        }
        !ways.and_then(|ways| self.sift(ways)).is_ok_and(|ways| ways.is_empty())
    }

    /// Goes on from `ways`, so that `formula` holds (is false, without `holds`). `part`: the part of `||` in which this is.
    fn expand(
        &mut self,
        formula: &'f Formula,
        holds: bool,
        ways: Vec<Way<'f>>,
        part: Option<Option<usize>>,
    ) -> Result<Vec<Way<'f>>, TooMany> {
        if ways.is_empty() {
            return Ok(ways);
        }
        self.steps.spend(ways.len());
        match &formula.logic {
            Logic::Always(always) => Ok(if *always == holds { ways } else { Vec::new() }),
            Logic::Not(inner) => match is_leaf(inner) {
                true => Ok(with(ways, Literal { leaf: inner, holds: !holds, shown: formula })),
                // What stands under `!` is not spoken of part by part.
                false => self.expand(inner, !holds, ways, None),
            },
            Logic::And(parts) | Logic::Or(parts) if matches!(formula.logic, Logic::And(_)) == holds => {
                // Literals first: they rule out ways before these multiply.
                let (leaves, others): (Vec<_>, Vec<_>) = parts.iter().partition(|part| is_leaf(part));
                let mut ways = ways;
                for inner in leaves.into_iter().chain(others) {
                    ways = self.expand(inner, holds, ways, part)?;
                }
                Ok(ways)
            }
            Logic::And(parts) | Logic::Or(parts) => {
                let ways = self.sift(ways)?;
                let mut all = Vec::new();
                for inner in parts {
                    let mut ways = ways.clone();
                    let mut within = part;
                    if let Some(outer) = part {
                        let id = self.parts.len();
                        self.parts.push(Part { formula: inner, within: outer });
                        ways.iter_mut().for_each(|way| way.parts.push(id));
                        within = Some(Some(id));
                    }
                    all.append(&mut self.expand(inner, holds, ways, within)?);
                    self.bound(&all)?;
                }
                Ok(all)
            }
            Logic::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let ways = self.sift(ways)?;
                let mut all = Vec::new();
                for (chosen, branch) in [(true, then), (false, otherwise)] {
                    let ways = self.expand(condition, chosen, ways.clone(), None)?;
                    all.append(&mut self.expand(branch, holds, ways, None)?);
                }
                self.bound(&all)?;
                Ok(all)
            }
            Logic::Each { .. } | Logic::Test(_) => {
                Ok(with(ways, Literal { leaf: formula, holds, shown: formula }))
            }
        }
    }

    fn bound(&self, ways: &[Way<'f>]) -> Result<(), TooMany> {
        if ways.len() > MAX_WAYS || self.steps.are_spent() { Err(TooMany) } else { Ok(()) }
    }

    /// Those that are possible.
    fn sift(&mut self, ways: Vec<Way<'f>>) -> Result<Vec<Way<'f>>, TooMany> {
        let mut possible = Vec::with_capacity(ways.len());
        for mut way in ways {
            if way.checked < way.literals.len() {
                if !self.base.with(&way.literals, self.steps).is_possible(self.steps) {
                    if self.failed.len() < MAX_FAILED {
                        self.failed.push(way);
                    }
                    continue;
                }
                way.checked = way.literals.len();
            }
            possible.push(way);
        }
        self.bound(&possible)?;
        Ok(possible)
    }
}

fn is_leaf(formula: &Formula) -> bool {
    matches!(formula.logic, Logic::Test(_) | Logic::Each { .. })
}

fn with<'f>(mut ways: Vec<Way<'f>>, literal: Literal<'f>) -> Vec<Way<'f>> {
    ways.iter_mut().for_each(|way| way.literals.push(literal));
    ways
}
