//! What an event says of one field: nothing, that there is none, or a value.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an event says of one field. Absent JSON is [`Said::Nothing`] and keeps what is known; JSON null is
/// [`Said::Null`] and clears it.
///
/// Fields of this type carry `#[serde(default, skip_serializing_if = "Said::is_nothing")]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Said<T> {
    /// The field was not mentioned.
    #[default]
    Nothing,
    /// The field was said to have no value.
    Null,
    /// The field has this value.
    Value(T),
}

impl<T> Said<T> {
    /// True when the field was not mentioned.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The value, when one was said.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Null => None,
        }
    }

    /// `None` when nothing was said, else what is now known: `Some(None)` for "there is none".
    pub fn known(self) -> Option<Option<T>> {
        match self {
            Self::Nothing => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }

    /// A field that was said: `None` means that there is none.
    pub fn of(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::Value)
    }
}

impl<T: Serialize> Serialize for Said<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::of)
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Said<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Said_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Option::<T>::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}
