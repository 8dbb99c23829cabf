//! `issue_ref`: the one name of an issue, whichever provider it lives at.

use crate::Source;

/// The longest `owner/repo`, in bytes; GitHub allows 39 + 1 + 100.
const MAX_REPOSITORY_BYTES: usize = 200;
/// The longest key of a Jira issue, in bytes; a project's has at most 255 characters on Data Center.
const MAX_KEY_BYTES: usize = 300;

/// `github:owner/repo#12`. GitHub treats owner and repository without regard to case, so they are lower-cased.
pub fn issue_ref_of_github(repo: &str, number: u64) -> String {
    format!("github:{}#{number}", repo.to_lowercase())
}

/// `jira:host/KEY-7`.
pub fn issue_ref_of_jira(host: &str, key: &str) -> String {
    format!("jira:{}/{key}", host.to_lowercase())
}

/// `github:owner/repo/milestone/3`: what a milestone's own event refers to; it concerns the milestone's open issues.
pub fn issue_ref_of_milestone(repo: &str, number: u64) -> String {
    format!("github:{}/milestone/{number}", repo.to_lowercase())
}

/// Whether a provider's issue, or milestone, can have this name, case aside.
pub fn is_issue_ref(source: Source, text: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    match (source, text.split_once(':')) {
        (Source::Github, Some(("github", rest))) => {
            let parts = rest.rsplit_once('#').or_else(|| rest.rsplit_once("/milestone/"));
            parts.is_some_and(|(repo, n)| is_repository(repo) && number(n).is_some())
        }
        (Source::Jira, Some(("jira", rest))) => {
            let parts = rest.rsplit_once('/');
            parts.is_some_and(|(host, key)| is_host(host) && is_issue_key(key))
        }
        _ => false,
    }
}

/// Whether GitHub's repositories can have this name: `owner/repo`.
pub fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    name.len() <= MAX_REPOSITORY_BYTES
        && name.split_once('/').is_some_and(|(owner, repo)| part(owner) && part(repo))
}

/// Whether Jira's issues can have this key: `KEY-7`.
pub fn is_issue_key(key: &str) -> bool {
    key.len() <= MAX_KEY_BYTES
        && key.rsplit_once('-').is_some_and(|(project, number)| {
            project.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && project.starts_with(|c: char| c.is_ascii_alphabetic())
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
        })
}

/// A name or address, with a port where one is written.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_here_is_known_and_nothing_else() {
        for (source, text) in [
            (Source::Github, issue_ref_of_github("Acme/check.out_2-b", 12)),
            (Source::Github, issue_ref_of_milestone("Acme/checkout", 3)),
            (Source::Jira, issue_ref_of_jira("Acme.atlassian.net", "OPS-7")),
            (Source::Jira, issue_ref_of_jira("[::1]:8080", "A_B2-1")),
        ] {
            assert!(is_issue_ref(source, &text), "{text}");
            let other = if source == Source::Jira { Source::Github } else { Source::Jira };
            assert!(!is_issue_ref(other, &text), "{text}");
        }
        for text in [
            "",
            "github:",
            "acme/checkout#1",
            "github:acme/checkout",
            "github:acme/checkout#",
            "github:acme/checkout#one",
            "github:acme/checkout#01",
            "github:acme/checkout#+1",
            "github:acme/check out#1",
            "github:acme/check\u{7}out#1",
            "github:acme/checkout#1\n",
            "github:a/b/c#1",
            "github:acme/b\u{fc}cher#1",
        ] {
            assert!(!is_issue_ref(Source::Github, text), "{text:?}");
        }
        for text in ["jira:OPS-7", "jira:/OPS-7", "jira:a b/OPS-7", "jira:a.test/OPS", "jira:a.test/7-7"] {
            assert!(!is_issue_ref(Source::Jira, text), "{text:?}");
        }
    }
}
