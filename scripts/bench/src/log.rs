//! The log under test, its topics, and the machine's clock.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use eventlog::{
    Clock, Keep, Log, NewRecord, TopicSpec,
    embedded::EmbeddedLog,
    kafka::{KafkaConfig, KafkaLog},
};
use events::{Message, topic};

use crate::Result;

/// Partitions of every topic, as `serve` makes them where nothing else is configured.
pub(crate) const PARTITIONS: u32 = 8;
/// The topic of `bench append`.
pub(crate) const APPEND_TOPIC: &str = "bench-append";

/// Which log.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Brokers, host:port,…
    #[arg(long, value_name = "LIST")]
    brokers: Option<String>,
    /// Data directory of the embedded log
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Which {
    pub(crate) fn is_embedded(&self) -> bool {
        self.data_dir.is_some()
    }

    /// The flags of `breakdown` that name the same log.
    pub(crate) fn flags(&self) -> Result<Vec<OsString>> {
        match (&self.data_dir, &self.brokers) {
            // A child may run in another directory.
            (Some(dir), _) => Ok(vec!["--data-dir".into(), dir.canonicalize()?.into()]),
            (None, Some(brokers)) => Ok(vec!["--brokers".into(), brokers.into()]),
            (None, None) => Err("say --brokers or --data-dir".into()),
        }
    }

    /// Opens the log, beside a server or alone.
    pub(crate) fn open(&self) -> Result<Arc<dyn Log>> {
        match &self.data_dir {
            Some(dir) => Ok(Arc::new(EmbeddedLog::open(dir, Arc::new(SystemClock))?)),
            None => self.kafka(),
        }
    }

    /// Opens the log to join groups.
    pub(crate) fn hold(&self) -> Result<Arc<dyn Log>> {
        match &self.data_dir {
            Some(dir) => Ok(Arc::new(EmbeddedLog::hold(dir, Arc::new(SystemClock))?)),
            None => self.kafka(),
        }
    }

    fn kafka(&self) -> Result<Arc<dyn Log>> {
        let brokers = self.brokers.as_deref().ok_or("say --brokers or --data-dir")?;
        Ok(Arc::new(KafkaLog::new(KafkaConfig::new(brokers))?))
    }
}

/// The topics, as `serve` makes them.
pub(crate) fn topics() -> Vec<TopicSpec> {
    let spec = |name: &&str| {
        let compacted = topic::COMPACTED.contains(name);
        let days = (*name != topic::POLICIES).then_some(Duration::from_secs(90 * 24 * 60 * 60));
        let keep = if compacted { Keep::Newest } else { Keep::Until { age: days, bytes: None } };
        TopicSpec { name: (*name).to_owned(), partitions: PARTITIONS, keep }
    };
    topic::ALL.iter().map(spec).collect()
}

/// A message as a record.
pub(crate) fn record(message: Message) -> NewRecord {
    NewRecord {
        topic: message.topic.to_owned(),
        partition: None,
        key: message.key.into(),
        value: Some(message.value.into()),
        headers: message.headers,
    }
}

/// The machine's clock, in milliseconds as the log keeps them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is a program, and the one place where its clock comes from"
    )]
    fn now(&self) -> DateTime<Utc> {
        DateTime::<Utc>::from(std::time::SystemTime::now()).trunc_subsecs(3)
    }
}

/// A number that two runs do not have in common unless they begin in the same millisecond (or 49 days apart).
pub(crate) fn run_number() -> u32 {
    SystemClock.now().timestamp_millis() as u32
}
