//! What a sweeper is told.

use std::{fmt, time::Duration};

use reqwest::Url;
use secrecy::SecretString;

use super::AppKey;

/// What a [`super::Sweeper`] is told.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// GitHub's hooks, where any are to be swept.
    pub github: Option<GithubSweep>,
    /// Jira, where it is to be swept.
    pub jira: Option<JiraSweep>,
    /// From the end of one sweep to the beginning of the next.
    pub every: Duration,
}

/// Whose deliveries are listed at GitHub.
#[derive(Debug, Clone)]
pub struct GithubSweep {
    /// `https://api.github.com`; of an Enterprise Server `https://HOST/api/v3`.
    pub api_base: Url,
    /// A token that may read the deliveries of repositories' and organisations' hooks.
    pub token: Option<SecretString>,
    /// The key of the GitHub App whose own hook is swept.
    pub app: Option<AppKey>,
    /// The hooks.
    pub hooks: Vec<GithubHook>,
}

/// A hook at GitHub. Its id is the number at the end of its address in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GithubHook {
    /// Of a repository.
    Repository {
        /// `owner/repo`.
        repository: String,
        /// The hook's id.
        id: u64,
    },
    /// Of an organisation.
    Organisation {
        /// Its login.
        organisation: String,
        /// The hook's id.
        id: u64,
    },
    /// The one hook of a GitHub App.
    App,
}

impl fmt::Display for GithubHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { repository, id } => write!(f, "{repository}#{id}"),
            Self::Organisation { organisation, id } => write!(f, "{organisation}#{id}"),
            Self::App => f.write_str("app"),
        }
    }
}

/// Whom Jira is asked as, and for what.
#[derive(Debug, Clone)]
pub struct JiraSweep {
    /// The site's own address, such as `https://example.atlassian.net`.
    pub api_base: Url,
    /// The account of an API token (Cloud). Without one, the token is a personal access token (Data Center).
    pub email: Option<String>,
    /// The token.
    pub token: SecretString,
    /// Keys of the projects to ask for; none: all that the account sees.
    pub projects: Vec<String>,
    /// How long Jira is left to send by itself: it tries a webhook again for a while.
    pub after: Duration,
}

/// Why a sweeper cannot be made. Says which key of the configuration to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SweepError(pub(super) String);
