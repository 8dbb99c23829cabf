//! What is held in memory for one partition: a fold of its part of `executor-state`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use eventlog::Record;
use events::{Action, ActionKind, Earlier, Redrive, Risk, id};

use crate::{
    ExecutorError, accept,
    deferred::{self, Deferrals},
    pauses::{self, Pauses, Word},
    state::{DeferredEntry, Entry, Mark, Pending, Superseded},
    ties::{Tie, Ties, page_of},
};

/// The most marks of done actions that are kept for one partition; past that the oldest leave early.
pub(crate) const DONE_MAX: usize = 500_000;

/// What a record of an action is, to those who may know the action.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// It is to be carried out; its outcome replaces an earlier one.
    New(Option<Superseded>),
    /// It has been, or is being, carried out in this round or a later one.
    Duplicate,
}

/// How an action stands, by what `executor-state` keeps of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is to be carried out.
    Pending,
    /// It is to be taken up later: its target has too many pending. Said under [`crate::deferred_key`], beside what is said of the action's
    /// earlier rounds.
    Deferred,
    /// It has its outcome.
    Done,
    /// It is known no more.
    Forgotten,
}

/// What a record of `executor-state` says of the action that is its key.
///
/// # Errors
/// [`ExecutorError::State`] when the record is not one that this version wrote.
pub fn standing(record: &Record) -> Result<Standing, ExecutorError> {
    let mut partition = Partition::default();
    partition.restore(record, |_| None, |_| None)?;
    Ok(match &partition {
        Partition { pending, .. } if !pending.is_empty() => Standing::Pending,
        Partition { deferrals, .. } if deferrals.len() > 0 => Standing::Deferred,
        Partition { done, .. } if !done.is_empty() => Standing::Done,
        _ => Standing::Forgotten,
    })
}

/// Reads a record of `actions` as an executor does.
///
/// # Errors
/// Why it is a dead letter to an executor, without the record's own text.
pub fn read_action(record: &Record) -> Result<Arc<Action>, String> {
    let read = accept::read(record, record.timestamp, |_| None);
    read.map(|pending| pending.action).map_err(|letter| letter.detail)
}

/// Invariants: no id is both pending and done, or both pending and deferred; `waiting[t]` counts the pending actions of target `t` that are not held back.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pending: BTreeMap<Arc<str>, Pending>,
    waiting: BTreeMap<usize, usize>,
    deferrals: Deferrals,
    /// Of pending actions, of done ones that take back, of done pages as far as they may have left something, and of deferred ones that take back.
    ties: Ties,
    /// Issues, and pending actions that take back or acknowledge a page of theirs.
    following: BTreeSet<(Arc<str>, Arc<str>)>,
    done: HashMap<Arc<str>, Mark>,
    /// Done ids and their rounds in the order in which they ended; may still name some that are forgotten, or are at it again.
    done_order: VecDeque<(DateTime<Utc>, Arc<str>, u32)>,
    pauses: Pauses,
    /// Whether all that was said on `control` has been heard. Until then no attempt begins.
    pub(crate) informed: bool,
    /// Whether no more of its actions are read for now.
    pub(crate) full: bool,
    /// Whether nothing is heard on `control` yet, since its outcomes were asked first.
    pub(crate) halted: bool,
}

impl Partition {
    pub(crate) fn pending(&self) -> &BTreeMap<Arc<str>, Pending> {
        &self.pending
    }

    /// Whether no action is known.
    pub(crate) fn knows_nothing(&self) -> bool {
        self.pending.is_empty() && self.done.is_empty() && self.deferrals.len() == 0
    }

    /// The actions that are taken up later.
    pub(crate) fn deferrals(&self) -> &Deferrals {
        &self.deferrals
    }

    /// Pending actions by target, without those that are held back.
    pub(crate) fn waiting(&self) -> &BTreeMap<usize, usize> {
        &self.waiting
    }

    /// What was said on `control`.
    pub(crate) fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// Whether an action waits because its project is paused.
    pub(crate) fn holds_back(&self, pending: &Pending) -> bool {
        self.pauses.hold(&pending.action.project_id)
    }

    /// How many actions wait because their project is paused.
    pub(crate) fn held_back(&self) -> usize {
        self.pending.len().saturating_sub(self.waiting.values().sum())
    }

    /// When an action that was accepted before was last let go.
    pub(crate) fn let_go_at(&self, pending: &Pending) -> Option<DateTime<Utc>> {
        let resumed_at = self.pauses.resumed_at(&pending.action.project_id);
        resumed_at.filter(|at| *at > pending.entry.accepted_at)
    }

    /// Since when an action has been tried, of which an attempt, that `called` a target or not, ended `now`: since it was accepted;
    /// one that was let go since a target was first called for it after that, however many went before it. `None` while it is held
    /// back, and before that call.
    pub(crate) fn tried_since(
        &self,
        pending: &Pending,
        called: bool,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let entry = &pending.entry;
        match self.let_go_at(pending) {
            _ if self.holds_back(pending) => None,
            None => Some(entry.accepted_at),
            Some(let_go_at) => {
                entry.tried_since.filter(|at| *at >= let_go_at).or_else(|| called.then_some(now))
            }
        }
    }

    /// What a record of this action is, `redriven` or not; one that is deferred is known by [`Self::deferrals`].
    pub(crate) fn meet(&self, id: &str, redriven: Option<&Redrive>) -> Met {
        let round = redriven.map_or(0, |redrive| redrive.round);
        if self.pending.contains_key(id) {
            return Met::Duplicate;
        }
        match self.done.get(id) {
            Some(mark) if round <= mark.round => Met::Duplicate,
            Some(mark) => {
                let outcome = id::outcome(id, mark.round);
                Met::New(Some(Superseded { outcome, risk: mark.risk, left: mark.left }))
            }
            // The mark is forgotten, and the letter remembers: what has a letter and an outcome has failed.
            None => {
                let outcome = round.checked_sub(1).map(|before| id::outcome(id, before));
                let said = redriven.and_then(|redrive| redrive.supersedes.as_ref());
                let outcome = outcome.filter(|outcome| said == Some(outcome));
                Met::New(outcome.map(|outcome| Superseded { outcome, risk: Risk::FAILED, left: true }))
            }
        }
    }

    /// Whether an action waits for the end of another: it follows up one that is still pending, or calls people while
    /// what would take that back again, or acknowledge it, has not ended.
    pub(crate) fn waits_for_another(&self, pending: &Pending) -> bool {
        if pending.action.action == ActionKind::EscalateOwner {
            return pending.action.issue_ref.as_deref().is_some_and(|issue| self.has_overtaken(issue));
        }
        self.waits_for_earlier(pending)
    }

    fn waits_for_earlier(&self, pending: &Pending) -> bool {
        let of = Earlier::of(&pending.action);
        let earlier = of.and_then(|of| self.pending.get(of.action_id.as_str()));
        // Nothing is to wait for itself, or for what waits for it.
        earlier.is_some_and(|earlier| !earlier.action.action.follows_up())
    }

    /// Those that follow an action up, and may have waited for its end.
    pub(crate) fn waiting_for(&self, id: &Arc<str>) -> Vec<Arc<str>> {
        self.ties.followers(id).cloned().collect()
    }

    /// Whether something takes an action back, or has.
    pub(crate) fn is_taken_back(&self, id: &str) -> bool {
        self.ties.takers(id).next().is_some()
    }

    /// Whether an action is to acknowledge what is taken back, or has been.
    pub(crate) fn is_belated(&self, pending: &Pending) -> bool {
        let of = Earlier::of(&pending.action).filter(|_| pending.action.action == ActionKind::Acknowledge);
        of.is_some_and(|of| self.is_taken_back(&of.action_id))
    }

    /// Whether an action is to take back or acknowledge a page in whose place there is a later one. Not while that page itself is still
    /// tried: it may call people after all, when the later one has been taken back.
    pub(crate) fn is_overtaken(&self, pending: &Pending) -> bool {
        self.ties.is_overtaken(pending) && !self.waits_for_earlier(pending)
    }

    /// Whether a pending action is, of those that follow up the issue's pages.
    pub(crate) fn has_overtaken(&self, issue: &str) -> bool {
        let from = self.following.range((Arc::from(issue), Arc::from(""))..);
        let mut following = from.take_while(|(of, _)| **of == *issue);
        following.any(|(_, id)| self.pending.get(id).is_some_and(|follower| self.is_overtaken(follower)))
    }

    /// The issue's pages that are pending.
    pub(crate) fn pending_pages<'p>(&'p self, issue: &'p str) -> impl Iterator<Item = &'p Arc<str>> {
        self.ties.pages(issue).map(|(page, ..)| page).filter(|page| self.pending.contains_key(*page))
    }

    /// What an action that has its outcome is to others.
    pub(crate) fn tie_of(&self, id: &str) -> Option<Box<Tie>> {
        self.done.get(id)?.tie.clone()
    }

    /// Whether an action is to follow up another that is known to have left nothing.
    pub(crate) fn has_nothing_left(&self, pending: &Pending) -> bool {
        let of = Earlier::of(&pending.action);
        let left_nothing =
            of.and_then(|of| self.done.get(of.action_id.as_str())).is_some_and(|mark| !mark.left);
        left_nothing && !self.inherits(pending)
    }

    /// Whether an action is to take back a page for which an earlier one of the issue was left open: it answers for that, too. What took back
    /// a page that had called people took all that was open before with it.
    fn inherits(&self, pending: &Pending) -> bool {
        let taken_back = Earlier::taken_back_by(&pending.action);
        let Some((issue, _)) = page_of(pending).filter(|_| taken_back.is_some()) else { return false };
        let mut pages: Vec<_> =
            self.ties.pages(issue).map(|(page, offset, decided_at)| (decided_at, offset, page)).collect();
        pages.sort_unstable();
        let takers = pages.into_iter().flat_map(|(.., page)| self.ties.takers(page));
        let last = takers.filter_map(|taker| self.done.get(taker)).last();
        last.is_some_and(|mark| !mark.left)
    }

    /// The action is to be carried out, or its attempt was parked.
    pub(crate) fn put(&mut self, id: Arc<str>, pending: Pending) {
        self.forget(&id);
        self.ties.bind_pending(&id, &pending);
        if let Some((issue, _)) = page_of(&pending) {
            self.following.insert((issue.into(), id.clone()));
        }
        if let Some(target) = self.counted(&pending) {
            *self.waiting.entry(target).or_default() += 1;
        }
        self.pending.insert(id, pending);
    }

    /// The action has its outcome.
    pub(crate) fn finish(&mut self, id: Arc<str>, finished_at: DateTime<Utc>, mark: Mark) {
        self.forget(&id);
        self.done_order.push_back((finished_at, id.clone(), mark.round));
        // A page that called nobody takes nobody's place.
        if let Some(tie) = mark.tie.as_deref().filter(|tie| mark.left || matches!(tie, Tie::TakesBack(_))) {
            self.ties.bind(&id, tie);
        }
        self.done.insert(id, mark);
    }

    /// The action is known no more.
    pub(crate) fn forget(&mut self, id: &str) {
        let pending = self.pending.remove(id);
        if let Some(pending) = &pending {
            self.ties.unbind_pending(id, pending);
        }
        if let Some((issue, _)) = pending.as_ref().and_then(page_of) {
            self.following.remove(&(issue.into(), id.into()));
        }
        let target = pending.and_then(|pending| self.counted(&pending));
        if let Some(count) = target.and_then(|target| self.waiting.get_mut(&target)) {
            *count -= 1;
        }
        self.unmark(id);
    }

    /// The action is to be taken up later, behind those of this carrier.
    pub(crate) fn defer(&mut self, id: Arc<str>, carrier: Option<usize>, entry: &DeferredEntry) {
        self.take_up(&id);
        if let Some(of) = &entry.takes_back {
            self.ties.bind(&id, &Tie::TakesBack(of.clone()));
        }
        self.deferrals.put(id, carrier, entry);
    }

    /// The action is deferred no more.
    pub(crate) fn take_up(&mut self, id: &str) {
        if let Some(of) = self.deferrals.remove(id).and_then(|deferred| deferred.takes_back) {
            self.ties.unbind(id, &Tie::TakesBack(of.to_string()));
        }
    }

    fn unmark(&mut self, id: &str) {
        if let Some(tie) = self.done.remove(id).and_then(|mark| mark.tie) {
            self.ties.unbind(id, &tie);
        }
    }

    /// The target for which it counts as waiting.
    fn counted(&self, pending: &Pending) -> Option<usize> {
        pending.target.filter(|_| !self.holds_back(pending))
    }

    /// A project is paused or let go.
    pub(crate) fn heed(&mut self, project: &str, word: Word) {
        self.pauses.set(project, word);
        let mut waiting = BTreeMap::new();
        for target in self.pending.values().filter_map(|pending| self.counted(pending)) {
            *waiting.entry(target).or_default() += 1;
        }
        self.waiting = waiting;
    }

    /// The word on a project makes no difference any more.
    pub(crate) fn disregard(&mut self, project: &str) {
        self.pauses.forget(project);
    }

    /// Marks that are to go: how many, oldest first, at most `max`, and the actions of those that are still good. They ended before
    /// `limit`, or are too many.
    pub(crate) fn outdated(&self, limit: DateTime<Utc>, max: usize) -> (usize, Vec<Arc<str>>) {
        let surplus = self.done_order.len().saturating_sub(DONE_MAX);
        let old = self.done_order.iter().enumerate().take_while(|(i, (at, ..))| *i < surplus || *at < limit);
        let old: Vec<_> = old.take(max).map(|(_, (_, id, round))| (id, *round)).collect();
        let good = old.iter().filter(|(id, round)| self.is_marked(id, *round));
        (old.len(), good.map(|(id, _)| Arc::clone(id)).collect())
    }

    /// The oldest `count` marks were deleted.
    pub(crate) fn forget_oldest(&mut self, count: usize) {
        let old: Vec<_> = self.done_order.drain(..count.min(self.done_order.len())).collect();
        for (_, id, round) in old {
            if self.is_marked(&id, round) {
                self.unmark(&id);
            }
        }
    }

    fn is_marked(&self, id: &str, round: u32) -> bool {
        self.done.get(id).is_some_and(|mark| mark.round == round)
    }

    /// Takes in one record of the changelog; `target` says which carries an action, `keyed` which has a key.
    ///
    /// # Errors
    /// [`ExecutorError::State`] when the record is not one that this version wrote.
    pub(crate) fn restore(
        &mut self,
        record: &Record,
        target: impl Fn(&Action) -> Option<usize>,
        keyed: impl Fn(&str) -> Option<usize>,
    ) -> Result<(), ExecutorError> {
        let unreadable = |error: String| ExecutorError::State {
            partition: record.partition,
            offset: record.offset,
            error,
        };
        // serde's own text may quote the record; the place is enough to find it.
        let no_json = |what: &str, error: serde_json::Error| {
            unreadable(format!("{what}, at line {} column {}", error.line(), error.column()))
        };
        let id =
            std::str::from_utf8(&record.key).map_err(|_| unreadable("its key is not UTF-8".to_owned()))?;
        let (project, deferred) = (pauses::project_of(id), deferred::id_of(id));
        let Some(value) = &record.value else {
            match (project, deferred) {
                (Some(project), _) => self.disregard(project),
                (None, Some(id)) => self.take_up(id),
                (None, None) => self.forget(id),
            }
            return Ok(());
        };
        let entry = serde_json::from_slice(value).map_err(|error| no_json("it is no entry", error))?;
        match (entry, project, deferred) {
            (Entry::Paused { at }, Some(project), _) => self.heed(project, Word::Paused(at)),
            (Entry::Resumed { at }, Some(project), _) => self.heed(project, Word::Resumed(at)),
            (Entry::Deferred(entry), None, Some(id)) => self.defer(id.into(), keyed(&entry.by), &entry),
            (Entry::Done { finished_at, round, risk, left, tie }, None, None) => {
                self.finish(id.into(), finished_at, Mark { round, risk, left, tie });
            }
            (Entry::Pending(entry), None, None) => {
                let action: Action = serde_json::from_str(&entry.record)
                    .map_err(|error| no_json("it keeps no action", error))?;
                if action.event_id != id {
                    return Err(unreadable("its key is not the id of its action".to_owned()));
                }
                let target = target(&action);
                self.put(id.into(), Pending { action: Arc::new(action), target, entry });
            }
            _ => return Err(unreadable("its key is not one for such an entry".to_owned())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        let tie = Some(Box::new(Tie::TakesBack("a-page".to_owned())));
        Mark { round: 0, risk: Risk::FAILED, left: true, tie }
    }

    fn deferred() -> DeferredEntry {
        DeferredEntry {
            offset: 7,
            round: 1,
            by: String::new(),
            project_id: "alpha".to_owned(),
            action: ActionKind::Resolve,
            takes_back: Some("a-page".to_owned()),
        }
    }

    /// A redriven `resolve` that is deferred, and the mark of its first round, say the same, and each goes when its time comes.
    #[test]
    fn what_takes_back_does_so_until_nothing_says_it_any_more() {
        let mut held = Partition::default();
        held.finish("a-back".into(), DateTime::UNIX_EPOCH, mark());
        held.defer("a-back".into(), None, &deferred());
        assert!(held.is_taken_back("a-page"));
        let old = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1);
        assert_eq!(held.outdated(old, 10), (1, vec!["a-back".into()]));
        held.forget_oldest(1);
        assert!(held.is_taken_back("a-page"), "the mark is forgotten, and it is still to come");
        held.take_up("a-back");
        assert!(!held.is_taken_back("a-page"));

        held.defer("a-back".into(), None, &deferred());
        held.finish("a-back".into(), old, mark());
        // Noted again, as a restore may have it.
        held.defer("a-back".into(), None, &deferred());
        held.take_up("a-back");
        assert!(held.is_taken_back("a-page"), "it was given up, and its mark says so");
        held.forget("a-back");
        assert!(!held.is_taken_back("a-page"));
    }
}
