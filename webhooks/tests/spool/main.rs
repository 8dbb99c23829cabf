//! The spool: what it promises while the broker is away, hangs, answers late or refuses, and when it is back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod broker;
mod crashing;
mod harness;
mod limits;
mod order;
mod schedules;
mod unfit;
