//! `serve --demo`: the sample deliveries, signed, through the real receivers, and what comes of each.

use std::time::Duration;

use eventlog::{Log, Reader};
use events::{Action, IssueEvent, Outcome, topic};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;
use webhooks::{Provider, Secrets, sign};

use crate::{
    became::in_words,
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
    say!(
        "\nA demo: {} signed sample deliveries through the real receivers. Each shows what came in, what the",
        DELIVERIES.len()
    );
    say!("policy decided, and what came of it: what was made, and how it changes the project's risk.\n");
    let mut actions = Messages::<Action>::of(log, topic::ACTIONS).await?;
    let mut outcomes = Messages::<Outcome>::of(log, topic::OUTCOMES).await?;
    let mut events = Messages::<IssueEvent>::of(log, topic::ISSUES).await?;
    for (provider, delivery_id, body) in DELIVERIES {
        let url = format!("{origin}{}", provider.path());
        let headers = sign(provider, secrets, "issues", delivery_id, body.as_bytes());
        let Answer { status, body } = send(&url, headers, body.into()).await?;
        let accepted: Accepted = serde_json::from_str(&body)
            .map_err(|_| Failure::failed(format!("POST {url} was answered {status} {body}")))?;
        let (event, _) = events.find("the event", |event| event.event_id == accepted.event_id).await?;
        say!(
            "{status}  {} {} {}  {}",
            provider.display_name(),
            event.event_type,
            event.issue_ref,
            event.title.value().map(String::as_str).unwrap_or_default()
        );
        // Its actions are committed in the same step.
        consumed(log, topic::ISSUES, (accepted.partition, accepted.offset)).await?;
        actions.read_to_end().await?;
        let caused = actions.seen.iter().map(|(action, _)| action);
        let caused = caused.filter(|action| action.cause.as_deref() == Some(&accepted.event_id));
        let mut fired = false;
        for action in caused {
            fired = true;
            say!(
                "     → {} {}  {} (rule {})",
                action.action,
                action.target,
                action.rationale,
                action.rule.as_deref().unwrap_or_default()
            );
            let (outcome, place) = outcomes
                .find("its outcome", |outcome| outcome.action_id.as_deref() == Some(&action.event_id))
                .await?;
            // What is said of the risk is true once it counts.
            consumed(log, topic::OUTCOMES, place).await?;
            say!("     → {}", in_words(&outcome));
        }
        if !fired {
            say!("     → no rule fired");
        }
        say!("");
    }
    say!("demo complete");
    Ok(())
}

/// What a receiver answers.
#[derive(Deserialize)]
struct Accepted {
    event_id: String,
    partition: u32,
    offset: u64,
}

/// Partition and offset.
type Place = (u32, u64);

/// Waits until the gateway has consumed a record.
async fn consumed(log: &dyn Log, topic: &str, (partition, offset): Place) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let groups = log.groups().await?;
        let mut of = groups.iter().filter(|at| at.group == gateway::GROUP && at.topic == topic);
        if of.any(|at| at.partition == partition && at.committed > offset) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let patience = PATIENCE.as_secs();
    Err(Failure::failed(format!(
        "the gateway did not consume offset {offset} of {topic}, partition {partition}, within {patience} s"
    )))
}

/// The messages of one topic, read from its start.
struct Messages<T> {
    reader: Box<dyn Reader>,
    seen: Vec<(T, Place)>,
}

impl<T: DeserializeOwned + Clone> Messages<T> {
    async fn of(log: &dyn Log, topic: &str) -> Result<Self, Failure> {
        let from = starts(log, topic, |bounds| bounds.first).await?;
        Ok(Self { reader: log.read(topic, &from).await?, seen: Vec::new() })
    }

    /// Reads everything that stands on the topic now.
    async fn read_to_end(&mut self) -> Result<(), Failure> {
        while !self.reader.at_end().await? {
            self.read_on(Duration::from_millis(250)).await?;
        }
        Ok(())
    }

    async fn read_on(&mut self, wait: Duration) -> Result<(), Failure> {
        let records = self.reader.next(wait).await?;
        let read = records.iter().filter_map(|record| {
            let message = serde_json::from_slice(record.value.as_deref()?).ok()?;
            Some((message, (record.partition, record.offset)))
        });
        self.seen.extend(read);
        Ok(())
    }

    /// The first message that `is` it, and its place, waiting for it if need be.
    async fn find(&mut self, what: &str, is: impl Fn(&T) -> bool) -> Result<(T, Place), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen.iter().find(|(message, _)| is(message)) {
                return Ok(found.clone());
            }
            if Instant::now() > deadline {
                return Err(Failure::failed(format!("{what} did not come within {} s", PATIENCE.as_secs())));
            }
            self.read_on(Duration::from_millis(250)).await?;
        }
    }
}
