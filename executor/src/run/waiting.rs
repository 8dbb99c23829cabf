//! Which pending actions wait for what: their next attempt, an operator's word, or to be told.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use eventlog::LogError;
use events::{Control, topic};

use super::Executor;
use crate::{
    Config, ExecutorError, conclude,
    partition::Partition,
    pauses::{self, Word},
    state::Pending,
    step::Draft,
};

impl Executor {
    /// Lets the actions of a partition go once all that was said on `control` before has been heard: what was said while nobody
    /// ran holds from the start.
    pub(super) async fn learn(&mut self) -> Result<(), ExecutorError> {
        let uninformed = self.held.iter().filter(|(_, held)| !held.informed);
        let uninformed: Vec<u32> = uninformed.map(|(partition, _)| *partition).collect();
        for partition in uninformed {
            match self.subscription.caught_up(topic::CONTROL, partition).await {
                Ok(true) => {
                    if let Some(held) = self.held.get_mut(&partition) {
                        held.informed = true;
                        held.pauses()
                            .paused()
                            .for_each(|(project, at)| self.progress.found_paused(project, at));
                    }
                    self.park_all(partition);
                }
                Ok(false) => {}
                Err(error @ LogError::Refused(_)) => return Err(ExecutorError::Log(error)),
                // Asked again on the next turn; if the partition is lost, poll will say so.
                Err(error) => {
                    tracing::debug!(%error, partition, "not known yet whether everything on control was heard");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Parks whatever is pending in a partition and does not run.
    fn park_all(&mut self, partition: u32) {
        self.parking.clear(partition);
        let running: HashSet<&str> =
            self.running.values().filter(|r| r.partition == partition).map(|r| &*r.id).collect();
        let Some(held) = self.held.get(&partition).filter(|held| held.informed) else { return };
        let is_ready = |id: &str, pending| !running.contains(id) && !held.waits_for_another(pending);
        let waiting = held.pending().iter().filter(|(id, pending)| is_ready(id, pending));
        for (id, pending) in waiting {
            let at = look_at(held, pending, &self.config);
            self.parking.park((partition, pending.target), at, pending.entry.offset, id);
        }
    }

    /// Of what was said on `control` the last word on each project, where it changes something.
    pub(super) fn news(
        &self,
        words: BTreeMap<(u32, String), (Control, DateTime<Utc>)>,
        draft: &mut Draft,
    ) -> Result<Vec<(u32, String, Word)>, ExecutorError> {
        let mut news = Vec::new();
        for ((partition, project), (control, at)) in words {
            let Some(word) = self.held.get(&partition).and_then(|held| held.pauses().news(&control, at))
            else {
                continue;
            };
            draft.keep(partition, &pauses::key(&project), &word.entry())?;
            news.push((partition, project, word));
        }
        Ok(news)
    }

    /// Calls off the attempts of what is to be held back: they call no target from here on. Where the step that says so is not
    /// made, all of them are void.
    pub(super) fn call_off(&self, words: &[(u32, String, Word)]) {
        let paused = words.iter().filter(|(.., word)| matches!(word, Word::Paused(_)));
        for (partition, project, _) in paused {
            let Some(held) = self.held.get(partition) else { continue };
            for running in self.running.values().filter(|running| running.partition == *partition) {
                let of = |pending: &Pending| project.is_empty() || pending.action.project_id == *project;
                if held.pending().get(&running.id).is_some_and(of) {
                    running.called_off.cancel();
                }
            }
        }
    }

    /// Holds back or lets go; the step that says so was made.
    pub(super) fn heed(&mut self, words: Vec<(u32, String, Word)>) {
        for (partition, project, word) in words {
            let Some(held) = self.held.get_mut(&partition) else { continue };
            held.heed(&project, word);
            self.progress.heard(&project, word);
            self.park_all(partition);
        }
    }

    /// These are pending: the step that says so was made.
    pub(super) fn put(&mut self, actions: Vec<(u32, Arc<str>, Pending)>) {
        let mut changed = BTreeSet::new();
        for (partition, id, pending) in actions {
            if let Some(held) = self.held.get_mut(&partition) {
                changed.extend(pending.action.issue_ref.clone().map(|issue| (partition, issue)));
                held.put(id.clone(), pending);
                self.park(partition, &id);
            }
        }
        self.settle(&changed);
    }

    /// Something was accepted, or has ended, about these issues: what is overtaken now makes way, and the pages that may have waited for
    /// it, and do so no more, find their place.
    pub(super) fn settle(&mut self, changed: &BTreeSet<(u32, String)>) {
        let mut overtaken = BTreeSet::new();
        for (partition, issue) in changed {
            let Some(held) = self.held.get(partition) else { continue };
            if held.has_overtaken(issue) {
                overtaken.insert(*partition);
            }
            let runs = |id: &str| self.running.values().any(|it| it.partition == *partition && *it.id == *id);
            let pages: Vec<Arc<str>> = held.pending_pages(issue).filter(|id| !runs(id)).cloned().collect();
            pages.iter().for_each(|id| self.park(*partition, id));
        }
        overtaken.into_iter().for_each(|partition| self.make_way(partition));
    }

    /// People are called anew about an issue: what takes back an earlier page of it, and is not to any more, calls no target from here
    /// on; what waited for its end, or now has to, finds its place.
    fn make_way(&mut self, partition: u32) {
        let Some(held) = self.held.get(&partition) else { return };
        for running in self.running.values().filter(|running| running.partition == partition) {
            if held.pending().get(&running.id).is_some_and(|pending| held.is_overtaken(pending)) {
                running.called_off.cancel();
            }
        }
        self.park_all(partition);
    }

    /// A pending action that does not run waits for its next attempt or, held back, for its end.
    pub(super) fn park(&mut self, partition: u32, id: &Arc<str>) {
        let Some(held) = self.held.get(&partition).filter(|held| held.informed) else { return };
        if let Some(pending) = held.pending().get(id).filter(|pending| !held.waits_for_another(pending)) {
            let at = look_at(held, pending, &self.config);
            self.parking.park((partition, pending.target), at, pending.entry.offset, id);
        }
    }
}

/// When a pending action is to be looked at again.
fn look_at(held: &Partition, pending: &Pending, config: &Config) -> DateTime<Utc> {
    if held.is_overtaken(pending) {
        return pending.entry.accepted_at; // At once: it ends without a call.
    }
    match held.holds_back(pending) {
        true => conclude::expires_at(pending, config),
        false => pending.entry.next_attempt_at,
    }
}
