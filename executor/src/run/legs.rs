//! Targets of a route that have ended while others of the same action have not: kept, so that after a crash they are not called again.
//! Mostly all end at about the same time, and the action's end says it all: then there is nothing to keep.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::Executor;
use crate::{
    ExecutorError,
    stack::EndedLeg,
    state::{Entry, Pending},
    step::Draft,
};

/// For how long the others may end.
const OTHERS_WITHIN: Duration = Duration::from_millis(100);

/// What running attempts have told of their legs.
pub(super) struct Legs {
    pub(super) to: UnboundedSender<EndedLeg>,
    told: UnboundedReceiver<EndedLeg>,
    /// In the order in which they were told.
    ended: VecDeque<EndedLeg>,
}

impl Legs {
    pub(super) fn new() -> Self {
        let (to, told) = unbounded_channel();
        Self { to, told, ended: VecDeque::new() }
    }

    /// The next that ended long enough ago.
    fn next(&mut self, now: Instant) -> Option<EndedLeg> {
        while let Ok(leg) = self.told.try_recv() {
            self.ended.push_back(leg);
        }
        match self.ended.front() {
            Some(leg) if now >= leg.at + OTHERS_WITHIN => self.ended.pop_front(),
            _ => None,
        }
    }

    /// How long it is until the next one of those that are known.
    pub(super) fn next_in(&self) -> Option<Duration> {
        self.ended.front().map(|leg| (leg.at + OTHERS_WITHIN).saturating_duration_since(Instant::now()))
    }
}

impl Executor {
    /// Keeps which legs have ended, all in one step.
    pub(super) async fn keep_legs(&mut self) -> Result<(), ExecutorError> {
        let now = Instant::now();
        let mut news: Vec<(tokio::task::Id, u32, Arc<str>, Pending)> = Vec::new();
        while let Some(EndedLeg { task, leg, made, .. }) = self.legs.next(now) {
            // Unknown, or ended: its report has this, too.
            let Some(running) = self.running.get_mut(&task).filter(|running| !running.abort.is_finished())
            else {
                continue;
            };
            let Some(held) = self.held.get(&running.partition) else { continue };
            let known = news.iter().position(|(of, ..)| *of == task);
            let known = match known {
                Some(known) => known,
                None => {
                    let Some(pending) = held.pending().get(&running.id) else { continue };
                    news.push((task, running.partition, running.id.clone(), pending.clone()));
                    news.len() - 1
                }
            };
            running.counted = running.counted.saturating_add(made);
            let entry = &mut news[known].3.entry;
            entry.attempts = entry.attempts.saturating_add(made);
            entry.legs.retain(|before| before.carried.by != leg.carried.by);
            entry.legs.push(leg);
        }
        let mut draft = Draft::default();
        for (_, partition, id, pending) in &news {
            draft.keep(*partition, id, &Entry::Pending(pending.entry.clone()))?;
        }
        if self.commit(draft).await? {
            for (_, partition, id, pending) in news {
                if let Some(held) = self.held.get_mut(&partition) {
                    held.put(id, pending);
                }
            }
        }
        Ok(())
    }
}
