//! What librdkafka's errors mean to a caller.

use std::time::Duration;

use rdkafka::{
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode as Code,
};

use crate::LogError;

/// Whether this record can never be taken.
fn is_unfit(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord)
}

/// Whether the same call can never succeed: the topic, the rights or the settings are wrong.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidConfig
            | Code::InvalidArgument
            | Code::InvalidSessionTimeout
            | Code::InvalidTransactionTimeout
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::SSL
    )
}

/// What to do about it, where the error does not say it.
fn hint(code: Option<Code>) -> &'static str {
    match code {
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => "; create the topic first (serve does)",
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => "; a record may have 4 MiB at most",
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism) => {
            "; check the SASL user, password and mechanism"
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => "; give this user the rights to it",
        Some(Code::SSL) => "; check TLS and the CA file",
        Some(Code::QueueFull) => "; the brokers do not take records as fast as they come",
        Some(
            Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::MessageTimedOut
            | Code::OperationTimedOut,
        ) => "; is the broker up, and are its address, TLS and SASL right?",
        _ => "",
    }
}

/// The error as the contract classifies it; `what` says what was tried, on what.
pub(super) fn classify(what: &str, error: &KafkaError) -> LogError {
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    match (error, code) {
        // The value may be a password.
        (KafkaError::ClientConfig(_, reason, key, _), _) => {
            LogError::Refused(format!("{what}: {key} is not accepted: {reason}"))
        }
        (KafkaError::ClientCreation(_) | KafkaError::Nul(_) | KafkaError::AdminOpCreation(_), _) => {
            LogError::Refused(format!("{what}: {error}"))
        }
        (_, Some(code)) if is_unfit(code) => LogError::Unfit(format!("{what}: {error}{}", hint(Some(code)))),
        (_, Some(code)) if is_refusal(code) => {
            LogError::Refused(format!("{what}: {error}{}", hint(Some(code))))
        }
        (_, code) => LogError::Unavailable(format!("{what}: {error}{}", hint(code))),
    }
}

/// The same, where the topics that were asked about have been found before: a broker that has just come back, and the client with it, may not
/// have heard of them yet.
pub(super) fn classify_known(what: &str, error: &KafkaError) -> LogError {
    match (error.rdkafka_error_code(), classify(what, error)) {
        (
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition),
            LogError::Refused(why),
        ) => LogError::Unavailable(why),
        (_, known) => known,
    }
}

/// An error that a consumer's poll returned: `None` where librdkafka gets over it by itself.
pub(super) fn of_consumer(what: &str, error: &KafkaError) -> Option<LogError> {
    let known = classify_known(what, error);
    match error.rdkafka_error_code() {
        Some(
            Code::AllBrokersDown
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition,
        ) => Some(known),
        _ if matches!(known, LogError::Refused(_)) => Some(known),
        _ => {
            tracing::debug!(%error, "{what}: the client recovers by itself");
            None
        }
    }
}

/// Polls a consumer once. While the brokers are away librdkafka says so at every attempt to reach one, several times a second:
/// what has gathered of it is one piece of news, or else a caller that waits after each error would still be hearing of
/// an outage minutes after its end, and nothing that came since.
pub(super) fn poll_once<M>(
    mut poll: impl FnMut(Duration) -> Option<KafkaResult<M>>,
    wait: Duration,
) -> Option<KafkaResult<M>> {
    let mut heard = poll(wait);
    while let Some(Err(error)) = &heard
        && error.rdkafka_error_code() == Some(Code::AllBrokersDown)
    {
        match poll(Duration::ZERO) {
            None => break,
            next => heard = next,
        }
    }
    heard
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn refusals_are_told_from_outages() {
        for (code, refused) in [
            (Code::MessageTimedOut, false),
            (Code::QueueFull, false),
            (Code::AllBrokersDown, false),
            (Code::NotEnoughReplicas, false),
            (Code::UnknownTopicOrPartition, true),
            (Code::TopicAuthorizationFailed, true),
            (Code::SaslAuthenticationFailed, true),
        ] {
            let error = classify("append to issues", &KafkaError::MessageProduction(code));
            assert_eq!(matches!(error, LogError::Refused(_)), refused, "{code:?}");
            assert!(error.to_string().starts_with("append to issues: "), "{error}");
        }
        let error = classify("append to issues", &KafkaError::MessageProduction(Code::MessageSizeTooLarge));
        assert!(matches!(&error, LogError::Unfit(why) if why.contains("4 MiB")), "{error:?}");
    }

    #[test]
    fn a_poll_reports_outages_and_refusals_only() {
        let of = |code| of_consumer("poll", &KafkaError::MessageConsumption(code));
        assert!(matches!(of(Code::AllBrokersDown), Some(LogError::Unavailable(_))));
        assert!(matches!(of(Code::GroupAuthorizationFailed), Some(LogError::Refused(_))));
        assert_eq!(of(Code::BrokerTransportFailure), None);
        // Of a topic that was found before.
        assert!(matches!(of(Code::UnknownPartition), Some(LogError::Unavailable(_))));
        let known = |code| classify_known("ask", &KafkaError::OffsetFetch(code));
        assert!(matches!(known(Code::UnknownPartition), LogError::Unavailable(_)));
        assert!(matches!(known(Code::TopicAuthorizationFailed), LogError::Refused(_)));
        assert_eq!(of(Code::PollExceeded), None);
    }

    #[test]
    fn an_outage_is_one_piece_of_news_however_often_it_was_said() {
        let down = || Some(Err(KafkaError::MessageConsumption(Code::AllBrokersDown)));
        let is_down = |heard: &Option<KafkaResult<u32>>| matches!(heard, Some(Err(_)));
        // It goes on, and is over: what came behind it is heard at once.
        let mut queue: VecDeque<Option<KafkaResult<u32>>> =
            [down(), down(), down(), None, down(), down(), Some(Ok(7)), Some(Ok(8))].into();
        let mut waits = Vec::new();
        let mut poll = || {
            let next = |wait| {
                waits.push(wait);
                queue.pop_front().flatten()
            };
            poll_once(next, Duration::from_secs(1))
        };
        assert!(is_down(&poll()));
        assert!(matches!(poll(), Some(Ok(7))));
        assert!(matches!(poll(), Some(Ok(8))));
        assert!(poll().is_none());
        let waited = waits.iter().filter(|wait| !wait.is_zero()).count();
        assert_eq!(waited, 4, "only the first look of each poll waits");
    }
}
