//! What becomes of what our actions left open: it is taken back when the issue closes.

use events::{Action, ActionKind, Earlier, Recipients, id};
use serde_json::{Map, json};

use super::{Note, Subject, Work};
use crate::{people, state::OpenAction};

impl Work<'_> {
    /// Remembers an action that may leave something open. What is done about a closed issue is not taken back: it closes no more.
    pub(super) fn remember(&mut self, subject: &mut Subject<'_>, action: &Action, to: Recipients) {
        if !action.action.leaves_open() || !subject.issue.is_open() {
            return;
        }
        let forgotten = subject.issue.opened(OpenAction {
            id: action.event_id.as_str().into(),
            action: action.action.clone(),
            target: action.target.as_str().into(),
            rule: action.rule.as_deref().unwrap_or_default().into(),
            to: OpenAction::kept(to),
            acknowledged: false,
        });
        if let Some(OpenAction { id, rule, .. }) = forgotten {
            let (rule, issue_ref, action_id) = (rule.into(), subject.issue_ref.to_owned(), id.into());
            self.note(Note::Unresolvable { rule, issue_ref, action_id });
        }
    }

    /// Takes back what was left open, if the issue is closed; then nothing is.
    pub(super) fn resolve(&mut self, subject: &mut Subject<'_>, cause: &str) {
        if subject.issue.is_open() || subject.issue.open.is_empty() {
            return;
        }
        let open = std::mem::take(&mut subject.issue.open);
        let rationale = if subject.issue.deleted { "The issue is deleted" } else { "The issue is closed" };
        for earlier in open.iter() {
            let event_id = id::resolve(cause, subject.issue_ref, &earlier.id);
            self.follow_up(subject, earlier, (event_id, ActionKind::Resolve), rationale, cause);
        }
    }

    /// Makes an action about an earlier one, for those whom that was for, in the name of its rule.
    pub(super) fn follow_up(
        &mut self,
        subject: &Subject<'_>,
        earlier: &OpenAction,
        (event_id, action): (String, ActionKind),
        rationale: &str,
        cause: &str,
    ) {
        let to = earlier.to.as_deref().cloned().unwrap_or_else(|| self.looked_up(&earlier.target));
        let facts = &subject.issue.facts;
        let mut params = Map::new();
        if let Some(title) = facts.title.value() {
            params.insert("title".into(), json!(title));
        }
        let of = Earlier { action: earlier.action.clone(), action_id: earlier.id.as_str().into() };
        params.insert(Earlier::PARAM.into(), json!(of));
        params.insert(Recipients::PARAM.into(), json!(to));
        self.decision.actions.push(Action {
            event_id,
            project_id: subject.project.to_owned(),
            action,
            rationale: rationale.to_owned(),
            source_ref: facts.url.value().map(ToString::to_string).unwrap_or_default(),
            issue_ref: Some(subject.issue_ref.to_owned()),
            cause: Some(cause.to_owned()),
            rule: Some(earlier.rule.as_str().into()),
            policy_hash: Some(self.ruleset.hash.clone()),
            evaluated_at: Some(self.now),
            params,
            target: earlier.target.as_str().into(),
        });
    }

    /// Whom a target stands for by the policy as it is now.
    fn looked_up(&self, target: &str) -> Recipients {
        let people = &self.ruleset.people;
        match target.split_once(':') {
            Some(("team", team)) => people.of_team(team),
            Some((_, name)) => people::only(people.person(name)),
            None => Recipients::default(),
        }
    }
}
