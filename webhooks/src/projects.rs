//! Which project an issue belongs to, and in which time zone that project's days end.

use std::collections::HashMap;

use chrono_tz::Tz;

/// Which project a repository or a Jira key belongs to, and each project's time zone. Repositories and Jira keys are
/// compared without regard to case.
#[derive(Debug, Clone)]
pub struct Projects {
    fallback: String,
    repositories: HashMap<String, String>,
    jira_keys: HashMap<String, String>,
    zones: HashMap<String, Tz>,
}

impl Default for Projects {
    /// Everything belongs to `alpha`, in UTC.
    fn default() -> Self {
        Self::new("alpha")
    }
}

impl Projects {
    /// Everything that is not mapped belongs to `fallback` (`PROJECT_ID`).
    pub fn new(fallback: impl Into<String>) -> Self {
        Self {
            fallback: fallback.into(),
            repositories: HashMap::new(),
            jira_keys: HashMap::new(),
            zones: HashMap::new(),
        }
    }

    /// Maps `owner/repo` to `project`; returns the project it was mapped to before.
    pub fn map_repository(&mut self, repository: &str, project: impl Into<String>) -> Option<String> {
        self.repositories.insert(repository.to_lowercase(), project.into())
    }

    /// Maps the Jira project key `key` (the `OPS` of `OPS-7`) to `project`; returns the project it was mapped to before.
    pub fn map_jira(&mut self, key: &str, project: impl Into<String>) -> Option<String> {
        self.jira_keys.insert(key.to_uppercase(), project.into())
    }

    /// Sets the time zone in which `project`'s days end; UTC where none is set.
    pub fn set_time_zone(&mut self, project: impl Into<String>, zone: Tz) {
        self.zones.insert(project.into(), zone);
    }

    /// The project of `owner/repo`.
    pub fn of_repository(&self, repository: &str) -> &str {
        self.repositories.get(&repository.to_lowercase()).unwrap_or(&self.fallback)
    }

    /// The project of the Jira issue `key`, such as `OPS-7`.
    pub fn of_jira_issue(&self, key: &str) -> &str {
        let project = key.rsplit_once('-').map_or(key, |(project, _)| project);
        self.jira_keys.get(&project.to_uppercase()).unwrap_or(&self.fallback)
    }

    /// The time zone of `project`.
    pub fn time_zone(&self, project: &str) -> Tz {
        self.zones.get(project).copied().unwrap_or(Tz::UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_without_regard_to_case() {
        let mut projects = Projects::new("alpha");
        projects.map_repository("Acme/Checkout", "shop");
        projects.map_jira("ops", "run");
        projects.set_time_zone("shop", Tz::Europe__Berlin);
        assert_eq!(projects.of_repository("acme/CHECKOUT"), "shop");
        assert_eq!(projects.of_repository("acme/other"), "alpha");
        assert_eq!(projects.of_jira_issue("OPS-7"), "run");
        assert_eq!(projects.of_jira_issue("OPSX-7"), "alpha");
        assert_eq!(projects.time_zone("shop"), Tz::Europe__Berlin);
        assert_eq!(projects.time_zone("alpha"), Tz::UTC);
    }

    #[test]
    fn says_what_a_key_was_mapped_to() {
        let mut projects = Projects::new("alpha");
        assert_eq!(projects.map_jira("OPS", "run"), None);
        assert_eq!(projects.map_jira("Ops", "walk"), Some("run".to_owned()));
    }
}
