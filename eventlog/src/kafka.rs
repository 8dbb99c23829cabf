//! The Kafka API.
