//! The receivers: limit → verify → normalise → append → 202.
//!
//! ```text
//!  connection ─► server      at most so many; slow heads, slow readers, idle ones and endless bodies are cut off
//!      │
//!  request ────► receive     signature's form ► content type ► body, bounded ► HMAC over the raw bytes ► parse
//!      │                     ► admission: normalise, append to `issues` (journal: the log, or spool/ while it is away) ► 202
//!      ├── github/           payload (what we read of it) and normalise (what it means); jira/ and pagerduty/ have the same shape
//!      ├── answers           which of it is a person's answer, an event of its own beside the delivery's (comment: in which words)
//!      └── refusal           every other answer: problem+json that echoes nothing
//! ```
//!
//! What holds:
//! - Nothing is parsed before its signature was found right, and a missing or malformed signature is answered before
//!   the body is read.
//! - 202 means that the event is durable: on the log or, while its broker is away, in the spool ([`Spool`]) on this machine's
//!   disk; then the answer says `"spooled": true`, and no partition and offset. A delivery that is signed right but cannot be read is a dead letter and 400.
//!   503 means that the log did not confirm either in time: it may have been written nevertheless, and a delivery sent
//!   again is recognised by its id, which is the same.
//! - A delivery that is signed right is never rate-limited: GitHub does not send again. It waits at most for a
//!   connection, for room for its body and for a place among those being worked on.
//! - An unknown action, event or field is never an error: only a payload that does not say which issue it is about
//!   cannot be read. A field of an unexpected shape counts as not said.
//! - Bytes that are not HTTP never become a request: they get the HTTP library's own bare 400, 414 or 431.
//!
//! Metrics (`metrics` facade):
//!
//! | name | labels | meaning |
//! |---|---|---|
//! | `breakdown_deliveries_total` | `provider`, `status`, `reason` | answers; `reason` is `accepted`, why ignored, why refused, or why the connection was cut (`status` 0) |
//! | `breakdown_delivery_seconds` | `provider` | from head to answer, body included |
//! | `breakdown_connections` | `listener` | open connections |
//! | `breakdown_connections_cut_total` | `listener`, `reason` | connections ended by us: `slow_head`, `slow_reader`, `idle`, `not_http`, `gave_way`, `drain` |

mod accounts;
mod admission;
mod answers;
mod body;
mod clean;
mod comment;
mod config;
mod connection;
mod delivery;
mod exchange;
mod github;
mod instant;
mod intake;
mod jira;
mod journal;
mod json;
mod meters;
mod pagerduty;
mod peers;
mod projects;
mod provider;
mod receive;
mod refusal;
mod reread;
mod senders;
mod server;
mod signature;
mod spool;
mod sweep;

pub use accounts::Accounts;
pub use answers::Answers;
pub use config::{Config, Limits};
pub use journal::Journal;
pub use meters::describe_metrics;
pub use projects::Projects;
pub use provider::Provider;
pub use receive::routes;
pub use reread::{Reread, reread};
pub use senders::Senders;
pub use server::Server;
pub use signature::{Secrets, SecretsError, sign};
pub use spool::{Appended, Spool, SpoolContents, SpoolLimits, SpoolReport};
pub use sweep::{
    AppKey, GithubHook, GithubSweep, JiraSweep, SweepConfig, SweepError, SweepReport, SweepReports, Sweeper,
};
