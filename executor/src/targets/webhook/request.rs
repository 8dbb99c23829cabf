//! What is sent: the action as it stands on the log, signed by Standard Webhooks: HMAC-SHA256 over `ID.TIMESTAMP.BODY`.

use base64::{Engine, prelude::BASE64_STANDARD};
use events::Action;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Serialize;
use sha2::Sha256;

/// How long a key may be, in bytes, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A signing key.
#[derive(Clone)]
pub(super) struct Key(SecretSlice<u8>);

impl Key {
    /// `None` when this is not `whsec_` and base64 of 24 to 64 bytes.
    pub(super) fn parse(text: &SecretString) -> Option<Self> {
        let key = BASE64_STANDARD.decode(text.expose_secret().strip_prefix("whsec_")?).ok()?;
        KEY_BYTES.contains(&key.len()).then(|| Self(key.into()))
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).ok()?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())))
    }
}

/// The header `webhook-signature`: one signature a key.
pub(super) fn signatures(keys: &[Key], id: &str, timestamp: i64, body: &[u8]) -> String {
    keys.iter().filter_map(|key| key.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

/// The body.
#[derive(Debug, Serialize)]
pub(super) struct Payload<'a> {
    /// `breakdown.assign_owner` and so on.
    #[serde(rename = "type")]
    kind: String,
    /// When the action was asked for, RFC 3339.
    timestamp: chrono::DateTime<chrono::Utc>,
    /// The action.
    data: &'a Action,
}

impl<'a> Payload<'a> {
    pub(super) fn new(action: &'a Action, asked_at: chrono::DateTime<chrono::Utc>) -> Self {
        Self { kind: format!("breakdown.{}", action.action.as_str()), timestamp: asked_at, data: action }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn key(text: &str) -> Option<Key> {
        Key::parse(&text.to_owned().into())
    }

    #[test]
    fn the_published_vector_holds() {
        let key = key(KEY).expect("a key");
        assert_eq!(signatures(std::slice::from_ref(&key), ID, 1_649_367_553, BODY), SIGNATURE);
        assert_ne!(signatures(std::slice::from_ref(&key), ID, 1_649_367_554, BODY), SIGNATURE);
        let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr";
        let both = signatures(&[key, super::tests::key(other).expect("a key")], ID, 1_649_367_553, BODY);
        assert!(both.starts_with(&format!("{SIGNATURE} v1,")) && both.split(' ').count() == 2, "{both}");
    }

    #[test]
    fn a_key_is_long_enough() {
        for bad in ["", "whsec_", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_AAAA", "whsec_!", "whsk_AAAA"] {
            assert!(key(bad).is_none(), "{bad}");
        }
    }
}
