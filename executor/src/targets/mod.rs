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

use std::{collections::BTreeMap, sync::Arc};

use eventlog::Clock;
pub use finding::Unfound;
use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    Config, Credential, Environment, ExecutorError, OwnLimits, Target,
    http::{Api, Place},
};

/// What one table `[targets.NAME]` of the configuration says; its `kind` says which of the targets it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct TargetConfig(Kind);

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kind {
    Caldav(caldav::Config),
    Github(github::Config),
    #[serde(rename = "google-calendar")]
    Google(google::Config),
    Jira(jira::Config),
    Pagerduty(pagerduty::Config),
    Slack(slack::Config),
    Webhook(webhook::Config),
}

impl TargetConfig {
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

/// Every target of `named`, and after them the calendar and notification API. Reads their credentials.
///
/// # Errors
/// [`ExecutorError::Config`], which begins with the key that is wrong.
pub fn open(
    named: &BTreeMap<String, TargetConfig>,
    config: &Config,
    environment: Environment<'_>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<dyn Target>>, ExecutorError> {
    let mut targets: Vec<Arc<dyn Target>> = Vec::new();
    for (name, target) in named {
        let opening = Opening { name: lasting(name)?, config, environment, clock };
        if let Some((key, what)) = target.limits().unfit() {
            return Err(opening.refuse(key, &what));
        }
        targets.push(match &target.0 {
            Kind::Caldav(config) => Arc::new(caldav::Caldav::open(config, &opening)?),
            Kind::Github(config) => Arc::new(github::Github::open(config, &opening)?),
            Kind::Google(config) => Arc::new(google::Google::open(config, &opening)?),
            Kind::Jira(config) => Arc::new(jira::Jira::open(config, &opening)?),
            Kind::Pagerduty(config) => Arc::new(pagerduty::Pagerduty::open(config, &opening)?),
            Kind::Slack(config) => Arc::new(slack::Slack::open(config, &opening)?),
            Kind::Webhook(config) => Arc::new(webhook::Webhook::open(config, &opening)?),
        });
    }
    targets.push(Arc::new(calendar::Calendar::new(config, clock.clone())?));
    targets.push(Arc::new(notification::Notification::new(config, clock.clone())?));
    crate::routes::check(&config.routes, &targets)?;
    if let Some(name) = named.keys().find(|name| !config.routes.iter().any(|route| route.names(name))) {
        return Err(ExecutorError::Config(format!(
            "targets.{name}: no route names it; say in [[routes]] which actions it carries"
        )));
    }
    Ok(targets)
}

/// A target's name, which becomes a label of metrics and stands in state: it lives as long as the process.
fn lasting(name: &str) -> Result<&'static str, ExecutorError> {
    let fine = (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fine {
        return Err(ExecutorError::Config(
            "targets: a name is 1 to 32 of lower-case letters, digits and dash".to_owned(),
        ));
    }
    if [calendar::NAME, notification::NAME].contains(&name) {
        return Err(ExecutorError::Config(format!(
            "targets.{name}: this is the name of what CALENDAR_API_BASE stands for; choose another"
        )));
    }
    Ok(name.to_owned().leak())
}

/// What a target is opened with.
struct Opening<'a> {
    name: &'static str,
    config: &'a Config,
    environment: Environment<'a>,
    clock: &'a Arc<dyn Clock>,
}

impl Opening<'_> {
    fn key(&self, key: &str) -> String {
        format!("targets.{}.{key}", self.name)
    }

    fn refuse(&self, key: &str, what: &str) -> ExecutorError {
        ExecutorError::Config(format!("{}: {what}", self.key(key)))
    }

    fn secret(&self, key: &str, credential: &Credential) -> Result<SecretString, ExecutorError> {
        credential.read(&self.key(key), self.environment)
    }

    /// The API at `base`, which stands under `key`. Nothing of it is told: it may be a secret.
    fn api(&self, key: &str, base: &str, allow_private: bool) -> Result<Api, ExecutorError> {
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
        Api::new(self.name, &place, within, self.clock.clone())
    }
}
