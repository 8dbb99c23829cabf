//! Events for the gateway, put on `issues` by hand: each about an issue of its own, and each fires one rule of the sample policy.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Log, partition_of};
use events::{EventType, IssueEvent, IssueState, Message, Said, Source, id, topic};
use gateway::GROUP;

use crate::{
    Result,
    log::{self, SystemClock, record},
};

/// Records appended at once.
const BATCH: u64 = 500;

/// Events by number, from 0.
pub(crate) struct Filling {
    /// Tells this run's events from those of others.
    run: u32,
    projects: Vec<String>,
    now: DateTime<Utc>,
    /// The number of the next.
    pub(crate) next: u64,
}

impl Filling {
    /// Events spread over so many projects, one a partition as far as there are partitions.
    pub(crate) fn new(run: u32, projects: u64) -> Self {
        Self { run, projects: projects_over_partitions(projects), now: SystemClock.now(), next: 0 }
    }

    /// Appends the next `count` events.
    pub(crate) async fn append(&mut self, log: &dyn Log, count: u64) -> Result<()> {
        let end = self.next + count;
        while self.next < end {
            let last = end.min(self.next + BATCH);
            let records = (self.next..last).map(|n| Ok(record(self.event(n)?))).collect::<Result<_>>()?;
            log.append(records).await?;
            self.next = last;
        }
        Ok(())
    }

    /// Appends events again that were appended before, as redelivered ones are.
    pub(crate) async fn repeat(&self, log: &dyn Log, numbers: impl Iterator<Item = u64>) -> Result<()> {
        log.append(numbers.map(|n| Ok(record(self.event(n)?))).collect::<Result<_>>()?).await?;
        Ok(())
    }

    /// Event `n`: by turns a p0 bug, a frontend issue, an overdue Jira issue and one for triage, each turn in every project.
    fn event(&self, n: u64) -> serde_json::Result<Message> {
        let Self { run, projects, now, .. } = self;
        let (turn, nth) = (n / projects.len() as u64, (n % projects.len() as u64) as usize);
        let (project, number, unique) = (&projects[nth], turn + 1, format!("{run}/{n}"));
        let labels: &[&str] = match turn % 4 {
            0 => &["bug", "p0"],
            1 => &["frontend"],
            2 => &["overdue"],
            _ => &[],
        };
        let mut event = if turn % 4 == 2 {
            let (site, key) = ("bench.atlassian.net", format!("B{nth}-{number}"));
            let (id, issue) =
                (id::jira_event(site, Some(&unique), b""), events::issue_ref_of_jira(site, &key));
            let mut event = IssueEvent::new(id, project, Source::Jira, EventType::IssueCreated, issue);
            event.url = Said::Value(format!("https://{site}/browse/{key}"));
            event.issue_key = Some(key);
            event.due_at = Said::Value(*now - TimeDelta::hours(1));
            event
        } else {
            let repo = format!("octo/{project}");
            let (id, issue) = (
                id::github_event("github.com", Some(&unique), b""),
                events::issue_ref_of_github(&repo, number),
            );
            let mut event = IssueEvent::new(id, project, Source::Github, EventType::IssueOpened, issue);
            event.url = Said::Value(format!("https://github.com/{repo}/issues/{number}"));
            event.repo = Some(repo);
            event.issue_number = Some(number);
            event
        };
        event.title = Said::Value(format!("Something is to be done, number {number}"));
        event.labels = Said::Value(labels.iter().map(|label| (*label).to_owned()).collect());
        event.assignee = Said::Value("maria".into());
        event.assignees = Said::Value(vec!["maria".into()]);
        event.status = Said::Value("open".into());
        event.state = Said::Value(IssueState::Open);
        event.created_at = Some(*now);
        event.updated_at = Some(*now);
        event.actor = Some("tom".into());
        event.delivery_id = Some(unique.clone());
        event.to_message(Some(&id::payload_hash(unique.as_bytes())))
    }
}

/// Names of projects, of which any that follow each other lie in different partitions.
fn projects_over_partitions(count: u64) -> Vec<String> {
    let mut names = (0_u32..).map(|n| format!("bench-{n}"));
    let next = |partition| names.find(|name| partition_of(name.as_bytes(), log::PARTITIONS) == partition);
    (0..log::PARTITIONS).cycle().map_while(next).take(count as usize).collect()
}

/// First and end offset of each partition.
pub(crate) async fn bounds(log: &dyn Log, topic: &str) -> Result<BTreeMap<u32, (u64, u64)>> {
    let topics = log.topics().await?;
    let info =
        topics.into_iter().find(|info| info.name == topic).ok_or_else(|| format!("no topic {topic}"))?;
    Ok((0..).zip(info.partitions.iter().map(|bounds| (bounds.first, bounds.end))).collect())
}

/// Says so where `issues` has records: a bench wants a log of its own.
pub(crate) async fn expect_empty(log: &dyn Log) -> Result<()> {
    match bounds(log, topic::ISSUES).await?.values().any(|(_, end)| *end > 0) {
        true => Err("issues has records already: use an empty data directory, or bench wipe".into()),
        false => Ok(()),
    }
}

/// How many events the gateway has yet to decide.
pub(crate) async fn behind(log: &dyn Log) -> Result<u64> {
    let mut left = bounds(log, topic::ISSUES).await?;
    for offset in log.groups().await? {
        if offset.group == GROUP
            && offset.topic == topic::ISSUES
            && let Some((first, _)) = left.get_mut(&offset.partition)
        {
            *first = offset.committed.max(*first);
        }
    }
    Ok(left.values().map(|(next, end)| end.saturating_sub(*next)).sum())
}

/// Where each partition of a topic ends.
pub(crate) async fn ends(log: &dyn Log, topic: &str) -> Result<Vec<(u32, u64)>> {
    Ok(bounds(log, topic).await?.into_iter().map(|(partition, (_, end))| (partition, end)).collect())
}

/// How many records a topic has from the given offsets on. (Offsets do not tell: on a broker the markers of transactions
/// take some.)
pub(crate) async fn count(log: &dyn Log, topic: &str, from: &[(u32, u64)]) -> Result<u64> {
    let mut reader = log.read(topic, from).await?;
    let mut count = 0;
    while !reader.at_end().await? {
        count += reader.next(std::time::Duration::from_secs(1)).await?.len() as u64;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn projects_take_the_partitions_by_turns() {
        let names = projects_over_partitions(19);
        let partitions: Vec<_> =
            names.iter().map(|name| partition_of(name.as_bytes(), log::PARTITIONS)).collect();
        assert_eq!(partitions, (0..8).cycle().take(19).collect::<Vec<_>>());
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 19);
    }

    #[test]
    fn every_event_is_about_an_issue_of_its_own() {
        let filling = Filling::new(7, 3);
        let (mut issues, mut ids) = (HashSet::new(), HashSet::new());
        for n in 0..50 {
            let message = filling.event(n).unwrap();
            let event: IssueEvent = serde_json::from_slice(&message.value).unwrap();
            assert_eq!(message.key, filling.projects[(n % 3) as usize]);
            issues.insert(event.issue_ref);
            ids.insert(event.event_id);
        }
        assert_eq!((issues.len(), ids.len()), (50, 50));
    }
}
