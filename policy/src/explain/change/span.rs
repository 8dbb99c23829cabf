//! The range of times that do as well as the one that was tried.

use std::{collections::BTreeSet, ops::ControlFlow};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{
    Search,
    edit::{Edit, New},
    time::{self, Sum},
};
use crate::{
    Rule,
    condition::{
        eval::Scope,
        expr::{List, Logic, Term, Test},
    },
    decide::Sight,
    explain::{
        reads::{self, Read},
        shown,
    },
};

/// More instants at which a test flips than that, and the instant that was tried stands alone.
const MAX_FLIPS: usize = 64;
/// How many flips are tried in their own right.
const MAX_ELSEWHERE: usize = 8;

/// The times that do as well as the one that was tried. No end: as far as times go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Times {
    /// The first of them.
    pub from: Option<End>,
    /// The last of them.
    pub to: Option<End>,
}

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct End {
    /// The instant.
    pub at: DateTime<Utc>,
    /// Whether it does, too.
    pub included: bool,
}

impl Times {
    fn ends(&self) -> [Option<(DateTime<Utc>, bool)>; 2] {
        [self.from, self.to].map(|end| end.map(|end| (end.at, end.included)))
    }

    /// After `with due_at`.
    pub(super) fn of_field(&self) -> String {
        let time = shown::time;
        let [from, to] = self.ends();
        match (from, to) {
            (None, None) => "at any time".into(),
            (None, Some((to, true))) => format!("at or before {}", time(to)),
            (None, Some((to, false))) => format!("before {}", time(to)),
            (Some((from, true)), None) => format!("at or after {}", time(from)),
            (Some((from, false)), None) => format!("after {}", time(from)),
            (Some((from, _)), Some((to, _))) if from == to => time(from),
            (Some((from, from_in)), Some((to, to_in))) => format!(
                "{} {}, {} {}",
                if from_in { "at or after" } else { "after" },
                time(from),
                if to_in { "at or before" } else { "before" },
                time(to)
            ),
        }
    }

    /// By itself, of `now`.
    pub(super) fn of_now(&self) -> String {
        let time = shown::time;
        let [from, to] = self.ends();
        match (from, to) {
            (Some((from, true)), None) => format!("from {} on", time(from)),
            (None, Some((to, true))) => format!("until {}", time(to)),
            (None, Some((to, false))) => format!("earlier than {}", time(to)),
            (Some((from, _)), Some((to, _))) if from == to => format!("at {}", time(from)),
            (Some((from, _)), Some((to, _))) => format!("between {} and {}", time(from), time(to)),
            _ => self.of_field(),
        }
    }
}

/// Finds the range of an edit that sets a time, where it is the only one.
pub(super) fn widen(search: &mut Search<'_>, sight: &Sight, edits: &mut [Edit]) {
    let mut times = (0..edits.len()).filter(|place| matches!(edits[*place].new, New::Time(_)));
    let (Some(place), None) = (times.next(), times.next()) else { return };
    let New::Time(at) = edits[place].new else { return };
    let edit = edits[place].clone();
    let mut changed = sight.clone();
    for other in &*edits {
        match other.apply(&changed) {
            Some(next) => changed = next,
            None => return,
        }
    }
    let Some(flips) = flips(search, &changed, edit.what) else { return };
    let mut does = |at: DateTime<Utc>| {
        let edit = Edit { new: New::Time(at), ..edit.clone() };
        edit.apply(&changed).is_some_and(|sight| search.reached(&sight))
    };
    let later = flips.iter().copied().filter(|flip| *flip > at);
    let earlier = flips.iter().rev().copied().filter(|flip| *flip < at);
    let range = Times { from: end(at, earlier, -1, &mut does), to: end(at, later, 1, &mut does) };
    edits[place].range = Some(range);
}

/// A time next to another flip by which the goal is reached, where the time of `edit` is not enough. `changed` is after it.
pub(super) fn elsewhere(search: &mut Search<'_>, changed: &Sight, edit: &Edit) -> Option<Edit> {
    let New::Time(at) = edit.new else { return None };
    if search.effort.is_spent() {
        return None;
    }
    let mut flips = flips(search, changed, edit.what)?;
    flips.sort_by_key(|flip| (*flip - at).abs());
    let second = TimeDelta::seconds(1);
    let times = flips.into_iter().take(MAX_ELSEWHERE).flat_map(|flip| {
        [Some(flip), flip.checked_sub_signed(second), flip.checked_add_signed(second)].into_iter().flatten()
    });
    times
        .map(|at| Edit { new: New::Time(at), ..edit.clone() })
        .find(|edit| edit.apply(changed).is_some_and(|sight| search.reached(&sight)))
}

/// How far one can go from `at`, from flip to flip. None: without end.
fn end(
    at: DateTime<Utc>,
    flips: impl Iterator<Item = DateTime<Utc>>,
    direction: i32,
    does: &mut impl FnMut(DateTime<Utc>) -> bool,
) -> Option<End> {
    let mut reached = at;
    for flip in flips {
        // Nearer than a second there is nothing to tell apart.
        let is_far = (flip - reached).abs() > TimeDelta::seconds(1);
        if is_far && !time::between(reached, flip).is_some_and(&mut *does) {
            return Some(End { at: reached, included: true });
        }
        if !does(flip) {
            return Some(End { at: flip, included: false });
        }
        reached = flip;
    }
    let beyond = reached.checked_add_signed(TimeDelta::days(1) * direction);
    match beyond.is_some_and(does) {
        true => None,
        false => Some(End { at: reached, included: true }),
    }
}

/// The instants at which something can flip, sorted: for `what`, in the rules down to the one that is meant. None where they are
/// too many, or cannot all be found.
fn flips(search: &mut Search<'_>, sight: &Sight, what: Read) -> Option<Vec<DateTime<Utc>>> {
    let readers = search.readers(what);
    let mut places = Vec::new();
    // A rule that holds at no time turns nothing.
    sight.candidates(search.ruleset, |place| {
        places.extend(readers.binary_search(&place).map(|_| place));
        match readers.last() {
            Some(last) if place < *last => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    let view = sight.view();
    let scope = Scope::new(&view);
    let mut flips = BTreeSet::new();
    for rule in places.into_iter().filter_map(|place| search.ruleset.rules.get(place)) {
        search.effort.evaluated(rule, sight, 1);
        of_rule(rule, sight, what, scope, &mut flips)?;
    }
    let firing = sight.firing(search.rule);
    if what == Read::Now {
        flips.extend(firing.fired_at.map(|fired_at| fired_at + search.rule.cooldown));
    }
    if let Some(at) = search.rule.at.filter(|at| what == Read::Field(at.field)) {
        let decided = sight.issue.deciding.get(search.rule.id.as_str()).copied().flatten();
        let known = [firing.at_done, decided].into_iter().flatten();
        flips.extend(known.filter_map(|done| done.checked_sub_signed(at.shift)));
    }
    (flips.len() <= MAX_FLIPS).then(|| flips.into_iter().collect())
}

fn of_rule(
    rule: &Rule,
    sight: &Sight,
    what: Read,
    scope: Scope<'_, '_>,
    flips: &mut BTreeSet<DateTime<Utc>>,
) -> Option<()> {
    let mut found = Some(());
    rule.condition.formula().visit(&mut |formula| {
        let all = match &formula.logic {
            Logic::Test(test) => of_test(test, sight, what, scope, flips),
            Logic::Each { list, .. } => (!reads::of_list(list).contains(&what)).then_some(()),
            _ => Some(()),
        };
        // Past the limit nothing more need be known.
        found = found.and(all).filter(|()| flips.len() <= MAX_FLIPS);
    });
    found
}

fn of_test(
    test: &Test,
    sight: &Sight,
    what: Read,
    scope: Scope<'_, '_>,
    flips: &mut BTreeSet<DateTime<Utc>>,
) -> Option<()> {
    if !reads::of_test(test).contains(&what) {
        return Some(());
    }
    let mut pair = |left, right| {
        let sum = Sum::of(left, scope)?.plus(Sum::of(right, scope)?, -1);
        // A time that is not known makes the test an error wherever this one lies.
        flips.extend(sum.solve(what, sight).map(|(at, _)| at));
        Some(())
    };
    match test {
        Test::Compare { left, right, .. } => match (left, right) {
            (_, Term::Null) | (Term::Null, _) => Some(()),
            _ if has_choice(left) || has_choice(right) => None,
            _ => pair(left, right),
        },
        Test::In { term, list: List::Of(terms) } => {
            terms.iter().try_for_each(|other| if has_choice(other) { None } else { pair(term, other) })
        }
        _ => None,
    }
}

/// Whether a term can be one thing or another: it flips where its condition does.
fn has_choice(term: &Term) -> bool {
    match term {
        Term::If(_) | Term::Element(_) => true,
        Term::Sum { left, right, .. } => has_choice(left) || has_choice(right),
        _ => false,
    }
}
