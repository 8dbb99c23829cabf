//! Configuration: flags beat environment beats `breakdown.toml` beats defaults.
//!
//! Most keys of the file have an environment variable, a flag, or both; `breakdown.example.toml` shows them all.

mod reading;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use executor::{Route, TargetConfig, Within};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use webhooks::{Accounts, Answers, Senders, SpoolLimits};

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
    pagerduty: Pagerduty,
    acknowledge: Acknowledge,
    calendar: Calendar,
    executor: Executor,
    #[serde(deserialize_with = "reading::later")]
    targets: BTreeMap<String, TargetConfig>,
    routes: Vec<Route>,
    projects: BTreeMap<String, Project>,
    accounts: OwnAccounts,
}

impl File {
    fn has_secrets(&self) -> bool {
        let secrets = [
            &self.admin.token,
            &self.redpanda.sasl_password,
            &self.github.webhook_secret,
            &self.jira.webhook_secret,
            &self.pagerduty.webhook_secret,
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
    partitions: Option<Within<1, 1024>>,
    retention: Option<String>,
    retention_bytes: Option<NonZeroU64>,
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

/// `[pagerduty]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pagerduty {
    webhook_secret: Option<SecretString>,
    allow_networks: Option<Vec<String>>,
}

/// `[acknowledge]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Acknowledge {
    comments: Option<Vec<String>>,
}

/// `[accounts]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OwnAccounts {
    github: Vec<String>,
    jira: Vec<String>,
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
    /// Comma-separated secrets.
    pub pagerduty_secret: Option<SecretString>,
    /// Whom deliveries may come from, and through.
    pub senders: Senders,
    /// What is swept for what never arrived.
    pub sweeps: Option<Sweeps>,
    /// What the file says of sweeps that none of them makes use of, with what to add.
    pub unswept: Vec<&'static str>,
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
    /// Who we are at each provider.
    pub accounts: Accounts,
    /// Which comments acknowledge.
    pub answers: Answers,
}

impl Settings {
    /// Resolves flags, environment and file. `env` answers for one variable; an empty one counts as unset.
    pub fn load(flags: &Flags, env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let file = match (&flags.config, flags.demo) {
            (None, true) => File::default(),
            (named, _) => reading::read(named.as_deref())?,
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
        let partitions = file.log.partitions.map_or(8, Within::get);
        let brokers = flags.brokers.clone().or(pick("REDPANDA_BROKERS", file.redpanda.brokers.clone()));
        let redpanda = match brokers {
            Some(brokers) => Some(redpanda(brokers, file.redpanda, &env)?),
            None => None,
        };
        let senders = Senders {
            trusted_proxies: networks("webhooks.trusted_proxies", &file.webhooks.trusted_proxies)?,
            github: allowed("github.allow_networks", file.github.allow_networks.as_deref())?,
            jira: allowed("jira.allow_networks", file.jira.allow_networks.as_deref())?,
            pagerduty: allowed("pagerduty.allow_networks", file.pagerduty.allow_networks.as_deref())?,
        };
        let (mut github, mut jira) = (file.github, file.jira);
        let unswept = sweeps::unswept(&github, &jira);
        let github_secret = secret("GITHUB_WEBHOOK_SECRET", github.webhook_secret.take());
        let jira_secret = secret("JIRA_WEBHOOK_SECRET", jira.webhook_secret.take());
        let pagerduty_secret = secret("PAGERDUTY_WEBHOOK_SECRET", file.pagerduty.webhook_secret);
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
            pagerduty_secret,
            senders,
            sweeps,
            unswept,
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
            accounts: Accounts::new(
                names("accounts.github", &file.accounts.github)?,
                names("accounts.jira", &file.accounts.jira)?,
            ),
            answers: match &file.acknowledge.comments {
                Some(words) => Answers::new(answers(words)?),
                None => Answers::default(),
            },
        })
    }
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

/// Names and words, none of them empty.
fn names<'n>(key: &str, list: &'n [String]) -> Result<impl Iterator<Item = &'n str> + use<'n>, Failure> {
    match list.iter().any(|name| name.trim().is_empty()) {
        true => Err(Failure::usage(format!("{key}: an entry is empty; fill it in, or leave it out"))),
        false => Ok(list.iter().map(|name| name.trim())),
    }
}

/// Comments are strangers' texts, and each is looked through for each of these.
fn answers(words: &[String]) -> Result<impl Iterator<Item = &str>, Failure> {
    const MOST: usize = 20;
    const LONGEST: usize = 40;
    let words: Vec<_> = names("acknowledge.comments", words)?.collect();
    let is_fit = |word: &&str| word.chars().count() <= LONGEST && !word.contains(['\n', '\r']);
    if words.len() > MOST || !words.iter().all(is_fit) {
        return Err(Failure::usage(format!(
            "acknowledge.comments: at most {MOST} words, each on one line and of at most {LONGEST} characters"
        )));
    }
    Ok(words.into_iter())
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
mod tests;
