//! The trackers: they send what the post says, again and again until it is answered, as somebody would who presses the
//! provider's button to redeliver.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::Client;
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use webhooks::{Provider, Secrets, sign};

use crate::{
    Result,
    letters::{Delivery, Forgery, How, LANES, Letter, Post, provider},
    payload,
    process::Addresses,
    world::SECRET,
};

/// Between two attempts of one delivery.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Names and values.
type Headers = Vec<(String, String)>;

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Story {
    /// Its place in the post.
    pub(crate) delivery: usize,
    /// When its first attempt began, since the run began.
    pub(crate) sent: Duration,
    /// When 2xx had come.
    pub(crate) accepted: Option<Duration>,
    /// What the last answer 2xx said.
    pub(crate) receipt: Option<Receipt>,
    /// The status of every attempt; 0 where there was no answer.
    pub(crate) statuses: Vec<u16>,
}

/// The body of 202.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Receipt {
    /// The event's id.
    pub(crate) event_id: String,
    /// Its topic.
    pub(crate) topic: String,
    /// Where it stands there; nothing where it is spooled.
    pub(crate) partition: Option<u32>,
    /// See `partition`.
    pub(crate) offset: Option<u64>,
    /// Whether the receiver says that it keeps it until the broker is back.
    #[serde(default)]
    pub(crate) spooled: bool,
}

/// What all senders share.
pub(crate) struct Load {
    pub(crate) post: Arc<Post>,
    pub(crate) seed: u64,
    pub(crate) began: Instant,
    pub(crate) began_at: DateTime<Utc>,
    pub(crate) client: Client,
    /// Where the receivers are; they move when their process is started again.
    pub(crate) receivers: watch::Receiver<Addresses>,
    /// Ends what is still being tried.
    pub(crate) give_up: CancellationToken,
}

/// Makes every delivery.
pub(crate) async fn deliver(load: Load) -> Result<Vec<Story>> {
    let load = Arc::new(load);
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let load = load.clone();
        lanes.spawn(async move { load.lane(lane).await });
    }
    let mut stories = Vec::new();
    while let Some(told) = lanes.join_next().await {
        stories.extend(told??);
    }
    stories.sort_by_key(|story| story.delivery);
    Ok(stories)
}

impl Load {
    async fn lane(&self, lane: usize) -> Result<Vec<Story>> {
        let mut stories = Vec::new();
        let mut mine = Vec::new();
        for (number, delivery) in self.post.deliveries.iter().enumerate() {
            if delivery.lane == lane {
                mine.push((number, *delivery));
            }
        }
        let mut left = mine.as_slice();
        while let [one, rest @ ..] = left {
            sleep_until(self.began + one.1.due).await;
            left = rest;
            match rest {
                [twin, rest @ ..] if twin.1.how == How::Twin && twin.1.letter == one.1.letter => {
                    left = rest;
                    let (one, twin) = tokio::join!(self.insist(*one), self.insist(*twin));
                    stories.extend([one?, twin?]);
                }
                _ => stories.push(self.insist(*one).await?),
            }
        }
        Ok(stories)
    }

    /// Tries until there is an answer that settles it: 2xx or 4xx.
    async fn insist(&self, (number, delivery): (usize, Delivery)) -> Result<Story> {
        let letter = &self.post.letters[delivery.letter];
        let (headers, body) = self.request(number, letter, delivery.how)?;
        let path = provider(letter.project).path();
        let sent = self.began.elapsed();
        let mut story = Story { delivery: number, sent, accepted: None, receipt: None, statuses: Vec::new() };
        loop {
            let origin = self.receivers.borrow().webhooks.clone().unwrap_or_default();
            let mut request = self.client.post(format!("{origin}{path}")).body(body.clone());
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            let answer = tokio::select! {
                answer = request.send() => answer,
                () = self.give_up.cancelled() => return Ok(story),
            };
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            story.statuses.push(status);
            match (status, answer) {
                (200..300, Ok(answer)) => {
                    story.accepted = Some(self.began.elapsed());
                    // Accepted all the same where the connection broke in the body.
                    story.receipt = answer.json().await.ok();
                    return Ok(story);
                }
                (400..500, _) => return Ok(story),
                _ => {}
            }
            tokio::select! {
                () = sleep(RETRY_AFTER) => {}
                () = self.give_up.cancelled() => return Ok(story),
            }
        }
    }

    /// Headers and body.
    fn request(&self, number: usize, letter: &Letter, how: How) -> Result<(Headers, Vec<u8>)> {
        let provider = provider(letter.project);
        let (event, body) = payload::of(letter, self.began_at)?;
        let delivery_id = match how {
            How::First | How::Twin | How::Again => format!("{:016x}-{:06}", self.seed, letter.number),
            How::Replay | How::Forged => format!("{:016x}-{:06}-{number}", self.seed, letter.number),
        };
        let signed = |secret: &str, body: &[u8]| -> Result<Headers> {
            Ok(sign(provider, &Secrets::parse(secret)?, event, &delivery_id, body))
        };
        let headers = match letter.forged {
            None => signed(SECRET, &body)?,
            Some(forgery) => forged(forgery, provider, &body, signed)?,
        };
        Ok((headers, body))
    }
}

fn forged(
    forgery: Forgery,
    provider: Provider,
    body: &[u8],
    signed: impl Fn(&str, &[u8]) -> Result<Headers>,
) -> Result<Headers> {
    let name = provider.signature_header();
    let mut right = signed(SECRET, body)?;
    let signature =
        right.iter().position(|(header, _)| *header == name.as_str()).ok_or("it is not signed")?;
    Ok(match forgery {
        Forgery::Unsigned => {
            right.remove(signature);
            right
        }
        Forgery::OtherSecret => signed("another secret", body)?,
        Forgery::Altered => signed(SECRET, &[body, b" "].concat())?,
        Forgery::Malformed => {
            right[signature].1 = "sha256=of something".into();
            right
        }
        Forgery::Doubled => {
            let other = signed("another secret", body)?;
            right.extend(other.into_iter().filter(|(header, _)| *header == name.as_str()));
            right
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_forgery_is_signed_as_it_should_be() {
        for provider in Provider::ALL {
            let body = b"{}";
            let signed = |secret: &str, body: &[u8]| -> Result<Headers> {
                Ok(sign(provider, &Secrets::parse(secret)?, "issues", "d", body))
            };
            let right = signed(SECRET, body).unwrap();
            for forgery in Forgery::ALL {
                assert_ne!(forged(forgery, provider, body, signed).unwrap(), right, "{forgery:?}");
            }
        }
    }
}
