//! Signatures: HMAC-SHA256 over a body's raw bytes, with any of several live secrets.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::{Provider, refusal::Refusal};

/// The secrets of one provider that are live at the same time, so that one can be replaced without losing a delivery.
/// They are never shown, also not by `Debug`.
#[derive(Debug, Clone)]
pub struct Secrets(Vec<SecretString>);

/// Why a list of secrets cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// An entry of the list is empty: an empty secret would let anyone sign.
    #[error("secret {0} of the comma-separated list is empty: remove the comma or fill in the secret")]
    Empty(
        /// Which one, from 1.
        usize,
    ),
}

impl Secrets {
    /// Reads a comma-separated list. White space around a secret is not part of it.
    pub fn parse(list: &str) -> Result<Self, SecretsError> {
        list.split(',')
            .enumerate()
            .map(|(index, secret)| match secret.trim() {
                "" => Err(SecretsError::Empty(index + 1)),
                secret => Ok(SecretString::from(secret)),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether any of the secrets made `signature` for `body`. Each comparison takes the same time wherever they differ.
    pub(crate) fn verify(&self, signature: &Signature, body: &[u8]) -> bool {
        let Signature { first, others } = signature;
        self.0.iter().any(|secret| {
            // The body is gone through once a secret, however many signatures a header has.
            let mac = mac(secret, body);
            let mut signatures = std::iter::once(first).chain(others);
            signatures.any(|signature| mac.clone().verify_slice(signature).is_ok())
        })
    }
}

fn mac(secret: &SecretString, body: &[u8]) -> Hmac<Sha256> {
    // An HMAC key may have any length (RFC 2104, section 3), so this never fails.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("any key length");
    mac.update(body);
    mac
}

/// The most signatures of one header; PagerDuty sends one for each live secret.
const MAX_SIGNATURES: usize = 8;

/// A signature of the right form: 64 lower-case hex digits after `sha256=`. PagerDuty's are after `v1=`, and there may be several,
/// separated by commas, any of which may be right; those of other versions are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    first: [u8; 32],
    others: Vec<[u8; 32]>,
}

impl Signature {
    /// Takes the signature from a request's head. A doubled header is malformed: which one a proxy in front of us
    /// looked at is not known.
    pub(crate) fn of(provider: Provider, headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(provider.signature_header()).iter();
        let value = values.next().ok_or(Refusal::SignatureMissing)?;
        if values.next().is_some() {
            return Err(Refusal::SignatureMalformed);
        }
        Self::parse(provider, value.as_bytes()).ok_or(Refusal::SignatureMalformed)
    }

    pub(crate) fn parse(provider: Provider, value: &[u8]) -> Option<Self> {
        if provider != Provider::Pagerduty {
            return Some(Self { first: digest(value.strip_prefix(b"sha256=")?)?, others: Vec::new() });
        }
        let mut signatures = Vec::new();
        for part in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let (version, digits) = part.split_at(part.iter().position(|byte| *byte == b'=')? + 1);
            match version {
                b"v1=" => signatures.push(digest(digits)?),
                [b'v', number @ .., b'='] if !number.is_empty() && number.iter().all(u8::is_ascii_digit) => {}
                _ => return None,
            }
        }
        let first = *signatures.first().filter(|_| signatures.len() <= MAX_SIGNATURES)?;
        Some(Self { first, others: signatures.split_off(1) })
    }
}

fn digest(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let lower = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (lower && hex::decode_to_slice(digits, &mut bytes).is_ok()).then_some(bytes)
}

/// The headers with which `provider` would send `body`, signed with the first of `secrets`. `event` is GitHub's event
/// (`issues`); the others name theirs in the payload. Names are lower-case.
pub fn sign(
    provider: Provider,
    secrets: &Secrets,
    event: &str,
    delivery_id: &str,
    body: &[u8],
) -> Vec<(String, String)> {
    let signature = secrets.0.first().map(|secret| hex::encode(mac(secret, body).finalize().into_bytes()));
    let content_type = match provider {
        Provider::Github | Provider::Pagerduty => "application/json",
        Provider::Jira => "application/json; charset=UTF-8",
    };
    let mut headers = vec![
        ("content-type".to_owned(), content_type.to_owned()),
        (provider.delivery_header().to_string(), delivery_id.to_owned()),
        (
            provider.signature_header().to_string(),
            format!("{}={}", provider.signature_scheme(), signature.unwrap_or_default()),
        ),
    ];
    if let Some(name) = provider.event_header() {
        headers.push((name.to_string(), event.to_owned()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";
    const GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    const JIRA: &str = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";

    fn signed(provider: Provider, body: &[u8]) -> String {
        let headers = sign(provider, &Secrets::parse(SECRET).unwrap(), "issues", "d", body);
        let name = provider.signature_header();
        headers.into_iter().find(|(n, _)| n == name.as_str()).unwrap().1
    }

    #[test]
    fn agrees_with_the_published_vectors() {
        assert_eq!(signed(Provider::Github, b"Hello, World!"), GITHUB);
        assert_eq!(signed(Provider::Jira, b"Hello World!"), JIRA);
        let signature = Signature::parse(Provider::Github, GITHUB.as_bytes()).unwrap();
        assert!(Secrets::parse(SECRET).unwrap().verify(&signature, b"Hello, World!"));
        assert!(!Secrets::parse(SECRET).unwrap().verify(&signature, b"Hello, World?"));
    }

    #[test]
    fn every_live_secret_is_tried() {
        let signature = Signature::parse(Provider::Github, GITHUB.as_bytes()).unwrap();
        let rotating = Secrets::parse(&format!("new one, {SECRET} ,other")).unwrap();
        assert!(rotating.verify(&signature, b"Hello, World!"));
        assert!(!Secrets::parse("new one,other").unwrap().verify(&signature, b"Hello, World!"));
    }

    #[test]
    fn an_empty_secret_is_refused() {
        for (list, position) in [("", 1), (" ", 1), ("a,,b", 2), ("a,", 2), (",a", 1)] {
            assert_eq!(Secrets::parse(list).unwrap_err(), SecretsError::Empty(position), "{list:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Secrets::parse("hunter2,swordfish").unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
    }

    #[test]
    fn a_signature_of_another_form_is_none() {
        let good = GITHUB.strip_prefix("sha256=").unwrap();
        for bad in [
            String::new(),
            good.to_owned(),
            format!("sha1={good}"),
            format!("SHA256={good}"),
            format!("sha256={}", good.to_uppercase()),
            format!("sha256={}", &good[..63]),
            format!("sha256={}", &good[..62]),
            format!("sha256={good}0"),
            format!("sha256={good} "),
            format!("sha256= {good}"),
            format!("sha256={}g", &good[..63]),
            format!("sha256={}é", &good[..62]),
            format!("{GITHUB},{GITHUB}"),
            "sha256=".to_owned(),
        ] {
            assert_eq!(Signature::parse(Provider::Github, bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn of_pagerdutys_signatures_any_may_be_right() {
        let (secrets, body) = (Secrets::parse(SECRET).unwrap(), b"Hello, World!");
        let right = signed(Provider::Pagerduty, body);
        let digits = GITHUB.strip_prefix("sha256=").unwrap();
        assert_eq!(right, format!("v1={digits}"));
        let other = format!("v1={}", "0".repeat(64));
        let verified = |header: &str| {
            Signature::parse(Provider::Pagerduty, header.as_bytes()).map(|it| secrets.verify(&it, body))
        };
        for header in [
            right.clone(),
            format!("{other},{right}"),
            format!("{right}, {other}"),
            format!("v2=whatever,{right}"),
        ] {
            assert_eq!(verified(&header), Some(true), "{header}");
        }
        assert_eq!(verified(&format!("{other},{other}")), Some(false));
        assert_eq!(verified(&[other.as_str(); 8].join(",")), Some(false));
        for bad in [
            String::new(),
            "v1=".to_owned(),
            format!("v0={digits}"),
            format!("sha256={digits}"),
            format!("V1={digits}"),
            format!("v={digits},{right}"),
            format!("{right},"),
            format!("{right};{right}"),
            format!("{right},v1={}", digits.to_uppercase()),
            [right.as_str(); 9].join(","),
        ] {
            assert_eq!(verified(&bad), None, "{bad}");
        }
        assert_eq!(Signature::parse(Provider::Github, right.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(mut body in proptest::collection::vec(any::<u8>(), 1..512), at: prop::sample::Index) {
            let secrets = Secrets::parse(SECRET).unwrap();
            let header = signed(Provider::Github, &body);
            let signature = Signature::parse(Provider::Github, header.as_bytes()).unwrap();
            prop_assert!(secrets.verify(&signature, &body));
            let bit = at.index(body.len() * 8);
            body[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!secrets.verify(&signature, &body));
            body[bit / 8] ^= 1 << (bit % 8);
            let mut forged = signature.clone();
            let bit = at.index(256);
            forged.first[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!secrets.verify(&forged, &body));
        }
    }
}
