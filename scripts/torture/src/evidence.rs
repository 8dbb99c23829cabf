//! What stands in the end: on the log, in calendar-mock's record, in the gateways' view, and in the senders' memory. Checkers
//! look at this and nothing else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use calendar_mock::{Meeting, Nudge, Stored};
use chrono::{DateTime, Utc};
use eventlog::{Log, Record};
use events::{Action, DeadLetter, IssueEvent, Outcome, Redrive, Redriven, id, topic};
use policy::State;
use reqwest::Client;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    Result,
    faults::LogKind,
    letters::{Letter, Post},
    load::Story,
};

/// How long a read may wait for records that are on their way.
const READ_WAIT: Duration = Duration::from_millis(500);
/// So long nothing may come before a topic's end is given up.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// A message and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed<T> {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) payload_hash: Option<String>,
    /// How often it was redriven.
    pub(crate) round: u32,
    pub(crate) value: T,
}

/// A message or meeting that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    /// calendar-mock's id of it.
    pub(crate) id: String,
    /// The idempotency key of the request that made it.
    pub(crate) key: Option<String>,
    /// What was said in it: by this a double is known that came under another key.
    pub(crate) text: String,
}

/// A project's risk, as a gateway shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Shown {
    pub(crate) project_id: String,
    pub(crate) risk: events::Risk,
    pub(crate) outcomes: u64,
}

/// All of it.
pub(crate) struct Evidence {
    pub(crate) log: LogKind,
    pub(crate) post: Post,
    /// By the place of the delivery in the post.
    pub(crate) stories: Vec<Story>,
    /// In the order of partition and offset, as are the others.
    pub(crate) issues: Vec<Placed<IssueEvent>>,
    /// As the policy decided them.
    pub(crate) actions: Vec<Placed<Action>>,
    /// Those that were put on the log again because they had failed.
    pub(crate) redriven: Vec<Placed<Action>>,
    pub(crate) outcomes: Vec<Placed<Outcome>>,
    /// Letters of anything but actions that failed; those are redriven.
    pub(crate) dead_letters: usize,
    /// Records of these topics that could not be read as what they should be.
    pub(crate) unreadable: Vec<String>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) shown: Vec<Shown>,
    /// By partition: what the gateways have kept on the log.
    pub(crate) states: BTreeMap<u32, State>,
    /// By partition: what a fold of `issues` and `outcomes` comes to.
    pub(crate) refolded: BTreeMap<u32, State>,
    /// What that fold decides.
    pub(crate) redecided: Vec<Action>,
}

/// The part of it that stands on the log.
pub(crate) struct Logged {
    pub(crate) issues: Vec<Placed<IssueEvent>>,
    pub(crate) actions: Vec<Placed<Action>>,
    pub(crate) redriven: Vec<Placed<Action>>,
    pub(crate) outcomes: Vec<Placed<Outcome>>,
    pub(crate) dead_letters: usize,
    pub(crate) unreadable: Vec<String>,
    pub(crate) states: BTreeMap<u32, State>,
}

impl Logged {
    /// Reads every topic from its start to its end.
    pub(crate) async fn read(log: &dyn Log) -> Result<Self> {
        let mut unreadable = Vec::new();
        let issues = records(log, topic::ISSUES, &mut unreadable).await?;
        let issues = placed(issues, &mut unreadable);
        let actions = records(log, topic::ACTIONS, &mut unreadable).await?;
        let actions: Vec<Placed<Action>> = placed(actions, &mut unreadable);
        let (redriven, actions) = actions.into_iter().partition(|placed| placed.round > 0);
        let outcomes = records(log, topic::OUTCOMES, &mut unreadable).await?;
        let outcomes = placed(outcomes, &mut unreadable);
        let letters = records(log, topic::DEAD_LETTERS, &mut unreadable).await?;
        let dead_letters = letters.iter().filter(|record| !is_of_failed_action(record)).count();
        let mut states: BTreeMap<u32, State> = BTreeMap::new();
        for record in records(log, topic::GATEWAY_STATE, &mut unreadable).await? {
            states.entry(record.partition).or_default().restore(&record.key, record.value.as_deref())?;
        }
        Ok(Self { issues, actions, redriven, outcomes, dead_letters, unreadable, states })
    }

    /// Whether each action has its outcome in each of its rounds, and no timer is to come.
    pub(crate) fn is_done(&self) -> bool {
        let ended: HashSet<&str> =
            self.outcomes.iter().map(|outcome| outcome.value.event_id.as_str()).collect();
        // Dates come twenty seconds after an issue's first letter at the latest.
        self.actions
            .iter()
            .chain(&self.redriven)
            .all(|action| ended.contains(id::outcome(&action.value.event_id, action.round).as_str()))
            && self.states.values().all(|state| state.next_due().is_none())
    }

    /// How many actions failed and were not redriven since.
    pub(crate) fn failed(&self) -> usize {
        failed(&self.outcomes).len()
    }
}

/// What failed and was not redriven since. What was redriven and is not needed any more is no failure.
pub(crate) fn failed(outcomes: &[Placed<Outcome>]) -> Vec<&Outcome> {
    let replaced: HashSet<&str> =
        outcomes.iter().filter_map(|outcome| outcome.value.supersedes.as_deref()).collect();
    let outcomes = outcomes.iter().map(|outcome| &outcome.value);
    let failed = outcomes.filter(|outcome| !outcome.ack && !replaced.contains(outcome.event_id.as_str()));
    failed.filter(|outcome| outcome.error.as_deref() != Some(Outcome::WITHDRAWN)).collect()
}

/// Whether a record of `dead-letters` is of an action that failed, or notes that one was redriven.
fn is_of_failed_action(record: &Record) -> bool {
    let value = record.value.as_deref().unwrap_or_default();
    match serde_json::from_slice::<DeadLetter>(value) {
        Ok(letter) => letter.reason == "undeliverable" && letter.origin.topic() == topic::ACTIONS,
        Err(_) => serde_json::from_slice::<Redriven>(value).is_ok(),
    }
}

/// All records of a topic, by partition and offset. Where a step was never ended, what stands behind it cannot be read.
async fn records(log: &dyn Log, topic: &str, unreadable: &mut Vec<String>) -> Result<Vec<Record>> {
    let topics = log.topics().await?;
    let info = topics.into_iter().find(|info| info.name == topic).ok_or("a topic is missing")?;
    let starts: Vec<_> =
        (0..).zip(&info.partitions).map(|(partition, bounds)| (partition, bounds.first)).collect();
    let mut reader = log.read(topic, &starts).await?;
    let mut records = Vec::new();
    let mut came = Instant::now();
    while !reader.at_end().await? {
        let more = reader.next(READ_WAIT).await?;
        if !more.is_empty() {
            came = Instant::now();
        } else if came.elapsed() > READ_WITHIN {
            unreadable.push(format!("{topic}: its end cannot be reached; a step may have been left open"));
            break;
        }
        records.extend(more);
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

fn placed<T: DeserializeOwned>(records: Vec<Record>, unreadable: &mut Vec<String>) -> Vec<Placed<T>> {
    let mut read = Vec::new();
    for record in records {
        let Record { topic, partition, offset, timestamp: at, value, .. } = &record;
        match serde_json::from_slice(value.as_deref().unwrap_or_default()) {
            Ok(value) => {
                let payload_hash = record.header("payload_hash").map(str::to_owned);
                let round =
                    Redrive::from_headers(|name| record.header(name)).map_or(0, |redrive| redrive.round);
                let (partition, offset, at) = (*partition, *offset, *at);
                read.push(Placed { partition, offset, at, payload_hash, round, value });
            }
            Err(error) => unreadable.push(format!("{topic} {partition}/{offset}: {error}")),
        }
    }
    read
}

/// What calendar-mock has made.
pub(crate) async fn effects(client: &Client, base: &str) -> Result<Vec<Effect>> {
    let meetings: Vec<Stored<Meeting>> = client.get(format!("{base}/meetings")).send().await?.json().await?;
    let nudges: Vec<Stored<Nudge>> = client.get(format!("{base}/nudges")).send().await?.json().await?;
    let meetings = meetings.into_iter().map(|made| Effect {
        id: made.id,
        key: made.idempotency_key,
        text: format!("meeting of {}: {}", made.item.participants.join(", "), made.item.title),
    });
    let nudges = nudges.into_iter().map(|made| Effect {
        id: made.id,
        key: made.idempotency_key,
        text: format!("to {}: {}", made.item.to, made.item.message),
    });
    Ok(meetings.chain(nudges).collect())
}

/// What the gateways show of every project. A gateway that cannot be asked shows nothing.
pub(crate) async fn shown(client: &Client, gateways: &[String]) -> Vec<Shown> {
    let mut shown = Vec::new();
    for admin in gateways {
        if let Ok(answer) = client.get(format!("{admin}/api/projects")).send().await
            && let Ok(projects) = answer.json::<Vec<Shown>>().await
        {
            shown.extend(projects);
        }
    }
    shown
}

impl Evidence {
    /// The letter that an event is, by its title and issue; none where no letter says this.
    pub(crate) fn letter(&self, event: &IssueEvent) -> Option<&Letter> {
        let title = event.title.value()?;
        let number: usize = title.rsplit(' ').next()?.parse().ok()?;
        let letter = self.post.letters.get(number)?;
        (*title == letter.title() && event.issue_ref == letter.issue_ref()).then_some(letter)
    }

    /// The acknowledgements that can lie in letters (whoever closes an issue answers), by their event ids.
    pub(crate) fn answers(&self) -> HashMap<String, &Letter> {
        let of = |placed: &Placed<IssueEvent>| {
            Some((id::acknowledgement(&placed.value.event_id), self.letter(&placed.value)?))
        };
        self.issues.iter().filter_map(of).collect()
    }
}
