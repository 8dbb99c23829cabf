//! The smallest change that would have made a rule fire, or not fire.
//!
//! A search, breadth first: of one edit, then two, up to four. Edits are not guessed: each is suggested by what stands in
//! the way (a test that does not hold, a rule above that wins, a closed issue, a cooldown, a target that does not resolve), and a
//! set of edits counts only when the walk itself, on a changed copy of what the rules saw, says that it is enough.
//!
//! An edit that names a time stands for a range of times. Between two instants at which any test of a rule that can
//! matter turns, nothing changes; so the range is found by asking at these instants and between them. Where the time that a test suggests
//! is not enough (a rule above wins just there), the times next to the other turns are tried.

mod edit;
mod effort;
mod example;
mod span;
mod suggest;
mod time;

use std::{
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use serde::Serialize;

pub use self::span::{End, Times};
use self::{edit::Edit, effort::Effort, suggest::Suggest};
use super::{
    reads::{self, Read},
    shown::{self, Shown},
};
use crate::{
    Decision, Note, Rule, Ruleset, State, Target, Then,
    condition::field::Field,
    decide::{Edge, Occasion, Sight},
};

/// How many edits a change may have.
const MAX_EDITS: usize = 4;
/// How many changes are named.
const MAX_ALTERNATIVES: usize = 4;
/// How many rules above are asked to win instead, where the rule itself cannot be made to give way.
const MAX_ABOVE: usize = 8;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// That the rule fires.
    Fire,
    /// That it does not.
    NotFire,
    /// That it no longer decides the issue.
    NotDecide,
}

/// The smallest changes of what the rules saw that reach a goal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIf {
    /// What is looked for.
    pub goal: Goal,
    /// What stands in the way, where that is not the rule's own condition.
    pub obstacle: Option<String>,
    /// Changes of the smallest size that was found, each enough by itself; at most four. None: nothing was found.
    pub alternatives: Vec<Vec<Change>>,
    /// How many more of that size were found.
    pub more: usize,
    /// How many were tried.
    pub tried: usize,
    /// False when the search was cut short: a smaller change, or any, may have been missed.
    pub complete: bool,
}

/// One edit of what the rules saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The field, or `now`.
    pub field: String,
    /// What is done to it.
    pub kind: ChangeKind,
    /// The value that was tried.
    pub value: Shown,
    /// Of a time that is the only one: every time that does as well, with the other edits as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// In words, such as `with label bug`.
    pub says: String,
}

/// What an edit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Gives the field this value.
    Set,
    /// Adds a member to a list.
    Add,
    /// Takes a member out of a list.
    Remove,
    /// Makes a list have so many members.
    Count,
}

/// Looks for the smallest change.
pub(super) fn search(state: &State, ruleset: &Ruleset, sight: &Sight, rule: &Rule, goal: Goal) -> WhatIf {
    let mut search =
        Search { state, ruleset, rule, goal, effort: Effort::default(), readers: BTreeMap::default() };
    let mut what_if = WhatIf {
        goal,
        obstacle: search.obstacle(sight),
        alternatives: Vec::new(),
        more: 0,
        tried: 0,
        complete: true,
    };
    let mut found = search.run(sight, MAX_EDITS, &|search, sight| search.in_the_way(sight));
    if goal != Goal::Fire {
        // Less than what its own condition takes may do: that another rule wins, or that it has no target.
        let less = found.first().map_or(MAX_EDITS, |edits| edits.len() - 1);
        let other = search.run(sight, less, &|search, sight| search.otherwise(sight));
        found = if other.is_empty() { found } else { other };
    }
    if found.is_empty() && goal != Goal::Fire && !rule.on_closed {
        found = search.run(sight, 1, &|_, sight| Suggest::new(sight).closed());
    }
    found.sort_by_key(|edits| edits.iter().map(Edit::weight).sum::<usize>());
    what_if.more = found.len().saturating_sub(MAX_ALTERNATIVES);
    found.truncate(MAX_ALTERNATIVES);
    for mut edits in found {
        span::widen(&mut search, sight, &mut edits);
        let edits: Vec<_> = edits.iter().map(Edit::told).collect();
        // Two times may be of one range.
        let same = |known: &Vec<Change>| known.iter().map(|it| &it.says).eq(edits.iter().map(|it| &it.says));
        if !what_if.alternatives.iter().any(same) {
            what_if.alternatives.push(edits);
        }
    }
    (what_if.tried, what_if.complete) = (search.effort.tried, !search.effort.is_cut_short);
    what_if
}

struct Search<'s> {
    state: &'s State,
    ruleset: &'s Ruleset,
    rule: &'s Rule,
    goal: Goal,
    effort: Effort,
    /// Places of the rules, down to the one that is meant, whose conditions read something.
    readers: BTreeMap<Read, Rc<[usize]>>,
}

impl<'s> Search<'s> {
    /// Every set of the smallest size, at most `most`, that reaches the goal. `next` names the edits to go on with.
    fn run(
        &mut self,
        sight: &Sight,
        most: usize,
        next: &dyn Fn(&mut Self, &Sight) -> Vec<Edit>,
    ) -> Vec<Vec<Edit>> {
        let mut seen = HashSet::new();
        let mut edge = vec![(Vec::<Edit>::new(), sight.clone())];
        for _ in 0..most {
            let (mut found, mut further) = (Vec::new(), Vec::new());
            for (edits, sight) in &edge {
                for edit in next(self, sight) {
                    if !edit.goes_with(edits) {
                        continue;
                    }
                    let mut edits = edits.clone();
                    edits.push(edit.clone());
                    let mut key: Vec<_> = edits.iter().map(Edit::key).collect();
                    key.sort();
                    if !seen.insert(key) {
                        continue;
                    }
                    if self.effort.is_spent() {
                        return found;
                    }
                    self.effort.tried += 1;
                    let Some(changed) = edit.apply(sight) else { continue };
                    if self.reached(&changed) {
                        found.push(edits);
                    } else if let Some(other) = span::elsewhere(self, &changed, &edit) {
                        edits.pop();
                        edits.push(other);
                        found.push(edits);
                    } else {
                        further.push((edits, changed));
                    }
                }
            }
            if !found.is_empty() {
                return found;
            }
            edge = further;
        }
        Vec::new()
    }

    /// Whether the goal is reached, by the walk itself.
    fn reached(&mut self, sight: &Sight) -> bool {
        let holds = self.holds(sight);
        match self.goal {
            Goal::Fire => holds && self.fires(sight),
            Goal::NotFire => !holds || !self.fires(sight),
            Goal::NotDecide => !holds || !self.is_met(sight),
        }
    }

    fn holds(&mut self, sight: &Sight) -> bool {
        if !sight.concerns(self.rule) || !sight.asks(self.rule) {
            return false;
        }
        self.effort.evaluated(self.rule, sight, 1);
        self.rule.condition.holds(&sight.view()) == Ok(true)
    }

    fn met(&mut self, sight: &Sight) -> Vec<&'s Rule> {
        let met = sight.met(self.state, self.ruleset);
        self.effort.walked(self.ruleset, sight, &met);
        met
    }

    fn is_met(&mut self, sight: &Sight) -> bool {
        self.met(sight).iter().any(|met| met.id == self.rule.id)
    }

    fn decide(&mut self, sight: &Sight, met: &[&Rule]) -> Decision {
        self.effort.walked(self.ruleset, sight, met);
        sight.decide(self.state, self.ruleset)
    }

    fn fires(&mut self, sight: &Sight) -> bool {
        let met = self.met(sight);
        met.iter().any(|met| met.id == self.rule.id)
            && self
                .decide(sight, &met)
                .actions
                .iter()
                .any(|action| action.rule.as_deref() == Some(&self.rule.id))
    }

    /// The rule above that wins.
    fn winner(&mut self, sight: &Sight) -> Option<&'s Rule> {
        let last = self.met(sight).pop().filter(|last| !last.goes_on)?;
        let above = self.ruleset.places.get(&last.id) < self.ruleset.places.get(&self.rule.id);
        above.then_some(last)
    }

    /// Places of the rules, down to the one that is meant, whose conditions read `what`.
    fn readers(&mut self, what: Read) -> Rc<[usize]> {
        if let Some(known) = self.readers.get(&what) {
            return known.clone();
        }
        let last = self.ruleset.places.get(&self.rule.id).copied().unwrap_or_default();
        self.effort.read(last);
        let reads = |rule: &Rule| reads::of_formula(rule.condition.formula()).contains(&what);
        let rules = self.ruleset.rules.iter().enumerate().take(last + 1);
        let places: Rc<[usize]> = rules.filter(|(_, rule)| reads(rule)).map(|(place, _)| place).collect();
        self.readers.insert(what, places.clone());
        places
    }

    /// Edits against what is in the way.
    fn in_the_way(&mut self, sight: &Sight) -> Vec<Edit> {
        let rule = self.rule;
        let mut suggest = Suggest::new(sight);
        if self.goal == Goal::Fire && sight.is_silent_for(rule) && !sight.issue.deleted {
            suggest.not_by_us();
            return suggest.edits;
        }
        if !sight.asks(rule) || sight.issue.deleted {
            return Vec::new();
        }
        if self.goal != Goal::Fire {
            self.effort.evaluated(rule, sight, Suggest::EVALUATIONS);
            suggest.condition(&rule.condition, false);
            return suggest.edits;
        }
        if !sight.concerns(rule) {
            suggest.open();
        } else if !self.holds(sight) {
            self.effort.evaluated(rule, sight, Suggest::EVALUATIONS);
            suggest.condition(&rule.condition, true);
        } else if let Some(winner) = self.winner(sight) {
            self.effort.evaluated(winner, sight, Suggest::EVALUATIONS);
            suggest.condition(&winner.condition, false);
        } else if sight.edge(rule) != Edge::Fires {
            if let (Some(at), false) = (rule.at, sight.occasion == Occasion::Timer) {
                suggest.other_at(at);
            }
        } else {
            let met = self.met(sight);
            let decision = self.decide(sight, &met);
            let resolves = |target: &Target| *target == Target::Assignee;
            for note in &decision.notes {
                match note {
                    Note::Suppressed { rule: id, until, .. } | Note::Capped { rule: id, until, .. }
                        if *id == rule.id =>
                    {
                        suggest.now(*until);
                    }
                    Note::Unresolved { rule: id, index, .. }
                        if *id == rule.id && rule.then[*index].targets.iter().any(resolves) =>
                    {
                        suggest.any(Field::Assignee);
                    }
                    _ => {}
                }
            }
        }
        suggest.edits
    }

    /// Edits that make a rule above win, or leave the rule without a target.
    fn otherwise(&mut self, sight: &Sight) -> Vec<Edit> {
        let place = self.ruleset.places.get(&self.rule.id).copied().unwrap_or_default();
        let above = self.ruleset.rules[..place].iter().rev();
        let wins = |rule: &&Rule| !rule.goes_on && sight.asks(rule) && sight.concerns(rule);
        let mut suggest = Suggest::new(sight);
        for rule in above.filter(wins).take(MAX_ABOVE) {
            self.effort.evaluated(rule, sight, Suggest::EVALUATIONS);
            suggest.condition(&rule.condition, true);
        }
        let assignee = |then: &Then| then.targets.contains(&Target::Assignee);
        if self.goal == Goal::NotFire && self.rule.then.iter().any(assignee) {
            suggest.none(Field::Assignee);
        }
        suggest.edits
    }

    /// In words, what other than the rule's own condition stands in the way.
    fn obstacle(&mut self, sight: &Sight) -> Option<String> {
        if self.goal != Goal::Fire {
            return None;
        }
        if sight.is_silent_for(self.rule) {
            return Some("our own account did this, and the rule does not ask for `event.by_us`".into());
        }
        if !sight.asks(self.rule) {
            return Some(match sight.occasion {
                Occasion::LateEvent => {
                    "the event came late; this rule does not read `event`, so only younger events ask it"
                        .into()
                }
                _ => "it reads `event`; it is asked when an event comes".into(),
            });
        }
        if sight.issue.deleted {
            return Some("the issue is deleted, and stays so".into());
        }
        let decided = sight.issue.deciding.contains_key(self.rule.id.as_str());
        if !sight.concerns(self.rule) && decided {
            return Some(
                "it decided the issue while that was open, and decides it anew once it is reopened".into(),
            );
        }
        if !self.holds(sight) {
            return None;
        }
        self.winner(sight).map(|winner| format!("`{}` above decides first", winner.id))
    }
}

/// Plain sentences: what reaches the goal.
pub(super) fn in_words(what_if: &WhatIf) -> String {
    let goal = match what_if.goal {
        Goal::Fire => "would fire",
        Goal::NotFire => "would not fire",
        Goal::NotDecide => "would no longer decide",
    };
    let mut words = what_if.obstacle.as_ref().map(|it| format!("{it}; ")).unwrap_or_default();
    if what_if.alternatives.is_empty() {
        words += &match (what_if.tried, what_if.complete) {
            (0, _) => format!("no change of the issue by itself is known by which it {goal}"),
            (tried, true) => {
                format!("no change of up to {MAX_EDITS} things was found by which it {goal} ({tried} tried)")
            }
            (tried, false) => {
                format!("the search was cut short after {tried} changes, without one by which it {goal}")
            }
        };
        return words;
    }
    let sets: Vec<_> = what_if
        .alternatives
        .iter()
        .map(|edits| edits.iter().map(|edit| edit.says.as_str()).collect::<Vec<_>>().join(" and "))
        .collect();
    words += &format!("{goal} {}", sets.join(", or "));
    words += &match (what_if.more, what_if.complete) {
        (0, true) => String::new(),
        (0, false) => " (the search was cut short; there may be more)".to_owned(),
        (more, true) => format!(" (and {more} more)"),
        (more, false) => format!(" (and {more} more; the search was cut short)"),
    };
    words
}

/// A member, a word or a title as it stands in a phrase.
fn named(text: &str) -> String {
    shown::bare(text)
}
