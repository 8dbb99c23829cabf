//! Who we are at each provider.
//!
//! What our own actions do comes back as a webhook. That it was us is told by who did it, which the provider signs. The marker in a
//! comment of ours does not tell: whoever can read a comment can copy it.

use std::collections::HashSet;

use crate::Provider;

/// The accounts by which our own actions are done. Names are compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    github: HashSet<String>,
    jira: HashSet<String>,
}

impl Accounts {
    /// GitHub logins (an App's is `name[bot]`), and Jira accountIds (on Data Center user names).
    pub fn new<S: AsRef<str>>(
        github: impl IntoIterator<Item = S>,
        jira: impl IntoIterator<Item = S>,
    ) -> Self {
        let lower = |name: S| name.as_ref().to_lowercase();
        Self { github: github.into_iter().map(lower).collect(), jira: jira.into_iter().map(lower).collect() }
    }

    /// Whether it is known who we are at `provider`.
    pub fn are_known(&self, provider: Provider) -> bool {
        self.of(provider).is_some()
    }

    /// Whether `actor`, as events name people, is one of our accounts.
    pub(crate) fn have(&self, provider: Provider, actor: Option<&str>) -> bool {
        let accounts = self.of(provider).zip(actor);
        accounts.is_some_and(|(accounts, actor)| accounts.contains(&actor.to_lowercase()))
    }

    /// None where none is named; at PagerDuty we only send events, which no account does.
    fn of(&self, provider: Provider) -> Option<&HashSet<String>> {
        let accounts = match provider {
            Provider::Github => &self.github,
            Provider::Jira => &self.jira,
            Provider::Pagerduty => return None,
        };
        Some(accounts).filter(|accounts| !accounts.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_ours_at_its_own_provider() {
        let accounts = Accounts::new(["Breakdown[bot]"], ["5B10a"]);
        assert!(accounts.have(Provider::Github, Some("breakdown[bot]")));
        assert!(accounts.have(Provider::Jira, Some("5b10A")));
        assert!(!accounts.have(Provider::Jira, Some("breakdown[bot]")));
        assert!(
            !accounts.have(Provider::Github, Some("breakdown")) && !accounts.have(Provider::Github, None)
        );
        assert!(!Accounts::default().have(Provider::Github, Some("")));
        assert!(accounts.are_known(Provider::Jira) && !Accounts::default().are_known(Provider::Jira));
    }
}
