//! Who we are at GitHub: `GET /user` for a personal token; for an App the App, its bot and its installation.

use std::collections::BTreeMap;

use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Github, headers, request::is_login, response, token::Token};
use crate::{
    Introduction, Verdict,
    http::{ONE, Reply},
    introduction::{scopes, told},
};

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct App {
    #[serde(default)]
    slug: Option<String>,
    name: String,
}

#[derive(Deserialize)]
struct Owner {
    login: String,
}

#[derive(Deserialize)]
struct Installation {
    #[serde(default)]
    account: Option<Owner>,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
    #[serde(default)]
    repository_selection: String,
    #[serde(default)]
    suspended_at: Option<String>,
}

impl Github {
    pub(super) async fn introduced(&self) -> Result<Introduction, Verdict> {
        match &self.token {
            Token::Personal(_) => self.user().await,
            Token::App(_) => self.app().await,
        }
    }

    /// The id of the account whose comments are ours. What an App writes is written by its bot, which is a user like others.
    pub(super) async fn account(&self) -> Result<u64, Verdict> {
        let reply = match &self.token {
            Token::Personal(_) => self.get(&["user"]).await?,
            Token::App(_) => {
                let app: App = self.as_app(&["app"]).await?.readable(ONE).await?;
                let slug = app.slug.filter(|slug| is_login(slug));
                let slug =
                    slug.ok_or_else(|| self.reject("GitHub does not say what the App's bot is called"))?;
                self.get(&["users", &format!("{slug}[bot]")]).await?
            }
        };
        let user: User = reply.readable(ONE).await?;
        Ok(user.id)
    }

    async fn get(&self, path: &[&str]) -> Result<Reply, Verdict> {
        self.call(self.api.request(Method::GET, self.api.url(path))).await
    }

    async fn user(&self) -> Result<Introduction, Verdict> {
        let reply = self.get(&["user"]).await?;
        let scopes = scopes(&reply);
        let user: User = reply.readable(ONE).await?;
        let known = Introduction::of(&user.login);
        Ok(match scopes {
            // A classic token, which says what it may do.
            Some(scopes) => {
                let has = |scope: &str| scopes.iter().any(|has| has == scope);
                let (all, public) = (has("repo"), has("public_repo"));
                let known = known.may(&scopes).need(
                    all || public,
                    "the token lacks the scope repo: give it that, or make a fine-grained one with write access to issues",
                );
                match public && !all {
                    true => known.note("public_repo: issues of private repositories are out of its reach"),
                    false => known,
                }
            }
            None => known.note(
                "a fine-grained token does not tell what it may do: it needs write access to issues in the repositories",
            ),
        })
    }

    /// As the App itself: what is its own is told to nobody else.
    async fn as_app(&self, path: &[&str]) -> Result<Reply, Verdict> {
        let Token::App(app) = &self.token else { return Err(self.reject("there is no App")) };
        let jwt = app.jwt(self.api.now()).ok_or_else(|| self.reject("the App's key does not sign"))?;
        let request = headers(self.api.request(Method::GET, self.api.url(path)));
        let reply = self.api.send(request.bearer_auth(jwt.expose_secret())).await?;
        match reply.status().as_u16() {
            200..=299 => Ok(reply),
            401 => {
                Err(reply
                    .reject("the App's id and key do not belong together, or this machine's clock is wrong"))
            }
            404 => Err(reply.reject("there is no such installation of the App")),
            _ => Err(response::refused(reply).await),
        }
    }

    async fn app(&self) -> Result<Introduction, Verdict> {
        let Token::App(of) = &self.token else { return Err(self.reject("there is no App")) };
        let app: App = self.as_app(&["app"]).await?.readable(ONE).await?;
        let path = ["app", "installations", &of.installation];
        let found: Installation = self.as_app(&path).await?.readable(ONE).await?;
        let (app, at) = (app.slug.unwrap_or(app.name), found.account.map(|account| account.login));
        let who =
            format!("the App {}, installed by {}", told(&app), told(at.as_deref().unwrap_or("nobody known")));
        let writes = found.permissions.get("issues").is_some_and(|level| level == "write");
        let known = Introduction::of(&who)
            .may(found.permissions.iter().map(|(what, level)| format!("{what}: {level}")))
            .need(
                writes,
                "the installation may not write issues: give the App the permission, and accept it where the App is installed",
            )
            .need(found.suspended_at.is_none(), "the installation is suspended: lift that in its settings");
        Ok(match found.repository_selection.as_str() {
            "selected" => known
                .note("it is installed for selected repositories: those of the issues must be among them"),
            _ => known,
        })
    }
}
