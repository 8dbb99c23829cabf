//! Who we are at Google: what may be done with the calendar of the meetings, and whether anybody's free/busy is told.

use chrono::TimeDelta;
use events::ActionKind;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Google, UNSEEN, response::FreeBusy, token::Token};
use crate::{
    Introduction, Verdict,
    http::{ONE, PAGE},
    introduction::told,
    targets::meeting,
};

/// A page of a calendar's events, of which only its head matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    summary: String,
    #[serde(default)]
    access_role: String,
}

impl Google {
    pub(super) async fn role(&self, kinds: &[ActionKind]) -> Result<Introduction, Verdict> {
        let mut url = self.api.url(&["calendars", &self.calendar, "events"]);
        url.query_pairs_mut().append_pair("maxResults", "1").append_pair("fields", "summary,accessRole");
        let listed: Listed = self.call(self.api.request(Method::GET, url)).await?.readable(PAGE).await?;
        let now = self.api.now();
        let asked = json!({
            "timeMin": now, "timeMax": now + TimeDelta::minutes(1), "items": [{ "id": self.calendar }],
        });
        let request = self.api.request(Method::POST, self.api.url(&["freeBusy"])).json(&asked);
        let free: FreeBusy = self.call(request).await?.readable(ONE).await?;

        let (role, books) = (told(&listed.access_role), kinds.iter().any(meeting::carries));
        let who = match &self.token {
            Token::Plain(_) => format!("the owner of the token, with the calendar {}", told(&listed.summary)),
            Token::Account(account) => {
                format!("{}, with the calendar {}", account.who(), told(&listed.summary))
            }
        };
        let known = Introduction::of(&who)
            .may([format!("{role} of the calendar")])
            .need(
                !books || matches!(role.as_str(), "owner" | "writer"),
                format!("we are {role} of the calendar: share it with this account so that it may make changes to events"),
            )
            .need(free.busy(&[&self.calendar]).is_ok(), UNSEEN);
        Ok(match &self.token {
            Token::Account(account) if !account.is_delegated() => known.note(
                "a service account invites nobody by itself: for that, delegate the domain's authority to it and set subject",
            ),
            Token::Plain(_) => known.note("nothing renews a plain token: it ends within the hour"),
            Token::Account(_) => known,
        })
    }
}
