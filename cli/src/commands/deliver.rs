//! `breakdown deliver`: a webhook, signed as the provider would.

use std::{process::ExitCode, time::Duration};

use secrecy::ExposeSecret;
use serde::{Deserialize, de::IgnoredAny};
use webhooks::{Provider, Secrets, sign};

use crate::{
    args::{Deliver, ProviderName},
    commands::read_input,
    config::Settings,
    error::Failure,
    serve::reachable,
};

impl From<ProviderName> for Provider {
    fn from(name: ProviderName) -> Self {
        match name {
            ProviderName::Github => Self::Github,
            ProviderName::Jira => Self::Jira,
            ProviderName::Pagerduty => Self::Pagerduty,
        }
    }
}

/// How long a receiver may take to answer; GitHub itself waits 10 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest payload: a receiver takes no larger one.
const MAX_BYTES: u64 = 25 << 20;

/// Sends the file, prints status and body; exit 1 unless the answer is 2xx.
pub(crate) async fn run(settings: &Settings, args: Deliver) -> Result<ExitCode, Failure> {
    let provider = Provider::from(args.provider);
    let configured = match provider {
        Provider::Github => &settings.github_secret,
        Provider::Jira => &settings.jira_secret,
        Provider::Pagerduty => &settings.pagerduty_secret,
    };
    let variable = args.secret_env.as_deref().unwrap_or(provider.secret_variable());
    let secret = match &args.secret_env {
        Some(variable) => std::env::var(variable).ok().filter(|secret| !secret.is_empty()),
        None => configured.as_ref().map(|secret| secret.expose_secret().to_owned()),
    };
    let secret = secret
        .ok_or_else(|| Failure::usage(format!("{variable} is not set: it must hold the webhook secret")))?;
    let secrets = Secrets::parse(&secret).map_err(|error| Failure::usage(format!("{variable}: {error}")))?;
    let body = read_input(&args.file, MAX_BYTES)?;
    let url = args
        .url
        .unwrap_or_else(|| format!("http://{}{}", reachable(settings.webhooks_listen.at), provider.path()));
    let delivery_id = args.delivery_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let event = args.event.as_deref().unwrap_or_else(|| event_of(&body));
    let headers = sign(provider, &secrets, event, &delivery_id, &body);
    let answer = send(&url, headers, body).await?;
    say!("{} {}", answer.status, answer.body);
    Ok(if (200..300).contains(&answer.status) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// GitHub's name of the event that a payload tells of, which it says in a header only.
fn event_of(body: &[u8]) -> &'static str {
    #[derive(Default, Deserialize)]
    struct Told {
        issue: Option<IgnoredAny>,
        comment: Option<IgnoredAny>,
        milestone: Option<IgnoredAny>,
    }
    // What is no payload is sent all the same: the receiver says what is wrong with it.
    let told: Told = serde_json::from_slice(body).unwrap_or_default();
    match (told.issue, told.comment, told.milestone) {
        (Some(_), Some(_), _) => "issue_comment",
        (None, _, Some(_)) => "milestone",
        _ => "issues",
    }
}

/// What a receiver answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Posts a signed delivery.
pub(crate) async fn send(
    url: &str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
) -> Result<Answer, Failure> {
    let failed = |error: reqwest::Error| {
        // reqwest's own text stops at "error sending request"; the cause says why.
        let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
        let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
        Failure::failed(format!(
            "the delivery to {url} failed: {why}; is `breakdown serve` running there? --url or BREAKDOWN_WEBHOOKS_LISTEN names another address"
        ))
    };
    let at =
        reqwest::Url::parse(url).map_err(|error| Failure::usage(format!("{url:?} is no URL: {error}")))?;
    let client = executor::http_client(&at, PATIENCE)
        .map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
    let mut request = client.post(at).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(failed)?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.text().await.map_err(failed)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_known_by_the_payload() {
        let of = |body: &str| event_of(body.as_bytes());
        assert_eq!(of(include_str!("../../../samples/deliveries/github-comment-ack.json")), "issue_comment");
        assert_eq!(of(include_str!("../../../samples/deliveries/github-issue-closed-p0.json")), "issues");
        assert_eq!(of(r#"{"action":"milestoned","issue":{"milestone":{}},"milestone":{}}"#), "issues");
        assert_eq!(of(r#"{"action":"edited","milestone":{"number":1},"sender":{}}"#), "milestone");
        assert_eq!(of("no payload"), "issues");
    }
}
