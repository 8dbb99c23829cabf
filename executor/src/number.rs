//! A number of the configuration that knows its own bounds.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// A whole number from `MIN` to `MAX`. Anything else is refused where it is read, by an error that names the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Within<MIN, MAX> {
    /// `None` where it is less or more.
    pub fn new(number: u32) -> Option<Self> {
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u32(Bounds::<MIN, MAX>)
    }
}

struct Bounds<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Visitor<'_> for Bounds<MIN, MAX> {
    type Value = Within<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let within = u32::try_from(number).ok().and_then(Within::new);
        within.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let within = u32::try_from(number).ok().and_then(Within::new);
        within.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_none_is_refused_with_the_bounds() {
        let read = |said| serde_json::from_value::<Within<1, 60>>(said).map(Within::get);
        for good in [1, 60] {
            assert_eq!(read(json!(good)).ok(), Some(good));
        }
        for bad in [json!(0), json!(61), json!(-1), json!(0.5), json!(u64::MAX), json!("7"), json!(null)] {
            let error = read(bad.clone()).expect_err("refused").to_string();
            assert!(error.ends_with("expected a whole number from 1 to 60"), "{bad}: {error}");
        }
        assert_eq!((Within::<1, 60>::new(0), Within::<1, 60>::new(61)), (None, None));
    }
}
