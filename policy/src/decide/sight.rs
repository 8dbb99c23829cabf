//! What the rules saw: where an explanation listens to a decision, and how it asks what would have been otherwise.
//!
//! A [`Sight`] is one issue as it stood when rules were asked about it. It can be decided again by the same code, changed or not.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use events::IssueEvent;
use serde::Serialize;

use super::{Decision, Edge, Input, Subject, Work, event, outcome, timer, within_calendar};
use crate::{Firing, Issue, Key, Rule, Ruleset, State, Timer, condition::View, index::Asks};

/// On which occasion rules are asked; it says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// An event came: all of them.
    Event,
    /// An event came late: those that read `event`.
    LateEvent,
    /// None, the issue is looked at: those that do not read `event`.
    NoEvent,
    /// A timer is due: the one that set it.
    Timer,
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
    pub(crate) occasion: Occasion,
    /// The timer that is due.
    pub(crate) timer: Option<Timer>,
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
        occasion: Occasion,
        event: Option<&IssueEvent>,
        timer: Option<&Timer>,
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
            occasion,
            timer: timer.cloned(),
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
            occasion: Occasion::NoEvent,
            timer: None,
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
        match (self.occasion, &self.event) {
            (Occasion::Event, Some(event)) => work.walk(&mut subject, Some(event)),
            (Occasion::LateEvent, Some(event)) => work.walk_late(&mut subject, event),
            (Occasion::Timer, _) => {
                let set_it = self.timer.as_ref().and_then(|timer| Some((timer, ruleset.rule(&timer.rule)?)));
                if let Some((timer, rule)) = set_it.filter(|(_, rule)| subject.concerns(rule)) {
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
        let (momentary, lasting) = match self.occasion {
            Occasion::Event => (true, true),
            Occasion::LateEvent => (true, false),
            Occasion::NoEvent => (false, true),
            Occasion::Timer => {
                let own = self.timer.as_ref().and_then(|timer| ruleset.rule(&timer.rule));
                let own = own.filter(|rule| self.concerns(rule));
                return own.filter(|rule| work.holds(&subject, rule)).into_iter().collect();
            }
        };
        work.met(&subject, self.event.as_ref(), momentary, lasting).into_vec()
    }

    /// Calls `each` with the places of the rules that are asked and can hold, whatever the times are, in file order, until it breaks.
    pub(crate) fn candidates(&self, ruleset: &Ruleset, mut each: impl FnMut(usize) -> ControlFlow<()>) {
        let (momentary, lasting) = match self.occasion {
            Occasion::Event => (true, true),
            Occasion::LateEvent => (true, false),
            Occasion::NoEvent => (false, true),
            Occasion::Timer => {
                let own = self.timer.as_ref().and_then(|timer| ruleset.rule(&timer.rule));
                let own =
                    own.filter(|rule| self.concerns(rule)).and_then(|rule| ruleset.places.get(&rule.id));
                _ = own.map(|place| each(*place));
                return;
            }
        };
        let asks = Asks::new(&self.issue, self.event.as_ref(), momentary, lasting);
        ruleset.index.candidates(&self.view(), asks, each);
    }

    /// Whether a rule is for the issue at all.
    pub(crate) fn concerns(&self, rule: &Rule) -> bool {
        rule.concerns(&self.issue)
    }

    /// Whether it is about what our own account did, and a rule does not ask for that.
    pub(crate) fn is_silent_for(&self, rule: &Rule) -> bool {
        self.event.as_ref().is_some_and(|event| event.by_us) && !rule.reads_by_us()
    }

    /// Which rules are asked.
    pub(crate) fn asks(&self, rule: &Rule) -> bool {
        match self.occasion {
            Occasion::Event | Occasion::LateEvent if rule.is_momentary() => !self.is_silent_for(rule),
            Occasion::Event => true,
            Occasion::LateEvent => false,
            Occasion::NoEvent => !rule.is_momentary(),
            Occasion::Timer => self.timer.as_ref().is_some_and(|timer| timer.rule == rule.id),
        }
    }

    /// Whether a rule that holds fires: a lasting one in a walk, any one by its timer.
    pub(crate) fn edge(&self, rule: &Rule) -> Edge {
        let subject = self.subject();
        match &self.timer {
            Some(timer) if subject.still_stands(rule, timer) => Edge::Fires,
            Some(_) => Edge::AtDone,
            None if rule.is_momentary() => Edge::Fires,
            None => subject.edge(rule),
        }
    }

    /// What a rule did before.
    pub(crate) fn firing(&self, rule: &Rule) -> Firing {
        self.issue.fired.get(rule.id.as_str()).copied().unwrap_or_default()
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
            escalated: false,
        }
    }
}
