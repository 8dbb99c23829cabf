//! Configuration: flags beat environment beats `breakdown.toml` beats defaults.
//!
//! Most keys of the file have an environment variable, a flag, or both; `breakdown.example.toml` shows them all.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use executor::{Route, TargetConfig};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use webhooks::{Senders, SpoolLimits};

use crate::{
    error::Failure,
    retention::{self, Retention},
    sweeps::{self, Sweeps},
};

/// Where the file is looked for when `--config` does not say.
pub const DEFAULT_FILE: &str = "breakdown.toml";

/// The file as written. Unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    data_dir: Option<String>,
    policy: Option<String>,
    shadow: Option<String>,
    project_id: Option<String>,
    listen: Listen,
    admin: Admin,
    log: LogSection,
    redpanda: RedpandaSection,
    webhooks: Webhooks,
    github: sweeps::Github,
    jira: sweeps::Jira,
    calendar: Calendar,
    executor: Executor,
    targets: BTreeMap<String, TargetConfig>,
    routes: Vec<Route>,
    projects: BTreeMap<String, Project>,
}

impl File {
    fn has_secrets(&self) -> bool {
        let secrets = [
            &self.admin.token,
            &self.redpanda.sasl_password,
            &self.github.webhook_secret,
            &self.jira.webhook_secret,
            &self.github.token,
            &self.jira.token,
        ];
        secrets.into_iter().flatten().any(|secret| !secret.expose_secret().is_empty())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listen {
    webhooks: Option<String>,
    admin: Option<String>,
    calendar: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Admin {
    token: Option<SecretString>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSection {
    partitions: Option<u32>,
    retention: Option<String>,
    retention_bytes: Option<u64>,
    spool_max_bytes: Option<u64>,
    topics: BTreeMap<String, retention::Limits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RedpandaSection {
    brokers: Option<String>,
    sasl_username: Option<String>,
    sasl_password: Option<SecretString>,
    sasl_mechanism: Option<String>,
    tls: Option<bool>,
    ca_cert: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Webhooks {
    trusted_proxies: Vec<String>,
    sweep_every: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Calendar {
    api_base: Option<String>,
    allow_private: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Executor {
    give_up_after: Option<String>,
    proxy: Option<SecretString>,
}

/// What `[projects.NAME]` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Project {
    /// GitHub repositories, `owner/repo`.
    pub repositories: Vec<String>,
    /// Jira project keys.
    pub jira: Vec<String>,
    /// IANA name; UTC when absent.
    pub time_zone: Option<String>,
}

/// What the flags said.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--brokers`.
    pub brokers: Option<String>,
    /// `--policy`.
    pub policy: Option<PathBuf>,
    /// `--shadow`.
    pub shadow: Option<PathBuf>,
    /// `--webhooks-listen`.
    pub webhooks_listen: Option<SocketAddr>,
    /// `--admin-listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `--calendar-listen`.
    pub calendar_listen: Option<SocketAddr>,
    /// `--demo`: nothing is taken from the environment or an unnamed file that would reach a real log or real people.
    pub demo: bool,
}

/// What a demo takes from the environment.
const DEMO_VARIABLES: [&str; 5] = [
    "BREAKDOWN_POLICY",
    "BREAKDOWN_WEBHOOKS_LISTEN",
    "BREAKDOWN_ADMIN_LISTEN",
    "BREAKDOWN_CALENDAR_LISTEN",
    "BREAKDOWN_ADMIN_TOKEN",
];

/// An address to listen on, and whether somebody asked for just this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub at: SocketAddr,
    /// False for the default.
    pub chosen: bool,
}

/// The broker, where one is configured.
#[derive(Debug, Clone)]
pub struct Redpanda {
    /// host:port, comma-separated.
    pub brokers: String,
    /// User and password.
    pub sasl: Option<(String, SecretString)>,
    /// scram-sha-256, scram-sha-512 or plain.
    pub mechanism: String,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_cert: Option<PathBuf>,
}

/// Everything, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration file that was read; `None` where there is none.
    pub config: Option<PathBuf>,
    /// Whether it has a secret in it.
    pub secrets_in_config: bool,
    /// Where the embedded log lives.
    pub data_dir: PathBuf,
    /// Whether somebody named it.
    pub data_dir_chosen: bool,
    /// The policy file; `None`: the built-in one.
    pub policy: Option<PathBuf>,
    /// The policy file on trial.
    pub shadow: Option<PathBuf>,
    /// Project of whatever `projects` does not map.
    pub project_id: String,
    /// Webhook receivers.
    pub webhooks_listen: Address,
    /// Health, metrics, admin API.
    pub admin_listen: Address,
    /// calendar-mock.
    pub calendar_listen: Address,
    /// Bearer token of the admin API.
    pub admin_token: Option<SecretString>,
    /// Partitions of every topic.
    pub partitions: u32,
    /// How much is kept of each topic.
    pub retention: BTreeMap<&'static str, Retention>,
    /// How much may wait on this machine's disk while the broker is away, in bytes; 0: nothing is spooled.
    pub spool_max_bytes: u64,
    /// The broker; `None`: the embedded log.
    pub redpanda: Option<Redpanda>,
    /// Comma-separated secrets.
    pub github_secret: Option<SecretString>,
    /// Comma-separated secrets.
    pub jira_secret: Option<SecretString>,
    /// Whom deliveries may come from, and through.
    pub senders: Senders,
    /// What is swept for what never arrived.
    pub sweeps: Option<Sweeps>,
    /// Calendar and notification API; `None`: calendar-mock in the process.
    pub calendar_api_base: Option<String>,
    /// Whether it may be on a private network.
    pub calendar_allow_private: bool,
    /// Through which the executor's targets are reached.
    pub proxy: Option<SecretString>,
    /// The executor's targets, by name.
    pub targets: BTreeMap<String, TargetConfig>,
    /// Which of them carry which action.
    pub routes: Vec<Route>,
    /// How long an action is tried.
    pub give_up_after: Duration,
    /// What belongs to which project.
    pub projects: BTreeMap<String, Project>,
}

impl Settings {
    /// Resolves flags, environment and file. `env` answers for one variable; an empty one counts as unset.
    pub fn load(flags: &Flags, env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let file = match (&flags.config, flags.demo) {
            (None, true) => File::default(),
            (named, _) => read_file(named.as_deref())?,
        };
        let config = flags.config.clone().or_else(|| {
            let default = Path::new(DEFAULT_FILE);
            (!flags.demo && default.is_file()).then(|| default.to_owned())
        });
        let secrets_in_config = file.has_secrets();
        let env = |name: &str| {
            let taken = !flags.demo || DEMO_VARIABLES.contains(&name);
            env(name).filter(|value| taken && !value.is_empty())
        };
        let pick = |name: &str, from_file: Option<String>| env(name).or(from_file);
        let secret = |name: &str, from_file: Option<SecretString>| {
            let from_file = from_file.filter(|secret| !secret.expose_secret().is_empty());
            env(name).map(SecretString::from).or(from_file)
        };

        let data_dir =
            flags.data_dir.clone().or(pick("BREAKDOWN_DATA_DIR", file.data_dir).map(PathBuf::from));
        let address = |flag: Option<SocketAddr>, name: &str, from_file: Option<String>, default: u16| {
            let chosen = match (flag, pick(name, from_file)) {
                (Some(at), _) => Some(at),
                (None, Some(text)) => Some(text.parse().map_err(|_| {
                    Failure::usage(format!(
                        "{name}: {text:?} is no address to listen on; write e.g. 127.0.0.1:{default}"
                    ))
                })?),
                (None, None) => None,
            };
            let at = chosen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], default)));
            Ok::<_, Failure>(Address { at, chosen: chosen.is_some() })
        };
        let general =
            retention::Limits { retention: file.log.retention, retention_bytes: file.log.retention_bytes };
        let retention = retention::resolve(&general, &file.log.topics)?;
        let give_up_after =
            duration("executor.give_up_after", file.executor.give_up_after.as_deref().unwrap_or("15m"))?;
        let partitions = file.log.partitions.unwrap_or(8);
        if !(1..=1024).contains(&partitions) {
            return Err(Failure::usage(format!("log.partitions: {partitions} is not between 1 and 1024")));
        }
        let brokers = flags.brokers.clone().or(pick("REDPANDA_BROKERS", file.redpanda.brokers.clone()));
        let redpanda = match brokers {
            Some(brokers) => Some(redpanda(brokers, file.redpanda, &env)?),
            None => None,
        };
        let senders = Senders {
            trusted_proxies: networks("webhooks.trusted_proxies", &file.webhooks.trusted_proxies)?,
            github: allowed("github.allow_networks", file.github.allow_networks.as_deref())?,
            jira: allowed("jira.allow_networks", file.jira.allow_networks.as_deref())?,
        };
        let (mut github, mut jira) = (file.github, file.jira);
        let github_secret = secret("GITHUB_WEBHOOK_SECRET", github.webhook_secret.take());
        let jira_secret = secret("JIRA_WEBHOOK_SECRET", jira.webhook_secret.take());
        github.token = secret("GITHUB_TOKEN", github.token.take());
        jira.token = secret("JIRA_TOKEN", jira.token.take());
        let sweeps = Sweeps::resolve(github, jira, file.webhooks.sweep_every.as_deref(), &file.projects)?;
        let project_id = pick("PROJECT_ID", file.project_id).unwrap_or_else(|| "alpha".into());
        for name in file.projects.keys().chain([&project_id]) {
            check_project_id(name)?;
        }
        Ok(Self {
            config,
            secrets_in_config,
            data_dir_chosen: data_dir.is_some(),
            data_dir: data_dir.unwrap_or_else(|| "./data".into()),
            policy: flags.policy.clone().or(pick("BREAKDOWN_POLICY", file.policy).map(PathBuf::from)),
            shadow: flags.shadow.clone().or(file.shadow.filter(|path| !path.is_empty()).map(PathBuf::from)),
            project_id,
            webhooks_listen: address(
                flags.webhooks_listen,
                "BREAKDOWN_WEBHOOKS_LISTEN",
                file.listen.webhooks,
                7000,
            )?,
            admin_listen: address(flags.admin_listen, "BREAKDOWN_ADMIN_LISTEN", file.listen.admin, 7100)?,
            calendar_listen: address(
                flags.calendar_listen,
                "BREAKDOWN_CALENDAR_LISTEN",
                file.listen.calendar,
                7300,
            )?,
            admin_token: secret("BREAKDOWN_ADMIN_TOKEN", file.admin.token),
            partitions,
            retention,
            spool_max_bytes: file.log.spool_max_bytes.unwrap_or(SpoolLimits::default().max_bytes),
            redpanda,
            github_secret,
            jira_secret,
            senders,
            sweeps,
            calendar_api_base: pick("CALENDAR_API_BASE", file.calendar.api_base),
            calendar_allow_private: flag(
                "CALENDAR_ALLOW_PRIVATE",
                env("CALENDAR_ALLOW_PRIVATE"),
                file.calendar.allow_private,
            )?,
            proxy: secret("BREAKDOWN_PROXY", file.executor.proxy),
            targets: file.targets,
            routes: file.routes,
            give_up_after,
            projects: file.projects,
        })
    }
}

fn read_file(named: Option<&Path>) -> Result<File, Failure> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(File::default());
        }
        Err(error) => {
            return Err(Failure::usage(format!(
                "the configuration {} cannot be read: {error}",
                path.display()
            )));
        }
    };
    toml::from_str(&text).map_err(|error| {
        // toml's own text quotes the line, which may hold a secret: say the place and the reason only. Where the reason is a
        // value of the wrong type, that value may be the secret.
        let reason = match error.message().split_once(", expected ") {
            Some((what, expected)) if what.starts_with("invalid ") => {
                format!("what stands here is not {expected}")
            }
            _ => error.message().to_owned(),
        };
        let place = error.span().map_or(String::new(), |span| {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            format!(", line {line}")
        });
        Failure::usage(format!(
            "the configuration {}{place}: {reason}; breakdown.example.toml shows every key",
            path.display(),
        ))
    })
}

fn redpanda(
    brokers: String,
    file: RedpandaSection,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<Redpanda, Failure> {
    let username = env("REDPANDA_SASL_USERNAME").or(file.sasl_username);
    let password = env("REDPANDA_SASL_PASSWORD").map(SecretString::from).or(file.sasl_password);
    let sasl = match (username, password) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(Failure::usage(
                "REDPANDA_SASL_USERNAME is set and REDPANDA_SASL_PASSWORD is not: set both or none",
            ));
        }
        (None, Some(_)) => {
            return Err(Failure::usage(
                "REDPANDA_SASL_PASSWORD is set and REDPANDA_SASL_USERNAME is not: set both or none",
            ));
        }
    };
    let mechanism = env("REDPANDA_SASL_MECHANISM")
        .or(file.sasl_mechanism)
        .unwrap_or_else(|| "scram-sha-256".into())
        .to_lowercase();
    if !["scram-sha-256", "scram-sha-512", "plain"].contains(&mechanism.as_str()) {
        return Err(Failure::usage(format!(
            "REDPANDA_SASL_MECHANISM: {mechanism:?} is unknown; it is scram-sha-256, scram-sha-512 or plain"
        )));
    }
    let tls = flag("REDPANDA_TLS", env("REDPANDA_TLS"), file.tls)?;
    let ca_cert = env("REDPANDA_CA_CERT").or(file.ca_cert).map(PathBuf::from);
    if mechanism == "plain" && sasl.is_some() && !tls {
        return Err(Failure::usage(
            "REDPANDA_SASL_MECHANISM=plain sends the password as it is: set REDPANDA_TLS=true, or use scram-sha-256",
        ));
    }
    if ca_cert.is_some() && !tls {
        return Err(Failure::usage("REDPANDA_CA_CERT is set and REDPANDA_TLS is not: set REDPANDA_TLS=true"));
    }
    Ok(Redpanda { brokers, sasl, mechanism, tls, ca_cert })
}

/// A switch; off where nobody says.
fn flag(name: &str, variable: Option<String>, from_file: Option<bool>) -> Result<bool, Failure> {
    match variable.as_deref() {
        None => Ok(from_file.unwrap_or(false)),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(Failure::usage(format!("{name}: {other:?} is neither true nor false"))),
    }
}

fn allowed(key: &str, list: Option<&[String]>) -> Result<Option<Vec<IpNet>>, Failure> {
    list.map(|list| networks(key, list)).transpose()
}

/// Networks, and addresses that stand for themselves.
fn networks(key: &str, list: &[String]) -> Result<Vec<IpNet>, Failure> {
    let network = |text: &String| {
        let alone = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| alone()).map_err(|_| {
            Failure::usage(format!("{key}: {text:?} is no network; write e.g. 192.0.2.0/24 or 2001:db8::/32"))
        })
    };
    list.iter().map(network).collect()
}

pub(crate) fn duration(key: &str, text: &str) -> Result<Duration, Failure> {
    humantime::parse_duration(text).map_err(|error| {
        Failure::usage(format!("{key}: {text:?} is no duration ({error}); write e.g. 90d or 15m"))
    })
}

fn check_project_id(name: &str) -> Result<(), Failure> {
    let fine = !name.is_empty()
        && name.len() <= 100
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if fine {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{name:?} is no project id: 1 to 100 of letters, digits, dash, underscore and dot"
    )))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(text: &str, vars: &[(&str, &str)], flags: Flags) -> Result<Settings, Failure> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let flags = Flags { config: Some(file.path().to_owned()), ..flags };
        Settings::load(&flags, |name| {
            vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_defaults() {
        let file = "data_dir = \"f\"\nshadow = \"f.yaml\"\n[listen]\nadmin = \"127.0.0.1:1\"\n";
        let vars = [("BREAKDOWN_DATA_DIR", "e"), ("PROJECT_ID", "")];
        let flags = Flags { data_dir: Some("x".into()), shadow: Some("x.yaml".into()), ..Flags::default() };
        let all = load(file, &vars, flags).unwrap();
        assert_eq!(all.shadow, Some("x.yaml".into()));
        assert_eq!(all.data_dir, PathBuf::from("x"));
        assert_eq!(all.project_id, "alpha", "an empty variable counts as unset");
        let no_flag = load(file, &vars, Flags::default()).unwrap();
        assert_eq!(no_flag.data_dir, PathBuf::from("e"));
        let file_only = load(file, &[], Flags::default()).unwrap();
        assert_eq!(file_only.data_dir, PathBuf::from("f"));
        assert_eq!(file_only.shadow, Some("f.yaml".into()));
        assert_eq!(file_only.admin_listen, Address { at: "127.0.0.1:1".parse().unwrap(), chosen: true });
        assert_eq!(file_only.webhooks_listen.at.port(), 7000);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_without_its_text() {
        let error =
            load("data_dir = \"d\"\nsekrit = \"hunter2\"\n", &[], Flags::default()).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("sekrit"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_example_shows_every_key_and_holds_the_defaults() {
        let example = include_str!("../../breakdown.example.toml");
        // With the comment marks taken off, the example is a whole configuration.
        let plain: String = example
            .lines()
            .filter_map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') => Some(format!("{rest}\n")),
                // A key, and no sentence with one in it.
                Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', ':'])) => {
                    Some(format!("{rest}\n"))
                }
                Some(_) => None,
                None => Some(format!("{line}\n")),
            })
            .collect();
        let settings = load(&plain, &[], Flags::default()).unwrap();
        let defaults = load("", &[], Flags::default()).unwrap();
        assert_eq!(settings.data_dir, defaults.data_dir);
        assert_eq!(settings.retention["actions"].age, defaults.retention["actions"].age);
        assert_eq!(settings.give_up_after, defaults.give_up_after);
        assert_eq!(settings.partitions, defaults.partitions);
        assert_eq!(settings.spool_max_bytes, defaults.spool_max_bytes);
        assert_eq!(
            settings.targets.keys().collect::<Vec<_>>(),
            ["audit", "chat", "code", "pager", "tracker"]
        );
        assert_eq!(settings.routes[0].targets.len(), 5);
        let unchanged = load(example, &[], Flags::default()).unwrap();
        assert!(unchanged.targets.is_empty() && unchanged.routes.is_empty());
        assert!(settings.sweeps.is_some() && defaults.sweeps.is_none());
        assert!(settings.redpanda.is_some() && settings.projects.contains_key("alpha"));
        for key in [
            "data_dir",
            "policy",
            "shadow",
            "project_id",
            "webhooks",
            "admin",
            "calendar",
            "token",
            "partitions",
            "retention",
            "retention_bytes",
            "spool_max_bytes",
            "brokers",
            "sasl_username",
            "sasl_password",
            "sasl_mechanism",
            "tls",
            "ca_cert",
            "webhook_secret",
            "api_base",
            "give_up_after",
            "repositories",
            "jira",
            "time_zone",
            "allow_private",
            "proxy",
            "webhook_url",
            "app",
            "sweep_every",
            "hooks",
            "app_id",
            "private_key_file",
            "email",
            "sweep_after",
        ] {
            assert!(example.contains(&format!("{key} = ")), "{key} is missing");
        }
    }

    #[test]
    fn half_a_login_and_nonsense_are_refused() {
        let refused = |vars: &[(&str, &str)]| load("", vars, Flags::default()).unwrap_err().to_string();
        let broker = ("REDPANDA_BROKERS", "b:9092");
        assert!(refused(&[broker, ("REDPANDA_SASL_USERNAME", "u")]).contains("REDPANDA_SASL_PASSWORD"));
        assert!(refused(&[broker, ("REDPANDA_TLS", "yes please")]).contains("REDPANDA_TLS"));
        assert!(refused(&[broker, ("REDPANDA_CA_CERT", "/ca.pem")]).contains("REDPANDA_TLS=true"));
        assert!(refused(&[("BREAKDOWN_ADMIN_LISTEN", "here")]).contains("BREAKDOWN_ADMIN_LISTEN"));
        let login = [("REDPANDA_SASL_USERNAME", "u"), ("REDPANDA_SASL_PASSWORD", "p")];
        let plain = [broker, login[0], login[1], ("REDPANDA_SASL_MECHANISM", "plain")];
        assert!(refused(&plain).contains("REDPANDA_TLS=true"));
        let error = load("[log]\nretention = \"0s\"\n", &[], Flags::default()).unwrap_err().to_string();
        assert!(error.contains("at least 7d"), "{error}");
        assert!(refused(&[("PROJECT_ID", "a/b")]).contains("project id"));
    }

    #[test]
    fn a_demo_reaches_nothing_real_unless_told_to() {
        let vars = [
            ("REDPANDA_BROKERS", "prod:9092"),
            ("CALENDAR_API_BASE", "https://calendar.example.com"),
            ("BREAKDOWN_DATA_DIR", "/var/lib/breakdown"),
            ("BREAKDOWN_POLICY", "mine.yaml"),
        ];
        let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let demo = Settings::load(&Flags { demo: true, ..Flags::default() }, env).unwrap();
        assert!(demo.redpanda.is_none() && demo.calendar_api_base.is_none() && !demo.data_dir_chosen);
        assert_eq!(demo.policy, Some("mine.yaml".into()));
        let flags = Flags { demo: true, brokers: Some("127.0.0.1:19092".into()), ..Flags::default() };
        assert!(Settings::load(&flags, env).unwrap().redpanda.is_some());
    }

    #[test]
    fn secrets_do_not_show() {
        let vars = [
            ("GITHUB_WEBHOOK_SECRET", "canary"),
            ("JIRA_WEBHOOK_SECRET", "canary"),
            ("BREAKDOWN_ADMIN_TOKEN", "canary"),
            ("GITHUB_TOKEN", "canary"),
            ("JIRA_TOKEN", "canary"),
            ("REDPANDA_BROKERS", "b:9"),
            ("REDPANDA_SASL_USERNAME", "somebody"),
            ("REDPANDA_SASL_PASSWORD", "canary"),
        ];
        let sweeps = |github: &str, jira: &str| {
            format!(
                "[github]\n{github}hooks = [{{ organisation = \"acme\", id = 1 }}]\n\
                 [jira]\n{jira}api_base = \"https://example.atlassian.net\"\n"
            )
        };
        let file = sweeps(
            "webhook_secret = \"canary\"\ntoken = \"canary\"\n",
            "webhook_secret = \"canary\"\ntoken = \"canary\"\n",
        ) + "[admin]\ntoken = \"canary\"\n\
             [redpanda]\nbrokers = \"b:9\"\nsasl_username = \"somebody\"\nsasl_password = \"canary\"\n";
        let file = file.as_str();
        for (file, vars) in [(sweeps("", "").as_str(), &vars[..]), (file, &[])] {
            let settings = load(file, vars, Flags::default()).unwrap();
            let config = settings.sweeps.as_ref().unwrap().config().unwrap();
            let tokens = [config.github.unwrap().token.unwrap(), config.jira.unwrap().token];
            assert!(tokens.iter().all(|token| token.expose_secret() == "canary"));
            let told = settings.redpanda.as_ref().and_then(|redpanda| redpanda.sasl.as_ref()).unwrap();
            assert_eq!(
                (settings.admin_token.as_ref().unwrap().expose_secret(), told.1.expose_secret()),
                ("canary", "canary")
            );
            assert!(!format!("{settings:?}").contains("canary"));
        }
        let file: File = toml::from_str(file).unwrap();
        assert!(!format!("{file:?}").contains("canary"));
    }

    #[test]
    fn what_is_swept_is_checked() {
        let github = |hooks: &str| load(&format!("[github]\nhooks = [{hooks}]\n"), &[], Flags::default());
        for good in [
            "{ repository = \"acme/checkout\", id = 12 }",
            "{ organisation = \"acme\", id = 12 }, { app = true }",
        ] {
            assert!(github(good).unwrap().sweeps.is_some(), "{good}");
        }
        for (bad, says) in [
            ("{ repository = \"acme/checkout\" }", "`repository` and `id`"),
            ("{ repository = \"acme/checkout\", organisation = \"acme\", id = 1 }", "`repository` and `id`"),
            ("{ app = true, id = 1 }", "`app = true` alone"),
            ("{ repository = \"checkout\", id = 1 }", "write owner/repo"),
            ("{ repository = \"acme/../orgs\", id = 1 }", "write owner/repo"),
            ("{ repository = \"acme/..\", id = 1 }", "write owner/repo"),
            ("{ organisation = \"a/b\", id = 1 }", "no organisation"),
        ] {
            let error = github(bad).unwrap_err().to_string();
            assert!(error.starts_with("github.hooks: ") && error.contains(says), "{error}");
        }
        for (text, says) in [
            ("[jira]\napi_base = \"https://j.example.com\"\n", "set JIRA_TOKEN"),
            ("[jira]\napi_base = \"j\"\ntoken = \"t\"\n", "jira.api_base is no address"),
            (
                "[jira]\napi_base = \"https://j\"\ntoken = \"t\"\n[projects.a]\njira = [\"A\\\") OR (\"]\n",
                "no key of a Jira project",
            ),
            ("[github]\napp_id = \"1\"\n", "set both or none"),
            ("[webhooks]\nsweep_every = \"0s\"\n", "at least 1s"),
        ] {
            let error = load(text, &[], Flags::default()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(
            load("", &[("GITHUB_TOKEN", "t"), ("JIRA_TOKEN", "t")], Flags::default())
                .unwrap()
                .sweeps
                .is_none()
        );
    }

    #[test]
    fn an_empty_secret_counts_as_none() {
        let settings =
            load("[admin]\ntoken = \"\"\n[jira]\nwebhook_secret = \"\"\n", &[], Flags::default()).unwrap();
        assert!(settings.admin_token.is_none() && settings.jira_secret.is_none());
    }

    #[test]
    fn networks_are_read_and_addresses_stand_for_themselves() {
        let file = "[webhooks]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::1\"]\n[github]\nallow_networks = [\"192.0.2.7\"]\n";
        let senders = load(file, &[], Flags::default()).unwrap().senders;
        let shown = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&senders.trusted_proxies), ["10.0.0.0/8", "fd00::1/128"]);
        assert_eq!(shown(&senders.github.unwrap()), ["192.0.2.7/32"]);
        assert!(senders.jira.is_none());
        for (section, key) in
            [("webhooks", "trusted_proxies"), ("github", "allow_networks"), ("jira", "allow_networks")]
        {
            let failure = load(&format!("[{section}]\n{key} = [\"github-meta\"]\n"), &[], Flags::default())
                .unwrap_err();
            assert!(failure.to_string().starts_with(&format!("{section}.{key}: ")), "{failure}");
        }
    }
}
