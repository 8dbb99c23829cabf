//! What a broker says of the topics: whether it keeps what has to be kept.

use crate::{
    commands::doctor::finding::Report,
    config::{Redpanda, Settings},
    error::Failure,
};

#[cfg(not(feature = "kafka"))]
pub(super) async fn check(
    _: &Settings,
    redpanda: &Redpanda,
    _: &mut Report,
) -> Result<eventlog::embedded::EmbeddedLog, Failure> {
    crate::logs::kafka(redpanda)
}

/// Tells of the topics' settings; returns the log.
#[cfg(feature = "kafka")]
pub(super) async fn check(
    settings: &Settings,
    redpanda: &Redpanda,
    report: &mut Report,
) -> Result<eventlog::kafka::KafkaLog, Failure> {
    use eventlog::Log;

    let log = crate::logs::kafka(redpanda)?;
    let topics = log.topics().await?;
    report.tell(super::topics_as_configured(settings, &topics));
    report.tell(kept::committed(&log, &topics).await?);
    let names: Vec<&str> =
        events::topic::ALL.into_iter().filter(|name| topics.iter().any(|info| info.name == *name)).collect();
    let found = log.settings(&names).await?;
    report.tell(kept::as_needed(settings, &found));
    Ok(log)
}

#[cfg(feature = "kafka")]
mod kept {
    use std::collections::BTreeMap;

    use eventlog::{Log, LogError, TopicInfo, kafka::TopicSettings};
    use events::topic;

    use super::super::finding::{Finding, Flaws};
    use crate::config::Settings;

    /// Whether the groups' offsets lie within what is kept.
    pub(super) async fn committed(log: &dyn Log, topics: &[TopicInfo]) -> Result<Finding, LogError> {
        let (mut past, mut removed, mut count) = (Flaws::default(), Flaws::default(), 0);
        for group in [gateway::GROUP, executor::GROUP] {
            for at in log.group(group).await? {
                let info = topics.iter().find(|info| info.name == at.topic);
                let Some(bounds) = info.and_then(|info| info.partitions.get(at.partition as usize)) else {
                    continue;
                };
                count += 1;
                let (topic, partition, committed) = (&at.topic, at.partition, at.committed);
                // The ends were asked for before.
                if committed > at.end {
                    past.add(|| format!("group {group} has committed {committed} in {topic} partition {partition}, past its end, {}", at.end));
                } else if committed < bounds.first && bounds.first < bounds.end {
                    removed.add(|| {
                        format!(
                            "group {group} has committed {committed} in {topic} partition {partition}, which is kept from {} on: what \
                             lies between was removed before it was consumed",
                            bounds.first
                        )
                    });
                }
            }
        }
        const CHECK: &str = "committed offsets";
        Ok(match (past.is_empty(), removed.is_empty()) {
            (false, _) => Finding::error(
                CHECK,
                past.told(),
                "the topic was made anew, or lost its end: stop the gateways and executors before anything is appended, and restore it",
            ),
            (true, false) => Finding::error(
                CHECK,
                removed.told(),
                "keep more ([log] retention, retention.ms), and let the roles catch up",
            ),
            (true, true) => Finding::ok(CHECK, &format!("{count}, within what is kept of their partition")),
        })
    }

    /// Whether what the broker does with each topic is what breakdown needs.
    pub(super) fn as_needed(settings: &Settings, found: &BTreeMap<String, TopicSettings>) -> Finding {
        let (mut errors, mut warnings, mut single) = (Flaws::default(), Flaws::default(), Vec::new());
        for (name, TopicSettings { replicas, values }) in found {
            let said = |key: &str| values.get(key).map(String::as_str);
            let compacted = topic::COMPACTED.contains(&name.as_str());
            match said("cleanup.policy") {
                Some("compact") if compacted => {}
                Some("delete") if !compacted => {}
                other if compacted => errors.add(|| format!(
                    "{name}: cleanup.policy is {}, and must be compact alone: state would be removed, or never compacted",
                    other.unwrap_or("not told")
                )),
                other => errors.add(|| format!(
                    "{name}: cleanup.policy is {}, and must be delete alone: of records with one key all but the last would be removed",
                    other.unwrap_or("not told")
                )),
            }
            if said("message.timestamp.type").is_some_and(|kind| kind != "LogAppendTime") {
                errors.add(|| format!("{name}: message.timestamp.type must be LogAppendTime: `now` is when the broker took a record"));
            }
            let retention = said("retention.ms").and_then(|ms| ms.parse::<i64>().ok());
            let wanted = settings.retention.get(name.as_str()).map(|it| it.age.as_millis());
            match (retention, wanted) {
                (Some(-1), _) | (None, _) => {}
                (Some(ms), None) if !compacted => errors.add(|| format!("{name}: retention.ms is {ms}, and must be -1: it is kept for ever")),
                (Some(ms), Some(wanted)) if u128::try_from(ms).unwrap_or_default() != wanted => warnings.add(|| {
                    format!("{name}: retention.ms is {ms}, and [log] says {wanted}; it is set when a topic is made, later with the broker's own tools")
                }),
                _ => {}
            }
            match said("min.insync.replicas").and_then(|least| least.parse::<usize>().ok()) {
                Some(least) if least > *replicas => errors.add(|| {
                    format!("{name}: min.insync.replicas is {least}, and a partition has {replicas} replicas: nothing can be appended")
                }),
                Some(1) if *replicas > 1 => warnings.add(|| {
                    format!("{name}: min.insync.replicas is 1 of {replicas} replicas: what was acknowledged can be lost with one broker; set 2")
                }),
                _ if *replicas == 1 => single.push(name.as_str()),
                _ => {}
            }
        }
        if !single.is_empty() {
            warnings
                .add(|| format!("one replica, which is lost with its broker's disk: {}", single.join(", ")));
        }
        const CHECK: &str = "topic settings";
        const REMEDY: &str = "set it with the broker's tools (kafka-configs.sh --alter --entity-type topics, rpk topic alter-config)";
        match (errors.is_empty(), warnings.is_empty()) {
            (false, _) => Finding::error(CHECK, errors.told(), REMEDY),
            (true, false) => Finding::warning(CHECK, warnings.told(), REMEDY),
            (true, true) => {
                Finding::ok(CHECK, "cleanup, retention, stamps and replicas are as they should be")
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::config::Flags;

        #[test]
        fn what_a_broker_does_with_a_topic_is_held_against_what_is_needed() {
            let settings = Settings::load(&Flags { demo: true, ..Flags::default() }, |_| None).unwrap();
            let judged = |name: &str, replicas: usize, values: &[(&str, &str)]| {
                let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
                let topic = TopicSettings { replicas, values: values.collect() };
                let finding = as_needed(&settings, &BTreeMap::from([(name.to_owned(), topic)]));
                serde_json::to_value(finding).unwrap()
            };
            let kept = ("retention.ms", "7776000000");
            for (name, replicas, values, verdict, says) in [
                (
                    "issues",
                    3,
                    &[("cleanup.policy", "delete"), kept, ("min.insync.replicas", "2")][..],
                    "ok",
                    "",
                ),
                (
                    "issues",
                    3,
                    &[("cleanup.policy", "compact"), kept],
                    "error",
                    "issues: cleanup.policy is compact",
                ),
                (
                    "gateway-state",
                    3,
                    &[("cleanup.policy", "compact,delete")],
                    "error",
                    "must be compact alone",
                ),
                ("gateway-state", 3, &[("cleanup.policy", "compact"), ("retention.ms", "1000")], "ok", ""),
                (
                    "issues",
                    3,
                    &[("cleanup.policy", "delete"), kept, ("message.timestamp.type", "CreateTime")],
                    "error",
                    "must be LogAppendTime",
                ),
                ("policies", 3, &[("cleanup.policy", "delete"), kept], "error", "it is kept for ever"),
                (
                    "issues",
                    3,
                    &[("cleanup.policy", "delete"), ("retention.ms", "5")],
                    "warning",
                    "[log] says 7776000000",
                ),
                (
                    "issues",
                    3,
                    &[("cleanup.policy", "delete"), kept, ("min.insync.replicas", "1")],
                    "warning",
                    "is 1 of 3 replicas",
                ),
                (
                    "issues",
                    1,
                    &[("cleanup.policy", "delete"), kept, ("min.insync.replicas", "2")],
                    "error",
                    "nothing can be appended",
                ),
                ("issues", 1, &[("cleanup.policy", "delete"), kept], "warning", "one replica"),
            ] {
                let finding = judged(name, replicas, values);
                assert_eq!(finding["verdict"], verdict, "{name} {values:?}: {finding}");
                assert!(finding["says"][0].as_str().unwrap().contains(says), "{finding}");
            }
        }
    }
}
