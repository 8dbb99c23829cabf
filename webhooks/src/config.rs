//! What a server is told.

use std::{num::NonZeroU32, time::Duration};

use crate::{Accounts, Answers, Projects, Provider, Secrets, Senders};

/// What a [`crate::Server`] is told. A provider without secrets has no receiver: its path answers 404.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Secrets of GitHub's webhooks (`GITHUB_WEBHOOK_SECRET`).
    pub github: Option<Secrets>,
    /// Secrets of Jira's webhooks (`JIRA_WEBHOOK_SECRET`).
    pub jira: Option<Secrets>,
    /// Secrets of PagerDuty's webhooks (`PAGERDUTY_WEBHOOK_SECRET`).
    pub pagerduty: Option<Secrets>,
    /// Which project a repository or a Jira key belongs to.
    pub projects: Projects,
    /// Who we are there.
    pub accounts: Accounts,
    /// Which comments acknowledge.
    pub answers: Answers,
    /// Whom deliveries may come from, and through.
    pub senders: Senders,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// The secrets of `provider`.
    pub fn secrets(&self, provider: Provider) -> Option<&Secrets> {
        match provider {
            Provider::Github => self.github.as_ref(),
            Provider::Jira => self.jira.as_ref(),
            Provider::Pagerduty => self.pagerduty.as_ref(),
        }
    }
}

/// Bounds on what one peer, or all of them together, can make the server hold or wait for.
///
/// Memory for bodies is at most `connections` × 128 KiB (a buffer for reading and a small body each) +
/// `body_bytes_in_flight`. While a form is parsed its payload stands there a second time, decoded: one at a time for each
/// thread of the runtime, since nothing is waited for meanwhile.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest body, in bytes. GitHub sends at most 25 MiB.
    pub body_bytes: usize,
    /// How long a request's head may take, from its first byte (the first request: from the connection's start).
    pub head_timeout: Duration,
    /// How long a body may take, from the end of the head.
    pub body_timeout: Duration,
    /// How long a peer may take to read an answer, from when the answer is known.
    pub answer_timeout: Duration,
    /// How long a connection may lie idle between two requests.
    pub idle_timeout: Duration,
    /// How long the log may take to append; after that the answer is 503, though the log may still take it: a delivery sent
    /// again has the same id. GitHub gives up after 10 s.
    pub append_timeout: Duration,
    /// How long open requests get to finish once the server was told to stop.
    pub drain_timeout: Duration,
    /// Open connections. When there are as many, the one whose peer has owed us bytes for the longest is closed for the next.
    pub connections: usize,
    /// Deliveries being verified, parsed or appended at a time; further ones wait, their bodies read.
    pub concurrency: usize,
    /// Bytes of bodies longer than 64 KiB that may be in memory at a time; never less than one longest body, for which
    /// room is kept.
    pub body_bytes_in_flight: usize,
    /// How many deliveries that fail verification a peer may send a minute until it gets 429 instead of 401. A peer is an
    /// IPv4 address or an IPv6 /64; behind a trusted proxy, that of whom the proxy was called by.
    pub failures_per_peer: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            body_bytes: 25 * MIB,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            append_timeout: Duration::from_secs(8),
            drain_timeout: Duration::from_secs(30),
            connections: 1024,
            concurrency: 256,
            body_bytes_in_flight: 256 * MIB,
            failures_per_peer: NonZeroU32::new(60).unwrap_or(NonZeroU32::MIN),
        }
    }
}
