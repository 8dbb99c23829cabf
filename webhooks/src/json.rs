//! Reading JSON that may have any shape, without allocating for what is not kept.
//!
//! A [`Field`] never fails because of what its value is: a value of another shape than expected counts as not said. What
//! does fail is what no provider sends: a key twice in an object that is read, and nesting beyond what serde_json allows
//! (128) in a value that is read. Objects are structs that derive `Deserialize` with defaults, named in [`objects!`].

use std::{borrow::Cow, fmt, marker::PhantomData};

use events::Said;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// Most members kept of any list.
pub(crate) const MAX_MEMBERS: usize = 100;

/// A type that JSON values of some kinds can be read as; of all other kinds it makes nothing.
pub(crate) trait Shape<'de>: Sized {
    fn text(_text: Cow<'de, str>) -> Option<Self> {
        None
    }

    fn integer(_number: i64) -> Option<Self> {
        None
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<Skipped, Skipped>()?.is_some() {}
        Ok(None)
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<Skipped>()?.is_some() {}
        Ok(None)
    }
}

/// What a payload says of one field.
#[derive(Debug, Clone)]
pub(crate) struct Field<T>(pub(crate) Said<T>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(Said::Nothing)
    }
}

impl<T> Field<T> {
    /// The value, when one was said.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.value()
    }

    /// Null, or any value of the expected shape.
    pub(crate) fn is_said(&self) -> bool {
        !self.0.is_nothing()
    }
}

impl<'a> Field<Cow<'a, str>> {
    /// The text, when one was said.
    pub(crate) fn text(&self) -> Option<&str> {
        self.get().map(AsRef::as_ref)
    }
}

impl<T> Field<Vec<T>> {
    /// The members; none when nothing was said.
    pub(crate) fn members(&self) -> &[T] {
        self.get().map_or(&[], Vec::as_slice)
    }
}

impl<'de, T: Shape<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData)).map(Self)
    }
}

struct FieldVisitor<T>(PhantomData<T>);

fn said<T>(value: Option<T>) -> Said<T> {
    value.map_or(Said::Nothing, Said::Value)
}

impl<'de, T: Shape<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Said<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Said::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Said::Nothing)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(said(T::integer(number)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(said(i64::try_from(number).ok().and_then(T::integer)))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Said::Nothing)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(said(T::text(Cow::Owned(text.to_owned()))))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(said(T::text(Cow::Borrowed(text))))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        T::object(object).map(said)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        T::list(list).map(said)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Cow<'a, str> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(text)
    }
}

impl<'de> Shape<'de> for u64 {
    fn integer(number: i64) -> Option<Self> {
        Self::try_from(number).ok()
    }
}

impl<'de> Shape<'de> for i64 {
    fn integer(number: i64) -> Option<Self> {
        Some(number)
    }
}

/// The first [`MAX_MEMBERS`] members of the expected shape.
impl<'de, T: Shape<'de>> Shape<'de> for Vec<T> {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut members = Self::new();
        while let Some(member) = list.next_element::<Field<T>>()? {
            if let Said::Value(member) = member.0
                && members.len() < MAX_MEMBERS
            {
                members.push(member);
            }
        }
        Ok(Some(members))
    }
}

/// An object of which nothing is read but that it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Present;

impl<'de> Shape<'de> for Present {
    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<Skipped, Skipped>()?.is_some() {}
        Ok(Some(Self))
    }
}

/// Reads structs that derive `Deserialize` with defaults as objects.
macro_rules! objects {
    ($($name:ident),+ $(,)?) => {$(
        impl<'de: 'a, 'a> $crate::json::Shape<'de> for $name<'a> {
            fn object<A: serde::de::MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
                serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(object)).map(Some)
            }
        }
    )+};
}
pub(crate) use objects;

/// A value that is read past, level by level, so that the parser counts its depth. (Its own way of skipping does not.)
pub(crate) struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Field::<Self>::deserialize(deserializer).map(|_| Self)
    }
}

impl<'de> Shape<'de> for Skipped {}

/// Reads a whole text as one object; `None` when it is other JSON.
pub(crate) fn object<'de, T: Shape<'de>>(text: &'de str) -> serde_json::Result<Option<T>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let field = PhantomData::<Field<T>>.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(match field.0 {
        Said::Value(object) => Some(object),
        Said::Null | Said::Nothing => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, bound(deserialize = "'de: 'a"))]
    struct Thing<'a> {
        name: Field<Cow<'a, str>>,
        count: Field<u64>,
        list: Field<Vec<Cow<'a, str>>>,
        inner: Field<Inner<'a>>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, bound(deserialize = "'de: 'a"))]
    struct Inner<'a> {
        name: Field<Cow<'a, str>>,
    }

    objects!(Thing, Inner);

    fn thing(text: &str) -> Thing<'_> {
        object(text).unwrap().unwrap()
    }

    #[test]
    fn tells_absent_from_null_from_odd() {
        assert!(!thing("{}").name.is_said());
        assert!(thing(r#"{"name":null}"#).name.is_said());
        for odd in ["1", "1.5", "true", "[]", "{}", "[[1,{\"a\":2}]]", "-1"] {
            let text = format!(r#"{{"name":{odd},"inner":{{"name":"x"}}}}"#);
            let thing = thing(&text);
            assert!(!thing.name.is_said(), "{odd}");
            assert_eq!(thing.inner.get().unwrap().name.text(), Some("x"));
        }
        for odd in ["\"1\"", "-1", "1e3", "18446744073709551615", "99999999999999999999"] {
            assert!(!thing(&format!(r#"{{"count":{odd}}}"#)).count.is_said(), "{odd}");
        }
    }

    #[test]
    fn borrows_what_has_no_escapes() {
        let text = r#"{"name":"plain","inner":{"name":"a\u0000b"}}"#;
        let thing = thing(text);
        assert!(matches!(thing.name.get(), Some(Cow::Borrowed("plain"))));
        assert_eq!(thing.inner.get().unwrap().name.text(), Some("a\0b"));
    }

    #[test]
    fn keeps_so_many_members_of_the_expected_shape() {
        assert_eq!(thing(r#"{"list":["a",1,null,{"b":2},"c"]}"#).list.members(), ["a", "c"]);
        let long = format!(r#"{{"list":[{}"z"]}}"#, "\"a\",".repeat(1000));
        assert_eq!(thing(&long).list.members().len(), MAX_MEMBERS);
    }

    #[test]
    fn refuses_doubled_keys_trailing_data_and_depth_in_what_is_read() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for bad in [
            r#"{"name":"a","name":"b"}"#.to_owned(),
            r#"{"inner":{"name":"a","name":"b"}}"#.to_owned(),
            "{} x".to_owned(),
            "{}{}".to_owned(),
            "{".to_owned(),
            String::new(),
            format!(r#"{{"name":{}}}"#, deep(200)),
            deep(200),
        ] {
            assert!(object::<Thing<'_>>(&bad).is_err(), "{bad}");
        }
        assert!(object::<Thing<'_>>(&format!(r#"{{"other":{},"other":1}}"#, deep(200))).is_ok());
        assert!(object::<Thing<'_>>("[]").unwrap().is_none());
    }
}
