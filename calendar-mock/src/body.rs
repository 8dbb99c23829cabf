//! Reading a request's body: bounded, JSON, checked.

use axum::{body::Bytes, extract::rejection::BytesRejection};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The longest body that is read, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Something that comes in a body and has rules beyond its shape.
pub(crate) trait Checked: DeserializeOwned {
    /// The shape, in words.
    const SHAPE: &'static str;

    /// The first rule that it breaks.
    fn problem(&self) -> Option<&'static str>;
}

/// Whether `text` has 1 to `max` characters.
pub(crate) fn text(text: &str, max: usize) -> bool {
    !text.trim().is_empty() && text.chars().nth(max).is_none()
}

/// The bytes of a body.
pub(crate) fn bytes(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status().as_u16() {
        413 => Problem::new(413, "the body is longer than 65536 bytes"),
        _ => Problem::new(400, "the body could not be read"),
    })
}

/// JSON of some shape: 400 when it is not JSON, 422 when it has another shape.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8], shape: &'static str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::new(422, shape),
        _ => Problem::new(400, "the body is not JSON"),
    })
}

/// Something checked.
pub(crate) fn checked<T: Checked>(body: &[u8]) -> Result<T, Problem> {
    // serde takes an array for a struct; the API does not.
    let value: serde_json::Map<String, serde_json::Value> = json(body, T::SHAPE)?;
    let value: T = serde_json::from_value(value.into()).map_err(|_| Problem::new(422, T::SHAPE))?;
    match value.problem() {
        Some(problem) => Err(Problem::new(422, problem)),
        None => Ok(value),
    }
}
