//! What a backtest tells.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use events::Action;
use serde::{Serialize, Serializer};

use super::pair::Pair;
use crate::{Note, Ruleset};

/// The most targets that are told apart; assignees' names come from outside. The others are counted as [`OTHERS`].
const MAX_TARGETS: usize = 10_000;
/// Stands for the targets beyond the most that are told apart.
const OTHERS: &str = "(others)";

/// Something of the current policy, and the same of the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Both<T> {
    /// The current policy's.
    pub current: T,
    /// The candidate's.
    pub candidate: T,
}

impl<T> Both<T> {
    /// `f` of either.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Both<U> {
        Both { current: f(self.current), candidate: f(self.candidate) }
    }

    /// The current policy's, then the candidate's.
    pub fn each_mut(&mut self) -> [&mut T; 2] {
        [&mut self.current, &mut self.candidate]
    }
}

impl std::ops::AddAssign for Both<u64> {
    fn add_assign(&mut self, other: Self) {
        self.current += other.current;
        self.candidate += other.candidate;
    }
}

/// What two policies made of the same history. Maps are ordered, counts exact; the same history and policies give the same
/// report, whatever the order in which the reports of partitions were merged (unless there are over 10,000 targets).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// What was replayed.
    pub history: History,
    /// Every action.
    pub total: Counts,
    /// By rule id: every rule of either policy.
    pub rules: BTreeMap<String, RuleReport>,
    /// By project: those for which there was any action.
    pub projects: BTreeMap<String, Counts>,
    /// By target: how much is asked of each person or team.
    pub targets: BTreeMap<String, Load>,
    #[serde(skip)]
    examples: usize,
}

/// What was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct History {
    /// Events folded, those before the part that is reported included.
    pub events: u64,
    /// Events of the part that is reported.
    pub reported: u64,
    /// Of these, how many had been counted before and changed nothing.
    pub duplicates: u64,
    /// Of these, how many were older than what was known of their issue.
    pub late: u64,
    /// Of these, how many were people's answers that came after more than seven days and did not count.
    pub old_answers: u64,
    /// Issues known at the end.
    pub issues: u64,
    /// Timers decided in the part that is reported.
    pub timers: Both<u64>,
    /// Conditions that erred in the part that is reported, beyond those that decisions name (twenty each) and that are counted by rule.
    pub unnamed_errors: Both<u64>,
    /// The first event's stamp.
    pub first_at: Option<DateTime<Utc>>,
    /// The last event's stamp.
    pub last_at: Option<DateTime<Utc>>,
}

/// How actions compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// How many each policy makes.
    pub actions: Both<u64>,
    /// Made by the candidate only.
    pub added: u64,
    /// Made by the current policy only.
    pub removed: u64,
    /// Made by both, of the same kind, for the same issue and by the same event or rule (or timers of one instant), but by another
    /// rule, for another target, or with other parameters. Under a rule: one that another rule makes in the other policy counts for
    /// both rules.
    pub changed: u64,
    /// The same by both.
    pub unchanged: u64,
    /// Of the unchanged, how many have another rationale.
    pub reworded: u64,
}

impl Counts {
    fn count(&mut self, pair: Pair<'_>, fate: Fate) {
        self.actions.current += u64::from(pair.current.is_some());
        self.actions.candidate += u64::from(pair.candidate.is_some());
        match fate {
            Fate::Added => self.added += 1,
            Fate::Removed => self.removed += 1,
            Fate::Changed => self.changed += 1,
            Fate::Unchanged { reworded } => {
                self.unchanged += 1;
                self.reworded += u64::from(reworded);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.actions += other.actions;
        self.added += other.added;
        self.removed += other.removed;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.reworded += other.reworded;
    }
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RuleReport {
    /// Whether each policy has it.
    pub defined: Both<bool>,
    /// Its actions.
    #[serde(flatten)]
    pub counts: Counts,
    /// How often its condition erred, so that it did not match, as far as decisions name it: see [`History::unnamed_errors`].
    pub condition_errors: Both<u64>,
    /// How often its cooldown suppressed a firing.
    pub suppressed: Both<u64>,
    /// How often no target of an action resolved, so that there was none.
    pub unresolved: Both<u64>,
    /// How many actions were not made because the issue had had its actions of the hour.
    pub capped: Both<u64>,
    /// The first of its differences.
    pub examples: Examples,
}

/// The first differences of a rule, by instant and issue; of each issue the first.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Examples {
    /// Made by the candidate only.
    pub added: Vec<Example>,
    /// Made by the current policy only.
    pub removed: Vec<Example>,
    /// Made otherwise by the candidate; stands with the candidate's rule.
    pub changed: Vec<Example>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Example {
    /// The instant as of which it was decided.
    pub at: DateTime<Utc>,
    /// The project.
    pub project_id: String,
    /// The issue.
    pub issue_ref: String,
    /// The issue's title, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The event (or `t-…`: the timer) that brought it about.
    pub cause: String,
    /// What the current policy does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Made>,
    /// What the candidate does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Made>,
    /// What is not the same in both: `rule`, `target`, `start_at`, `duration_min`, `participants`, `to`, `of`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
}

/// An action, as far as a reviewer needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Made {
    /// The rule.
    pub rule: String,
    /// What is to be done.
    pub action: String,
    /// For whom.
    pub target: String,
    /// Why.
    pub rationale: String,
}

/// How much is asked of one target, day by day (UTC).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Load {
    days: BTreeMap<NaiveDate, Both<u64>>,
}

/// A target's busiest day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Busiest {
    /// The day (UTC); of several the first.
    pub day: NaiveDate,
    /// How many actions it brought.
    pub actions: u64,
}

impl Load {
    /// How many actions there were in all.
    pub fn actions(&self) -> Both<u64> {
        let mut sum = Both::default();
        self.days.values().for_each(|day| sum += *day);
        sum
    }

    /// Whether any day differs.
    pub fn differs(&self) -> bool {
        self.days.values().any(|day| day.current != day.candidate)
    }

    /// The busiest day under each policy; none when there was no action.
    pub fn busiest(&self) -> Both<Option<Busiest>> {
        let busiest = |of: fn(&Both<u64>) -> u64| {
            let days = self.days.iter().map(|(day, count)| Busiest { day: *day, actions: of(count) });
            days.filter(|day| day.actions > 0)
                .reduce(|first, next| if next.actions > first.actions { next } else { first })
        };
        Both { current: busiest(|count| count.current), candidate: busiest(|count| count.candidate) }
    }
}

impl Serialize for Load {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            actions: Both<u64>,
            busiest_day: Both<Option<Busiest>>,
        }
        Shown { actions: self.actions(), busiest_day: self.busiest() }.serialize(serializer)
    }
}

/// What became of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Added,
    Removed,
    Changed,
    Unchanged { reworded: bool },
}

impl Report {
    pub(super) fn new(examples: usize) -> Self {
        Self { examples, ..Self::default() }
    }

    /// Adds what another partition tells.
    pub fn merge(&mut self, other: Self) {
        let (known, more) = (&mut self.history, other.history);
        known.events += more.events;
        known.reported += more.reported;
        known.duplicates += more.duplicates;
        known.late += more.late;
        known.old_answers += more.old_answers;
        known.issues += more.issues;
        known.timers += more.timers;
        known.unnamed_errors += more.unnamed_errors;
        known.first_at = [known.first_at, more.first_at].into_iter().flatten().min();
        known.last_at = known.last_at.max(more.last_at);
        self.examples = self.examples.max(other.examples);
        self.total.merge(&other.total);
        for (id, rule) in other.rules {
            self.rules.entry(id).or_default().merge(rule, self.examples);
        }
        for (project, counts) in other.projects {
            self.projects.entry(project).or_default().merge(&counts);
        }
        for (target, load) in other.targets {
            let known = load_of(&mut self.targets, &target);
            load.days.into_iter().for_each(|(day, count)| *known.days.entry(day).or_default() += count);
        }
    }

    pub(super) fn count_event(&mut self, at: DateTime<Utc>, reported: bool, notes: &[Note]) {
        let history = &mut self.history;
        history.events += 1;
        history.first_at = history.first_at.or(Some(at));
        history.last_at = Some(at);
        if reported {
            history.reported += 1;
            let any = |wanted: fn(&Note) -> bool| u64::from(notes.iter().any(wanted));
            history.duplicates += any(|note| matches!(note, Note::Duplicate { .. }));
            history.late += any(|note| matches!(note, Note::Stale { .. } | Note::TooOld { .. }));
            history.old_answers += any(|note| matches!(note, Note::OldAnswer { .. }));
        }
    }

    pub(super) fn count_timers(&mut self, timers: Both<u64>) {
        self.history.timers += timers;
    }

    pub(super) fn count_notes(&mut self, notes: Both<&[Note]>) {
        for note in notes.current {
            self.count_note(note, Both { current: 1, candidate: 0 });
        }
        for note in notes.candidate {
            self.count_note(note, Both { current: 0, candidate: 1 });
        }
    }

    fn count_note(&mut self, note: &Note, by: Both<u64>) {
        let (rule, field): (_, fn(&mut RuleReport) -> &mut Both<u64>) = match note {
            Note::ConditionError { rule, .. } => (rule, |rule| &mut rule.condition_errors),
            Note::Suppressed { rule, .. } => (rule, |rule| &mut rule.suppressed),
            Note::Unresolved { rule, .. } => (rule, |rule| &mut rule.unresolved),
            Note::Capped { rule, .. } => (rule, |rule| &mut rule.capped),
            Note::MoreConditionErrors { count } => {
                let times = |by: u64| by * count;
                self.history.unnamed_errors +=
                    Both { current: times(by.current), candidate: times(by.candidate) };
                return;
            }
            _ => return,
        };
        *field(entry(&mut self.rules, rule)) += by;
    }

    pub(super) fn count(&mut self, at: DateTime<Utc>, pair: Pair<'_>) {
        let Some(any) = pair.candidate.or(pair.current) else { return };
        let differs = differences(pair);
        let fate = match (pair.current, pair.candidate) {
            (Some(current), Some(candidate)) if differs.is_empty() => {
                Fate::Unchanged { reworded: current.rationale != candidate.rationale }
            }
            (Some(_), Some(_)) => Fate::Changed,
            (None, _) => Fate::Added,
            (_, None) => Fate::Removed,
        };
        self.total.count(pair, fate);
        entry(&mut self.projects, &any.project_id).count(pair, fate);
        let day = at.date_naive();
        for (action, by) in [
            (pair.current, Both { current: 1, candidate: 0 }),
            (pair.candidate, Both { current: 0, candidate: 1 }),
        ] {
            // To acknowledge or take back asks nothing of anybody.
            if let Some(action) = action.filter(|action| !action.action.follows_up()) {
                *load_of(&mut self.targets, &action.target).days.entry(day).or_default() += by;
            }
        }
        let [old, new] = [pair.current, pair.candidate].map(|action| action.map(rule_of));
        match (old, new) {
            // Two rules: each has its own part in it.
            (Some(old), Some(new)) if old != new => {
                entry(&mut self.rules, old).counts.count(Pair { candidate: None, ..pair }, fate);
                entry(&mut self.rules, new).counts.count(Pair { current: None, ..pair }, fate);
            }
            _ => entry(&mut self.rules, rule_of(any)).counts.count(pair, fate),
        }
        if !matches!(fate, Fate::Unchanged { .. }) {
            let examples = &mut entry(&mut self.rules, rule_of(any)).examples;
            let list = match fate {
                Fate::Added => &mut examples.added,
                Fate::Removed => &mut examples.removed,
                _ => &mut examples.changed,
            };
            // Instants never go back; within one, the order does not depend on who shares the partition.
            let full = list.len() >= self.examples;
            let told = |example: &Example| {
                example.project_id == any.project_id && Some(&example.issue_ref) == any.issue_ref.as_ref()
            };
            if (!full || list.last().is_some_and(|last| at <= last.at)) && !list.iter().any(told) {
                keep_first(list, [Example::new(at, any, pair, differs)], self.examples);
            }
        }
    }

    /// Names every rule, those that did nothing too.
    pub(super) fn name_rules(&mut self, rulesets: Both<&Ruleset>) {
        for rule in rulesets.current.rules() {
            entry(&mut self.rules, rule.id()).defined.current = true;
        }
        for rule in rulesets.candidate.rules() {
            entry(&mut self.rules, rule.id()).defined.candidate = true;
        }
    }
}

impl RuleReport {
    fn merge(&mut self, other: Self, examples: usize) {
        self.defined.current |= other.defined.current;
        self.defined.candidate |= other.defined.candidate;
        self.counts.merge(&other.counts);
        self.condition_errors += other.condition_errors;
        self.suppressed += other.suppressed;
        self.unresolved += other.unresolved;
        self.capped += other.capped;
        for (known, more) in [
            (&mut self.examples.added, other.examples.added),
            (&mut self.examples.removed, other.examples.removed),
            (&mut self.examples.changed, other.examples.changed),
        ] {
            keep_first(known, more, examples);
        }
    }
}

impl Example {
    fn new(at: DateTime<Utc>, any: &Action, pair: Pair<'_>, differs: Vec<String>) -> Self {
        Self {
            at,
            project_id: any.project_id.clone(),
            issue_ref: any.issue_ref.clone().unwrap_or_default(),
            title: any.params.get("title").and_then(|title| title.as_str()).map(str::to_owned),
            cause: any.cause.clone().unwrap_or_default(),
            current: pair.current.map(Made::new),
            candidate: pair.candidate.map(Made::new),
            differs,
        }
    }
}

impl Made {
    fn new(action: &Action) -> Self {
        Self {
            rule: rule_of(action).to_owned(),
            action: action.action.to_string(),
            target: action.target.clone(),
            rationale: action.rationale.clone(),
        }
    }
}

fn rule_of(action: &Action) -> &str {
    action.rule.as_deref().unwrap_or_default()
}

fn keep_first(known: &mut Vec<Example>, more: impl IntoIterator<Item = Example>, most: usize) {
    known.extend(more);
    known.sort();
    known.truncate(most);
}

/// What is not the same in both, by name.
fn differences(pair: Pair<'_>) -> Vec<String> {
    let (Some(current), Some(candidate)) = (pair.current, pair.candidate) else { return Vec::new() };
    let mut differs = Vec::new();
    let mut compare = |name: &str, same: bool| {
        if !same {
            differs.push(name.to_owned());
        }
    };
    compare("rule", current.rule == candidate.rule);
    compare("target", current.target == candidate.target);
    if current.params != candidate.params {
        for name in ["start_at", "duration_min", "participants", "of"] {
            compare(name, current.params.get(name) == candidate.params.get(name));
        }
        // With another target it is somebody else anyway.
        let same = current.params.get("to") == candidate.params.get("to");
        compare("to", same || current.target != candidate.target);
    }
    differs
}

fn entry<'m, T: Default>(map: &'m mut BTreeMap<String, T>, name: &str) -> &'m mut T {
    map.entry(name.to_owned()).or_default()
}

fn load_of<'m>(targets: &'m mut BTreeMap<String, Load>, target: &str) -> &'m mut Load {
    let full = targets.len() >= MAX_TARGETS;
    entry(targets, if full && !targets.contains_key(target) { OTHERS } else { target })
}
