//! Sweeps against providers that keep state and answer as documented, without a network and in a time of their own.

mod fake_github;
mod fake_jira;
mod github;
mod jira;
mod memory_log;
mod world;
