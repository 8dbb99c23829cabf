//! The loop looks after itself.

use eventlog::Overdue;

use super::{Executor, Running};
use crate::{
    conclude,
    stalls::{self, STALLED_AFTER, Stalled},
};

impl Executor {
    /// Looks now and then for actions that should have been attempted, or have ended.
    pub(super) fn audit(&mut self) {
        let now = self.clock.now();
        if !self.auditor.is_due(now) {
            return;
        }
        let patience = conclude::delta(self.config.give_up_after);
        let parked = self.parking.before(now - STALLED_AFTER).filter_map(|(at, partition, id)| {
            let held = self.held.get(&partition)?;
            let pending = held.pending().get(id)?;
            // What was held back is not late before it was let go.
            let due_at = match held.holds_back(pending) {
                true => at,
                false => held.let_go_at(pending).map_or(at, |let_go_at| let_go_at.max(at)),
            };
            Some((due_at, partition, id.clone()))
        });
        // What waits for a permit is late through others.
        let running = self.running.values().filter_map(|Running { partition, id, begun_at, .. }| {
            Some((*begun_at.get()? + patience, *partition, id.clone()))
        });
        // Their target has room, and they are not taken up.
        let deferred = self.rereading.due().filter_map(|((partition, carrier), since)| {
            let (_, id) = self.held.get(&partition)?.deferrals().first(carrier).next()?;
            Some((since, partition, id.clone()))
        });
        let Overdue { count: actions, named: overdue } =
            stalls::overdue(parked.chain(running).chain(deferred), now, STALLED_AFTER);
        let first = overdue.first();
        self.progress.stalls(Stalled {
            actions,
            since: first.map(|(at, ..)| *at),
            partition: first.map(|(_, partition, _)| *partition),
        });
        metrics::gauge!("breakdown_stalled_retries").set(actions as f64);
        let news = self.auditor.news(overdue);
        metrics::counter!("breakdown_stalled_retries_total").increment(news.len() as u64);
        for (due_at, partition, id) in news {
            let action = self.held.get(&partition).and_then(|held| held.pending().get(&id));
            tracing::error!(
                partition,
                id = &*id,
                issue = action.and_then(|pending| pending.action.issue_ref.as_deref()),
                %due_at,
                "an action is overdue: its retry did not begin, its attempt did not end, or it was deferred and is not taken up; a new start \
                 attempts it again with the same idempotency key"
            );
        }
    }
}
