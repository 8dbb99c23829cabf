//! Jira: issues whose last change is not on the log
//! (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/>,
//! <https://developer.atlassian.com/server/jira/platform/rest/v10000/api-group-search/>).
//!
//! Jira keeps no deliveries, so what is looked for is not what was sent but how issues are now. Where the log has no event of an
//! issue with its present `updated`, or a later one, the issue as it is becomes an event: `issue_created` where it was created
//! in the time that is looked at and the log has nothing of it, else `issue_updated`; its id is made of site, key and
//! `updated`, and it says `swept`. A gateway makes nothing of such an event where it repeats what is known.
//!
//! Two changes of which neither arrived are one event. What is deleted is not found.
//!
//! - **Time is Jira's.** The search asks in minutes before its now (`updated >= -90m`): absolute times are in the zone of whoever asks.
//!   Sweeps overlap by ten minutes, for clocks, and for a search index that is behind. Of two clocks, ours and the answer's `Date`,
//!   the later one tells from when on to ask, the earlier one how far the sweep has come: neither alone hides anything.
//! - **Jira first.** It tries webhooks again for an hour and more; until then an issue is left alone, so that what comes late is not
//!   told twice.
//! - **Pages.** Cloud hands out a token for the next one. Data Center counts issues: one that is updated meanwhile moves to the end, and those
//!   behind it move up. So a page begins within the one before, and where the two do not meet, earlier.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::Record;
use events::{EventType, IssueEvent, topic};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    JiraSweep, Source, Trouble, World,
    api::{Api, Failed, their_now},
    cursor::Cursor,
};
use crate::{
    Config,
    delivery::{Delivery, Reading},
    jira,
};

/// By how much a sweep begins before the end of the one before.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// How much earlier, by our clock, an event may stand on the log than it happened by Jira's.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::hours(1);
/// By how much Jira's clock may be ahead of the one that a query was made by.
const CLOSE: TimeDelta = TimeDelta::minutes(1);
/// How often a query is made by a later clock.
const QUERIES: usize = 3;
/// How many issues are looked for in one reading of the log.
const AT_ONCE: usize = 5_000;
/// Issues in a page; Jira may give fewer.
const PAGE: usize = 100;
/// By how much a counted page begins before the end of the one before.
const BACK: usize = 10;
/// The most pages of a sweep.
const MAX_PAGES: usize = 20_000;
/// What is read of an issue.
const FIELDS: [&str; 8] =
    ["summary", "labels", "assignee", "priority", "status", "duedate", "created", "updated"];

/// One Jira.
pub(super) struct Site {
    api: Arc<Api>,
    name: String,
    cloud: bool,
    projects: Vec<String>,
    after: TimeDelta,
}

/// A page of a search, of Cloud or of Data Center.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    issues: Vec<&'a RawValue>,
    #[serde(default, rename = "nextPageToken")]
    next: Option<String>,
    #[serde(default, rename = "isLast")]
    is_last: Option<bool>,
    #[serde(default)]
    total: Option<usize>,
}

/// Where a search stands.
#[derive(Default)]
struct Place {
    pages: usize,
    token: Option<String>,
    start: usize,
    /// The issues of the page before.
    last: HashSet<String>,
    /// Whether the next page is to begin with some of these.
    overlaps: bool,
    ended: bool,
    /// When the last page was answered, by Jira's clock, where that was said.
    answered_at: Option<DateTime<Utc>>,
}

/// What the log says of an issue.
#[derive(Default)]
struct Known {
    updated_at: Option<DateTime<Utc>>,
}

impl Site {
    pub(super) fn new(api: Arc<Api>, config: &JiraSweep) -> Self {
        Self {
            name: format!("jira {}", api.host()),
            api,
            cloud: config.email.is_some(),
            projects: config.projects.clone(),
            after: delta(config.after),
        }
    }

    fn query(&self, swept_to: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let projects = match self.projects.is_empty() {
            true => String::new(),
            false => format!("project in (\"{}\") AND ", self.projects.join("\", \"")),
        };
        // Whole minutes, one more for what is cut off.
        let since = (now - swept_to + OVERLAP).num_minutes() + 1;
        let until = match self.after.num_minutes() {
            0 => String::new(),
            minutes => format!(" AND updated <= -{minutes}m"),
        };
        format!("{projects}updated >= -{since}m{until} ORDER BY updated ASC, key ASC")
    }

    /// The first page of what was changed since `swept_to`, the place after it, and the later of the clocks: by that it was asked for.
    async fn begin(
        &self,
        world: &World,
        swept_to: DateTime<Utc>,
    ) -> Result<(Vec<IssueEvent>, Place, DateTime<Utc>), Trouble> {
        let mut now = world.clock.now();
        for _ in 0..QUERIES {
            let mut place = Place::default();
            let jql = self.query(swept_to, now);
            let events = self.page(&mut place, &jql, world.admission.config()).await?;
            match place.answered_at.filter(|theirs| *theirs > now + CLOSE) {
                Some(theirs) => now = theirs,
                None => return Ok((events, place, now)),
            }
        }
        Err(Trouble::Away(format!("{}: Jira takes minutes to answer", self.name)))
    }

    /// The next page's issues, as events.
    async fn page(&self, place: &mut Place, jql: &str, config: &Config) -> Result<Vec<IssueEvent>, Trouble> {
        let mut asked = json!({"jql": jql, "maxResults": PAGE, "fields": FIELDS});
        let path = match self.cloud {
            true => {
                if let Some(token) = &place.token {
                    asked["nextPageToken"] = token.as_str().into();
                }
                "rest/api/3/search/jql"
            }
            false => {
                asked["startAt"] = place.start.into();
                "rest/api/2/search"
            }
        };
        let answer =
            self.api.post(path, asked.to_string().into()).await.map_err(|failed| self.trouble(failed))?;
        // To a wrong login Jira can answer what anybody may see.
        place.answered_at = their_now(answer.headers());
        let login = answer.headers().get("x-seraph-loginreason").and_then(|reason| reason.to_str().ok());
        if login.is_some_and(|reason| reason.contains("FAILED") || reason.contains("DENIED")) {
            return Err(self.trouble(Failed::Status(StatusCode::UNAUTHORIZED)));
        }
        let page: Page<'_> = serde_json::from_slice(answer.body()).map_err(|_| self.nonsense())?;
        let events: Vec<_> = page.issues.iter().filter_map(|issue| read(issue.get(), config)).collect();
        if events.len() < page.issues.len() {
            count(page.issues.len() - events.len(), "unreadable");
        }
        place.pages += 1;
        match self.cloud {
            true => place.turn_by_token(&page),
            false => place.turn_by_count(&page),
        }
        if place.pages >= MAX_PAGES && !place.ended {
            return Err(self.nonsense());
        }
        Ok(events)
    }

    /// Appends those of `found` that the log does not have, oldest first. `created_since`: from when on the log has been read.
    async fn take(
        &self,
        world: &World,
        found: HashMap<String, IssueEvent>,
        history: &mut Cursor,
        until: DateTime<Utc>,
        created_since: DateTime<Utc>,
    ) -> Result<(), Trouble> {
        world.settled().await?;
        let mut known: HashMap<String, Known> = HashMap::new();
        let note = |record: &Record| {
            let Some(Told { issue_ref, updated_at }) = record.value.as_deref().and_then(told) else { return };
            if found.contains_key(issue_ref.as_ref()) {
                let known = known.entry(issue_ref.into_owned()).or_default();
                known.updated_at = known.updated_at.max(updated_at);
            }
        };
        history.read_history(&*world.log, &[topic::ISSUES], until, note).await?;
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by(|a, b| (a.updated_at, &a.issue_ref).cmp(&(b.updated_at, &b.issue_ref)));
        for mut event in found {
            let known = known.get(&event.issue_ref);
            if known.is_some_and(|known| known.updated_at >= event.updated_at) {
                count(1, "known");
                continue;
            }
            if known.is_none() && event.created_at.is_some_and(|at| at >= created_since) {
                event.event_type = EventType::IssueCreated;
            }
            tracing::info!(event_id = event.event_id, "an issue's change that had not arrived was taken in");
            world.admission.append_told(&event.into(), None).await?;
            count(1, "taken");
        }
        Ok(())
    }

    fn trouble(&self, failed: Failed) -> Trouble {
        let name = &self.name;
        match failed {
            Failed::Away(away) => Trouble::Away(format!("{name}: Jira {away}")),
            Failed::TooLong => Trouble::Away(format!("{name}: Jira answered more than is read")),
            Failed::Status(status) => {
                let hint = match status {
                    StatusCode::UNAUTHORIZED => {
                        "the token is wrong, expired or revoked: set another in JIRA_TOKEN; on Cloud with jira.email, on Data Center without"
                    }
                    StatusCode::FORBIDDEN => {
                        "the account may not search: it needs the permission \"Browse projects\""
                    }
                    StatusCode::BAD_REQUEST => {
                        "it does not take the search: one of the keys under [projects.*] jira does not exist, or the account does not see it"
                    }
                    StatusCode::NOT_FOUND | StatusCode::GONE => {
                        "there is no search: check jira.api_base; on Cloud set jira.email, on Data Center leave it out"
                    }
                    _ => "that is nothing that a search should be answered with: check jira.api_base",
                };
                Trouble::Refused(format!("{name}: Jira answered {}: {hint}", status.as_u16()))
            }
        }
    }

    fn nonsense(&self) -> Trouble {
        Trouble::Away(format!("{}: the answer is no page of issues: check jira.api_base", self.name))
    }
}

impl Place {
    fn turn_by_token(&mut self, page: &Page<'_>) {
        // An empty page is not the end.
        self.ended = page.is_last == Some(true) || page.next.is_none() || page.next == self.token;
        self.token.clone_from(&page.next);
    }

    fn turn_by_count(&mut self, page: &Page<'_>) {
        let length = page.issues.len();
        let keys: HashSet<String> = page.issues.iter().map(|issue| key_of(issue.get())).collect();
        if self.overlaps && self.last.is_disjoint(&keys) {
            self.start = self.start.saturating_sub(PAGE);
            self.overlaps = self.start > 0;
            return;
        }
        let end = self.start + length;
        self.ended = length == 0 || page.total.is_some_and(|total| end >= total);
        let back = BACK.min(length.saturating_sub(1));
        self.start = end - back;
        self.overlaps = back > 0;
        self.last = keys;
    }
}

/// What an issue is told apart by.
fn key_of(issue: &str) -> String {
    #[derive(Deserialize)]
    struct Keyed {
        key: String,
    }
    serde_json::from_str(issue).map_or_else(|_| issue.to_owned(), |Keyed { key }| key)
}

#[async_trait]
impl Source for Site {
    fn name(&self) -> &str {
        &self.name
    }

    fn cursor_name(&self) -> String {
        format!("jira:{}", self.api.host())
    }

    async fn sweep(&mut self, world: &World, cursor: &mut Cursor) -> Result<(), Trouble> {
        let now = world.clock.now();
        let look_back = self.after + OVERLAP;
        let horizon = |swept_to: DateTime<Utc>| swept_to - look_back - CLOCKS_DIFFER;
        if cursor.began_at == DateTime::UNIX_EPOCH {
            // What happened before is nobody's to catch up on: it was never promised.
            (cursor.began_at, cursor.swept_to) = (now, now);
            cursor.read_history(&*world.log, &[topic::ISSUES], horizon(now), |_| {}).await?;
            return Ok(());
        }
        if now - self.after + OVERLAP <= cursor.began_at {
            return Ok(());
        }
        let from = cursor.swept_to.min(now - self.after).max(cursor.began_at);
        let created_since = cursor.began_at.max(from - look_back);
        let (events, mut place, later) = self.begin(world, from).await?;
        let earlier = place.answered_at.map_or(now, |theirs| theirs.min(now));
        let swept_to = from.max(earlier - self.after);
        let first = self.query(from, later);
        let mut events = Some(events);
        let mut offsets = None;
        while !place.ended || events.is_some() {
            let mut found: HashMap<String, IssueEvent> = HashMap::new();
            let mut reached = from;
            while events.is_some() || !place.ended && found.len() < AT_ONCE {
                // A token is for one search; where issues are counted, none must leave at the beginning as time passes.
                let jql = match self.cloud {
                    true => Cow::Borrowed(&first),
                    false => Cow::Owned(self.query(from, world.clock.now() + (later - now))),
                };
                let events = match events.take() {
                    Some(events) => events,
                    None => self.page(&mut place, &jql, world.admission.config()).await?,
                };
                for event in events {
                    let Some(at) = event.updated_at else { continue };
                    reached = reached.max(at.min(swept_to));
                    let newer = |known: &IssueEvent| known.updated_at < Some(at);
                    if at >= cursor.began_at && found.get(&event.issue_ref).is_none_or(newer) {
                        found.insert(event.issue_ref.clone(), event);
                    }
                }
            }
            if !found.is_empty() {
                let mut history = cursor.clone();
                self.take(world, found, &mut history, horizon(swept_to), created_since).await?;
                offsets = Some(history.offsets);
            }
            if !place.ended {
                // The log is read again from where it was, should this be as far as it gets.
                let progress = Cursor { swept_to: reached, ..cursor.clone() };
                progress.save(&*world.log, &self.cursor_name(), world.clock.now()).await?;
            }
        }
        cursor.swept_to = swept_to;
        if let Some(offsets) = offsets {
            cursor.offsets = offsets;
        }
        Ok(())
    }
}

fn count(issues: usize, result: &'static str) {
    metrics::counter!("breakdown_swept_deliveries_total", "provider" => "jira", "result" => result)
        .increment(issues as u64);
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// An issue of a search as the event that it was updated; none where it cannot be read.
fn read(issue: &str, config: &Config) -> Option<IssueEvent> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        key: Cow<'a, str>,
        #[serde(borrow)]
        fields: Dated<'a>,
    }
    #[derive(Deserialize)]
    struct Dated<'a> {
        #[serde(borrow)]
        updated: Cow<'a, str>,
    }
    let Named { key, fields } = serde_json::from_str(issue).ok()?;
    let updated = crate::instant::timestamp(&fields.updated)?.timestamp_millis();
    let id = format!("swept {key} {updated}");
    let payload = format!("{{\"webhookEvent\":\"jira:issue_updated\",\"issue\":{issue}}}");
    let delivery = Delivery { event: None, id: Some(&id), body: payload.as_bytes(), json: &payload, config };
    match jira::read(&delivery) {
        Ok(Reading::Event(told)) => Some(IssueEvent { delivery_id: None, swept: true, ..told.event }),
        Ok(Reading::Ignored(_)) | Err(_) => None,
    }
}

/// What a record says of a Jira issue.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    issue_ref: Cow<'a, str>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
}

fn told(value: &[u8]) -> Option<Told<'_>> {
    serde_json::from_slice(value).ok().filter(|told: &Told<'_>| told.issue_ref.starts_with("jira:"))
}
