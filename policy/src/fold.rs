//! The order in which a partition's inputs become its state: the one that the gateway, a backtest and an explanation share.
//!
//! Every timer due at or before an event goes in before the event; after it, what no decision can look at any more is
//! forgotten.

use chrono::{DateTime, Utc};
use events::{IssueEvent, Outcome};

use crate::{
    Decision, Input, Ruleset, State, decide,
    decide::{News, decide_news},
    expire,
};

/// What becomes of the repeats of a timer that lie between its due time and the instant to which time is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// The last one fires, the others give way: nobody was there to decide them. What a gateway does.
    Last,
    /// Each one fires when it was due, as in a gateway that is never away. What a replay of history does.
    Each,
}

/// One decision on its way into the state.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The state before it.
    pub before: &'a State,
    /// What was decided.
    pub input: Input<'a>,
    /// What follows.
    pub decision: &'a Decision,
}

/// Takes an event in, stamped `now` by the log: timers due by then first. `sink` sees each decision before it is applied.
///
/// # Errors
/// What `sink` returns; the state is then as of the last decision that it let pass.
pub fn take_event<E>(
    state: &mut State,
    event: &IssueEvent,
    payload_hash: Option<&str>,
    now: DateTime<Utc>,
    repeats: Repeats,
    ruleset: &Ruleset,
    sink: &mut impl FnMut(Decided<'_>) -> Result<(), E>,
) -> Result<(), E> {
    fire_timers(state, now, usize::MAX, repeats, ruleset, sink)?;
    hear([(state, ruleset)], event, payload_hash, now, &mut |_, decided| sink(decided))
}

/// Takes an event in whose turn it is, in one state or in several that took in the same events, each under a policy of its own. What it
/// tells is learnt once, from the first, which alone remembers that the event was seen: nothing else of the others is read for
/// that. `sink` is told which state a decision is of.
///
/// # Errors
/// What `sink` returns.
pub(crate) fn hear<E, const N: usize>(
    states: [(&mut State, &Ruleset); N],
    event: &IssueEvent,
    payload_hash: Option<&str>,
    now: DateTime<Utc>,
    sink: &mut impl FnMut(usize, Decided<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let input = Input::Event { event, payload_hash };
    let mut news = None;
    for (place, (state, ruleset)) in states.into_iter().enumerate() {
        let news = news.get_or_insert_with(|| News::of(state, event, payload_hash, now));
        let decision = decide_news(state, news, now, ruleset);
        sink(place, Decided { before: state, input, decision: &decision })?;
        state.apply(decision);
        let forgotten = expire(state, now);
        if !forgotten.changes.is_empty() {
            // Nothing is decided by it, but it changes entries as a decision does.
            sink(place, Decided { before: state, input, decision: &forgotten })?;
            state.apply(forgotten);
        }
    }
    Ok(())
}

/// Takes an outcome in. Outcomes neither wait for timers nor move the clock.
///
/// # Errors
/// What `sink` returns.
pub fn take_outcome<E>(
    state: &mut State,
    outcome: &Outcome,
    now: DateTime<Utc>,
    ruleset: &Ruleset,
    sink: &mut impl FnMut(Decided<'_>) -> Result<(), E>,
) -> Result<(), E> {
    take(state, Input::Outcome(outcome), now, ruleset, sink)
}

/// Decides the timers due at or before `until`, at most `limit`, each as of its due time.
///
/// # Errors
/// What `sink` returns.
pub fn fire_timers<E>(
    state: &mut State,
    until: DateTime<Utc>,
    limit: usize,
    repeats: Repeats,
    ruleset: &Ruleset,
    sink: &mut impl FnMut(Decided<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for _ in 0..limit {
        if state.next_due().is_none_or(|due_at| due_at > until) {
            break;
        }
        let Some(timer) = state.next_timer() else { break };
        let now = match repeats {
            Repeats::Last => until,
            Repeats::Each => timer.due_at,
        };
        take(state, Input::Timer(&timer), now, ruleset, sink)?;
    }
    Ok(())
}

fn take<E>(
    state: &mut State,
    input: Input<'_>,
    now: DateTime<Utc>,
    ruleset: &Ruleset,
    sink: &mut impl FnMut(Decided<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let decision = decide(state, input, now, ruleset);
    sink(Decided { before: state, input, decision: &decision })?;
    state.apply(decision);
    Ok(())
}
