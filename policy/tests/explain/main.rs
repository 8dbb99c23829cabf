//! Explanations: what they say, that they agree with decisions, that each change which they name does what it says, and that they
//! end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agreement;
mod bounds;
mod change;
mod stories;
mod world;
