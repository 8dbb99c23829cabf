//! What an answer means. The Web API answers 200 whatever happens: `ok` decides, and `error` says why not.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Verdict,
    http::{PAGE, Reply},
};

/// An answer of the Web API, of any of the methods that we call.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) ok: bool,
    #[serde(default)]
    error: Option<String>,
    /// `chat.postMessage`: the id of the channel; `conversations.open`: an object with it.
    #[serde(default)]
    pub(super) channel: Value,
    /// `chat.postMessage`: the message's name within its channel.
    #[serde(default)]
    pub(super) ts: Option<String>,
    /// `auth.test`: who we are, for people.
    #[serde(default)]
    pub(super) user: Option<String>,
    /// `auth.test`: the user that we are; of a bot token the bot's.
    #[serde(default)]
    user_id: Option<String>,
    /// `auth.test`: the bot, of a bot token.
    #[serde(default)]
    bot_id: Option<String>,
    /// `auth.test`: where.
    #[serde(default)]
    pub(super) team: Option<String>,
    #[serde(default)]
    pub(super) messages: Vec<Posted>,
    #[serde(default)]
    response_metadata: Option<Metadata>,
}

/// A message of a channel's history.
#[derive(Debug, Deserialize)]
pub(super) struct Posted {
    #[serde(default)]
    pub(super) ts: Option<String>,
    #[serde(default)]
    pub(super) metadata: Value,
    #[serde(default)]
    user: Option<String>,
    /// Where an app posted it; without a user where it gave itself a name.
    #[serde(default)]
    bot_id: Option<String>,
}

/// Us, by Slack's ids: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    user: Option<String>,
    bot: Option<String>,
}

impl Posted {
    pub(super) fn is_by(&self, account: &Account) -> bool {
        let same = |own: &Option<String>, said: &Option<String>| own.is_some() && own == said;
        same(&account.bot, &self.bot_id) || same(&account.user, &self.user)
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default)]
    next_cursor: Option<String>,
}

impl Answer {
    /// Who we are, where it is that of `auth.test`.
    pub(super) fn account(&self) -> Option<Account> {
        let said = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
        let account = Account { user: said(&self.user_id), bot: said(&self.bot_id) };
        (account.user.is_some() || account.bot.is_some()).then_some(account)
    }

    /// Where the next page begins; empty at the end.
    pub(super) fn next_cursor(&self) -> String {
        self.response_metadata.as_ref().and_then(|m| m.next_cursor.clone()).unwrap_or_default()
    }
}

/// Errors that pass.
const PASSING: [&str; 7] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
];

/// Errors that stay, and what to do about them.
const LASTING: [(&str, &str); 21] = [
    ("channel_not_found", "there is no such channel, or the app does not see it"),
    ("not_in_channel", "invite the app to the channel"),
    ("is_archived", "the channel is archived"),
    ("user_not_found", "there is no such member"),
    ("user_disabled", "the member is deactivated"),
    ("users_not_found", "there is no such member"),
    ("cannot_dm_bot", "the member is a bot"),
    ("invalid_auth", "the token is not valid"),
    ("not_authed", "the token is not valid"),
    ("token_revoked", "the token was revoked"),
    ("token_expired", "the token has expired"),
    ("account_inactive", "the token's account is deactivated"),
    ("no_permission", "the app may not do this"),
    (
        "missing_scope",
        "the token lacks a scope: chat:write, im:write, and for history = true the history scopes",
    ),
    ("not_allowed_token_type", "a bot token is needed"),
    ("ekm_access_denied", "the workspace's administrators do not allow it"),
    ("restricted_action", "the workspace's administrators do not allow it"),
    ("restricted_action_read_only_channel", "the channel is read-only"),
    ("team_access_not_granted", "the app is not granted to this workspace"),
    ("msg_too_long", "the message is too long"),
    ("invalid_blocks", "the message was not understood"),
];

/// The answer, or what its failure means.
pub(super) async fn answer(reply: Reply) -> Result<Answer, Verdict> {
    if !reply.status().is_success() {
        return Err(reply.refused());
    }
    let after = reply.retry_after();
    let name = reply.reason("");
    let answer: Answer = reply.readable(PAGE).await?;
    match answer.error.as_deref() {
        _ if answer.ok => Ok(answer),
        Some(error) => Err(failure(&name, error, after)),
        None => Err(Verdict::Retry { after, reason: format!("{name}, not ok, without a reason") }),
    }
}

fn failure(name: &str, error: &str, after: Option<std::time::Duration>) -> Verdict {
    if let Some(error) = PASSING.iter().find(|known| **known == error) {
        return Verdict::Retry { after, reason: format!("{name}, {error}") };
    }
    match LASTING.iter().find(|(known, _)| *known == error) {
        Some((error, meaning)) => Verdict::Reject { reason: format!("{name}, {error}: {meaning}") },
        // Of the answer's body nothing is told that we do not know.
        None => {
            Verdict::Retry { after, reason: format!("{name}, not ok, for a reason that is not known here") }
        }
    }
}

/// What an incoming webhook's answer means: plain `ok`, or a status.
pub(super) fn hook(reply: &Reply) -> Verdict {
    match reply.status().as_u16() {
        200..=299 => Verdict::Done { reference: None },
        403 | 404 => reply.reject("the incoming webhook is gone, or may not post to its channel"),
        410 => reply.reject("the incoming webhook's channel is archived"),
        _ => reply.refused(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_message_is_ours_by_the_bot_or_the_user() {
        let is = |test: Value, posted: Value| {
            let answer: Answer = serde_json::from_value(test).expect("an answer");
            let posted: Posted = serde_json::from_value(posted).expect("a message");
            answer.account().map(|account| posted.is_by(&account))
        };
        let bot = json!({ "ok": true, "user_id": "U1", "bot_id": "B1" });
        let user = json!({ "ok": true, "user_id": "U2" });
        for (test, posted, ours) in [
            (&bot, json!({ "user": "U1", "bot_id": "B1", "app_id": "A1" }), Some(true)),
            // Under a name of its own a bot posts without a user; in another workspace of an organisation it is another bot.
            (&bot, json!({ "subtype": "bot_message", "bot_id": "B1" }), Some(true)),
            (&bot, json!({ "user": "U1", "bot_id": "B9" }), Some(true)),
            (&bot, json!({ "user": "U9", "bot_id": "B9" }), Some(false)),
            (&bot, json!({}), Some(false)),
            (&user, json!({ "user": "U2", "bot_id": "B1" }), Some(true)),
            (&user, json!({ "bot_id": "B1" }), Some(false)),
            (&json!({ "ok": true, "bot_id": "" }), json!({ "bot_id": "" }), None),
        ] {
            assert_eq!(is(test.clone(), posted.clone()), ours, "{test} {posted}");
        }
    }
}
