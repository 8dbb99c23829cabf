//! The token of a request: a plain one, or a service account's, which gets one for an hour at a time.
//!
//! A service account proves itself by a JWT (RFC 7523) to the address that its key file names, and to no other.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{
    super::{
        Refused,
        bearer::{Bearer, Held},
    },
    Config, Opening,
};
use crate::{
    Verdict,
    form::TOKEN,
    http::{Api, ONE},
    introduction::told,
    jwt::RsaKey,
};

/// What may be done with the token.
const SCOPE: &str =
    "https://www.googleapis.com/auth/calendar.events https://www.googleapis.com/auth/calendar.freebusy";
/// How far back a JWT is dated: their clock may be behind ours.
const BACKDATED: TimeDelta = TimeDelta::seconds(60);
/// How long it holds from now; an hour from its date is allowed.
const HOLDS: TimeDelta = TimeDelta::minutes(10);

/// Whom we are.
pub(super) enum Token {
    Plain(SecretString),
    Account(Box<Account>),
}

pub(super) struct Account {
    api: Api,
    email: String,
    key_id: Option<String>,
    key: RsaKey,
    subject: Option<String>,
    held: Held,
}

/// What we read of the key file.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: SecretString,
    private_key_id: Option<String>,
    token_uri: String,
}

#[derive(Deserialize)]
struct Issued {
    access_token: SecretString,
    /// In seconds.
    expires_in: u32,
}

impl Token {
    pub(super) fn open(config: &Config, opening: &Opening<'_>) -> Result<Self, Refused> {
        match (&config.token, &config.service_account) {
            (Some(token), None) => Ok(Self::Plain(opening.formed("token", token, &TOKEN)?)),
            (None, Some(file)) => {
                let file = opening.secret("service_account", file)?;
                Ok(Self::Account(Box::new(Account::open(&file, config, opening)?)))
            }
            _ => {
                Err(opening
                    .refuse("service_account", "Google needs a service_account or a token, and not both"))
            }
        }
    }

    /// A token that holds now.
    pub(super) async fn get(&self) -> Result<Bearer, Verdict> {
        let account = match self {
            Self::Plain(token) => return Ok(Bearer::plain(token)),
            Self::Account(account) => account,
        };
        let issued = async {
            let asked_at = account.api.now();
            let Issued { access_token, expires_in } = account.issue(asked_at).await?;
            Ok((access_token, asked_at + TimeDelta::seconds(expires_in.into())))
        };
        account.held.get(account.api.now(), issued).await
    }

    /// It was refused. Whether to try again: an account gets another; a plain one is what it is.
    pub(super) async fn refused(&self, bearer: &Bearer) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Account(account) => account.held.refused(bearer).await,
        }
    }
}

impl Account {
    fn open(file: &SecretString, config: &Config, opening: &Opening<'_>) -> Result<Self, Refused> {
        let refuse = |what: &str| opening.refuse("service_account", what);
        let file: KeyFile = serde_json::from_str(file.expose_secret())
            .map_err(|_| refuse("this is no key of a service account, a JSON file as Google gives it"))?;
        let key = RsaKey::from_pem(&file.private_key)
            .ok_or_else(|| refuse("its private_key is no RSA key in PEM"))?;
        let api = opening.api("service_account", &file.token_uri, config.allow_private)?;
        let (email, key_id, subject) = (file.client_email, file.private_key_id, config.subject.clone());
        Ok(Self { api, email, key_id, key, subject, held: Held::default() })
    }

    /// Whom Google takes us for.
    pub(super) fn who(&self) -> String {
        let email = told(&self.email);
        self.subject.as_ref().map_or(email.clone(), |subject| format!("{email} as {}", told(subject)))
    }

    /// Whether it acts as a user of the domain.
    pub(super) fn is_delegated(&self) -> bool {
        self.subject.is_some()
    }

    async fn issue(&self, now: DateTime<Utc>) -> Result<Issued, Verdict> {
        let mut claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.api.base().as_str(),
            "iat": (now - BACKDATED).timestamp(), "exp": (now + HOLDS).timestamp(),
        });
        if let Some(subject) = &self.subject {
            claims["sub"] = json!(subject);
        }
        let Some(jwt) = self.key.token(self.key_id.as_deref(), &claims) else {
            return Err(Verdict::Reject {
                reason: format!("{}: the account's key does not sign", self.api.name),
            });
        };
        // A JWT has nothing in it that a form would escape.
        let form = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}",
            jwt.expose_secret()
        );
        let request = self.api.request(Method::POST, self.api.base());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let reply = self.api.send(request).await?;
        match reply.status().as_u16() {
            200 => reply.readable(ONE).await,
            400 | 401 | 403 => Err(reply.reject(
                "Google gives the service account no token: is its key deleted, subject not delegated, or this machine's clock wrong?",
            )),
            _ => Err(reply.refused()),
        }
    }
}
