//! `issue_ref`: the one name of an issue, whichever provider it lives at.

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
