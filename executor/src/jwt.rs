//! JSON Web Tokens, signed with RS256. rustls, which is here anyway, signs them: it takes a key as GitHub (PKCS#1) and
//! Google (PKCS#8) give it, in PEM, and no second implementation of RSA comes along.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::{
    SignatureScheme,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

const RS256: [SignatureScheme; 1] = [SignatureScheme::RSA_PKCS1_SHA256];

/// An RSA key that signs.
#[derive(Debug)]
pub(crate) struct RsaKey(Arc<dyn SigningKey>);

impl RsaKey {
    /// `None` when this is no RSA key in PEM.
    pub(crate) fn from_pem(pem: &SecretString) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).ok()?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
        key.choose_scheme(&RS256)?;
        Some(Self(key))
    }

    /// A token with these claims; `key_id` where several keys are in use at the other end.
    pub(crate) fn token(&self, key_id: Option<&str>, claims: &Value) -> Option<SecretString> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(key_id) = key_id {
            header["kid"] = json!(key_id);
        }
        let signed = [&header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.0.choose_scheme(&RS256)?.sign(signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).into())
    }
}
