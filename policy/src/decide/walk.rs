//! An event through the rules.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use events::IssueEvent;

use super::{Note, Subject, Work};
use crate::{Firing, Rule, condition::View, index::Asked, rule::Met};

impl<'a> Work<'a> {
    /// Walks a current event through the rules, fires those that it is the turn of, and notes which decide the issue now.
    pub(super) fn walk(&mut self, subject: &mut Subject<'_>, event: &IssueEvent) {
        let met = self.met(subject, Some(event), true, true);
        let mut deciding = BTreeMap::new();
        for &rule in &met {
            if rule.is_momentary() {
                self.fire_unless_cooling(subject, rule, &event.event_id);
                continue;
            }
            let at = rule.at.and_then(|at| at.of(&subject.issue.facts));
            let before = subject.issue.deciding.get(&rule.id);
            let turns = before.is_none_or(|before| at.is_some() && *before != at);
            let done = at.is_some() && subject.firing(rule).at_done == at;
            deciding.insert(rule.id.clone(), at);
            if turns && !done {
                if at.is_some() {
                    subject.firing_mut(rule).at_done = at;
                }
                self.fire_unless_cooling(subject, rule, &event.event_id);
            }
        }
        if let Some(last) = met.last().filter(|last| last.is_momentary() && !last.goes_on) {
            // The rest was not asked: what decided goes on deciding.
            let ruleset = self.ruleset;
            let after = |id: &String| ruleset.places.get(id) > ruleset.places.get(&last.id);
            let concerned = |id: &String| ruleset.rule(id).is_some_and(|rule| subject.concerns(rule));
            let rest = subject.issue.deciding.iter().filter(|(id, _)| after(id) && concerned(id));
            deciding.extend(rest.map(|(id, at)| (id.clone(), *at)));
        }
        subject.issue.deciding = deciding;
    }

    /// Walks a late event through the momentary rules.
    pub(super) fn walk_late(&mut self, subject: &mut Subject<'_>, event: &IssueEvent) {
        for rule in self.met(subject, Some(event), true, false) {
            self.fire_unless_cooling(subject, rule, &event.event_id);
        }
    }

    /// The lasting rules that decide an issue as it is, without any event.
    pub(super) fn deciding(&mut self, subject: &Subject<'_>) -> BTreeMap<String, Option<DateTime<Utc>>> {
        let met = self.met(subject, None, false, true);
        met.into_iter()
            .map(|rule| (rule.id.clone(), rule.at.and_then(|at| at.of(&subject.issue.facts))))
            .collect()
    }

    /// The rules among those asked whose condition holds, down to the first that does not go on.
    fn met(
        &mut self,
        subject: &Subject<'_>,
        event: Option<&IssueEvent>,
        momentary: bool,
        lasting: bool,
    ) -> Met<'a> {
        let ruleset = self.ruleset;
        let view = View::new(subject.project, subject.issue_ref, &subject.issue, event, self.now);
        let asked = Asked { open: subject.issue.is_open(), momentary, lasting };
        ruleset.met(&view, asked, |rule| self.note_error(subject, rule))
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
        self.note(Note::ConditionError { rule: rule.id.clone(), issue_ref: subject.issue_ref.to_owned() });
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
        rule.on_closed || self.issue.is_open()
    }

    pub(super) fn firing(&self, rule: &Rule) -> Firing {
        self.issue.fired.get(&rule.id).copied().unwrap_or_default()
    }

    pub(super) fn firing_mut(&mut self, rule: &Rule) -> &mut Firing {
        self.issue.fired.entry(rule.id.clone()).or_default()
    }
}
