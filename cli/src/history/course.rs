//! A partition's history folded again under a policy: what the gateway's state was then, from the log alone. Explanations and
//! `breakdown doctor` fold with this.
//!
//! A gateway decides timers when their time comes, and a fold meets them between two events. Each fires in its own time; of a
//! repeat, the witnesses say whether it was decided then or gave way to a later one ([`FiredRepeats`]).

use ::policy::{Decided, Repeats, Ruleset, State, Timer, fire_timers, switch_policy, take_event};
use chrono::{DateTime, Utc};

use super::{Happened, repeats::FiredRepeats};

/// A state, the policy by which it goes on, and what is known of its repeats.
#[derive(Default)]
pub(crate) struct Course {
    pub(crate) state: State,
    /// None before the first policy took effect.
    pub(crate) ruleset: Option<Ruleset>,
    pub(crate) repeats: FiredRepeats,
}

/// How far timers go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until<'a> {
    /// Those due by then fire.
    pub(crate) due: DateTime<Utc>,
    /// What a gateway missed was decided by then.
    pub(crate) latest: DateTime<Utc>,
    /// The first that did not fire, where one is known.
    pub(crate) before: Option<&'a Timer>,
}

impl Until<'_> {
    /// Those that were due before what happened at `now`.
    pub(crate) fn event(now: DateTime<Utc>) -> Self {
        Self { due: now, latest: now, before: None }
    }
}

/// Who looks at each decision before it is applied.
pub(crate) trait Look {
    /// What ends the fold.
    type End;

    /// `now` is when it was decided.
    ///
    /// # Errors
    /// What ends the fold, before the decision is applied.
    fn look(&mut self, decided: &Decided<'_>, ruleset: &Ruleset, now: DateTime<Utc>)
    -> Result<(), Self::End>;

    /// A repeat would have made an action of which the log has nothing: it gave way to another that did.
    fn gave_way(&mut self, _: &Timer) {}
}

/// What ends one step of the fold before its decision is applied.
enum Halt<E> {
    End(E),
    /// The repeat gave way to a later one.
    GaveWay,
}

impl Course {
    /// Another policy takes effect, in the partition's own time.
    pub(crate) fn switch(&mut self, ruleset: Ruleset, clock: Option<DateTime<Utc>>) {
        // Events of other projects, where they are not folded, moved it too.
        let now = clock.or(self.state.clock()).unwrap_or(DateTime::UNIX_EPOCH);
        let decision = switch_policy(&self.state, now, &ruleset);
        self.state.apply(decision);
        self.ruleset = Some(ruleset);
    }

    /// Takes an event in. The timers due by then have fired.
    ///
    /// # Errors
    /// What `look` returns.
    pub(crate) fn event<L: Look>(&mut self, happened: &Happened, look: &mut L) -> Result<(), L::End> {
        let Self { state, ruleset: Some(ruleset), .. } = self else { return Ok(()) };
        let (now, hash) = (happened.timestamp, happened.payload_hash.as_deref());
        take_event(state, &happened.event, hash, now, Repeats::Each, ruleset, &mut |decided| {
            look.look(&decided, ruleset, now)
        })
    }

    /// Fires timers.
    ///
    /// # Errors
    /// What `look` returns.
    pub(crate) fn timers<L: Look>(&mut self, until: Until<'_>, look: &mut L) -> Result<(), L::End> {
        while let Some(timer) = self
            .state
            .next_timer()
            .filter(|timer| timer.due_at <= until.due && until.before.is_none_or(|before| timer < before))
        {
            if !self.timer(&timer, until.latest, look)? {
                break;
            }
        }
        Ok(())
    }

    /// Decides a timer. A repeat that would make an action which is not on the log gives way: to the next one that made one, else to
    /// the last one by `latest`. False where there is no policy to decide it.
    fn timer<L: Look>(&mut self, timer: &Timer, latest: DateTime<Utc>, look: &mut L) -> Result<bool, L::End> {
        let Self { state, ruleset: Some(ruleset), repeats } = self else { return Ok(false) };
        let gave_way = repeats.gave_way(timer);
        let mut sink = |decided: Decided<'_>| {
            look.look(&decided, ruleset, timer.due_at).map_err(Halt::End)?;
            if gave_way && !decided.decision.actions.is_empty() { Err(Halt::GaveWay) } else { Ok(()) }
        };
        match fire_timers(state, timer.due_at, 1, Repeats::Each, ruleset, &mut sink) {
            Ok(()) => {}
            Err(Halt::End(end)) => return Err(end),
            Err(Halt::GaveWay) => {
                let to = repeats.after(timer, latest).unwrap_or(latest);
                let mut is_made = false;
                let mut sink = |decided: Decided<'_>| {
                    is_made = !decided.decision.actions.is_empty();
                    Ok::<(), L::End>(())
                };
                fire_timers(state, to, 1, Repeats::Last, ruleset, &mut sink)?;
                if is_made {
                    look.gave_way(timer);
                }
            }
        }
        Ok(true)
    }
}
