//! The pure core: a policy is loaded, an input is decided, the state of a partition is folded.
//!
//! ```text
//!   text ──load──► Ruleset ─┐
//!   State ──────────────────┼─► decide(state, input, now, ruleset) ─► Decision ─► State::apply
//!   event, timer, outcome ──┘                                           │
//!                                                                       └─► actions, notes, changed keys
//! ```
//!
//! Nothing here is async, reads a clock, draws a random number, opens a file or a socket. The same state, input, instant
//! and ruleset always give the same decision, so a log can be replayed, and a changed policy tried on it.
//!
//! - [`load`] reads the policy file and reports everything that is wrong with it, each with its place.
//! - [`decide()`] says what an input changes, and which actions follow. It reads the state and never changes it; its cost
//!   is that of one issue and the rules (a milestone's event: of the milestone's open issues).
//! - [`take_event`], [`take_outcome`] and [`fire_timers`] are the order in which a partition's inputs are decided and taken in.
//! - [`State`] holds what the decisions of one partition have added up to. [`State::apply`] takes a decision in;
//!   [`State::entry`] and [`State::restore`] carry it through a changelog and back, exactly.
//! - [`backtest`] puts a history through two policies and tells what differs.
//! - [`cases`] puts written conversations to a policy and tells where it does something else than was expected.
//! - [`explain()`] says why a decision is as it is, rule by rule, and what would have changed it.
//! - [`switch_policy`] puts another policy in force without firing anything; [`expire`] forgets what no decision can
//!   look at any more.
//!
//! What the rules mean is written at [`mod@decide`]; what an event does to what is known of an issue, at [`Issue`].

mod analysis;
pub mod backtest;
pub mod cases;
mod condition;
pub mod decide;
mod diagnostic;
pub mod explain;
mod fold;
mod index;
mod load;
mod people;
mod rule;
mod state;
#[doc(hidden)]
pub mod trial;

pub use decide::{Changes, Decision, Input, MAX_NAMED_ERRORS, Note, decide, expire, switch_policy};
pub use diagnostic::{Diagnostic, Severity};
pub use explain::{Explanation, explain};
pub use fold::{Decided, Repeats, fire_timers, take_event, take_outcome};
pub use load::{MAX_DIAGNOSTICS, MAX_JSON_BYTES, MAX_RULES, MAX_TEXT_BYTES, SCHEMA, load};
pub use rule::{Addressed, Rule, Ruleset};
pub(crate) use rule::{At, Target, Then};
pub use state::{
    Acknowledged, Acted, Contribution, Entry, Facts, Firing, Issue, Key, Kind, Member, Milestone, Project,
    Seen, SeenEvent, Shared, State, StateError, Timer, TimerKind,
};
