//! Where a test's log is: a data directory, or a broker.

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
    time::Duration,
};

use eventlog::{
    Log, ManualClock,
    embedded::EmbeddedLog,
    kafka::{KafkaConfig, KafkaLog},
};

use crate::named::Named;

const BROKERS: &str = "REDPANDA_BROKERS";
const DIRECTORY: &str = "GATEWAY_TEST_DIRECTORY";
const TAG: &str = "GATEWAY_TEST_TAG";

/// Where the log is.
pub enum Place {
    /// A data directory, which goes with the test.
    Directory(tempfile::TempDir),
    /// A broker, and the names of this test on it.
    Broker { brokers: String, tag: String },
}

impl Place {
    /// A data directory.
    pub fn directory() -> Option<Self> {
        Some(Self::Directory(tempfile::tempdir().unwrap()))
    }

    /// The broker that the environment names; says so where it names none.
    pub fn broker() -> Option<Self> {
        let Ok(brokers) = std::env::var(BROKERS) else {
            eprintln!("skipped: set {BROKERS} (scripts/kafka.sh up)");
            return None;
        };
        Some(Self::Broker { brokers, tag: format!("gateway-{:016x}-", RandomState::new().hash_one(0)) })
    }

    /// As a command beside `serve` has it: it appends and reads.
    pub fn beside(&self) -> Arc<dyn Log> {
        match self {
            Self::Directory(dir) => Arc::new(EmbeddedLog::open(dir.path(), clock()).unwrap()),
            Self::Broker { brokers, tag } => on_broker(brokers, tag),
        }
    }

    /// What tells a child process of it.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Directory(dir) => vec![(DIRECTORY, dir.path().display().to_string())],
            Self::Broker { brokers, tag } => vec![(BROKERS, brokers.clone()), (TAG, tag.clone())],
        }
    }
}

/// In the child process: as `serve` has it. None in any other process.
pub fn held() -> Option<Arc<dyn Log>> {
    if let Ok(dir) = std::env::var(DIRECTORY) {
        return Some(Arc::new(EmbeddedLog::hold(Path::new(&dir), clock()).unwrap()));
    }
    let (Ok(brokers), Ok(tag)) = (std::env::var(BROKERS), std::env::var(TAG)) else { return None };
    Some(on_broker(&brokers, &tag))
}

/// Nothing here waits for a time: one that stands still will do. A broker has its own.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new("2026-03-02T09:00:00Z".parse().unwrap()))
}

fn on_broker(brokers: &str, tag: &str) -> Arc<dyn Log> {
    // Whoever is killed is missed after this.
    let session_timeout = Duration::from_secs(5);
    let config = KafkaConfig { session_timeout, ..KafkaConfig::new(brokers) };
    Arc::new(Named { log: Arc::new(KafkaLog::new(config).unwrap()), tag: tag.to_owned() })
}
