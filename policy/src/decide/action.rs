//! A rule's actions, and whom they are for.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use events::{Action, ActionKind, Person, Recipients, id};
use serde_json::{Map, Value, json};

use super::{Note, Subject, Work};
use crate::{Entry, Key, Rule, Target, Then, people};

/// A meeting starts at a quarter of an hour, and not before people can have read of it.
const QUARTER_SECONDS: i64 = 15 * 60;
const NOTICE: TimeDelta = TimeDelta::minutes(5);

impl Work<'_> {
    /// Makes a rule's actions. `cause` is an event's or a timer's id.
    pub(super) fn fire(&mut self, subject: &mut Subject<'_>, rule: &Rule, cause: &str) {
        for (index, then) in rule.then.iter().enumerate() {
            let Some(Addressed { target, names, to }) = self.address(subject, then) else {
                self.note(Note::Unresolved {
                    rule: rule.id.clone(),
                    issue_ref: subject.issue_ref.to_owned(),
                    index,
                });
                continue;
            };
            subject.firing_mut(rule).fired_at = Some(self.now);
            if !self.may_act(subject, rule, index) {
                continue;
            }
            let facts = &subject.issue.facts;
            let mut params = Map::new();
            if let Some(title) = facts.title.value() {
                params.insert("title".into(), json!(title));
            }
            if then.action == ActionKind::ScheduleUnblocker {
                let start_at = meeting_start(self.now).to_rfc3339_opts(SecondsFormat::Secs, true);
                params.insert("start_at".into(), json!(start_at));
                params.insert("duration_min".into(), json!(then.duration_min));
                params.insert("participants".into(), Value::from(names));
            }
            params.insert(Recipients::PARAM.into(), json!(to));
            let action = Action {
                event_id: id::action(cause, subject.issue_ref, &rule.id, index),
                project_id: subject.project.to_owned(),
                action: then.action.clone(),
                rationale: rule.rationale.clone(),
                source_ref: facts.url.value().map(ToString::to_string).unwrap_or_default(),
                issue_ref: Some(subject.issue_ref.to_owned()),
                cause: Some(cause.to_owned()),
                rule: Some(rule.id.clone()),
                policy_hash: Some(self.ruleset.hash.clone()),
                evaluated_at: Some(self.now),
                params,
                target: target.clone(),
            };
            self.remember(subject, &action, to);
            self.decision.actions.push(action);
            subject.escalated |= then.action == ActionKind::EscalateOwner;
            if then.action == ActionKind::AssignOwner {
                self.assign(subject, target.trim_start_matches("owner:"));
            }
        }
    }

    /// The first target that resolves. An assignee whom the policy knows goes by their name there, whatever the tracker calls them.
    fn address(&self, subject: &Subject<'_>, then: &Then) -> Option<Addressed> {
        let people = &self.ruleset.people;
        then.targets.iter().find_map(|target| match target {
            Target::Assignee => {
                let facts = &subject.issue.facts;
                Some(Addressed::person(people.assignee(facts.source, facts.assignee.value()?)))
            }
            Target::Owner(name) => Some(Addressed::person(people.person(name))),
            Target::Team(team) if then.action == ActionKind::AssignOwner => {
                let name = self.pick(subject.project, people.members(team))?;
                Some(Addressed::person(people.person(name)))
            }
            Target::Team(team) => Some(Addressed {
                target: format!("team:{team}"),
                names: people.members(team).to_vec(),
                to: people.of_team(team),
            }),
        })
    }

    /// Of several with the same load and instant, the first in the file.
    fn pick<'m>(&self, project: &str, members: &'m [String]) -> Option<&'m str> {
        let load = |name: &&String| {
            let member = self.member(project, name);
            (member.open, member.picked_at)
        };
        members.iter().min_by_key(load).map(String::as_str)
    }

    fn assign(&mut self, subject: &mut Subject<'_>, name: &str) {
        subject.issue.assigned_to = Some(name.into());
        let mut member = self.member(subject.project, name);
        member.picked_at = Some(self.now);
        self.set(Key::member(subject.project, name), Entry::Member(member));
    }
}

/// For whom an action is.
struct Addressed {
    /// As the action says it.
    target: String,
    /// The people's names.
    names: Vec<String>,
    /// The people and the team, as each tool knows them.
    to: Recipients,
}

impl Addressed {
    fn person(person: Person) -> Self {
        Self {
            target: format!("owner:{}", person.name),
            names: vec![person.name.clone()],
            to: people::only(person),
        }
    }
}

/// The next full quarter of an hour that is at least five minutes away.
fn meeting_start(now: DateTime<Utc>) -> DateTime<Utc> {
    let earliest = now + NOTICE;
    let seconds = earliest.timestamp() + i64::from(earliest.timestamp_subsec_nanos() > 0);
    let quarters = seconds.div_euclid(QUARTER_SECONDS) + i64::from(seconds.rem_euclid(QUARTER_SECONDS) > 0);
    DateTime::from_timestamp(quarters * QUARTER_SECONDS, 0).unwrap_or(earliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meetings_start_at_quarters() {
        for (now, start) in [
            ("2026-11-20T10:00:00Z", "2026-11-20T10:15:00Z"),
            ("2026-11-20T10:10:00Z", "2026-11-20T10:15:00Z"),
            ("2026-11-20T10:10:00.001Z", "2026-11-20T10:30:00Z"),
            ("2026-11-20T23:58:00Z", "2026-11-21T00:15:00Z"),
        ] {
            let now: DateTime<Utc> = now.parse().unwrap();
            assert_eq!(meeting_start(now).to_rfc3339_opts(SecondsFormat::Secs, true), start, "{now}");
        }
    }
}
