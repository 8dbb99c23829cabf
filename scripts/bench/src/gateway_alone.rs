//! `bench gateway`: from `issues` to `actions`, nothing else running.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Log, partition_of};
use events::{EventType, IssueEvent, IssueState, Message, Said, Source, id, topic};
use gateway::{GROUP, Gateway};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    log::{self, SystemClock, Which, record, run_number},
    measured,
    watched::{Watch, Watched},
};

/// Records appended at once while filling.
const FILL: u64 = 500;
/// How long the gateway may take; a stall is an error, not a low figure.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    log: Which,
    /// How many events, each about an issue of its own that fires a rule of the sample policy
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Over how many projects they spread; one a partition as far as there are partitions
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    projects: u64,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "samples/policy.yaml")]
    policy: PathBuf,
    /// Name of the result
    #[arg(long)]
    label: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let text = std::fs::read_to_string(&args.policy)
        .map_err(|error| format!("cannot read the policy {}: {error}", args.policy.display()))?;
    let ruleset = policy::load(&text).map_err(|mistakes| {
        let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        mistakes.join("\n")
    })?;
    let log = args.log.hold()?;
    log.create_topics(&log::topics()).await?;
    if bounds(&*log, topic::ISSUES).await?.values().any(|(_, end)| *end > 0) {
        return Err("issues has records already: use an empty data directory, or bench wipe".into());
    }

    let began = Instant::now();
    fill(&*log, args.events, args.projects).await?;
    let filling = began.elapsed();
    let ends: BTreeMap<u32, u64> = bounds(&*log, topic::ISSUES)
        .await?
        .into_iter()
        .filter(|(_, (first, end))| end > first)
        .map(|(partition, (_, end))| (partition, end))
        .collect();

    let watch = Arc::new(Watch::default());
    let watched = Watched { log: Arc::clone(&log), watch: Arc::clone(&watch) };
    let gateway = Gateway::new(Arc::new(watched), Arc::new(SystemClock), Arc::new(ruleset));
    let stop = CancellationToken::new();
    let started = Instant::now();
    let mut running = tokio::spawn(gateway.run(stop.clone()));
    let seen = tokio::select! {
        seen = tokio::time::timeout(PATIENCE, watch.reached(&ends)) => seen,
        ended = &mut running => {
            ended??;
            return Err("the gateway stopped by itself".into());
        }
    };
    let seen =
        seen.map_err(|_| format!("not at the end after {} s: {:?}", PATIENCE.as_secs(), watch.seen()))?;
    // What the watch saw is what the log says.
    let behind: u64 = log
        .groups()
        .await?
        .iter()
        .filter(|offset| offset.group == GROUP && offset.topic == topic::ISSUES)
        .map(|offset| offset.lag())
        .sum();
    stop.cancel();
    running.await??;
    if behind > 0 || seen.failed > 0 {
        return Err(
            format!("{behind} records behind after {} failed steps: measure again", seen.failed).into()
        );
    }

    let (first, last) = seen.first.zip(seen.last).ok_or("no records came")?;
    let seconds = (last - first).as_secs_f64();
    measured::print(
        args.label.as_deref(),
        json!({
            "events": seen.records,
            "projects": args.projects,
            "partitions": ends.len(),
            "seconds": seconds,
            "events_per_second": seen.records as f64 / seconds,
            "steps": seen.steps,
            "actions": count(&*log, topic::ACTIONS).await?,
            "joined_after_ms": (first - started).as_secs_f64() * 1e3,
            "fill_per_second": args.events as f64 / filling.as_secs_f64(),
        }),
    );
    Ok(())
}

/// First and end offset of each partition.
async fn bounds(log: &dyn Log, topic: &str) -> Result<BTreeMap<u32, (u64, u64)>> {
    let topics = log.topics().await?;
    let info =
        topics.into_iter().find(|info| info.name == topic).ok_or_else(|| format!("no topic {topic}"))?;
    Ok((0..).zip(info.partitions.iter().map(|bounds| (bounds.first, bounds.end))).collect())
}

/// How many records a topic has. (Offsets do not tell: on a broker the markers of transactions take some.)
async fn count(log: &dyn Log, topic: &str) -> Result<usize> {
    let from: Vec<_> =
        bounds(log, topic).await?.into_iter().map(|(partition, (first, _))| (partition, first)).collect();
    let mut reader = log.read(topic, &from).await?;
    let mut count = 0;
    while !reader.at_end().await? {
        count += reader.next(Duration::from_secs(1)).await?.len();
    }
    Ok(count)
}

async fn fill(log: &dyn Log, events: u64, projects: u64) -> Result<()> {
    let (run, now) = (run_number(), SystemClock.now());
    let projects = projects_over_partitions(projects);
    for begin in (0..events).step_by(FILL as usize) {
        let messages = (begin..events.min(begin + FILL)).map(|n| event(run, n, &projects, now));
        let records = messages.map(|message| Ok(record(message?))).collect::<Result<Vec<_>>>()?;
        log.append(records).await?;
    }
    Ok(())
}

/// Names of projects, of which any that follow each other lie in different partitions.
fn projects_over_partitions(count: u64) -> Vec<String> {
    let mut names = (0_u32..).map(|n| format!("bench-{n}"));
    let next = |partition| names.find(|name| partition_of(name.as_bytes(), log::PARTITIONS) == partition);
    (0..log::PARTITIONS).cycle().map_while(next).take(count as usize).collect()
}

/// Event `n`: by turns a p0 bug, a frontend issue, an overdue Jira issue and one for triage, each turn in every project.
fn event(run: u32, n: u64, projects: &[String], now: DateTime<Utc>) -> serde_json::Result<Message> {
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
        let (id, issue) = (id::jira_event(site, Some(&unique), b""), events::issue_ref_of_jira(site, &key));
        let mut event = IssueEvent::new(id, project, Source::Jira, EventType::IssueCreated, issue);
        event.url = Said::Value(format!("https://{site}/browse/{key}"));
        event.issue_key = Some(key);
        event.due_at = Said::Value(now - TimeDelta::hours(1));
        event
    } else {
        let repo = format!("octo/{project}");
        let (id, issue) =
            (id::github_event("github.com", Some(&unique), b""), events::issue_ref_of_github(&repo, number));
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
    event.created_at = Some(now);
    event.updated_at = Some(now);
    event.actor = Some("tom".into());
    event.delivery_id = Some(unique.clone());
    event.to_message(Some(&id::payload_hash(unique.as_bytes())))
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
        let (projects, now) = (projects_over_partitions(3), SystemClock.now());
        let (mut issues, mut ids) = (HashSet::new(), HashSet::new());
        for n in 0..50 {
            let message = event(7, n, &projects, now).unwrap();
            let event: IssueEvent = serde_json::from_slice(&message.value).unwrap();
            assert_eq!(message.key, projects[(n % 3) as usize]);
            issues.insert(event.issue_ref);
            ids.insert(event.event_id);
        }
        assert_eq!((issues.len(), ids.len()), (50, 50));
    }
}
