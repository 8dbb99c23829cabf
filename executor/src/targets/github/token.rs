//! The token of a request: a personal one, or an installation's, which an App gets for an hour at a time.
//!
//! An App proves itself by a JWT (RS256) of at most ten minutes.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{
    super::bearer::{Bearer, Held},
    config, response,
};
use crate::{
    Verdict,
    http::{Api, ONE},
    jwt::RsaKey,
};

/// How far back a JWT is dated: their clock may be behind ours.
const BACKDATED: TimeDelta = TimeDelta::seconds(60);
/// How long it holds from now; ten minutes from its date are allowed.
const HOLDS: TimeDelta = TimeDelta::minutes(8);

/// Whom we are.
pub(super) enum Token {
    Personal(SecretString),
    App(App),
}

pub(super) struct App {
    id: String,
    pub(super) installation: String,
    key: RsaKey,
    held: Held,
}

#[derive(Deserialize)]
struct Issued {
    token: SecretString,
    expires_at: DateTime<Utc>,
}

impl App {
    /// `None` when this is no RSA key in PEM.
    pub(super) fn new(config: &config::App, private_key: &SecretString) -> Option<Self> {
        let key = RsaKey::from_pem(private_key)?;
        let (id, installation) = (config.id.clone(), config.installation.to_string());
        Some(Self { id, installation, key, held: Held::default() })
    }

    /// The JWT with which the App speaks for itself.
    pub(super) fn jwt(&self, now: DateTime<Utc>) -> Option<SecretString> {
        let claims = json!({
            "iat": (now - BACKDATED).timestamp(), "exp": (now + HOLDS).timestamp(), "iss": self.id,
        });
        self.key.token(None, &claims)
    }

    async fn issue(&self, api: &Api) -> Result<Issued, Verdict> {
        let url = api.url(&["app", "installations", &self.installation, "access_tokens"]);
        let Some(jwt) = self.jwt(api.now()) else {
            return Err(Verdict::Reject { reason: format!("{}: the App's key does not sign", api.name) });
        };
        let request = super::headers(api.request(Method::POST, url)).bearer_auth(jwt.expose_secret());
        let reply = api.send(request).await?;
        match reply.status().as_u16() {
            201 => reply.readable(ONE).await,
            401 => {
                Err(reply
                    .reject("the App's id and key do not belong together, or this machine's clock is wrong"))
            }
            404 => Err(reply.reject("there is no such installation of the App")),
            _ => Err(response::refused(reply).await),
        }
    }
}

impl Token {
    /// A token that holds now.
    pub(super) async fn get(&self, api: &Api) -> Result<Bearer, Verdict> {
        let app = match self {
            Self::Personal(token) => return Ok(Bearer::plain(token)),
            Self::App(app) => app,
        };
        let issued = async { app.issue(api).await.map(|issued| (issued.token, issued.expires_at)) };
        app.held.get(api.now(), issued).await
    }

    /// It was refused. Whether to try again: an App gets another; a personal one is what it is.
    pub(super) async fn refused(&self, bearer: &Bearer) -> bool {
        match self {
            Self::Personal(_) => false,
            Self::App(app) => app.held.refused(bearer).await,
        }
    }
}
