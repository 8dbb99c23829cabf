//! Why a step's actions are not those that were expected: what the decisions noted, what kept the expected rules from firing,
//! and which rules decide the issues.

use std::collections::BTreeSet;

use events::{ActionKind, EventType, IssueEvent};

use super::{
    expected::Expected,
    in_words,
    run::{Cause, Happened, Heard},
    step::{Step, What},
};
use crate::{
    Issue, Note, Rule, Ruleset, State, TimerKind,
    condition::View,
    diagnostic::{did_you_mean, quoted},
};

/// More than anyone reads.
const MAX_LINES: usize = 12;
/// How many issues are spoken of.
pub(super) const MAX_ISSUES: usize = 3;
/// How many rules are named that decide an issue.
const MAX_DECIDERS: usize = 5;
/// Among how many they are looked for.
const MAX_LOOKED_AT: usize = 100;
/// Of how many expectations the rules are looked for.
const MAX_MISSING: usize = 12;
/// How many rules an expectation may mean that names none.
const MAX_MEANT: usize = 2;

/// An issue that a step concerns.
struct Concerned<'a> {
    project: &'a str,
    issue_ref: &'a str,
    issue: &'a Issue,
}

struct Why<'a> {
    step: &'a Step,
    heard: &'a Heard,
    state: &'a State,
    ruleset: &'a Ruleset,
    lines: Vec<String>,
}

pub(super) fn explain(
    step: &Step,
    heard: &Heard,
    missing: &[&Expected],
    state: &State,
    ruleset: &Ruleset,
) -> Vec<String> {
    let mut why = Why { step, heard, state, ruleset, lines: Vec::new() };
    let concerned = why.concerned();
    let missing = &missing[..missing.len().min(MAX_MISSING)];
    let meant: Vec<Vec<&Rule>> = missing.iter().map(|expected| why.meant(expected)).collect();
    // Where one rule was meant and nothing happened, it does not help to hear of others.
    let is_of_others = |note: &&Note| {
        let rule =
            note.rule().filter(|_| heard.happened.is_empty() && meant.iter().any(|rules| !rules.is_empty()));
        rule.is_some_and(|id| !meant.iter().flatten().any(|rule| rule.id() == id))
    };
    heard.notes.iter().filter(|note| !is_of_others(note)).for_each(|note| why.add(why.of_note(note)));
    let mut told = BTreeSet::new();
    for (expected, rules) in missing.iter().zip(meant) {
        for rule in rules {
            for concerned in &concerned {
                let is_meant = expected.issue.as_deref().is_none_or(|issue| issue == concerned.issue_ref);
                if is_meant && told.insert((rule.id(), concerned.project, concerned.issue_ref)) {
                    why.of_rule(rule, concerned);
                }
            }
        }
    }
    if !missing.is_empty() {
        concerned.iter().for_each(|concerned| why.add(why.of_deciders(concerned)));
    }
    let left_out = why.lines.len().saturating_sub(MAX_LINES);
    why.lines.truncate(MAX_LINES);
    if left_out > 0 {
        why.lines.push(format!("… and {left_out} more"));
    }
    why.lines
}

impl<'a> Why<'a> {
    fn add(&mut self, line: String) {
        if !line.is_empty() && !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    fn event(&self) -> Option<&'a IssueEvent> {
        match &self.step.what {
            What::Event(event) => Some(event),
            _ => None,
        }
    }

    fn of_note(&self, note: &Note) -> String {
        match note {
            Note::Duplicate { of } => {
                format!("an event counts once: the case had {} before", quoted(of))
            }
            Note::Stale { issue_ref, .. } => format!(
                "the event is older (`updated_at`) than what is known of {issue_ref}: it fills in what is unknown, and runs no \
                 lasting rule"
            ),
            Note::TooOld { issue_ref, at, came_at } => format!(
                "the event is older (`updated_at`, {}) than what is known of {issue_ref}, and came {} days later: what is older than \
                 seven days could be a replay, so no rule runs",
                in_words(*at),
                (*came_at - *at).num_days()
            ),
            Note::OldAnswer { issue_ref, at, came_at } => format!(
                "the answer of {} for {issue_ref} came {} days later and does not count: one that is older than seven days could be a \
                 replay, so no rule runs",
                in_words(*at),
                (*came_at - *at).num_days()
            ),
            Note::Deleted { issue_ref } => format!("{issue_ref} is deleted: nothing is decided for it"),
            Note::ConditionError { rule, issue_ref } => format!(
                "the condition of `{rule}` fails for {issue_ref}, so the rule does not match: something that it reads is null"
            ),
            Note::MoreConditionErrors { count } => {
                format!("the conditions of {count} more rules fail, so these do not match")
            }
            Note::Suppressed { rule, issue_ref, until } => {
                format!("`{rule}` holds for {issue_ref}, but its cooldown lasts until {}", in_words(*until))
            }
            Note::Unresolved { rule, issue_ref, index } => {
                let place = match self.ruleset.rule(rule).map_or(1, |rule| rule.then.len()) {
                    1 => "its action".to_owned(),
                    _ => format!("action {} of it", index + 1),
                };
                format!(
                    "`{rule}` fires for {issue_ref}, but {place} has no target that resolves (no assignee?)"
                )
            }
            Note::Capped { rule, issue_ref, until, .. } => format!(
                "`{rule}` fires for {issue_ref}, but the issue has had its {} actions of the hour until {} (`limits`)",
                self.ruleset.actions_per_issue,
                in_words(*until)
            ),
            Note::EarlyAnswer { issue_ref, at, since } => format!(
                "the answer of {} does not count: {issue_ref} was escalated or reopened after that, at {}",
                in_words(*at),
                in_words(*since)
            ),
            Note::Unresolvable { rule, issue_ref, .. } => {
                format!(
                    "the oldest of more than sixteen escalations and meetings for {issue_ref}, by `{rule}`, will not be acknowledged \
                     or resolved"
                )
            }
            Note::Missed { rule, issue_ref, count } => {
                format!("{count} repeats of `{rule}` for {issue_ref} gave way to a later one")
            }
            // Nothing that a policy's author can see.
            _ => String::new(),
        }
    }

    /// The event's issue first, then those that timers and milestones concerned; all, where nothing happened.
    fn concerned(&self) -> Vec<Concerned<'a>> {
        let (state, heard) = (self.state, self.heard);
        let own = self.event().map(|event| (event.project_id.as_str(), event.issue_ref.as_str()));
        let touched = heard.issues.iter().map(|(project, issue)| (project.as_str(), issue.as_str()));
        let mut names: Vec<(&str, &str)> = own.into_iter().collect();
        names.extend(touched.filter(|name| own != Some(*name)));
        if names.is_empty() {
            names.extend(state.issues().map(|(project, issue_ref, _)| (project, issue_ref)).take(MAX_ISSUES));
        }
        let known = names.into_iter().filter_map(|(project, issue_ref)| {
            state.issue(project, issue_ref).map(|issue| Concerned { project, issue_ref, issue })
        });
        known.take(MAX_ISSUES).collect()
    }

    /// The rules of which an action was expected.
    fn meant(&mut self, expected: &Expected) -> Vec<&'a Rule> {
        let ruleset = self.ruleset;
        match &expected.rule {
            Some(id) => {
                let rule = ruleset.rule(id);
                if rule.is_none() {
                    let near = did_you_mean(id, ruleset.rules().map(Rule::id)).unwrap_or_default();
                    self.add(
                        format!("the policy has no rule {}; {near}", quoted(id))
                            .trim_end_matches("; ")
                            .to_owned(),
                    );
                }
                rule.into_iter().collect()
            }
            None => {
                let does = |rule: &&Rule| {
                    rule.then.iter().any(|then| Some(&then.action) == expected.action.as_ref())
                };
                let rules: Vec<_> = ruleset.rules().filter(does).collect();
                if expected.action == Some(ActionKind::Resolve) {
                    self.add(
                        "what escalations and meetings left open is resolved when the issue closes, once"
                            .to_owned(),
                    );
                } else if expected.action == Some(ActionKind::Acknowledge) {
                    self.add(
                        "an escalation is acknowledged when a person answers (`issue_acknowledged`), once; not when that was said at \
                         PagerDuty (`through: pagerduty`) and all escalations are for one target"
                            .to_owned(),
                    );
                } else if let (true, Some(action)) = (rules.is_empty(), &expected.action) {
                    self.add(format!("no rule of the policy has the action `{action}`"));
                }
                if rules.len() > MAX_MEANT { Vec::new() } else { rules }
            }
        }
    }

    /// What kept a rule from firing for an issue in this step.
    fn of_rule(&mut self, rule: &'a Rule, concerned: &Concerned<'_>) {
        let Concerned { issue_ref, issue, .. } = concerned;
        let id = rule.id();
        let of_it = |one: &str, other: &str| one == id && other == *issue_ref;
        let fired = self.heard.happened.iter().any(|one| {
            let (rule, issue) = (one.action.rule.as_deref(), one.action.issue_ref.as_deref());
            of_it(rule.unwrap_or_default(), issue.unwrap_or_default())
        });
        let is_told = self.heard.notes.iter().any(|note| match note {
            Note::ConditionError { rule, issue_ref }
            | Note::Suppressed { rule, issue_ref, .. }
            | Note::Capped { rule, issue_ref, .. }
            | Note::Unresolved { rule, issue_ref, .. } => of_it(rule, issue_ref),
            Note::Stale { issue_ref: other, .. }
            | Note::TooOld { issue_ref: other, .. }
            | Note::OldAnswer { issue_ref: other, .. }
            | Note::Deleted { issue_ref: other } => other == issue_ref,
            Note::Duplicate { .. } => true,
            _ => false,
        });
        if fired {
            return;
        }
        if !is_told {
            self.add(self.reason(rule, concerned));
        }
        // They are ordered by time.
        let next = issue.timers.iter().find(|timer| timer.rule == id);
        if let Some(next) = next {
            let what = match next.kind {
                TimerKind::At => "`at`",
                TimerKind::Repeat => "`repeat`",
            };
            self.add(format!("`{id}` looks at {issue_ref} next at {} (its {what})", in_words(next.due_at)));
        }
    }

    fn reason(&self, rule: &Rule, concerned: &Concerned<'_>) -> String {
        let Concerned { project, issue_ref, issue } = concerned;
        let id = rule.id();
        if !issue.is_open() && !rule.on_closed {
            return format!("{issue_ref} is closed, and `{id}` is not for closed issues (`on_closed`)");
        }
        let event = self
            .event()
            .filter(|event| event.issue_ref == *issue_ref || event.event_type == EventType::MilestoneUpdated);
        if event.is_none() && rule.is_momentary() {
            return format!("`{id}` reads `event`: it fires only when one comes");
        }
        let decided =
            self.heard.before.as_ref().filter(|_| event.is_some_and(|event| event.issue_ref == *issue_ref));
        if issue.deciding.contains_key(id) && decided.is_some_and(|before| before.deciding.contains_key(id)) {
            let fired = issue.fired.get(id).and_then(|firing| firing.fired_at);
            let since = fired.map_or_else(String::new, |at| format!(" (it fired at {})", in_words(at)));
            return format!(
                "`{id}` decides {issue_ref} already{since}: it fires again when another rule decided in between, or the issue \
                 was closed and reopened"
            );
        }
        let view = View::new(project, issue_ref, issue, event, self.step.at);
        match rule.condition.holds(&view) {
            Ok(false) => format!("the condition of `{id}` does not hold for {issue_ref}"),
            Err(error) => format!("the condition of `{id}` fails for {issue_ref}: {error}"),
            Ok(true) => match event.and_then(|_| self.decider_above(rule, issue_ref, issue)) {
                Some(above) => format!(
                    "the condition of `{id}` holds for {issue_ref}, but `{}` stands above it and decides",
                    above.id()
                ),
                None if event.is_none() => {
                    format!(
                        "the condition of `{id}` holds for {issue_ref}, but nothing made it look in this step"
                    )
                }
                None => format!("the condition of `{id}` holds for {issue_ref}; it has had its turn"),
            },
        }
    }

    /// The rule above that ended the walk of this step's event.
    fn decider_above(&self, rule: &Rule, issue_ref: &str, issue: &Issue) -> Option<&'a Rule> {
        let by_event = self.heard.happened.iter().filter(|one| one.cause == Cause::Event);
        let of_issue = by_event.filter(|one| one.action.issue_ref.as_deref() == Some(issue_ref));
        let fired: BTreeSet<&str> = of_issue.filter_map(|one| one.action.rule.as_deref()).collect();
        self.ruleset.rules().take_while(|above| above.id() != rule.id()).find(|above| {
            !above.goes_on && (issue.deciding.contains_key(above.id()) || fired.contains(above.id()))
        })
    }

    /// Who decides an issue, where neither the actions nor the lines so far speak of it.
    fn of_deciders(&self, concerned: &Concerned<'_>) -> String {
        let Concerned { issue_ref, issue, .. } = concerned;
        let is_told = |id: &str| {
            let fired = |one: &Happened| one.action.rule.as_deref() == Some(id);
            self.heard.happened.iter().any(fired)
                || self.lines.iter().any(|line| line.contains(&format!("`{id}`")))
        };
        let rules: Vec<_> = issue
            .deciding
            .keys()
            .take(MAX_LOOKED_AT)
            .filter(|id| !is_told(id))
            .take(MAX_DECIDERS)
            .map(|id| format!("`{id}`"))
            .collect();
        match rules.is_empty() {
            true => String::new(),
            false => format!("{issue_ref} is decided by {} now", rules.join(", ")),
        }
    }
}
