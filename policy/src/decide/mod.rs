//! What an input changes, and which actions follow.
//!
//! # Time
//! `now` of an event is its record's stamp; it never goes back in a partition ([`State::clock`]). A timer is decided as of the
//! instant at which it was due; the `now` given with it says how far time has come. Whoever calls releases every timer that is
//! due at or before a record's stamp before deciding the record. Outcomes come from another topic, in no order with events:
//! they neither read nor move the clock.
//!
//! # Rules
//! An event is walked through the rules from the top; a rule whose condition holds ends the walk, unless it says `continue`.
//! - A *momentary* rule (it reads `event`) that holds fires, every time. When it ends the walk, the lasting rules below it keep the
//!   standing that they had: nobody asked them.
//! - A *lasting* rule fires when it comes to decide the issue, and not again while it goes on deciding it. With `continue`, several
//!   decide at once; each has its own standing.
//! - A lasting rule with `at` fires once for each value of `at`, whether an event finds it or its timer; a moved date is a
//!   new value. Where `at` is null it is like any other rule.
//! - An event that comes late (older by `updated_at`) is seen by momentary rules only, and by those only if it is younger than seven
//!   days: an older one cannot be told from a replay.
//! - An event counts once: by its id or its payload for seven days, and for as long as nothing younger is known of its issue.
//! - Closed and deleted issues have no rules but those with `on_closed`; so a rule comes to decide a reopened issue anew.
//! - What our own accounts did ([`IssueEvent::by_us`]) fires nothing: momentary rules are not asked, lasting ones come to decide the
//!   issue in silence, so that they do not fire for it at the next event either. A rule that reads `event.by_us`, which makes it
//!   momentary, is asked as about any event.
//! - `cooldown` suppresses a firing and does not put it off: the rule has had its turn. It counts from the rule's last
//!   action for the issue, repeats included. A firing none of whose targets resolves makes no action and starts no cooldown.
//! - A condition that cannot be said to hold or not (an error) does not hold.
//!
//! # Timers
//! - `at`: set for every value in the future, whichever rule decides the issue; when due, only its own rule is looked at.
//! - `repeat`: at the last firing by event or `at`, plus n times `repeat`. For a rule without `at` as long as it decides the
//!   issue; for one with `at` as long as `at` keeps the value for which it fired. When due and the condition does not
//!   hold, nothing happens, and the next one is set. Of several that are due by `now`, all but the last give way.
//! - A closed issue has none, but those of rules with `on_closed`.
//!
//! # The cap
//! For one issue `actions_per_issue` escalations and as many other actions are made in an hour (20 unless the policy says otherwise), whatever rules say: should an action of
//! ours come back as an event and fire again, it ends there. The hour begins with the first action after the one before, by the instants of
//! decisions. What goes beyond is not made, noted, and not made up for later. Its rule counts as having fired: it decides the issue, and its
//! cooldown and repeats count from then; otherwise it would fire again with the next event, and what is to be slowed down would not be. A
//! `resolve` or `acknowledge` is not counted and not held back: there is at most one for each action.
//!
//! # Resolving
//! What an escalation or a meeting left open is taken back when the issue closes or is deleted, whatever rules say: one `resolve` for each
//! such action that was made while the issue was open, of which the latest sixteen are remembered. It is decided by the event that closes, from the
//! issue's state alone: what became of an action stands in another topic, in no order with events, so looking at it would make
//! decisions depend on who read what first. Whether there is something to take back is for whoever carries it to know.
//!
//! # Answers
//! An `issue_acknowledged` says that a person answered: [`Issue::acknowledged`], the first since the issue was opened, reopened or last
//! escalated by a rule. Reopening and `escalate_owner` ask anew. Rules of the same decision still see the answer before.
//! One that is older than seven days cannot be told from a replay, and says nothing; one that was given before the issue was reopened or
//! escalated, whenever it comes, is none to that. Providers count seconds, so an answer of the very second of an escalation counts.
//!
//! With an answer each page (`escalate_owner`) that is open is acknowledged, once: an `acknowledge` for each, decided as a `resolve` is.
//! A later page is a page of its own. An answer that was given to the page itself, at PagerDuty, needs none, unless the open pages
//! are not all for the same target: then it may have been any of them.
//!
//! # Milestones
//! A `milestone_updated` moves the due date of the open issues that follow the milestone, and is an event for each of them.
//!
//! # Targets
//! The first target that resolves is taken. `assign_owner` to a team picks the member with the fewest open issues that we assigned
//! in the project, then the one whom we assigned one to longest ago (never: before all), then file order.

mod acknowledge;
mod action;
mod cap;
mod changes;
mod event;
mod expire;
mod news;
mod outcome;
mod resolve;
mod schedule;
mod sight;
mod switch;
mod timer;
mod walk;

pub use changes::Changes;
use chrono::{DateTime, Utc};
pub(crate) use event::decide_news;
use events::{Action, IssueEvent, Outcome};
pub use expire::expire;
pub(crate) use news::News;
pub use sight::Occasion;
pub(crate) use sight::{Sight, Watch, watch};
pub use switch::switch_policy;
pub(crate) use walk::Edge;

use crate::{Entry, Issue, Key, Member, Ruleset, State, Timer};

/// Something to decide.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A record of the topic `issues`.
    Event {
        /// The event.
        event: &'a IssueEvent,
        /// The hash of the delivery's body ([`events::id::payload_hash`]), as the record's header says.
        payload_hash: Option<&'a str>,
    },
    /// A timer that is due ([`State::next_timer`]).
    Timer(&'a Timer),
    /// A record of the topic `outcomes`.
    Outcome(&'a Outcome),
}

/// What an input changes, and which actions follow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// Entries of the state.
    pub changes: Changes,
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// What else there is to say about it.
    pub notes: Vec<Note>,
}

impl Decision {
    /// The keys of what changes.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.changes.iter().map(|(key, _)| key.clone())
    }
}

/// How many conditions that err a decision names; the rest are counted.
pub const MAX_NAMED_ERRORS: u64 = 20;

/// Something to say about a decision, for metrics and for explaining it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The event's id or payload was counted before; nothing was decided.
    Duplicate {
        /// The event that counted (the outcome, for an outcome).
        of: String,
    },
    /// The event is older than what is known, and younger than seven days: lasting rules were not asked. A milestone's changes nothing.
    Stale {
        /// The issue, or milestone.
        issue_ref: String,
        /// As of when the event speaks.
        at: Option<DateTime<Utc>>,
        /// As of when what is known was said.
        known_at: Option<DateTime<Utc>>,
    },
    /// The event is older than what is known, and than seven days: it cannot be told from a replay, and no rule was asked.
    TooOld {
        /// The issue.
        issue_ref: String,
        /// As of when the event speaks.
        at: DateTime<Utc>,
        /// When it came.
        came_at: DateTime<Utc>,
    },
    /// A person's answer is older than seven days: it cannot be told from a replay, does not count, and no rule was asked.
    OldAnswer {
        /// The issue.
        issue_ref: String,
        /// When it was given.
        at: DateTime<Utc>,
        /// When it came.
        came_at: DateTime<Utc>,
    },
    /// The issue is deleted; nothing was decided.
    Deleted {
        /// The issue.
        issue_ref: String,
    },
    /// A condition erred, so that its rule did not match.
    ConditionError {
        /// The rule.
        rule: String,
        /// The issue.
        issue_ref: String,
    },
    /// More conditions erred in this decision than [`MAX_NAMED_ERRORS`]: a policy that forgets to ask whether there are labels errs in
    /// every rule at once.
    MoreConditionErrors {
        /// How many more.
        count: u64,
    },
    /// A rule would have fired, but for its cooldown.
    Suppressed {
        /// The rule.
        rule: String,
        /// The issue.
        issue_ref: String,
        /// When the cooldown ends.
        until: DateTime<Utc>,
    },
    /// No target of an action resolved.
    Unresolved {
        /// The rule.
        rule: String,
        /// The issue.
        issue_ref: String,
        /// The action's place in `then`, from 0.
        index: usize,
    },
    /// An action was not made: the issue has had its actions of this hour.
    Capped {
        /// The rule.
        rule: String,
        /// The issue.
        issue_ref: String,
        /// The action's place in `then`, from 0.
        index: usize,
        /// When the hour ends.
        until: DateTime<Utc>,
        /// Whether it is the first of the hour.
        is_first: bool,
    },
    /// A person's answer was given before people were last asked: it does not count.
    EarlyAnswer {
        /// The issue.
        issue_ref: String,
        /// When it was given.
        at: DateTime<Utc>,
        /// Since when an answer is asked for: when the issue was last escalated or reopened.
        since: DateTime<Utc>,
    },
    /// More actions may have left something open than are remembered: this one will not be acknowledged or resolved.
    Unresolvable {
        /// Its rule.
        rule: String,
        /// The issue.
        issue_ref: String,
        /// Its id.
        action_id: String,
    },
    /// Repeats gave way to a later one.
    Missed {
        /// The rule.
        rule: String,
        /// The issue.
        issue_ref: String,
        /// How many.
        count: u64,
    },
    /// A timer that is no longer set.
    Obsolete {
        /// Its rule.
        rule: String,
        /// The issue.
        issue_ref: String,
    },
}

impl Note {
    /// The rule of which it speaks, if it is of one.
    pub(crate) fn rule(&self) -> Option<&str> {
        match self {
            Self::ConditionError { rule, .. }
            | Self::Suppressed { rule, .. }
            | Self::Unresolved { rule, .. }
            | Self::Capped { rule, .. }
            | Self::Unresolvable { rule, .. }
            | Self::Missed { rule, .. }
            | Self::Obsolete { rule, .. } => Some(rule),
            Self::Duplicate { .. }
            | Self::Stale { .. }
            | Self::TooOld { .. }
            | Self::OldAnswer { .. }
            | Self::Deleted { .. }
            | Self::EarlyAnswer { .. }
            | Self::MoreConditionErrors { .. } => None,
        }
    }

    /// The note's name, one of a few words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "duplicate",
            Self::Stale { .. } => "stale",
            Self::TooOld { .. } => "too_old",
            Self::OldAnswer { .. } => "old_answer",
            Self::Deleted { .. } => "deleted",
            Self::ConditionError { .. } | Self::MoreConditionErrors { .. } => "condition_error",
            Self::Suppressed { .. } => "suppressed",
            Self::Unresolved { .. } => "unresolved",
            Self::Capped { .. } => "capped",
            Self::EarlyAnswer { .. } => "early_answer",
            Self::Unresolvable { .. } => "unresolvable",
            Self::Missed { .. } => "missed",
            Self::Obsolete { .. } => "obsolete",
        }
    }

    /// For how many of its name it stands.
    pub fn count(&self) -> u64 {
        match self {
            Self::MoreConditionErrors { count } => *count,
            _ => 1,
        }
    }
}

/// Decides an input. Reads the state only; apply the decision before the next input is decided.
pub fn decide(state: &State, input: Input<'_>, now: DateTime<Utc>, ruleset: &Ruleset) -> Decision {
    let now = within_calendar(now);
    match input {
        Input::Event { event, payload_hash } => {
            decide_news(state, &mut News::of(state, event, payload_hash, now), now, ruleset)
        }
        Input::Timer(timer) => timer::decide(state, timer, now, ruleset),
        Input::Outcome(outcome) => outcome::decide(state, outcome, now),
    }
}

/// A broker's record can carry any stamp; sums with it must be times.
pub(crate) fn within_calendar(now: DateTime<Utc>) -> DateTime<Utc> {
    const YEAR_9000: i64 = 221_845_392_000;
    let last = DateTime::from_timestamp(YEAR_9000, 0).unwrap_or(now);
    now.clamp(DateTime::UNIX_EPOCH, last.max(DateTime::UNIX_EPOCH))
}

/// A decision on its way.
struct Work<'a> {
    state: &'a State,
    ruleset: &'a Ruleset,
    now: DateTime<Utc>,
    decision: Decision,
    /// How many conditions erred.
    errors: u64,
    /// Where an explanation listens.
    watch: Option<Watch>,
}

/// One issue in a decision.
struct Subject<'a> {
    project: &'a str,
    issue_ref: &'a str,
    key: Key,
    before: Option<&'a Issue>,
    issue: Issue,
    /// People were called: an earlier answer of theirs is none to that.
    escalated: bool,
}

impl<'a> Work<'a> {
    /// `now` is clamped to the state's clock, and becomes it.
    fn begin(state: &'a State, ruleset: &'a Ruleset, now: DateTime<Utc>) -> Self {
        let now = state.not_before(now);
        let mut work = Self { state, ruleset, now, decision: Decision::default(), errors: 0, watch: None };
        if state.clock() != Some(now) {
            work.set(Key::clock(), Entry::Clock(now));
        }
        work
    }

    fn set(&mut self, key: Key, entry: Entry) {
        self.decision.changes.set(key, Some(entry));
    }

    fn note(&mut self, note: Note) {
        self.decision.notes.push(note);
    }

    /// An issue as it is remembered now.
    fn subject<'s>(&self, project: &'s str, issue_ref: &'s str) -> Subject<'s>
    where
        'a: 's,
    {
        let (key, before) = match self.state.issue_entry(project, issue_ref) {
            Some((key, issue)) => (key.clone(), Some(issue)),
            None => (Key::issue(project, issue_ref), None),
        };
        let issue = match before {
            Some(issue) if expire::is_forgotten(issue, self.now) => issue.forgotten(),
            Some(issue) => issue.clone(),
            None => Issue::default(),
        };
        Subject { project, issue_ref, key, before, issue, escalated: false }
    }

    /// Puts a changed issue down, and the load of whoever it is assigned to.
    fn put(&mut self, subject: Subject<'_>) {
        let Subject { project, key, before, mut issue, .. } = subject;
        issue.closed_at = match issue.is_open() {
            true => None,
            // A forgotten issue stays forgotten: nothing is left of it that could be.
            false if before.is_some_and(|before| !before.is_open()) => issue.closed_at,
            false => Some(self.now),
        };
        let (old, new) = (before.and_then(Issue::load_of), issue.load_of());
        if old != new {
            for (name, more) in [(old, false), (new, true)] {
                let Some(name) = name else { continue };
                let mut member = self.member(project, name);
                member.open = if more { member.open + 1 } else { member.open.saturating_sub(1) };
                self.set(Key::member(project, name), Entry::Member(member));
            }
        }
        if issue.deleted {
            issue = Issue { closed_at: None, ..issue.forgotten() };
        }
        // Most events come with an instant of their own; the rest need not be compared then.
        let same = |before: &Issue| before.facts.updated_at == issue.facts.updated_at && *before == issue;
        if !before.is_some_and(same) {
            self.set(key, Entry::Issue(Box::new(issue)));
        }
    }

    /// A member's load, as this decision has left it.
    fn member(&self, project: &str, name: &str) -> Member {
        let changed = self.decision.changes.member(&Key::member(project, name));
        changed.unwrap_or_else(|| self.state.member(project, name))
    }
}
