//! The providers, and the words that differ between them.

use http::HeaderName;

/// Who sends webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// GitHub or GitHub Enterprise.
    Github,
    /// Jira Cloud or Data Center.
    Jira,
    /// PagerDuty, which tells of incidents that were acknowledged.
    Pagerduty,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 3] = [Self::Github, Self::Jira, Self::Pagerduty];

    /// `github`, `jira` or `pagerduty`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Jira => "jira",
            Self::Pagerduty => "pagerduty",
        }
    }

    /// The name a person reads.
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Github => "GitHub",
            Self::Jira => "Jira",
            Self::Pagerduty => "PagerDuty",
        }
    }

    /// The path that receives its deliveries.
    pub fn path(self) -> &'static str {
        match self {
            Self::Github => "/github/issues",
            Self::Jira => "/jira/issues",
            Self::Pagerduty => "/pagerduty/incidents",
        }
    }

    /// The environment variable that holds its secrets.
    pub fn secret_variable(self) -> &'static str {
        match self {
            Self::Github => "GITHUB_WEBHOOK_SECRET",
            Self::Jira => "JIRA_WEBHOOK_SECRET",
            Self::Pagerduty => "PAGERDUTY_WEBHOOK_SECRET",
        }
    }

    /// The header with the signature, [`Provider::signature_scheme`], `=` and 64 lower-case hex digits
    /// (<https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>,
    /// <https://developer.atlassian.com/cloud/jira/platform/webhooks/>,
    /// <https://developer.pagerduty.com/docs/webhooks/webhook-signatures/>).
    pub fn signature_header(self) -> HeaderName {
        match self {
            Self::Github => HeaderName::from_static("x-hub-signature-256"),
            Self::Jira => HeaderName::from_static("x-hub-signature"),
            Self::Pagerduty => HeaderName::from_static("x-pagerduty-signature"),
        }
    }

    /// What stands before a signature: how it was made, each time HMAC-SHA256 over the body.
    pub fn signature_scheme(self) -> &'static str {
        match self {
            Self::Github | Self::Jira => "sha256",
            Self::Pagerduty => "v1",
        }
    }

    /// The header with the delivery's id. It is kept when the provider sends a delivery again.
    pub fn delivery_header(self) -> HeaderName {
        match self {
            Self::Github => HeaderName::from_static("x-github-delivery"),
            Self::Jira => HeaderName::from_static("x-atlassian-webhook-identifier"),
            Self::Pagerduty => HeaderName::from_static("x-webhook-id"),
        }
    }

    /// The header that names the event; Jira and PagerDuty name it in the payload.
    pub fn event_header(self) -> Option<HeaderName> {
        match self {
            Self::Github => Some(HeaderName::from_static("x-github-event")),
            Self::Jira | Self::Pagerduty => None,
        }
    }

    /// The provider whose deliveries come to `path`.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.path() == path)
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Provider {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == name)
            .ok_or_else(|| "unknown provider: say github, jira or pagerduty".to_owned())
    }
}
