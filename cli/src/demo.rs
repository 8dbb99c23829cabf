//! `serve --demo`: the sample deliveries, signed, through the real receivers, and what comes of each.

use std::time::Duration;

use eventlog::{Log, Reader};
use events::{Action, IssueEvent, Outcome, topic};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use webhooks::{Provider, Secrets, sign};

use crate::{
    commands::{
        deliver::{Answer, send},
        starts,
    },
    error::Failure,
};

/// The deliveries, and the ids that the provider would give them.
const DELIVERIES: [(Provider, &str, &str); 4] = [
    (Provider::Github, "demo-1", include_str!("../../samples/deliveries/github-issue-opened-p0.json")),
    (Provider::Github, "demo-2", include_str!("../../samples/deliveries/github-issue-labeled-frontend.json")),
    (Provider::Jira, "demo-3", include_str!("../../samples/deliveries/jira-issue-created-overdue.json")),
    (Provider::Github, "demo-4", include_str!("../../samples/deliveries/github-issue-opened-triage.json")),
];
/// How long one delivery may take from its answer to its outcome.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends every sample delivery and prints event → action → outcome as it happens. `origin` is where the receivers
/// listen; `secrets` are those that they were started with.
pub(crate) async fn run(log: &dyn Log, origin: &str, secrets: &Secrets) -> Result<(), Failure> {
    println!("\nA demo: {} signed sample deliveries through the real receivers.\n", DELIVERIES.len());
    let mut actions = Messages::<Action>::of(log, topic::ACTIONS).await?;
    let mut outcomes = Messages::<Outcome>::of(log, topic::OUTCOMES).await?;
    let mut events = Messages::<IssueEvent>::of(log, topic::ISSUES).await?;
    for (provider, delivery_id, body) in DELIVERIES {
        let url = format!("{origin}{}", provider.path());
        let headers = sign(provider, secrets, "issues", delivery_id, body.as_bytes());
        let Answer { status, body } = send(&url, headers, body.into()).await?;
        let event_id = serde_json::from_str::<Value>(&body)
            .ok()
            .and_then(|answer| answer["event_id"].as_str().map(str::to_owned))
            .ok_or_else(|| Failure::failed(format!("POST {url} was answered {status} {body}")))?;
        let event = events.find("the event", |event| event.event_id == event_id).await?;
        println!(
            "{status}  {} {} {}  {}",
            provider.display_name(),
            event.event_type,
            event.issue_ref,
            event.title.value().map(String::as_str).unwrap_or_default()
        );
        let action = actions.find("its action", |action| action.cause.as_deref() == Some(&event_id)).await?;
        println!(
            "     → {} {}  {} (rule {})",
            action.action,
            action.target,
            action.rationale,
            action.rule.as_deref().unwrap_or_default()
        );
        let outcome = outcomes
            .find("its outcome", |outcome| outcome.action_id.as_deref() == Some(&action.event_id))
            .await?;
        println!(
            "     → ack {}, risk {:+.2}{}{}\n",
            outcome.ack,
            outcome.risk_delta.0 as f64 / 1000.0,
            outcome.reference.map(|made| format!(", made {made}")).unwrap_or_default(),
            outcome.error.map(|error| format!(", {error}")).unwrap_or_default()
        );
    }
    println!("demo complete");
    Ok(())
}

/// The messages of one topic, read from its start.
struct Messages<T> {
    reader: Box<dyn Reader>,
    seen: Vec<T>,
}

impl<T: DeserializeOwned + Clone> Messages<T> {
    async fn of(log: &dyn Log, topic: &str) -> Result<Self, Failure> {
        let from = starts(log, topic, |bounds| bounds.first).await?;
        Ok(Self { reader: log.read(topic, &from).await?, seen: Vec::new() })
    }

    /// The first message that `is` it, waiting for it if need be.
    async fn find(&mut self, what: &str, is: impl Fn(&T) -> bool) -> Result<T, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen.iter().find(|message| is(message)) {
                return Ok(found.clone());
            }
            if Instant::now() > deadline {
                return Err(Failure::failed(format!("{what} did not come within {} s", PATIENCE.as_secs())));
            }
            let records = self.reader.next(Duration::from_millis(250)).await?;
            self.seen.extend(
                records.iter().filter_map(|record| serde_json::from_slice(record.value.as_deref()?).ok()),
            );
        }
    }
}
