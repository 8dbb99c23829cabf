//! A record's headers.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

/// Header names and values, in order: two blocks of memory, however many there are.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Names and values by turns, one after the other.
    text: String,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut from = 0;
        self.ends.iter().filter_map(move |&(name, value)| {
            let header = self.text.get(from..name).zip(self.text.get(name..value));
            from = value;
            header
        })
    }

    /// Adds one.
    pub fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let end = self.text.len();
        self.text.push_str(value);
        self.ends.push((end, self.text.len()));
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(headers: T) -> Self {
        let mut all = Self::default();
        headers.into_iter().for_each(|(name, value)| all.push(name.as_ref(), value.as_ref()));
        all
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A list of pairs, as the embedded log stores them.
impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names and values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Headers, A::Error> {
                let mut headers = Headers { text: String::with_capacity(512), ends: Vec::with_capacity(8) };
                while let Some((Text(name), Text(value))) = pairs.next_element()? {
                    headers.push(&name, &value);
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_seq(Pairs)
    }
}

/// Borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read() {
        let given = vec![
            ("ce_id".to_owned(), "gh-1".to_owned()),
            ("x".into(), String::new()),
            (String::new(), "\"ü\n".into()),
        ];
        let stored = serde_json::to_string(&given).unwrap();
        let read: Headers = serde_json::from_str(&stored).unwrap();
        let told: Vec<_> = read.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(told, given);
        assert_eq!(read, given.iter().map(|(name, value)| (name, value)).collect());
        assert_eq!((read.get("ce_id"), read.get("x"), read.get("y")), (Some("gh-1"), Some(""), None));
        assert!(serde_json::from_str::<Headers>(r#"[["a"]]"#).is_err());
    }
}
