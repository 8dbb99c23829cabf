//! The range of times that do as well as the one that was tried.

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

/// More turning points than that, and the instant that was tried stands alone.
const MAX_TURNS: usize = 64;
/// How many turns are tried in their own right.
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
    let Some(turns) = turns(search, &changed, edit.what) else { return };
    let mut does = |at: DateTime<Utc>| {
        let edit = Edit { new: New::Time(at), ..edit.clone() };
        edit.apply(&changed).is_some_and(|sight| search.reached(&sight))
    };
    let later = turns.iter().copied().filter(|turn| *turn > at);
    let earlier = turns.iter().rev().copied().filter(|turn| *turn < at);
    let range = Times { from: end(at, earlier, -1, &mut does), to: end(at, later, 1, &mut does) };
    edits[place].range = Some(range);
}

/// A time next to another turn by which the goal is reached, where the time of `edit` is not enough. `changed` is after it.
pub(super) fn elsewhere(search: &mut Search<'_>, changed: &Sight, edit: &Edit) -> Option<Edit> {
    let New::Time(at) = edit.new else { return None };
    let mut turns = turns(search, changed, edit.what)?;
    turns.sort_by_key(|turn| (*turn - at).abs());
    let second = TimeDelta::seconds(1);
    let times = turns.into_iter().take(MAX_ELSEWHERE).flat_map(|turn| {
        [Some(turn), turn.checked_sub_signed(second), turn.checked_add_signed(second)].into_iter().flatten()
    });
    times
        .map(|at| Edit { new: New::Time(at), ..edit.clone() })
        .find(|edit| edit.apply(changed).is_some_and(|sight| search.reached(&sight)))
}

/// How far one can go from `at`, from turn to turn. None: without end.
fn end(
    at: DateTime<Utc>,
    turns: impl Iterator<Item = DateTime<Utc>>,
    direction: i32,
    does: &mut impl FnMut(DateTime<Utc>) -> bool,
) -> Option<End> {
    let mut reached = at;
    for turn in turns {
        // Nearer than a second there is nothing to tell apart.
        let is_far = (turn - reached).abs() > TimeDelta::seconds(1);
        if is_far && !time::between(reached, turn).is_some_and(&mut *does) {
            return Some(End { at: reached, included: true });
        }
        if !does(turn) {
            return Some(End { at: turn, included: false });
        }
        reached = turn;
    }
    let beyond = reached.checked_add_signed(TimeDelta::days(1) * direction);
    match beyond.is_some_and(does) {
        true => None,
        false => Some(End { at: reached, included: true }),
    }
}

/// The instants at which something can turn, sorted: for `what`, in the rules down to the one that is meant. None where they are
/// too many, or cannot all be found.
fn turns(search: &Search<'_>, sight: &Sight, what: Read) -> Option<Vec<DateTime<Utc>>> {
    let place = search.ruleset.places.get(&search.rule.id).copied()?;
    let view = sight.view();
    let scope = Scope::new(&view);
    let mut turns = Vec::new();
    for rule in &search.ruleset.rules[..=place] {
        if sight.asked.asks(rule) && sight.concerns(rule) {
            of_rule(rule, sight, what, scope, &mut turns)?;
        }
    }
    let firing = sight.firing(search.rule);
    if what == Read::Now {
        turns.extend(firing.fired_at.map(|fired_at| fired_at + search.rule.cooldown));
    }
    if let Some(at) = search.rule.at.filter(|at| what == Read::Field(at.field)) {
        let decided = sight.issue.deciding.get(search.rule.id.as_str()).copied().flatten();
        let known = [firing.at_done, decided].into_iter().flatten();
        turns.extend(known.filter_map(|done| done.checked_sub_signed(at.shift)));
    }
    turns.sort_unstable();
    turns.dedup();
    (turns.len() <= MAX_TURNS).then_some(turns)
}

fn of_rule(
    rule: &Rule,
    sight: &Sight,
    what: Read,
    scope: Scope<'_, '_>,
    turns: &mut Vec<DateTime<Utc>>,
) -> Option<()> {
    let mut found = Some(());
    rule.condition.formula().visit(&mut |formula| {
        let all = match &formula.logic {
            Logic::Test(test) => of_test(test, sight, what, scope, turns),
            Logic::Each { list, .. } => (!reads::of_list(list).contains(&what)).then_some(()),
            _ => Some(()),
        };
        // Past the limit nothing more need be known.
        found = found.and(all).filter(|()| turns.len() <= 2 * MAX_TURNS);
    });
    found
}

fn of_test(
    test: &Test,
    sight: &Sight,
    what: Read,
    scope: Scope<'_, '_>,
    turns: &mut Vec<DateTime<Utc>>,
) -> Option<()> {
    if !reads::of_test(test).contains(&what) {
        return Some(());
    }
    let mut pair = |left, right| {
        let sum = Sum::of(left, scope)?.plus(Sum::of(right, scope)?, -1);
        // A time that is not known makes the test an error wherever this one lies.
        turns.extend(sum.solve(what, sight).map(|(at, _)| at));
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

/// Whether a term can be one thing or another: it turns where its condition does.
fn has_choice(term: &Term) -> bool {
    match term {
        Term::If(_) | Term::Element(_) => true,
        Term::Sum { left, right, .. } => has_choice(left) || has_choice(right),
        _ => false,
    }
}
