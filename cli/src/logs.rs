//! Opening the configured log, and the topics that stand on it.

use std::sync::Arc;

use eventlog::{Keep, Log, TopicSpec, embedded::EmbeddedLog};
use events::topic;

use crate::{clock::SystemClock, commands::inert, config::Settings, error::Failure};

/// What a command wants of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Append, beside a server or before the first one.
    Beside,
    /// Read what is there.
    Read,
}

/// Opens the configured log to join groups: `serve`. The embedded log, which one process at a time may hold, is given once more
/// to be tidied.
pub(crate) async fn hold(settings: &Settings) -> Result<(Arc<dyn Log>, Option<EmbeddedLog>), Failure> {
    if let Some(redpanda) = &settings.redpanda {
        return Ok((Arc::new(kafka(redpanda)?), None));
    }
    let log = EmbeddedLog::hold(&settings.data_dir, Arc::new(SystemClock))?;
    Ok((Arc::new(log.clone()), Some(log)))
}

/// Opens the configured log beside a server.
pub(crate) async fn open(settings: &Settings, access: Access) -> Result<Arc<dyn Log>, Failure> {
    if let Some(redpanda) = &settings.redpanda {
        return Ok(Arc::new(kafka(redpanda)?));
    }
    let clock = Arc::new(SystemClock);
    let dir = &settings.data_dir;
    let log = match access {
        Access::Read if !dir.is_dir() => {
            return Err(Failure::failed(format!(
                "there is no log in {}: name its directory with --data-dir, or the broker with --brokers",
                dir.display()
            )));
        }
        Access::Beside | Access::Read => EmbeddedLog::open(dir, clock)?,
    };
    Ok(Arc::new(log))
}

#[cfg(feature = "kafka")]
pub(crate) fn kafka(redpanda: &crate::config::Redpanda) -> Result<eventlog::kafka::KafkaLog, Failure> {
    use eventlog::kafka::{KafkaConfig, KafkaLog, Sasl};

    let sasl = match &redpanda.sasl {
        Some((username, password)) => Some(Sasl {
            username: username.clone(),
            password: password.clone(),
            mechanism: redpanda.mechanism.parse()?,
        }),
        None => None,
    };
    let config = KafkaConfig {
        sasl,
        tls: redpanda.tls,
        ca_cert: redpanda.ca_cert.clone(),
        ..KafkaConfig::new(redpanda.brokers.as_str())
    };
    Ok(KafkaLog::new(config)?)
}

#[cfg(not(feature = "kafka"))]
pub(crate) fn kafka(_: &crate::config::Redpanda) -> Result<EmbeddedLog, Failure> {
    Err(Failure::usage("REDPANDA_BROKERS is set, but this breakdown was built without the feature `kafka`"))
}

/// Every topic as it should be. `policies` and `control` are kept for ever: they explain all the others.
pub(crate) fn topics(settings: &Settings) -> Vec<TopicSpec> {
    topic::ALL
        .iter()
        .map(|name| {
            let keep = match *name {
                name if topic::COMPACTED.contains(&name) => Keep::Newest,
                name => settings.retention.get(name).map_or(Keep::ALL, |retention| (*retention).into()),
            };
            TopicSpec { name: (*name).to_owned(), partitions: settings.partitions, keep }
        })
        .collect()
}

/// What the log runs on, in a word for people.
pub(crate) fn name(settings: &Settings) -> String {
    match &settings.redpanda {
        Some(redpanda) => format!("Kafka API at {}", redpanda.brokers),
        None => format!("embedded, in {}", inert(&settings.data_dir.display().to_string())),
    }
}
