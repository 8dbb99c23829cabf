//! What librdkafka's errors mean to a caller.

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};

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

/// An error that a consumer's poll returned: `None` where librdkafka gets over it by itself.
pub(super) fn of_consumer(what: &str, error: &KafkaError) -> Option<LogError> {
    let known = classify(what, error);
    match error.rdkafka_error_code() {
        Some(Code::AllBrokersDown) => Some(known),
        // Looked for before: a broker that has not heard of the topic yet, or no longer.
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            Some(LogError::Unavailable(known.to_string()))
        }
        _ if matches!(known, LogError::Refused(_)) => Some(known),
        _ => {
            tracing::debug!(%error, "{what}: the client recovers by itself");
            None
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(of(Code::PollExceeded), None);
    }
}
