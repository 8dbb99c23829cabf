//! How many actions are made for one issue in an hour.

use chrono::TimeDelta;
use events::ActionKind;

use super::{Note, Subject, Work};
use crate::{Acted, Rule};

const HOUR: TimeDelta = TimeDelta::hours(1);

impl Work<'_> {
    /// Counts an action of a rule, by its place; false where it is one too many, which is noted.
    pub(super) fn may_act(&mut self, subject: &mut Subject<'_>, rule: &Rule, index: usize) -> bool {
        let now = self.now;
        let running = subject.issue.acted.filter(|acted| now < acted.since + HOUR);
        let acted = subject.issue.acted.insert(running.unwrap_or(Acted::from(now)));
        let count = match rule.then[index].action {
            ActionKind::EscalateOwner => &mut acted.escalated,
            _ => &mut acted.count,
        };
        if *count < self.ruleset.actions_per_issue {
            *count += 1;
            return true;
        }
        acted.capped = acted.capped.saturating_add(1);
        let (until, is_first) = (acted.since + HOUR, acted.capped == 1);
        let (rule, issue_ref) = (rule.id.clone(), subject.issue_ref.to_owned());
        self.note(Note::Capped { rule, issue_ref, index, until, is_first });
        false
    }
}
