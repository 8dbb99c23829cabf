//! What of `[github]` and `[jira]` says what is swept for what never arrived.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use webhooks::{AppKey, GithubHook, GithubSweep, JiraSweep, SweepConfig};

use crate::{
    config::{Project, duration},
    error::Failure,
};

/// `[github]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Github {
    pub(crate) webhook_secret: Option<SecretString>,
    pub(crate) allow_networks: Option<Vec<String>>,
    pub(crate) token: Option<SecretString>,
    api_base: Option<String>,
    app_id: Option<String>,
    private_key_file: Option<PathBuf>,
    hooks: Vec<Hook>,
}

/// `[[github.hooks]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hook {
    repository: Option<String>,
    organisation: Option<String>,
    app: bool,
    id: Option<u64>,
}

/// `[jira]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jira {
    pub(crate) webhook_secret: Option<SecretString>,
    pub(crate) allow_networks: Option<Vec<String>>,
    pub(crate) token: Option<SecretString>,
    api_base: Option<String>,
    email: Option<String>,
    sweep_after: Option<String>,
}

/// What is swept.
#[derive(Debug, Clone)]
pub struct Sweeps {
    /// All but the App's key.
    config: SweepConfig,
    /// The App's id, and the file with its key.
    app: Option<(String, PathBuf)>,
}

impl Sweeps {
    /// Resolves the two sections, whose tokens are complete by now; `None`: nothing is swept.
    pub(crate) fn resolve(
        github: Github,
        jira: Jira,
        every: Option<&str>,
        projects: &BTreeMap<String, Project>,
    ) -> Result<Option<Self>, Failure> {
        let every = duration("webhooks.sweep_every", every.unwrap_or("5m"))?;
        if every < Duration::from_secs(1) {
            return Err(Failure::usage("webhooks.sweep_every must be at least 1s"));
        }
        let app = match (github.app_id.clone(), github.private_key_file.clone()) {
            (Some(id), Some(file)) => Some((id, file)),
            (None, None) => None,
            _ => return Err(Failure::usage("github.app_id and github.private_key_file: set both or none")),
        };
        let github = (!github.hooks.is_empty()).then(|| github_sweep(github)).transpose()?;
        let jira = jira.api_base.is_some().then(|| jira_sweep(jira, projects)).transpose()?;
        let config = SweepConfig { github, jira, every };
        Ok((config.github.is_some() || config.jira.is_some()).then_some(Self { config, app }))
    }

    /// The same with the App's key, which is read here.
    pub(crate) fn config(&self) -> Result<SweepConfig, Failure> {
        let mut config = self.config.clone();
        if let (Some(github), Some((id, file))) = (&mut config.github, &self.app) {
            let pem = std::fs::read(file).map_err(|error| {
                Failure::usage(format!("github.private_key_file: {} cannot be read: {error}", file.display()))
            })?;
            let key = AppKey::new(id.as_str(), &pem).map_err(|error| Failure::usage(error.to_string()))?;
            github.app = Some(key);
        }
        Ok(config)
    }

    /// What is swept, and how often, for people.
    pub(crate) fn told(&self) -> String {
        let SweepConfig { github, jira, every } = &self.config;
        let hooks = github.iter().flat_map(|github| &github.hooks).map(|hook| format!("github {hook}"));
        let sites = jira.iter().map(|jira| format!("jira {}", jira.api_base.host_str().unwrap_or_default()));
        let all: Vec<_> = hooks.chain(sites).collect();
        format!("{}, every {}", all.join(", "), humantime::format_duration(*every))
    }
}

/// What of the file reads as if something were swept, and nothing is. Of the file alone: variables of these names are often there
/// for something else.
pub(crate) fn unswept(github: &Github, jira: &Jira) -> Vec<&'static str> {
    let has = |secret: &Option<SecretString>| {
        secret.as_ref().is_some_and(|secret| !secret.expose_secret().is_empty())
    };
    let github_said = has(&github.token) || github.app_id.is_some() || github.api_base.is_some();
    let jira_said = has(&jira.token) || jira.email.is_some() || jira.sweep_after.is_some();
    let of_github = (github_said && github.hooks.is_empty()).then_some(
        "[github] says how to ask GitHub for deliveries that were lost, and not of which hooks: nothing is swept there; \
         add [[github.hooks]] with repository and id",
    );
    let of_jira = (jira_said && jira.api_base.is_none()).then_some(
        "[jira] says how to search Jira for what was lost, and not where: nothing is swept there; add api_base, such as \
         https://example.atlassian.net",
    );
    of_github.into_iter().chain(of_jira).collect()
}

fn github_sweep(github: Github) -> Result<GithubSweep, Failure> {
    let base = github.api_base.as_deref().unwrap_or("https://api.github.com");
    Ok(GithubSweep {
        api_base: address("github.api_base", base)?,
        token: github.token,
        app: None,
        hooks: github.hooks.into_iter().map(hook).collect::<Result<_, _>>()?,
    })
}

fn hook(hook: Hook) -> Result<GithubHook, Failure> {
    let name = |text: &str| {
        (1..=100).contains(&text.len())
            && !matches!(text, "." | "..")
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match hook {
        Hook { repository: Some(repository), organisation: None, app: false, id: Some(id) } => {
            let parts = repository.split_once('/').is_some_and(|(owner, repo)| name(owner) && name(repo));
            if !parts {
                return Err(Failure::usage(format!(
                    "github.hooks: {repository:?} is no repository; write owner/repo"
                )));
            }
            Ok(GithubHook::Repository { repository, id })
        }
        Hook { repository: None, organisation: Some(organisation), app: false, id: Some(id) } => {
            if !name(&organisation) {
                return Err(Failure::usage(format!("github.hooks: {organisation:?} is no organisation")));
            }
            Ok(GithubHook::Organisation { organisation, id })
        }
        Hook { repository: None, organisation: None, app: true, id: None } => Ok(GithubHook::App),
        _ => Err(Failure::usage(
            "github.hooks: each has `repository` and `id`, or `organisation` and `id`, or `app = true` alone",
        )),
    }
}

fn jira_sweep(jira: Jira, projects: &BTreeMap<String, Project>) -> Result<JiraSweep, Failure> {
    let Some(token) = jira.token else {
        return Err(Failure::usage(
            "jira.api_base is set, and no token to search there with: set JIRA_TOKEN, or leave api_base out",
        ));
    };
    let keys: Vec<String> =
        projects.values().flat_map(|project| &project.jira).map(|key| key.to_uppercase()).collect();
    let is_key =
        |key: &String| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if let Some(key) = keys.iter().find(|key| !is_key(key)) {
        return Err(Failure::usage(format!("projects: {key:?} is no key of a Jira project")));
    }
    Ok(JiraSweep {
        api_base: address("jira.api_base", jira.api_base.as_deref().unwrap_or_default())?,
        email: jira.email.filter(|email| !email.is_empty()),
        token,
        projects: keys,
        after: duration("jira.sweep_after", jira.sweep_after.as_deref().unwrap_or("90m"))?,
    })
}

fn address(key: &str, text: &str) -> Result<reqwest::Url, Failure> {
    text.parse().map_err(|_| Failure::usage(format!("{key} is no address; write e.g. https://example.com")))
}
