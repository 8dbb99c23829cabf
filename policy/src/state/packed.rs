//! Ids and hashes, of which there are many, as the bytes that they stand for.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

/// A text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Packed {
    /// A derived id: `gh-` and 32 hex digits.
    Id { prefix: [u8; 2], digest: [u8; 16] },
    /// A hash of 32 bytes: 64 hex digits.
    Hash([u8; 32]),
    /// Any other.
    Text(SmolStr),
}

impl Packed {
    pub(crate) fn of(text: &str) -> Self {
        let id = || {
            let (prefix, digits) = text.as_bytes().split_at_checked(3)?;
            let [a, b, b'-'] = *prefix else { return None };
            Some(Self::Id { prefix: [a, b], digest: digits_of(digits)? })
        };
        id().or_else(|| digits_of(text.as_bytes()).map(Self::Hash)).unwrap_or_else(|| Self::Text(text.into()))
    }

    pub(crate) fn text(&self) -> SmolStr {
        match self {
            // Of a text, so the two bytes before a dash are one character or two.
            Self::Id { prefix, digest } => {
                let mut text = String::with_capacity(2 + prefix.len() + 2 * digest.len());
                text.push_str(&String::from_utf8_lossy(prefix));
                text.push('-');
                push_hex(&mut text, digest);
                text.into()
            }
            Self::Hash(digest) => {
                let mut text = String::with_capacity(2 * digest.len());
                push_hex(&mut text, digest);
                text.into()
            }
            Self::Text(text) => text.clone(),
        }
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'_, str>>::deserialize(deserializer).map(|text| Self::of(&text))
    }
}

/// The bytes that hex digits stand for, where they are as we write them: lower case, and as many as fit.
fn digits_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    // Several times an event: without a branch for each digit.
    let (mut bytes, mut all) = ([0; N], 0);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| VALUES[usize::from(digit)]);
        all |= high | low;
        *byte = high << 4 | low & 15;
    }
    (all < 16).then_some(bytes)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What each byte stands for as a digit; 255 where it is none.
const VALUES: [u8; 256] = {
    let (mut values, mut value) = ([u8::MAX; 256], 0);
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was() {
        let sha = "0123456789abcdef".repeat(4);
        for text in [
            "gh-fdef541c719416027c5cd3d00bcd54a2",
            "gh-fdef541c719416027c5cd3d00bcd54aG",
            "GH-FDEF541C719416027C5CD3D00BCD54A2",
            "ü-fdef541c719416027c5cd3d00bcd54a2",
            "--fdef541c719416027c5cd3d00bcd54a2",
            "p-fdef541c719416027c5cd3d00bcd54a2",
            sha.as_str(),
            "",
            "sample-triage-1",
            &sha.to_uppercase(),
        ] {
            let packed = Packed::of(text);
            assert_eq!(packed.text(), text);
            let json = serde_json::to_string(&packed).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<Packed>(&json).unwrap(), packed);
        }
        assert!(matches!(Packed::of(&sha), Packed::Hash(_)));
    }
}
