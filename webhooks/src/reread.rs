//! A delivery that was kept because it could not be read, read anew: by a newer version, or after its project was mapped.

use events::{Message, id};

use crate::{
    Config, Provider,
    admission::{Payload, read},
    body::Encoding,
    delivery::{Reading, Unreadable},
};

/// What a delivery says that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reread {
    /// An event, as a receiver appends it: under the same id as if it had been read when it came; and the acknowledgement that lies in it.
    Events(Vec<Message>),
    /// Nothing that we use; why, in one word.
    Ignored(&'static str),
}

/// Reads a kept delivery as a receiver does, on from its verified body. `event` and `delivery_id` are what the provider's headers said.
///
/// # Errors
/// Why it still cannot be read, without its own text.
pub fn reread(
    provider: Provider,
    event: Option<&str>,
    delivery_id: Option<&str>,
    body: &[u8],
    config: &Config,
) -> Result<Reread, String> {
    let encoding = Encoding::of_kept(provider, body);
    let payload = Payload { provider, encoding, event, id: delivery_id, body, signed: true };
    match read(payload, config).map_err(|why: Unreadable| why.to_string())? {
        Reading::Ignored(why) => Ok(Reread::Ignored(why)),
        Reading::Event(told) => told
            .messages(Some(&id::payload_hash(body)))
            .map(Reread::Events)
            .map_err(|_| "it cannot be written as JSON".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: &[u8] = include_bytes!("../../samples/deliveries/github-issue-opened-triage.json");

    fn again(event: Option<&str>, body: &[u8]) -> Result<Reread, String> {
        reread(
            Provider::Github,
            event,
            Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            body,
            &Config::default(),
        )
    }

    #[test]
    fn it_is_the_event_that_it_would_have_been() {
        let Ok(Reread::Events(messages)) = again(Some("issues"), OPENED) else { panic!("an event") };
        let [message] = &messages[..] else { panic!("one event") };
        assert_eq!((message.topic, message.key.as_str()), ("issues", "alpha"));
        let headers: Vec<_> = message.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert!(headers.contains(&("payload_hash", &id::payload_hash(OPENED))));
        let (_, event_id) = headers.iter().find(|(name, _)| *name == "ce_id").unwrap();
        let site = "github.com";
        assert_eq!(*event_id, id::github_event(site, Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"), OPENED));
    }

    #[test]
    fn a_form_is_known_by_its_bytes() {
        let text = std::str::from_utf8(OPENED).unwrap();
        let form = format!(
            "payload={}",
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        );
        assert!(matches!(again(Some("issues"), form.as_bytes()), Ok(Reread::Events(_))));
    }

    #[test]
    fn what_is_still_unreadable_is_told_without_its_text() {
        for (event, body) in [(None, OPENED), (Some("issues"), b"<script>"), (Some("milestone"), OPENED)] {
            let why = again(event, body).unwrap_err();
            assert!(!why.is_empty() && !why.contains("script"), "{why}");
        }
        assert_eq!(again(Some("ping"), b"{}"), Ok(Reread::Ignored("ping")));
    }
}
