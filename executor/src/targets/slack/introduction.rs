//! Who we are at Slack: `auth.test`, whose answer's head has the token's scopes.

use events::ActionKind;
use reqwest::{Method, RequestBuilder};
use secrecy::SecretString;

use super::{
    Slack, Way,
    response::{self, Account},
};
use crate::{Introduction, Verdict, introduction};

impl Slack {
    fn test(&self, token: &SecretString) -> RequestBuilder {
        self.signed(token, self.api.request(Method::POST, self.api.url(&["auth.test"])))
    }

    /// The account whose messages are ours.
    pub(super) async fn account(&self, token: &SecretString) -> Result<Account, Verdict> {
        let reply = self.api.send(self.test(token)).await?;
        let nobody = reply.retry(None, "without saying who we are");
        response::answer(reply).await?.account().ok_or(nobody)
    }

    pub(super) async fn introduced(&self, kinds: &[ActionKind]) -> Result<Introduction, Verdict> {
        let (token, history) = match &self.way {
            Way::Bot { token, history } => (token, *history),
            Way::Hook => {
                return Ok(Introduction::default().note(
                    "an incoming webhook can be asked nothing without posting: it was not called, and who it is stays unknown",
                ));
            }
        };
        let reply = self.api.send(self.test(token)).await?;
        let scopes = introduction::scopes(&reply);
        let answer = response::answer(reply).await?;
        let (user, team) = (answer.user.unwrap_or_default(), answer.team.unwrap_or_default());
        let who = format!("{} in the workspace {}", introduction::told(&user), introduction::told(&team));
        let known = Introduction::of(&who);
        let Some(scopes) = scopes else {
            return Ok(known.note("Slack does not say which scopes the token has"));
        };
        let has = |scope: &str| scopes.iter().any(|has| has == scope);
        let in_person = kinds.contains(&ActionKind::AssignOwner);
        let mut known = known.may(&scopes).need(
            has("chat:write"),
            "chat:write: nothing can be posted; add the scope to the app and install it again",
        );
        let people =
            "people are told in person, which needs it; add the scope to the app and install it again";
        match (has("im:write"), in_person) {
            (true, _) => {}
            (false, true) => known = known.need(false, format!("im:write, for assign_owner: {people}")),
            (false, false) => {
                known = known.note("without im:write only channels can be told, nobody in person")
            }
        }
        if history {
            let looks =
                "history = true looks through it before it posts; add the scope, or set history = false";
            let channels = has("channels:history") || has("groups:history");
            known = known
                .need(channels, format!("channels:history (groups:history for private channels): {looks}"))
                .need(!in_person || has("im:history"), format!("im:history, for assign_owner: {looks}"));
        }
        Ok(known)
    }
}
