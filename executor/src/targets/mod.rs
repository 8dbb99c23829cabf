//! The targets: one file or folder each, all of one shape. `config.rs` is what can be set, `request.rs` what is sent,
//! `response.rs` what the answer means, `mod.rs` in which order.

mod bearer;
mod caldav;
mod calendar;
mod finding;
mod github;
mod google;
mod jira;
mod marker;
mod meeting;
mod notification;
mod ourselves;
mod pagerduty;
mod slack;
mod webhook;

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use eventlog::Clock;
pub use finding::Unfound;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use crate::{
    Config, Credential, Environment, ExecutorError, OwnLimits, Target,
    form::Form,
    http::{Api, Place},
    routes,
};

/// What one table `[targets.NAME]` of the configuration says; its `kind` says which of the targets it is.
#[derive(Debug, Clone)]
pub struct TargetConfig(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Caldav(caldav::Config),
    Github(github::Config),
    Google(google::Config),
    Jira(jira::Config),
    Pagerduty(pagerduty::Config),
    Slack(slack::Config),
    Webhook(webhook::Config),
}

impl TargetConfig {
    /// What `kind` may be.
    pub const KINDS: [&'static str; 7] =
        ["caldav", "github", "google-calendar", "jira", "pagerduty", "slack", "webhook"];

    /// Reads a table of this kind; `table` is all of it but `kind`. `None`: there is no such kind. Not by a tag: serde would read the table
    /// before it knew what may stand there, and no error could say at which key it is.
    pub fn read<'de, D: Deserializer<'de>>(kind: &str, table: D) -> Option<Result<Self, D::Error>> {
        let read = match kind {
            "caldav" => Deserialize::deserialize(table).map(Kind::Caldav),
            "github" => Deserialize::deserialize(table).map(Kind::Github),
            "google-calendar" => Deserialize::deserialize(table).map(Kind::Google),
            "jira" => Deserialize::deserialize(table).map(Kind::Jira),
            "pagerduty" => Deserialize::deserialize(table).map(Kind::Pagerduty),
            "slack" => Deserialize::deserialize(table).map(Kind::Slack),
            "webhook" => Deserialize::deserialize(table).map(Kind::Webhook),
            _ => return None,
        };
        Some(read.map(Self))
    }

    /// Which of the targets it is: `github`, `jira`, …
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Kind::Caldav(_) => "caldav",
            Kind::Github(_) => "github",
            Kind::Google(_) => "google-calendar",
            Kind::Jira(_) => "jira",
            Kind::Pagerduty(_) => "pagerduty",
            Kind::Slack(_) => "slack",
            Kind::Webhook(_) => "webhook",
        }
    }

    /// Limits that its stack has instead of those of all; for [`Config::own_limits`].
    pub fn limits(&self) -> &OwnLimits {
        match &self.0 {
            Kind::Caldav(config) => &config.limits,
            Kind::Github(config) => &config.limits,
            Kind::Google(config) => &config.limits,
            Kind::Jira(config) => &config.limits,
            Kind::Pagerduty(config) => &config.limits,
            Kind::Slack(config) => &config.limits,
            Kind::Webhook(config) => &config.limits,
        }
    }
}

/// Something in the configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The name of the target whose fault it is; `None`: a route's.
    pub target: Option<String>,
    /// What is wrong, and what to do about it. It begins with the key, and has nothing of a credential in it.
    pub what: String,
}

/// What the configuration names, as far as it can be opened.
pub struct Opened {
    /// In the order of their names, and after them the calendar and notification API.
    pub targets: Vec<Arc<dyn Target>>,
    /// What keeps the others from being opened, and what else is wrong with targets and routes.
    pub faults: Vec<Fault>,
}

/// Every target of `named`, and after them the calendar and notification API. Reads their credentials.
///
/// # Errors
/// [`ExecutorError::Config`], a line for each [`Fault`] that [`open_each`] finds.
pub fn open(
    named: &BTreeMap<String, TargetConfig>,
    config: &Config,
    environment: Environment<'_>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<dyn Target>>, ExecutorError> {
    let Opened { targets, faults } = open_each(named, config, environment, clock);
    if faults.is_empty() {
        return Ok(targets);
    }
    let mut lines: Vec<String> = faults.into_iter().map(|fault| fault.what).collect();
    // The calendar and notification API is one for two targets.
    lines.dedup();
    Err(ExecutorError::Config(lines.join("\n")))
}

/// The same, as far as it goes, with all that is wrong. Reads the credentials.
pub fn open_each(
    named: &BTreeMap<String, TargetConfig>,
    config: &Config,
    environment: Environment<'_>,
    clock: &Arc<dyn Clock>,
) -> Opened {
    let mut opened = Opened { targets: Vec::new(), faults: Vec::new() };
    for (name, target) in named {
        let target = match lasting(name) {
            Ok(name) => {
                let opening = Opening { name, config, environment, clock, faults: RefCell::new(Vec::new()) };
                opening.open(target)
            }
            Err(fault) => Err(vec![fault]),
        };
        opened.take(name, target);
    }
    let of_api = |error: ExecutorError| vec![error.to_string()];
    let calendar = calendar::Calendar::new(config, clock.clone()).map_err(of_api);
    opened.take(calendar::NAME, calendar.map(shared));
    let notification = notification::Notification::new(config, clock.clone()).map_err(of_api);
    opened.take(notification::NAME, notification.map(shared));

    for name in named.keys().filter(|name| !config.routes.iter().any(|route| route.names(name))) {
        let what = format!("targets.{name}: no route names it; say in [[routes]] which actions it carries");
        opened.faults.push(Fault { target: Some(name.clone()), what });
    }
    let names = named.keys().map(String::as_str).chain([calendar::NAME, notification::NAME]).collect();
    let of_routes = routes::faults(&config.routes, &names, &opened.targets);
    opened.faults.extend(of_routes.into_iter().map(|what| Fault { target: None, what }));
    opened
}

impl Opened {
    fn take(&mut self, name: &str, target: Result<Arc<dyn Target>, Vec<String>>) {
        match target {
            Ok(target) => self.targets.push(target),
            Err(faults) => {
                let fault = |what| Fault { target: Some(name.to_owned()), what };
                self.faults.extend(faults.into_iter().map(fault));
            }
        }
    }
}

fn shared(target: impl Target) -> Arc<dyn Target> {
    Arc::new(target)
}

/// A target's name, which becomes a label of metrics and stands in state: it lives as long as the process.
fn lasting(name: &str) -> Result<&'static str, String> {
    let fine = (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fine {
        return Err("targets: a name is 1 to 32 of lower-case letters, digits and dash".to_owned());
    }
    if [calendar::NAME, notification::NAME].contains(&name) {
        return Err(format!(
            "targets.{name}: this is the name of what CALENDAR_API_BASE stands for; choose another"
        ));
    }
    Ok(name.to_owned().leak())
}

/// What a target is opened with.
struct Opening<'a> {
    name: &'static str,
    config: &'a Config,
    environment: Environment<'a>,
    clock: &'a Arc<dyn Clock>,
    /// All that is wrong so far: a target looks at everything before it gives up, so that nobody mends one thing a run.
    faults: RefCell<Vec<String>>,
}

/// There is none; its [`Opening`] has taken note why.
#[derive(Debug)]
struct Refused;

impl Opening<'_> {
    /// The target, unless there is a fault.
    fn open(self, target: &TargetConfig) -> Result<Arc<dyn Target>, Vec<String>> {
        let target = match &target.0 {
            Kind::Caldav(config) => caldav::Caldav::open(config, &self).map(shared),
            Kind::Github(config) => github::Github::open(config, &self).map(shared),
            Kind::Google(config) => google::Google::open(config, &self).map(shared),
            Kind::Jira(config) => jira::Jira::open(config, &self).map(shared),
            Kind::Pagerduty(config) => pagerduty::Pagerduty::open(config, &self).map(shared),
            Kind::Slack(config) => slack::Slack::open(config, &self).map(shared),
            Kind::Webhook(config) => webhook::Webhook::open(config, &self).map(shared),
        };
        let faults = self.faults.into_inner();
        match target {
            Ok(target) if faults.is_empty() => Ok(target),
            _ => Err(faults),
        }
    }

    fn key(&self, key: &str) -> String {
        format!("targets.{}.{key}", self.name)
    }

    /// Takes note of a fault: the target is not opened.
    fn refuse(&self, key: &str, what: &str) -> Refused {
        self.note(format!("{}: {what}", self.key(key)))
    }

    fn note(&self, fault: String) -> Refused {
        self.faults.borrow_mut().push(fault);
        Refused
    }

    fn secret(&self, key: &str, credential: &Credential) -> Result<SecretString, Refused> {
        credential.read(self.environment).map_err(|why| self.refuse(key, &why))
    }

    /// A credential that has to have this form.
    fn formed(&self, key: &str, credential: &Credential, form: &Form) -> Result<SecretString, Refused> {
        let secret = self.secret(key, credential)?;
        match form.fault(secret.expose_secret()) {
            None => Ok(secret),
            Some(fault) => Err(self.refuse(key, fault)),
        }
    }

    /// The API at `base`, which stands under `key`. Nothing of it is told: it may be a secret.
    fn api(&self, key: &str, base: &str, allow_private: bool) -> Result<Api, Refused> {
        let base = reqwest::Url::parse(base).ok().filter(|url| {
            url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        });
        let base =
            base.ok_or_else(|| self.refuse(key, "this is no web address, or one with a user in it"))?;
        let place = Place { key: self.key(key), base, allow_private, proxy: self.config.proxy.clone() };
        let within = self.config.limits_of(self.name).attempt_timeout;
        Api::new(self.name, &place, within, self.clock.clone()).map_err(|error| self.note(error.to_string()))
    }
}
