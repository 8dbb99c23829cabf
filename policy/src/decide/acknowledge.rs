//! A person answered: what is known of it, and who else is to know.

use chrono::{DateTime, Utc};
use events::{AcknowledgedThrough, ActionKind, IssueEvent, id};

use super::{Note, Subject, Work};
use crate::state::{OpenAction, clean};

impl Work<'_> {
    /// Takes an answer in that was given then. One from before people were last asked says nothing of that: it is noted.
    pub(super) fn acknowledge(&mut self, subject: &mut Subject<'_>, event: &IssueEvent, at: DateTime<Utc>) {
        if let Some(since) = subject.issue.asked_since().filter(|since| at < *since) {
            let issue_ref = subject.issue_ref.to_owned();
            return self.note(Note::EarlyAnswer { issue_ref, at, since });
        }
        let (by, through) = (event.actor.as_deref(), event.through.as_ref());
        subject.issue.acknowledge(at, by.map(clean), through.map(|way| clean(way.as_str())));
        self.acknowledge_pages(subject, through, &event.event_id);
    }

    /// Says of each page that is open that somebody has answered, once.
    fn acknowledge_pages(
        &mut self,
        subject: &mut Subject<'_>,
        through: Option<&AcknowledgedThrough>,
        cause: &str,
    ) {
        let is_page = |earlier: &OpenAction| earlier.action == ActionKind::EscalateOwner;
        if !subject.issue.open.iter().any(|earlier| is_page(earlier) && !earlier.acknowledged) {
            return;
        }
        // Where all were for the same people, the one that was acknowledged over there is all of them. Of several nobody says which.
        let mut targets =
            subject.issue.open.iter().filter(|earlier| is_page(earlier)).map(|page| &page.target);
        let first = targets.next();
        let is_known_there =
            through == Some(&AcknowledgedThrough::Pagerduty) && targets.all(|target| Some(target) == first);
        let mut pages = Vec::new();
        for page in subject.issue.open.iter_mut().filter(|earlier| is_page(earlier)) {
            if !std::mem::replace(&mut page.acknowledged, true) && !is_known_there {
                pages.push(page.clone());
            }
        }
        for page in pages {
            let event_id = id::acknowledge(cause, subject.issue_ref, &page.id);
            let action = (event_id, ActionKind::Acknowledge);
            self.follow_up(subject, &page, action, "The issue is acknowledged", cause);
        }
    }
}
