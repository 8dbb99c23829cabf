//! What can be known of PagerDuty without paging anybody: that it answers.

use reqwest::Method;
use secrecy::ExposeSecret;

use super::Pagerduty;
use crate::{Introduction, Verdict};

/// How long a routing key is.
const KEY_CHARS: usize = 32;

impl Pagerduty {
    /// A routing key is sent to nobody: every call that takes one is an event.
    pub(super) async fn introduced(&self) -> Result<Introduction, Verdict> {
        let url = self.api.url(&["v2", "enqueue"]);
        let reply = self.api.send(self.api.request(Method::GET, url)).await?;
        let status = reply.status();
        if status.is_server_error() {
            return Err(reply.reject("it is not well"));
        }
        let mut known = Introduction::default()
            .note("the Events API has no call that tries a routing key and pages nobody: whether ours are valid is not known")
            .note(format!("a GET without a key was answered with {}, so somebody is there", status.as_u16()));
        for (service, key) in &self.services {
            let key = key.expose_secret();
            let fine = key.len() == KEY_CHARS && key.bytes().all(|b| b.is_ascii_alphanumeric());
            let why = "this is no integration key of Events API v2, which has 32 letters and digits";
            known = known.need(fine, format!("services.{service}: {why}"));
        }
        Ok(known)
    }
}
