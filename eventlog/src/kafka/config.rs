//! How to reach the brokers, and how each kind of client is set up.
//!
//! Every setting that the guarantees rest on stands here, once, with its reason.

use std::{path::PathBuf, str::FromStr, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use secrecy::{ExposeSecret, SecretString};

use crate::LogError;

/// The largest record: key, value and headers.
pub(super) const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;
/// How long the answer to a request is waited for at most.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the brokers are and how to speak to them.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port`, comma-separated: any brokers of the cluster; the others are learnt from them.
    pub brokers: String,
    /// User and password, where the cluster asks for them.
    pub sasl: Option<Sasl>,
    /// Encrypt, and check the brokers' certificates.
    pub tls: bool,
    /// Certificate authorities to trust, a PEM file; `None`: those of the system.
    pub ca_cert: Option<PathBuf>,
    /// How long a member of a group may be silent before others take its partitions over, and how long its open
    /// step may then hold up readers. A member that lives but does not poll is given three times as long.
    /// Brokers accept 6 s to 30 min by default.
    pub session_timeout: Duration,
}

/// User and password.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// The user.
    pub username: String,
    /// The password; never printed.
    pub password: SecretString,
    /// How the password is proved.
    pub mechanism: SaslMechanism,
}

/// How a password is proved to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaslMechanism {
    /// Challenge and response; the broker keeps no password.
    #[default]
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
    /// The password itself: only over TLS.
    Plain,
}

impl SaslMechanism {
    fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::Plain => "PLAIN",
        }
    }
}

impl FromStr for SaslMechanism {
    type Err = LogError;

    /// `scram-sha-256`, `scram-sha-512` or `plain`, in any case.
    fn from_str(text: &str) -> Result<Self, LogError> {
        [Self::ScramSha256, Self::ScramSha512, Self::Plain]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                LogError::Refused(
                    "unknown SASL mechanism: use scram-sha-256, scram-sha-512 or plain".to_owned(),
                )
            })
    }
}

impl KafkaConfig {
    /// Brokers without password and encryption, and a session of 10 s.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            sasl: None,
            tls: false,
            ca_cert: None,
            session_timeout: Duration::from_secs(10),
        }
    }

    /// What all clients share.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        let security = match (&self.sasl, self.tls) {
            (None, false) => "plaintext",
            (None, true) => "ssl",
            (Some(_), false) => "sasl_plaintext",
            (Some(_), true) => "sasl_ssl",
        };
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "breakdown")
            .set("security.protocol", security)
            .set("socket.keepalive.enable", "true")
            // A broker that hangs is left alone after this; a member that leaves waits no longer for its goodbye.
            .set("socket.timeout.ms", millis(self.session_timeout.min(SOCKET_TIMEOUT)))
            // A broker that comes back is found within a second; an idle connection that closes is not news.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log.connection.close", "false")
            .set("message.max.bytes", MAX_RECORD_BYTES.to_string());
        if let Some(sasl) = &self.sasl {
            config
                .set("sasl.mechanism", sasl.mechanism.name())
                .set("sasl.username", &sasl.username)
                .set("sasl.password", sasl.password.expose_secret());
        }
        if self.tls {
            // OpenSSL is linked in and knows no system folder; `probe` looks at the usual ones.
            let ca = self.ca_cert.as_ref().map_or("probe".into(), |path| path.to_string_lossy());
            config.set("ssl.ca.location", ca);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// A producer whose acknowledged records are on all in-sync replicas, once and in order.
    fn idempotent(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // The crate chooses every record's partition itself (`partition_of`), the same on both backends.
            .set("linger.ms", "0")
            // Beyond this much waiting, `append` says so instead of taking more.
            .set("queue.buffering.max.kbytes", "65536");
        config
    }

    /// The producer of [`crate::Log::append`].
    pub(super) fn appender(&self) -> ClientConfig {
        let mut config = self.idempotent();
        config.set("message.timeout.ms", "5000");
        config
    }

    /// The producer of one member's steps; `id` is of this start alone.
    pub(super) fn stepper(&self, id: &str) -> ClientConfig {
        let mut config = self.idempotent();
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", millis(self.session_timeout))
            // Of a record that is not taken the client itself says so before its step is over (`step`).
            .set("message.timeout.ms", millis(self.session_timeout * 4 / 5))
            // Closing a connection wakes what waits in vain for another (`step`). Longer than any request is waited for.
            .set("connections.max.idle.ms", millis(SOCKET_TIMEOUT + Duration::from_secs(5)));
        config
    }

    /// Makes and describes topics.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client()
    }

    /// What all consumers share, also those that only ask questions.
    fn asking(&self, isolation: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("fetch.max.bytes", (4 * MAX_RECORD_BYTES).to_string())
            .set("receive.message.max.bytes", (4 * MAX_RECORD_BYTES + 64 * 1024).to_string());
        config
    }

    /// What consumers of records share.
    fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.asking("read_committed");
        config
            .set("group.id", group)
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("fetch.message.max.bytes", MAX_RECORD_BYTES.to_string())
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.error.backoff.ms", "100");
        config
    }

    /// A member of `group`.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        config
            // Topics with as many partitions are dealt out alike: partition p of all inputs lands together.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(self.session_timeout / 10))
            .set("max.poll.interval.ms", millis(self.session_timeout * 3));
        config
    }

    /// A consumer that is told its partitions. It never joins or commits, so the group's name only has to be there.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.consumer("breakdown-reader");
        config.set("enable.partition.eof", "true");
        config
    }

    /// A client that asks where partitions end: `committed`, before the first open transaction; else, after everything.
    pub(super) fn queries(&self, committed: bool) -> ClientConfig {
        self.asking(if committed { "read_committed" } else { "read_uncommitted" })
    }

    /// A client that looks at the offsets of `group`, as they are now: it does not wait for open transactions.
    pub(super) fn onlooker(&self, group: &str) -> ClientConfig {
        let mut config = self.queries(false);
        config.set("group.id", group);
        config
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rdkafka::{
        ClientContext,
        consumer::{BaseConsumer, Consumer, ConsumerContext},
        error::KafkaError,
        producer::{BaseProducer, DeliveryResult, Producer, ProducerContext},
    };

    use super::*;

    fn secured(tls: bool, mechanism: SaslMechanism) -> KafkaConfig {
        let sasl = Sasl { username: "ada".into(), password: "pa$$, word".into(), mechanism };
        KafkaConfig { sasl: Some(sasl), tls, ..KafkaConfig::new("127.0.0.1:9") }
    }

    /// Keeps what librdkafka says of a client's settings.
    #[derive(Default)]
    struct Said(Mutex<Vec<String>>);

    impl ClientContext for Said {
        fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
            if facility.contains("CONF") {
                self.0.lock().unwrap().push(message.to_owned());
            }
        }

        fn error(&self, _: KafkaError, _: &str) {}
    }

    impl ConsumerContext for Said {}

    impl ProducerContext for Said {
        type DeliveryOpaque = ();

        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }

    #[test]
    fn security_reaches_every_client() {
        for (config, protocol) in [
            (KafkaConfig::new("127.0.0.1:9"), "plaintext"),
            (KafkaConfig { tls: true, ..KafkaConfig::new("127.0.0.1:9") }, "ssl"),
            (secured(false, SaslMechanism::ScramSha256), "sasl_plaintext"),
            (secured(true, SaslMechanism::ScramSha512), "sasl_ssl"),
            (
                KafkaConfig { session_timeout: Duration::from_secs(2), ..KafkaConfig::new("127.0.0.1:9") },
                "plaintext",
            ),
            (
                KafkaConfig { session_timeout: Duration::from_secs(60), ..KafkaConfig::new("127.0.0.1:9") },
                "plaintext",
            ),
        ] {
            let producers = [config.appender(), config.stepper("id"), config.admin()];
            let consumers = [
                config.member("g"),
                config.reader(),
                config.queries(true),
                config.queries(false),
                config.onlooker("g"),
            ];
            for client in producers.iter().chain(&consumers) {
                assert_eq!(client.get("bootstrap.servers"), Some("127.0.0.1:9"));
                assert_eq!(client.get("security.protocol"), Some(protocol));
                assert_eq!(client.get("sasl.password"), config.sasl.as_ref().map(|_| "pa$$, word"));
                assert_eq!(client.get("sasl.username"), config.sasl.as_ref().map(|_| "ada"));
                assert_eq!(client.get("ssl.ca.location"), config.tls.then_some("probe"));
            }
            // librdkafka takes every name and value, how they fit together, and warns of none.
            let nothing: [String; 0] = [];
            for client in producers {
                let producer: BaseProducer<Said> = client.create_with_context(Said::default()).unwrap();
                producer.poll(Duration::from_millis(20));
                assert_eq!(*producer.client().context().0.lock().unwrap(), nothing);
            }
            for client in consumers {
                let consumer: BaseConsumer<Said> = client.create_with_context(Said::default()).unwrap();
                consumer.poll(Duration::from_millis(20));
                assert_eq!(*consumer.client().context().0.lock().unwrap(), nothing);
            }
        }
    }

    #[test]
    fn mechanisms_are_named_as_brokers_name_them() {
        for (text, name) in
            [("scram-sha-256", "SCRAM-SHA-256"), ("SCRAM-SHA-512", "SCRAM-SHA-512"), ("plain", "PLAIN")]
        {
            let config = secured(true, text.parse().unwrap());
            assert_eq!(config.appender().get("sasl.mechanism"), Some(name));
            assert_eq!(
                config.member("g").create_native_config().unwrap().get("sasl.mechanisms").unwrap(),
                name
            );
        }
        assert!(matches!("gssapi".parse::<SaslMechanism>(), Err(LogError::Refused(_))));
    }

    #[test]
    fn a_named_ca_is_used_only_with_tls() {
        let ca_cert = Some("/etc/ca.pem".into());
        let with = KafkaConfig { tls: true, ca_cert: ca_cert.clone(), ..KafkaConfig::new("a:1") };
        assert_eq!(with.reader().get("ssl.ca.location"), Some("/etc/ca.pem"));
        let without = KafkaConfig { ca_cert, ..KafkaConfig::new("a:1") };
        assert_eq!(without.reader().get("ssl.ca.location"), None);
    }

    #[test]
    fn passwords_are_not_printed() {
        assert!(!format!("{:?}", secured(true, SaslMechanism::Plain)).contains("pa$$"));
    }

    #[test]
    fn guarantees_rest_on_these() {
        let config = KafkaConfig::new("a:1");
        let (append, step, member) = (config.appender(), config.stepper("t"), config.member("g"));
        for producer in [&append, &step] {
            assert_eq!(
                (producer.get("enable.idempotence"), producer.get("acks")),
                (Some("true"), Some("all"))
            );
            assert_eq!(producer.get("message.max.bytes"), Some("4194304"));
        }
        assert_eq!(append.get("message.timeout.ms"), Some("5000"));
        assert_eq!(step.get("transaction.timeout.ms"), Some("10000"));
        assert_eq!(
            (member.get("isolation.level"), member.get("session.timeout.ms")),
            (Some("read_committed"), Some("10000"))
        );
        assert_eq!(
            (member.get("enable.auto.commit"), member.get("auto.offset.reset")),
            (Some("false"), Some("earliest"))
        );
    }
}
