//! A GitHub App's key, and the tokens that it signs
//! (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>).
//!
//! The one kind of token that is needed is three texts and a signature by the library that TLS uses already; the crates for
//! tokens bring, beside all the other kinds, a second library of signatures.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use secrecy::SecretString;
use serde_json::json;

use super::SweepError;

/// How far back a token says that it was made, as GitHub advises against clocks that differ.
const BACK: TimeDelta = TimeDelta::seconds(60);
/// How long a token holds; GitHub allows ten minutes.
const HOLDS: TimeDelta = TimeDelta::minutes(9);

/// The private key of a GitHub App, and the App that it is of. Shown as the latter.
#[derive(Clone)]
pub struct AppKey {
    app_id: String,
    pair: Arc<RsaKeyPair>,
}

impl AppKey {
    /// Reads the key that GitHub gave, in PEM. `app_id` is the App's id or client id.
    ///
    /// # Errors
    /// The text is no RSA private key.
    pub fn new(app_id: impl Into<String>, pem: &[u8]) -> Result<Self, SweepError> {
        let no_key = || {
            SweepError(
                "github.private_key_file: this is no RSA private key in PEM, as GitHub gives it".into(),
            )
        };
        let pair = match PrivateKeyDer::from_pem_slice(pem).map_err(|_| no_key())? {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(no_key()),
        };
        Ok(Self { app_id: app_id.into(), pair: Arc::new(pair.map_err(|_| no_key())?) })
    }

    /// A token for the next minutes.
    pub(super) fn token(&self, now: DateTime<Utc>) -> Option<SecretString> {
        let claims =
            json!({"iat": (now - BACK).timestamp(), "exp": (now + HOLDS).timestamp(), "iss": self.app_id});
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let said = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), said.as_bytes(), &mut signature).ok()?;
        Some(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use secrecy::ExposeSecret;

    use super::*;

    /// Made for this test and used nowhere.
    const KEY: &[u8] = include_bytes!("tests/app.pem");

    #[test]
    fn a_token_is_signed_and_holds_for_minutes() {
        let key = AppKey::new("12345", KEY).unwrap();
        let now = "2026-02-02T10:00:00Z".parse().unwrap();
        let token = key.token(now).unwrap();
        let (said, signature) = token.expose_secret().rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public().as_ref());
        public.verify(said.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(said.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims, json!({"iat": 1770026340, "exp": 1770026940, "iss": "12345"}));
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_key_not_shown() {
        for text in ["", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "ghp_x"] {
            let error = AppKey::new("1", text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("github.private_key_file: "), "{error}");
        }
        assert_eq!(format!("{:?}", AppKey::new("1", KEY).unwrap()), "AppKey { app_id: \"1\", .. }");
    }
}
