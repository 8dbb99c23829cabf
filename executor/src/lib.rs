//! Actions become effects in the world, and each of them exactly one outcome on the log.
//!
//! ```text
//!            step one                        attempts                          step two
//!  actions ──────────► pending in executor-state ──► stack ──► target   ──────────────► outcome (and a dead letter)
//!            offset                          │ retry, breaker, limits │    │             done in executor-state
//!            committed                       └ parked until due ◄─────┘ ◄──┘ Retry
//! ```
//!
//! - Step one commits the offset together with a record that the action is pending; only then is the target called,
//!   with the action id as idempotency key. Step two commits the outcome and turns the pending record into a mark that
//!   the action is done. A process that dies between the two leaves the action pending: its next holder calls again
//!   with the same key. So at-least-once becomes once wherever the target can tell.
//! - One outcome an action and redrive round: the marks recognise an action that stands on the log twice. They are kept for seven days, at
//!   most 500,000 a partition: past that the oldest leave early. A record whose headers say a later round than the mark's
//!   ([`events::Redrive`]) is carried out again, under the same key, however long ago it was decided; its outcome supersedes the earlier
//!   one, and its risk_delta is the difference.
//! - Where `executor-state` of a partition knows of no action, `outcomes` are read before anything else of it: what has its outcome is not done
//!   again, also where the state was lost and `actions` are read from their beginning.
//! - What `control` says comes in the same steps: actions of a paused project become pending and stay so. Attempts in flight
//!   end, those that have not begun are called off; nothing begins in a partition before all of `control` was heard that stood there
//!   when it was assigned. What is held back does not count for [`Config::pending_max`], and its time to be given up begins when the
//!   project is let go, in the order of the log; it expires as if it were not paused.
//! - An attempt ends in a [`Verdict`]. Short waits stay in the stack; longer ones are parked in `executor-state` and so
//!   outlive a restart; after [`Config::give_up_after`] the action has failed, with a dead letter.
//! - Attempts are tasks that know nothing of the log; one loop owns all state, and memory changes only after a step was
//!   committed. When a partition is revoked its actions leave memory and their attempts are dropped.
//! - Targets share nothing: each has its own connections, permits, rate and breaker, so a slow one holds up no
//!   other. When [`Config::pending_max`] actions of a partition wait for one target, those that follow for it are deferred: step one keeps where
//!   they stand, and goes on with the others'. They are read again, in their order, as those before them end; what is accepted then is
//!   judged as if it had just come. Of a route with several targets all of them count as one.
//!
//! What stands in `executor-state` is private and described in `state.rs`.
//!
//! Metrics: `breakdown_attempts_total{target,verdict}` and `breakdown_attempt_seconds{target}` (calls that reached the
//! target's code), `breakdown_breaker_state{target}`, `breakdown_breaker_openings_total{target}`, `breakdown_breaker_rejections_total{target}`,
//! `breakdown_parked_retries_total{target}`, `breakdown_pending{target}`, `breakdown_paused_projects` (pauses by name, and one of all), `breakdown_held_back`
//! (what those hold, which `breakdown_pending` is without),
//! `breakdown_deferred{target}`, `breakdown_outcomes_total{action,ack}`, `breakdown_dry_runs_total{action}`, `breakdown_withdrawn_total{action}`,
//! `breakdown_duplicate_actions_total`, `breakdown_executor_dead_letters_total{reason}`, `breakdown_stalled_retries`,
//! `breakdown_stalled_retries_total`. What they mean: [`describe_metrics`].

mod accept;
mod attempt;
mod conclude;
mod config;
mod credential;
mod deferred;
mod error;
mod form;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod introduction;
mod jwt;
mod message;
mod meters;
mod number;
mod partition;
mod pauses;
mod plain_text;
mod progress;
mod routes;
mod run;
mod stack;
mod stalls;
mod state;
mod step;
mod target;
mod targets;
mod ties;

pub use config::{Config, Limits, OwnLimits};
pub use credential::{Credential, Environment};
pub use deferred::deferred_key;
pub use error::ExecutorError;
pub use http::http_client;
pub use introduction::{Address, Introduction, Whereabouts};
pub use meters::describe_metrics;
pub use number::Within;
pub use partition::{Standing, read_action, standing};
pub use progress::Progress;
pub use routes::{Mode, Route, reaching};
pub use run::{GROUP, run, run_with};
pub use stalls::{STALLED_AFTER, Stalled};
pub use target::{Attempt, Target, Verdict};
pub use targets::{Fault, Opened, TargetConfig, Unfound, open, open_each};
