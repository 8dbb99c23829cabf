//! The receivers over real sockets: what a provider, a slow peer or an attacker sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod examples;
mod github;
mod harness;
mod hostile;
mod jira;
mod limits;
mod metric;
mod pagerduty;
mod people;
mod refusals;
mod samples;
mod spooled;
