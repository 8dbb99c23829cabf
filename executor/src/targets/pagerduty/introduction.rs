//! What can be known of PagerDuty without paging anybody: that it answers.

use reqwest::Method;

use super::Pagerduty;
use crate::{Introduction, Verdict};

impl Pagerduty {
    /// A routing key is sent to nobody: every call that takes one is an event.
    pub(super) async fn introduced(&self) -> Result<Introduction, Verdict> {
        let url = self.api.url(&["v2", "enqueue"]);
        let reply = self.api.send(self.api.request(Method::GET, url)).await?;
        let status = reply.status();
        if status.is_server_error() {
            return Err(reply.reject("it is not well"));
        }
        Ok(Introduction::default()
            .note("the Events API has no call that tries a routing key and pages nobody: ours have the right form, whether they are valid is not known")
            .note(format!("a GET without a key was answered with {}, so somebody is there", status.as_u16())))
    }
}
