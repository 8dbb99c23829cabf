//! What the rules saw: where an explanation listens to a decision, and how it asks what would have been otherwise.
//!
//! A [`Sight`] is one issue as it stood when rules were asked about it. It can be decided again by the same code, changed or not.

use chrono::{DateTime, Utc};
use events::IssueEvent;

use super::{Decision, Input, Subject, Turn, Work, event, outcome, timer, within_calendar};
use crate::{Firing, Issue, Key, Rule, Ruleset, State, Timer, condition::View};

/// Which rules are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// By an event.
    Every,
    /// By an event that comes late.
    Momentary,
    /// Without an event.
    Lasting,
    /// By a timer: the one that set it.
    Timer(Timer),
}

impl Asked {
    pub(crate) fn asks(&self, rule: &Rule) -> bool {
        match self {
            Self::Every => true,
            Self::Momentary => rule.is_momentary(),
            Self::Lasting => !rule.is_momentary(),
            Self::Timer(timer) => rule.id == timer.rule,
        }
    }
}

/// One issue as it stood when rules were asked about it.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) project: String,
    pub(crate) issue_ref: String,
    /// Facts as the event left them; what decides and what fired as it was before.
    pub(crate) issue: Issue,
    pub(crate) event: Option<IssueEvent>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) asked: Asked,
}

/// What was seen in a decision.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The issue that is watched; every one where none is named.
    only: Option<String>,
    most: usize,
    pub(crate) sights: Vec<Sight>,
    /// How many more there were.
    pub(crate) others: usize,
}

impl Watch {
    /// Watches `most` issues, or the one that is named.
    pub(crate) fn new(only: Option<&str>, most: usize) -> Self {
        Self { only: only.map(str::to_owned), most, sights: Vec::new(), others: 0 }
    }
}

/// Decides an input as [`super::decide`] does, and tells what the rules saw.
pub(crate) fn watch(
    state: &State,
    input: Input<'_>,
    now: DateTime<Utc>,
    ruleset: &Ruleset,
    watch: Watch,
) -> (Decision, Watch) {
    let now = within_calendar(now);
    let begin = |now| Work { watch: Some(watch), ..Work::begin(state, ruleset, now) };
    let work = match input {
        Input::Event { event, payload_hash } => {
            let mut work = begin(now);
            event::take(&mut work, event, payload_hash);
            work
        }
        Input::Timer(timer) => {
            let mut work = begin(within_calendar(timer.due_at));
            timer::take(&mut work, timer, now);
            work
        }
        Input::Outcome(outcome) => Work { decision: outcome::decide(state, outcome, now), ..begin(now) },
    };
    (work.decision, work.watch.unwrap_or_else(|| Watch::new(None, 0)))
}

impl Work<'_> {
    /// Called where rules are asked.
    pub(super) fn watched(
        &mut self,
        subject: &Subject<'_>,
        asked: impl FnOnce() -> Asked,
        event: Option<&IssueEvent>,
    ) {
        let Some(watch) = &mut self.watch else { return };
        let meant = watch.only.as_ref().is_none_or(|only| only == subject.issue_ref);
        if !meant || watch.sights.len() >= watch.most {
            watch.others += 1;
            return;
        }
        watch.sights.push(Sight {
            project: subject.project.to_owned(),
            issue_ref: subject.issue_ref.to_owned(),
            issue: subject.issue.clone(),
            event: event.cloned(),
            now: self.now,
            asked: asked(),
        });
    }
}

impl Sight {
    /// An issue as it is known, asked without an event; `now` is at least the state's clock.
    pub(crate) fn of_issue(
        state: &State,
        ruleset: &Ruleset,
        project: &str,
        issue_ref: &str,
        now: DateTime<Utc>,
    ) -> Self {
        let work = Work::begin(state, ruleset, within_calendar(now));
        Self {
            project: project.to_owned(),
            issue_ref: issue_ref.to_owned(),
            issue: work.subject(project, issue_ref).issue,
            event: None,
            now: work.now,
            asked: Asked::Lasting,
        }
    }

    /// What a condition sees.
    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.project, &self.issue_ref, &self.issue, self.event.as_ref(), self.now)
    }

    /// Decides it: actions and notes. What changes is left out.
    pub(crate) fn decide(&self, state: &State, ruleset: &Ruleset) -> Decision {
        let mut work = self.work(state, ruleset);
        let mut subject = self.subject();
        match (&self.asked, &self.event) {
            (Asked::Every, Some(event)) => work.walk(&mut subject, Some(event)),
            (Asked::Momentary, Some(event)) => work.walk_late(&mut subject, event),
            (Asked::Timer(timer), _) => {
                if let Some(rule) = ruleset.rule(&timer.rule).filter(|rule| subject.concerns(rule)) {
                    work.look(&mut subject, rule, timer);
                }
            }
            _ => work.walk(&mut subject, None),
        }
        work.decision
    }

    /// The rules that hold among those that are asked, down to the one that ends the walk.
    pub(crate) fn met<'a>(&self, state: &'a State, ruleset: &'a Ruleset) -> Vec<&'a Rule> {
        let subject = self.subject();
        let mut work = self.work(state, ruleset);
        let (momentary, lasting) = match &self.asked {
            Asked::Every => (true, true),
            Asked::Momentary => (true, false),
            Asked::Lasting => (false, true),
            Asked::Timer(timer) => {
                let own = ruleset.rule(&timer.rule).filter(|rule| self.concerns(rule));
                return own.filter(|rule| work.holds(&subject, rule)).into_iter().collect();
            }
        };
        work.met(&subject, self.event.as_ref(), momentary, lasting).into_vec()
    }

    /// Whether a rule is for the issue at all.
    pub(crate) fn concerns(&self, rule: &Rule) -> bool {
        rule.concerns(&self.issue)
    }

    /// Whether a rule that holds has its turn: a lasting one in a walk, any one by its timer.
    pub(crate) fn turn(&self, rule: &Rule) -> Turn {
        let subject = self.subject();
        match &self.asked {
            Asked::Timer(timer) if subject.is_turn_of(rule, timer) => Turn::Fires,
            Asked::Timer(_) => Turn::Done,
            _ if rule.is_momentary() => Turn::Fires,
            _ => subject.turn(rule),
        }
    }

    /// What a rule did before.
    pub(crate) fn firing(&self, rule: &Rule) -> Firing {
        self.issue.fired.get(&rule.id).copied().unwrap_or_default()
    }

    fn work<'a>(&self, state: &'a State, ruleset: &'a Ruleset) -> Work<'a> {
        Work { state, ruleset, now: self.now, decision: Decision::default(), errors: 0, watch: None }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            project: &self.project,
            issue_ref: &self.issue_ref,
            key: Key::issue(&self.project, &self.issue_ref),
            before: None,
            issue: self.issue.clone(),
        }
    }
}
