//! What is known of times and durations: how far each is from each other at most.
//!
//! An order of two terms that are made of at most two times is `a - b <= d`. Such bounds contradict each other exactly when going
//! around some circle of them adds up to less than nothing; a shortest path between each two shows it.

use chrono::{DateTime, TimeDelta, Timelike, Utc};

use super::term::kind;
use crate::{
    analysis::Steps,
    condition::{
        expr::{Comparison, Term},
        field::{Field, Type},
    },
};

/// Beyond so many times nothing is found.
const MAX_NODES: usize = 12;
const SECOND: i128 = 1_000_000_000;
/// `now`, as [`crate::decide()`] lets it be: from 1970 to the year 9000.
const LAST_NOW: i128 = 221_845_392_000 * SECOND;
/// The years that a time can have: 1 to 9999.
const FIRST_TIME: i128 = -62_135_596_800 * SECOND;
const LAST_TIME: i128 = 253_402_300_799 * SECOND + SECOND - 1;
/// A duration that is far from the longest that there is.
const LONG: i128 = 100_000 * 366 * 86_400 * SECOND;

/// Bounds between times; nanoseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Times<'f> {
    /// Node n + 1; node 0 is 1970, and of durations nothing.
    nodes: Vec<&'f Term>,
    /// `a - b <= most`.
    bounds: Vec<(usize, usize, i128)>,
    /// `a - b` is not this.
    unequal: Vec<(usize, usize, i128)>,
}

/// `plus - minus + shift`.
#[derive(Debug, Clone, Default)]
struct Linear<'f> {
    plus: Vec<&'f Term>,
    minus: Vec<&'f Term>,
    shift: i128,
}

impl<'f> Times<'f> {
    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Two terms of which neither is null stand so to each other.
    pub(super) fn compare(&mut self, op: Comparison, left: &'f Term, right: &'f Term) {
        let Some(difference) = linear(left).zip(linear(right)).map(|(left, right)| left.less(right)) else {
            return;
        };
        let Some((a, b)) = difference.ends() else { return };
        let (a, b, shift) = (self.node(a), self.node(b), difference.shift);
        // a - b + shift <op> 0
        if op == Comparison::NotEqual {
            self.unequal.push((a, b, -shift));
            return;
        }
        if !matches!(op, Comparison::Greater | Comparison::GreaterOrEqual) {
            self.bounds.push((a, b, -shift - i128::from(op == Comparison::Less)));
        }
        if !matches!(op, Comparison::Less | Comparison::LessOrEqual) {
            self.bounds.push((b, a, shift - i128::from(op == Comparison::Greater)));
        }
    }

    pub(super) fn are_possible(&self, steps: &Steps) -> bool {
        if self.bounds.is_empty() && self.unequal.is_empty() {
            return true;
        }
        let Some(most) = self.closest(steps) else { return true };
        let count = self.nodes.len() + 1;
        let no_circle = (0..count).all(|node| most[node * count + node].is_none_or(|around| around >= 0));
        no_circle
            && self.unequal.iter().all(|&(a, b, by)| {
                let (forth, back) = (most[a * count + b], most[b * count + a]);
                !(forth == Some(by) && back == Some(-by))
            })
    }

    /// Whether a sum of values is a time or a duration for certain.
    pub(super) fn is_in_range(&self, sum: &Term, steps: &Steps) -> bool {
        if kind(sum) == Some(Type::Duration) {
            return length(sum).is_some_and(|length| length < LONG);
        }
        let Some(value) = linear(sum) else { return false };
        let (earliest, latest) = match (value.plus.as_slice(), value.minus.as_slice()) {
            ([], []) => (Some(0), Some(0)),
            ([time], []) => self.reach(time, steps),
            _ => return false,
        };
        let earliest = earliest.unwrap_or(FIRST_TIME) + value.shift;
        let latest = latest.unwrap_or(LAST_TIME) + value.shift;
        // Of the terms within it each is a time or duration by itself: only the last step is asked about.
        FIRST_TIME <= earliest && latest <= LAST_TIME
    }

    /// The earliest and the latest that a time can be.
    fn reach(&self, time: &Term, steps: &Steps) -> (Option<i128>, Option<i128>) {
        if *time == Term::Now {
            return (Some(0), Some(LAST_NOW));
        }
        let node = self.nodes.iter().position(|known| *known == time).map(|place| place + 1);
        let Some((node, most)) = node.zip(self.closest(steps)) else { return (None, None) };
        let count = self.nodes.len() + 1;
        (most[node].map(|back| -back), most[node * count])
    }

    /// The least that `a - b` is at most, by shortest paths; `None` for too many times.
    fn closest(&self, steps: &Steps) -> Option<Vec<Option<i128>>> {
        let count = self.nodes.len() + 1;
        if count > MAX_NODES {
            return None;
        }
        steps.spend(count * count * count / 8);
        let mut most: Vec<Option<i128>> = vec![None; count * count];
        let mut bound = |a: usize, b: usize, by: i128| {
            let known = &mut most[a * count + b];
            *known = Some(known.map_or(by, |known| known.min(by)));
        };
        for node in 0..count {
            bound(node, node, 0);
        }
        for &(a, b, by) in &self.bounds {
            bound(a, b, by);
        }
        if let Some(now) = self.nodes.iter().position(|node| **node == Term::Now) {
            bound(0, now + 1, 0);
            bound(now + 1, 0, LAST_NOW);
        }
        for via in 0..count {
            for a in 0..count {
                let Some(there) = most[a * count + via] else { continue };
                for b in 0..count {
                    let Some(on) = most[via * count + b] else { continue };
                    let known = &mut most[a * count + b];
                    *known = Some(known.map_or(there + on, |known| known.min(there + on)));
                }
            }
        }
        Some(most)
    }

    fn node(&mut self, time: Option<&'f Term>) -> usize {
        let Some(time) = time else { return 0 };
        let place = self.nodes.iter().position(|known| *known == time).unwrap_or_else(|| {
            self.nodes.push(time);
            self.nodes.len() - 1
        });
        place + 1
    }
}

/// The moment at which a comparison with `now` becomes true by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::analysis) struct Moment {
    /// A time of the issue.
    pub(in crate::analysis) field: Field,
    /// What is added to it.
    pub(in crate::analysis) shift: TimeDelta,
    /// At that very instant it is not true yet.
    pub(in crate::analysis) is_later: bool,
}

/// The moment of a comparison that is false before it and true from then on: none where it is not of that kind, and where the
/// moment is no time of the issue.
pub(in crate::analysis) fn moment(op: Comparison, left: &Term, right: &Term) -> Option<Moment> {
    let difference = linear(left)?.less(linear(right)?);
    // a - b + shift <op> 0
    let (field, sign) = match (difference.ends()?, op) {
        ((Some(Term::Now), Some(Term::Field(field))), Comparison::Greater | Comparison::GreaterOrEqual) => {
            (*field, -1)
        }
        ((Some(Term::Field(field)), Some(Term::Now)), Comparison::Less | Comparison::LessOrEqual) => {
            (*field, 1)
        }
        _ => return None,
    };
    // Of milliseconds: no duration that is written has parts of them.
    let millis = i64::try_from(sign * difference.shift / (SECOND / 1000)).ok()?;
    let is_later = matches!(op, Comparison::Greater | Comparison::Less);
    Some(Moment { field, shift: TimeDelta::try_milliseconds(millis)?, is_later })
}

impl<'f> Linear<'f> {
    fn less(self, mut other: Self) -> Self {
        std::mem::swap(&mut other.plus, &mut other.minus);
        other.shift = -other.shift;
        self.add(other)
    }

    fn add(mut self, other: Self) -> Self {
        self.plus.extend(other.plus);
        self.minus.extend(other.minus);
        self.shift += other.shift;
        self.plus.retain(|term| match self.minus.iter().position(|minus| minus == term) {
            Some(place) => {
                self.minus.swap_remove(place);
                false
            }
            None => true,
        });
        self
    }

    /// The time that is added and the one that is taken away, when there is at most one of each.
    fn ends(&self) -> Option<(Option<&'f Term>, Option<&'f Term>)> {
        let most_one = self.plus.len() <= 1 && self.minus.len() <= 1;
        most_one.then(|| (self.plus.first().copied(), self.minus.first().copied()))
    }
}

/// A time or duration as a sum; `None` for null and for an instant within a leap second.
fn linear(term: &Term) -> Option<Linear<'_>> {
    let constant = |shift| Some(Linear { shift, ..Linear::default() });
    match term {
        Term::Null => None,
        Term::Time(time) => constant(instant(time)?),
        Term::Duration(duration) => constant(nanoseconds(*duration)),
        Term::Sum { left, right, minus } => {
            let (left, right) = (linear(left)?, linear(right)?);
            Some(if *minus { left.less(right) } else { left.add(right) })
        }
        variable => Some(Linear { plus: vec![variable], ..Linear::default() }),
    }
}

fn instant(time: &DateTime<Utc>) -> Option<i128> {
    let nanosecond = time.nanosecond();
    let whole = i128::from(time.timestamp()) * SECOND;
    (nanosecond < 1_000_000_000).then(|| whole + i128::from(nanosecond))
}

fn nanoseconds(duration: TimeDelta) -> i128 {
    i128::from(duration.num_seconds()) * SECOND + i128::from(duration.subsec_nanos())
}

/// How long a duration is at most, before or after.
fn length(term: &Term) -> Option<i128> {
    match term {
        Term::Duration(duration) => Some(nanoseconds(*duration).abs()),
        Term::Sum { left, right, .. } => match kind(left) {
            Some(Type::Time) => Some(LAST_TIME - FIRST_TIME),
            _ => Some(length(left)? + length(right)?),
        },
        _ => None,
    }
}
