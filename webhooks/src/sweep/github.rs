//! GitHub: the deliveries of one hook that are not on the log
//! (<https://docs.github.com/en/rest/repos/webhooks>, <https://docs.github.com/en/rest/orgs/webhooks>,
//! <https://docs.github.com/en/rest/apps/webhooks>).
//!
//! GitHub's own word on a delivery is not asked: something in front of us can have answered 200 for us, and what failed may have come
//! when it was sent again. So every delivery of an event that we use counts as missing until the log, its dead letters
//! included, shows its id. Listed first and looked for afterwards, a delivery that is answered meanwhile is there.
//!
//! What is missing is fetched and admitted like one that came, oldest first, under the same id: should it come yet, it counts once. Its
//! bytes are GitHub's answer's; where these fit the delivery's signature under a secret of ours they are the very ones that
//! were signed, and their hash is kept, by which they would be known under another id too. Where they do not, the
//! hook's own token and address vouch for it, and it is known by its id alone.
//!
//! What cannot be fetched whole is asked for again from GitHub: then it comes by webhook. Until the log has it the cursor stays
//! before it, and it is asked for every hour, for as long as GitHub has it.
//!
//! One delivery that GitHub does not serve holds up no other: where the list is answered still, the sweep goes on, the cursor stays
//! before that delivery, and the trouble is told at the end.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use eventlog::Record;
use events::topic;
use http::{HeaderMap, StatusCode, header::LINK};
use reqwest::Url;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    GithubHook, Source, Trouble, World,
    api::{Api, Away, Failed, their_now},
    cursor::Cursor,
};
use crate::{
    Provider,
    admission::{Admitted, Payload},
    body::Encoding,
    receive::is_name,
    signature::{Secrets, Signature},
};

/// Events that can be of use to us; the others are not fetched.
const USED: [&str; 3] = ["issues", "issue_comment", "milestone"];
/// By how much a sweep begins before the end of the one before: deliveries are listed when they are over, in about that order.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// How much earlier, by our clock, a delivery may stand on the log than it happened by GitHub's.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::hours(1);
/// How many deliveries are looked for in one reading of the log.
const AT_ONCE: usize = 50_000;
/// After how many that were taken in the cursor is written.
const SAVE_AFTER: usize = 100;
/// How often a delivery is asked for again that does not arrive.
const ASK_EVERY: TimeDelta = TimeDelta::hours(1);
/// After how long it is given up: GitHub keeps it for three days, and a person must have time to ask for it.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(60);
/// The most pages of a list: more deliveries than GitHub keeps of anybody.
const MAX_PAGES: usize = 20_000;

/// The most deliveries of a page; GitHub gives no more.
const PER_PAGE: usize = 100;
/// The query of the shortest list.
const ONE: [(&str, &str); 1] = [("per_page", "1")];

/// One hook.
pub(super) struct Hook {
    api: Arc<Api>,
    /// What a person calls it.
    name: String,
    /// Where its deliveries are listed, below the API's base; also its cursor's name.
    path: String,
    /// Which right the token needs.
    right: &'static str,
    /// Deliveries that need not be looked at again, and when they were made; so many as the next list can repeat.
    settled: HashMap<String, DateTime<Utc>>,
    /// Deliveries that were asked for again, and that the log does not have yet.
    asked: HashMap<String, Asked>,
}

/// A delivery was asked for again.
struct Asked {
    /// When it was first made.
    first: DateTime<Utc>,
    /// When it was last asked for, by our clock.
    at: DateTime<Utc>,
}

/// A delivery, as it is listed. One that is not as documented must not keep us from the others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    id: Option<u64>,
    guid: Option<String>,
    delivered_at: Option<DateTime<Utc>>,
    event: Option<String>,
}

/// A delivery that may be missing.
struct Listed {
    id: u64,
    guid: String,
    /// When it was made, the last time.
    at: DateTime<Utc>,
    /// When it was first made, of the times that were listed.
    first: DateTime<Utc>,
    event: String,
}

/// A delivery with what was sent.
#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    guid: Cow<'a, str>,
    #[serde(borrow)]
    request: Sent<'a>,
}

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(default)]
    headers: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

/// What became of a missing delivery; the metric's `result`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Taken,
    Ignored,
    Unreadable,
    /// Asked for again.
    Redelivered,
    /// GitHub no longer has it.
    Gone,
    /// It cannot be had.
    Lost,
    /// GitHub does not serve it now, but others.
    Unserved(Trouble),
}

impl Fate {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Ignored => "ignored",
            Self::Unreadable => "unreadable",
            Self::Redelivered => "redelivered",
            Self::Gone => "gone",
            Self::Lost => "lost",
            Self::Unserved(_) => "unserved",
        }
    }
}

impl Hook {
    pub(super) fn new(api: Arc<Api>, hook: &GithubHook) -> Self {
        let (path, right) = match hook {
            GithubHook::Repository { repository, id } => (
                format!("repos/{repository}/hooks/{id}/deliveries"),
                "the repository permission \"Webhooks\" (a classic token: the scope admin:repo_hook)",
            ),
            GithubHook::Organisation { organisation, id } => (
                format!("orgs/{organisation}/hooks/{id}/deliveries"),
                "the organisation permission \"Webhooks\" (a classic token: the scope admin:org_hook, as an owner)",
            ),
            GithubHook::App => ("app/hook/deliveries".to_owned(), "to be signed with the App's key"),
        };
        Self {
            api,
            name: format!("github {hook}"),
            path,
            right,
            settled: HashMap::new(),
            asked: HashMap::new(),
        }
    }

    /// A page of the list, and the headers of its answer.
    async fn page(&self, query: &[(&str, &str)]) -> Result<(Vec<Item>, HeaderMap), Trouble> {
        let answer = self.api.get(&self.path, query).await.map_err(|failed| self.trouble(failed))?;
        let (head, body) = answer.into_parts();
        let items: Vec<Item> =
            serde_json::from_slice(&body).map_err(|_| self.nonsense("a list of deliveries"))?;
        // Each is remembered while the list is read: whoever gives more than was asked for could fill the memory.
        if items.len() > PER_PAGE {
            return Err(self.nonsense("a page of deliveries of the length that was asked for"));
        }
        Ok((items, head.headers))
    }

    /// Deliveries since `since` that may be missing, oldest first; when the youngest was made of all that were listed; and whether
    /// these are all, or the younger ones are for later. Nothing was made later than `now`, nor than the answer.
    async fn list(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Listed>, DateTime<Utc>, bool), Trouble> {
        let (mut found, mut first): (VecDeque<Listed>, HashMap<String, DateTime<Utc>>) = Default::default();
        let (mut newest, mut all) = (DateTime::UNIX_EPOCH, true);
        let mut cursor: Option<String> = None;
        let per_page = PER_PAGE.to_string();
        for _ in 0..MAX_PAGES {
            let mut query = vec![("per_page", per_page.as_str())];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (items, headers) = self.page(&query).await?;
            let now = their_now(&headers).map_or(now, |theirs| theirs.min(now));
            let past = items.iter().all(|item| item.delivered_at.is_some_and(|at| at < since));
            for item in items {
                let at = item.delivered_at.unwrap_or(newest.max(since)).min(now);
                newest = newest.max(at);
                let (Some(id), Some(guid), Some(event)) = (item.id, item.guid, item.event) else { continue };
                let looked_for = at >= since
                    && USED.contains(&event.as_str())
                    && is_name(&guid)
                    && !self.settled.contains_key(&guid);
                // The youngest comes first: what is put last is when it was first made.
                if !looked_for || first.insert(guid.clone(), at).is_some() {
                    continue;
                }
                found.push_back(Listed { id, guid, at, first: at, event });
                if found.len() > AT_ONCE {
                    found.pop_front();
                    all = false;
                }
            }
            let next = next_cursor(&headers);
            if past || next.is_none() || next == cursor {
                break;
            }
            cursor = next;
        }
        if !all {
            newest = found.front().map_or(newest, |youngest| youngest.at);
        }
        let mut found: Vec<_> = found.into_iter().rev().collect();
        for delivery in &mut found {
            delivery.first = first.get(&delivery.guid).copied().unwrap_or(delivery.at);
        }
        found.sort_by_key(|delivery| delivery.at);
        Ok((found, newest, all))
    }

    /// Fetches a delivery and takes it in.
    async fn take(&self, world: &World, delivery: &Listed) -> Result<Fate, Trouble> {
        let answer = match self.api.get(&format!("{}/{}", self.path, delivery.id), &[]).await {
            Ok(answer) => answer,
            Err(Failed::TooLong) => return self.ask_again(delivery).await,
            Err(failed) => return self.unserved(failed).await,
        };
        let Ok(whole) = serde_json::from_slice::<Whole<'_>>(answer.body()) else {
            return Ok(Fate::Unserved(self.nonsense("a delivery")));
        };
        if whole.guid != delivery.guid {
            return Ok(Fate::Unserved(self.nonsense("the delivery that was asked for")));
        }
        let Some(payload) = whole.request.payload.map(RawValue::get) else {
            return self.ask_again(delivery).await;
        };
        let secrets = world.admission.config().secrets(Provider::Github);
        let signed = signed_bytes(secrets, whole.request.headers.as_ref(), payload);
        let admitted = world.admission.admit(Payload {
            provider: Provider::Github,
            encoding: Encoding::Json,
            event: Some(&delivery.event),
            id: Some(&delivery.guid),
            body: signed.as_deref().unwrap_or(payload.as_bytes()),
            signed: signed.is_some(),
        });
        Ok(match admitted.await? {
            Admitted::Event { event_id, .. } => {
                tracing::info!(event_id, hook = self.name, "a delivery that had not arrived was taken in");
                Fate::Taken
            }
            Admitted::Ignored(_) => Fate::Ignored,
            Admitted::Unreadable => Fate::Unreadable,
        })
    }

    /// Has GitHub send a delivery again, which it does to the hook's address.
    async fn ask_again(&self, delivery: &Listed) -> Result<Fate, Trouble> {
        let path = format!("{}/{}/attempts", self.path, delivery.id);
        match self.api.post(&path, vec![]).await {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => Ok(Fate::Redelivered),
            Err(failed @ Failed::Away(_)) => self.unserved(failed).await,
            Ok(_) | Err(_) => {
                self.page(&ONE).await?;
                Ok(self.lost(delivery))
            }
        }
    }

    /// A request about one delivery failed. Where the list fails too, that is why, and the sweep ends.
    async fn unserved(&self, failed: Failed) -> Result<Fate, Trouble> {
        if let Failed::Away(Away::Limited(_)) = failed {
            return Err(self.trouble(failed));
        }
        self.page(&ONE).await?;
        Ok(match failed {
            Failed::Status(StatusCode::NOT_FOUND) => Fate::Gone,
            failed => Fate::Unserved(self.trouble(failed)),
        })
    }

    fn lost(&self, delivery: &Listed) -> Fate {
        tracing::error!(
            hook = self.name,
            delivery = delivery.id,
            "a delivery that did not arrive can neither be fetched nor does it come when asked for: redeliver it by hand, in the hook's settings"
        );
        Fate::Lost
    }

    /// Takes in what is missing, or asks for it, oldest first; before what the cursor has to stay, and why where that is trouble.
    /// `before`: the cursor as it was.
    async fn take_all(
        &mut self,
        world: &World,
        missing: Vec<Listed>,
        before: &Cursor,
    ) -> Result<(Option<DateTime<Utc>>, Option<Trouble>), Trouble> {
        let (mut held, mut unserved) = (None::<DateTime<Utc>>, None::<(Trouble, u64, usize)>);
        for (place, delivery) in missing.into_iter().enumerate() {
            let now = world.clock.now();
            let asked = self.asked.get(&delivery.guid);
            let first = asked.map_or(delivery.first, |asked| asked.first.min(delivery.first));
            let fate = match asked {
                Some(_) if now >= first + GIVE_UP_AFTER => Some(self.lost(&delivery)),
                Some(asked) if now < asked.at + ASK_EVERY => None,
                _ => Some(self.take(world, &delivery).await?),
            };
            if let Some(fate) = &fate {
                count(1, fate.as_str());
            }
            let at = delivery.at;
            match fate {
                None => held = earlier(held, first),
                Some(Fate::Redelivered) => {
                    held = earlier(held, first);
                    self.asked.insert(delivery.guid, Asked { first, at: now });
                }
                Some(Fate::Unserved(trouble)) => {
                    held = earlier(held, first);
                    unserved.get_or_insert((trouble, delivery.id, 0)).2 += 1;
                }
                Some(_) => {
                    self.asked.remove(&delivery.guid);
                    self.settled.insert(delivery.guid, at);
                }
            }
            if place % SAVE_AFTER == SAVE_AFTER - 1 {
                // The log is read again from where it was, should this be as far as it gets.
                let reached = held.map_or(at, |held| held.min(at));
                let progress = Cursor { swept_to: before.swept_to.max(reached), ..before.clone() };
                progress.save(&*world.log, &self.cursor_name(), now).await?;
            }
        }
        let trouble = unserved.map(|(trouble, id, deliveries)| {
            let more = if deliveries > 1 { format!(" and {} more", deliveries - 1) } else { String::new() };
            Trouble::Away(format!("{trouble} (delivery {id}{more}; the others were looked at)"))
        });
        Ok((held, trouble))
    }

    fn trouble(&self, failed: Failed) -> Trouble {
        let name = &self.name;
        match failed {
            Failed::Away(away) => Trouble::Away(format!("{name}: GitHub {away}")),
            Failed::TooLong => Trouble::Away(format!("{name}: GitHub answered more than is read")),
            Failed::Status(status) => {
                let hint = match status {
                    StatusCode::UNAUTHORIZED => {
                        "the token is wrong, expired or revoked: set another in GITHUB_TOKEN (of an App: check app_id and key)".to_owned()
                    }
                    StatusCode::FORBIDDEN => format!("the token may not list deliveries: it needs {}", self.right),
                    StatusCode::NOT_FOUND => format!(
                        "there is no such hook, or the token may not see it: compare the id with the number in the hook's address, and give \
                         the token {}",
                        self.right
                    ),
                    status if status.is_redirection() => {
                        "it has moved: write its present name in [[github.hooks]], and its address in github.api_base".to_owned()
                    }
                    _ => "that is nothing that its deliveries should be answered with: check github.api_base".to_owned(),
                };
                Trouble::Refused(format!("{name}: GitHub answered {}: {hint}", status.as_u16()))
            }
        }
    }

    fn nonsense(&self, expected: &str) -> Trouble {
        Trouble::Away(format!("{}: the answer is not {expected}: check github.api_base", self.name))
    }
}

#[async_trait]
impl Source for Hook {
    fn name(&self) -> &str {
        &self.name
    }

    fn cursor_name(&self) -> String {
        format!("github:{}/{}", self.api.host(), self.path)
    }

    async fn sweep(&mut self, world: &World, cursor: &mut Cursor) -> Result<(), Trouble> {
        loop {
            let since = cursor.swept_to - OVERLAP;
            let (mut found, newest, all) = self.list(since, world.clock.now()).await?;
            let swept_to = cursor.swept_to.max(newest);
            self.settled.retain(|_, at| *at >= since - OVERLAP);
            self.asked.retain(|_, asked| asked.first >= since - OVERLAP);
            let before = cursor.clone();
            if !found.is_empty() {
                world.settled().await?;
                let mut missing: HashSet<&str> =
                    found.iter().map(|delivery| delivery.guid.as_str()).collect();
                let until = swept_to - OVERLAP - CLOCKS_DIFFER;
                let topics = [topic::ISSUES, topic::DEAD_LETTERS];
                let strike = |record: &Record| {
                    if let Some(id) = record.value.as_deref().and_then(delivery_of) {
                        missing.remove(id.as_ref());
                    }
                };
                cursor.read_history(&*world.log, &topics, until, strike).await?;
                let missing: HashSet<String> = missing.into_iter().map(str::to_owned).collect();
                let known = found.len() - missing.len();
                count(known, "known");
                for delivery in found.iter().filter(|delivery| !missing.contains(&delivery.guid)) {
                    self.asked.remove(&delivery.guid);
                    self.settled.insert(delivery.guid.clone(), delivery.at);
                }
                found.retain(|delivery| missing.contains(&delivery.guid));
            }
            let (held, trouble) = self.take_all(world, found, &before).await?;
            match held {
                None => cursor.swept_to = swept_to,
                // Also where the log is read from: what is held may yet come, and the others are to be found there.
                Some(held) => {
                    *cursor = Cursor { swept_to: before.swept_to.max(held.min(swept_to)), ..before };
                }
            }
            if trouble.is_none() && (all || held.is_some()) {
                return Ok(());
            }
            cursor.save(&*world.log, &self.cursor_name(), world.clock.now()).await?;
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
        }
    }
}

/// The earlier of what holds the cursor already, and of `at`.
fn earlier(held: Option<DateTime<Utc>>, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    Some(held.map_or(at, |held| held.min(at)))
}

fn count(deliveries: usize, result: &'static str) {
    metrics::counter!("breakdown_swept_deliveries_total", "provider" => "github", "result" => result)
        .increment(deliveries as u64);
}

/// The delivery's id in an event of GitHub's, or in a dead letter of such a delivery.
fn delivery_of(value: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Told<'a> {
        #[serde(borrow, default)]
        source: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        delivery_id: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        origin: Option<Origin<'a>>,
    }
    #[derive(Deserialize)]
    struct Origin<'a> {
        #[serde(borrow, default)]
        provider: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        delivery_id: Option<Cow<'a, str>>,
    }
    let Told { source, delivery_id, origin } = serde_json::from_slice(value).ok()?;
    let (source, id) = match origin {
        Some(Origin { provider, delivery_id }) => (provider, delivery_id),
        None => (source, delivery_id),
    };
    id.filter(|_| source.as_deref() == Some(Provider::Github.as_str()))
}

/// The cursor of the next page. Only that is taken from the address: the token goes where the configuration says.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let url = Url::parse(address).ok()?;
    url.query_pairs().find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

/// The payload's bytes as they were signed, where they can be told: as they are, or without what makes an answer legible.
fn signed_bytes(
    secrets: Option<&Secrets>,
    headers: Option<&BTreeMap<String, serde_json::Value>>,
    payload: &str,
) -> Option<Vec<u8>> {
    let mut headers = headers?.iter();
    let name = Provider::Github.signature_header();
    let (_, value) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name.as_str()))?;
    let signature = Signature::parse(Provider::Github, value.as_str()?.as_bytes())?;
    let fits = |bytes: &Vec<u8>| secrets.is_some_and(|secrets| secrets.verify(&signature, bytes));
    Some(payload.as_bytes().to_vec()).filter(fits).or_else(|| Some(compact(payload).into()).filter(fits))
}

/// JSON without white space between its parts.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keeps = |c: &char| {
        let keep = quoted || !c.is_ascii_whitespace();
        match c {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(keeps).collect()
}

#[cfg(test)]
mod unit {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn white_space_goes_where_it_says_nothing() {
        let pretty = "{\n  \"a b\" : [ 1, \"x \\\" y\\\\\" , \"\t\" ],\r\n \"c\": null }";
        assert_eq!(compact(pretty), "{\"a b\":[1,\"x \\\" y\\\\\",\"\t\"],\"c\":null}");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            "[ \\\\\"a\n\u{e9}]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec(("[ \\\\\"b]{0,4}", inner), 0..4)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_was_indented_comes_back(value in json()) {
            prop_assert_eq!(compact(&serde_json::to_string_pretty(&value).unwrap()), value.to_string());
        }

        #[test]
        fn no_answer_is_too_odd(text in ".{0,200}") {
            compact(&text);
            delivery_of(text.as_bytes());
            signed_bytes(None, None, &text);
        }
    }

    #[test]
    fn of_a_link_only_the_cursor_is_taken() {
        let next = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_static(link));
            next_cursor(&headers)
        };
        let first = "<https://api.github.com/repos/o/r/hooks/1/deliveries?per_page=100&cursor=v1_123%3D>; rel=\"next\"";
        assert_eq!(next(first).as_deref(), Some("v1_123="));
        assert_eq!(
            next("<https://x/?cursor=a>; rel=\"prev\", <https://x/?cursor=b>; rel=\"next\"").as_deref(),
            Some("b")
        );
        for none in [
            "<https://x/?cursor=a>; rel=\"prev\"",
            "<https://x/>; rel=\"next\"",
            "rel=\"next\"",
            "<:>; rel=\"next\"",
        ] {
            assert_eq!(next(none), None, "{none}");
        }
    }

    #[test]
    fn a_delivery_is_told_from_an_event_and_from_a_dead_letter() {
        let told = |value: &str| delivery_of(value.as_bytes()).map(Cow::into_owned);
        assert_eq!(told(r#"{"source":"github","delivery_id":"d"}"#).as_deref(), Some("d"));
        assert_eq!(
            told(r#"{"origin":{"kind":"delivery","provider":"github","delivery_id":"d"}}"#).as_deref(),
            Some("d")
        );
        for none in [
            r#"{"source":"jira","delivery_id":"d"}"#,
            r#"{"source":"github"}"#,
            r#"{"origin":{"kind":"record"}}"#,
            "x",
        ] {
            assert_eq!(told(none), None, "{none}");
        }
    }
}
