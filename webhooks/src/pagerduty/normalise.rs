//! What PagerDuty's payloads mean.

use events::{
    AcknowledgedThrough, EventType, IssueEvent, Source, id, is_issue_key, is_repository, issue_ref_of_github,
    issue_ref_of_jira,
};

use super::payload::Event;
use crate::{
    Projects, clean,
    delivery::{Delivery, Reading, Told, Unreadable},
    instant,
    receive::is_name,
};

/// `incident.acknowledged`.
pub(super) fn acknowledged(delivery: &Delivery<'_>, event: &Event<'_>) -> Result<Reading, Unreadable> {
    let incident = event.data.get().ok_or(Unreadable::because("there is no event.data"))?;
    let Some(issue) = incident.incident_key.text().and_then(Issue::named) else {
        return Ok(Reading::Ignored("incident_not_ours"));
    };
    let agent = event.agent.get().filter(|agent| agent.kind.text() == Some("user_reference"));
    let Some(agent) = agent else { return Ok(Reading::Ignored("not_by_a_person")) };
    let given_id = event.id.text().filter(|id| is_name(id)).or(delivery.id);
    let event_id = id::pagerduty_event(given_id, delivery.body);
    let project = issue.project(&delivery.config.projects);
    let issue_ref = incident.incident_key.text().unwrap_or_default();
    let mut told =
        IssueEvent::new(event_id, project, issue.source(), EventType::IssueAcknowledged, issue_ref);
    match issue {
        Issue::Github { number, .. } => told.issue_number = Some(number),
        Issue::Jira { key } => told.issue_key = Some(key.to_owned()),
    }
    // By name, since that is what people know each other by; the id says nothing outside PagerDuty.
    let name = agent.summary.text().filter(|name| !name.trim().is_empty());
    told.actor = name.or(agent.id.text()).map(clean::name);
    told.updated_at = event.occurred_at.text().and_then(instant::timestamp);
    told.delivery_id = given_id.map(str::to_owned);
    told.through = Some(AcknowledgedThrough::Pagerduty);
    Ok(Reading::Event(Box::new(Told::from(told))))
}

/// The issue that an incident's key names.
#[derive(Debug, PartialEq, Eq)]
enum Issue<'k> {
    Github { repository: &'k str, number: u64 },
    Jira { key: &'k str },
}

impl<'k> Issue<'k> {
    /// Of a key that is an issue's reference, written as we write it.
    fn named(incident_key: &'k str) -> Option<Self> {
        let (issue, written) = match incident_key.split_once(':')? {
            ("github", rest) => {
                let (repository, number) = rest.rsplit_once('#')?;
                let number = number.parse().ok().filter(|_| is_repository(repository))?;
                (Self::Github { repository, number }, issue_ref_of_github(repository, number))
            }
            ("jira", rest) => {
                let (host, key) = rest.rsplit_once('/')?;
                let host = clean::host(&format!("https://{host}/")).filter(|_| is_issue_key(key))?;
                (Self::Jira { key }, issue_ref_of_jira(&host, key))
            }
            _ => return None,
        };
        (written == incident_key).then_some(issue)
    }

    fn project<'p>(&self, projects: &'p Projects) -> &'p str {
        match self {
            Self::Github { repository, .. } => projects.of_repository(repository),
            Self::Jira { key } => projects.of_jira_issue(key),
        }
    }

    fn source(&self) -> Source {
        match self {
            Self::Github { .. } => Source::Github,
            Self::Jira { .. } => Source::Jira,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_ours_leads_back_to_its_issue() {
        let github = Issue::Github { repository: "acme/checkout", number: 12 };
        assert_eq!(Issue::named("github:acme/checkout#12"), Some(github));
        assert_eq!(Issue::named("jira:acme.atlassian.net/OPS-7"), Some(Issue::Jira { key: "OPS-7" }));
        assert_eq!(Issue::named("jira:jira.local:8080/OPS-7"), Some(Issue::Jira { key: "OPS-7" }));
        for not_ours in [
            "",
            "d3640fbd41094207a1c11e58e46b1662",
            "github:",
            "github:acme/checkout",
            "github:acme/checkout#",
            "github:acme/checkout#012",
            "github:acme/checkout#+1",
            "github:acme/checkout#-1",
            "github:acme/checkout#99999999999999999999",
            "github:acme#1",
            "github:acme/a/b#1",
            "github:acme/check out#1",
            "github:acme/checkout/milestone/3",
            "jira:OPS-7",
            "jira:/OPS-7",
            "jira:user@acme.net/OPS-7",
            "jira:acme.net/x/OPS-7",
            "jira:acme.net/OPS",
            "GITHUB:acme/checkout#12",
            "gitlab:acme/checkout#12",
        ] {
            assert_eq!(Issue::named(not_ours), None, "{not_ours}");
        }
    }
}
