//! An event through the rules.

use chrono::{DateTime, Utc};
use events::IssueEvent;
use litemap::LiteMap;
use smol_str::SmolStr;

use super::{MAX_NAMED_ERRORS, Note, Occasion, Subject, Work};
use crate::{Firing, Rule, condition::View, index::Asks, rule::Met};

/// What the edge says of a lasting rule that holds: it fires when it comes to decide the issue, not while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// It comes to decide the issue, or its `at` has a new value.
    Fires,
    /// It decides the issue already.
    DecidesAlready,
    /// It has had its turn for this value of `at`.
    AtDone,
}

impl<'a> Work<'a> {
    /// Walks a current event through the rules, fires those that it is the turn of, and notes which decide the issue now. Without an
    /// event the lasting rules alone are asked. What our own accounts did fires none of these.
    pub(super) fn walk(&mut self, subject: &mut Subject<'_>, event: Option<&IssueEvent>) {
        let occasion = if event.is_some() { Occasion::Event } else { Occasion::NoEvent };
        self.watched(subject, occasion, event, None);
        let cause = event.map_or("", |event| &event.event_id);
        let by_us = event.is_some_and(|event| event.by_us);
        let met = self.met(subject, event, event.is_some(), true);
        let mut deciding = LiteMap::new();
        for &rule in &met {
            if rule.is_momentary() {
                self.fire_unless_cooling(subject, rule, cause);
                continue;
            }
            let at = rule.at.and_then(|at| at.of(&subject.issue));
            deciding.insert(SmolStr::new(&rule.id), at);
            if !by_us && subject.edge(rule) == Edge::Fires {
                if at.is_some() {
                    subject.firing_mut(rule).at_done = at;
                }
                self.fire_unless_cooling(subject, rule, cause);
            }
        }
        if let Some(last) = met.last().filter(|last| last.is_momentary() && !last.goes_on) {
            // The rest was not asked: what decided goes on deciding.
            let ruleset = self.ruleset;
            let after = |id: &SmolStr| ruleset.places.get(id.as_str()) > ruleset.places.get(&last.id);
            let concerned = |id: &SmolStr| ruleset.rule(id).is_some_and(|rule| subject.concerns(rule));
            let rest = subject.issue.deciding.iter().filter(|(id, _)| after(id) && concerned(id));
            deciding.extend(rest.map(|(id, at)| (id.clone(), *at)));
        }
        subject.issue.deciding.set(deciding);
    }

    /// Walks a late event through the momentary rules.
    pub(super) fn walk_late(&mut self, subject: &mut Subject<'_>, event: &IssueEvent) {
        self.watched(subject, Occasion::LateEvent, Some(event), None);
        for rule in self.met(subject, Some(event), true, false) {
            self.fire_unless_cooling(subject, rule, &event.event_id);
        }
    }

    /// The lasting rules that decide an issue as it is, without any event.
    pub(super) fn deciding(&mut self, subject: &Subject<'_>) -> LiteMap<SmolStr, Option<DateTime<Utc>>> {
        let met = self.met(subject, None, false, true);
        met.into_iter()
            .map(|rule| (SmolStr::new(&rule.id), rule.at.and_then(|at| at.of(&subject.issue))))
            .collect()
    }

    /// The rules whose condition holds, down to the first that does not go on: of the momentary ones, of the lasting ones, or of both.
    pub(super) fn met(
        &mut self,
        subject: &Subject<'_>,
        event: Option<&IssueEvent>,
        momentary: bool,
        lasting: bool,
    ) -> Met<'a> {
        let ruleset = self.ruleset;
        let view = View::new(subject.project, subject.issue_ref, &subject.issue, event, self.now);
        let asks = Asks::new(&subject.issue, event, momentary, lasting);
        ruleset.met(&view, asks, |rule| self.note_error(subject, rule))
    }

    /// Whether a rule's condition holds without any event.
    pub(super) fn holds(&mut self, subject: &Subject<'_>, rule: &Rule) -> bool {
        let view = View::new(subject.project, subject.issue_ref, &subject.issue, None, self.now);
        rule.condition.holds(&view).unwrap_or_else(|_| {
            self.note_error(subject, rule);
            false
        })
    }

    fn note_error(&mut self, subject: &Subject<'_>, rule: &Rule) {
        self.errors += 1;
        if self.errors <= MAX_NAMED_ERRORS {
            self.note(Note::ConditionError {
                rule: rule.id.clone(),
                issue_ref: subject.issue_ref.to_owned(),
            });
            return;
        }
        let mut notes = self.decision.notes.iter_mut().rev();
        match notes.find(|note| matches!(note, Note::MoreConditionErrors { .. })) {
            Some(Note::MoreConditionErrors { count }) => *count += 1,
            _ => self.note(Note::MoreConditionErrors { count: 1 }),
        }
    }

    pub(super) fn fire_unless_cooling(&mut self, subject: &mut Subject<'_>, rule: &Rule, cause: &str) {
        match subject.firing(rule).fired_at.map(|fired_at| fired_at + rule.cooldown) {
            Some(until) if until > self.now => self.note(Note::Suppressed {
                rule: rule.id.clone(),
                issue_ref: subject.issue_ref.to_owned(),
                until,
            }),
            _ => {
                subject.firing_mut(rule).repeats_from = Some(self.now);
                self.fire(subject, rule, cause);
            }
        }
    }
}

impl Subject<'_> {
    /// Whether a rule is for this issue at all.
    pub(super) fn concerns(&self, rule: &Rule) -> bool {
        rule.concerns(&self.issue)
    }

    /// Whether a lasting rule that holds fires.
    pub(super) fn edge(&self, rule: &Rule) -> Edge {
        let at = rule.at.and_then(|at| at.of(&self.issue));
        match self.issue.deciding.get(rule.id.as_str()) {
            Some(before) if at.is_none() || *before == at => Edge::DecidesAlready,
            _ if at.is_some() && self.firing(rule).at_done == at => Edge::AtDone,
            _ => Edge::Fires,
        }
    }

    pub(super) fn firing(&self, rule: &Rule) -> Firing {
        self.issue.fired.get(rule.id.as_str()).copied().unwrap_or_default()
    }

    pub(super) fn firing_mut(&mut self, rule: &Rule) -> &mut Firing {
        self.issue.fired.entry(SmolStr::new(&rule.id)).or_default()
    }
}
