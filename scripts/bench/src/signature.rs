//! GitHub's signature: HMAC-SHA256 over the raw body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A secret, ready to sign.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    pub(crate) fn new(secret: &str) -> crate::Result<Self> {
        Ok(Self(Hmac::new_from_slice(secret.as_bytes())?))
    }

    /// 64 lower-case hex digits.
    pub(crate) fn sign(&self, body: &[u8]) -> crate::Result<[u8; 64]> {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0.clone().chain_update(body).finalize().into_bytes(), &mut digits)?;
        Ok(digits)
    }

    /// Whether `header` (`sha256=` and 64 hex digits) is `body`'s signature; in constant time.
    pub(crate) fn verify(&self, header: &[u8], body: &[u8]) -> bool {
        let mut claimed = [0; 32];
        header
            .strip_prefix(b"sha256=")
            .is_some_and(|digits| hex::decode_to_slice(digits, &mut claimed).is_ok())
            && self.0.clone().chain_update(body).verify_slice(&claimed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_githubs_published_vector() {
        let key = Key::new("It's a Secret to Everybody").unwrap();
        let digits = key.sign(b"Hello, World!").unwrap();
        assert_eq!(&digits, b"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
        let header = [b"sha256=".as_slice(), &digits].concat();
        assert!(key.verify(&header, b"Hello, World!"));
        assert!(!key.verify(&header, b"Hello, World?"));
    }
}
