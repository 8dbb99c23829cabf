//! What an answer means.

use chrono::{DateTime, Utc};
use reqwest::Url;

use super::ical::Object;
use crate::{
    Verdict,
    http::{PAGE, Reply},
    plain_text::one_line,
    targets::meeting::Booked,
};

/// A meeting that is there.
pub(crate) struct Found {
    reference: String,
    pub(super) object: Object,
    /// Which state of it this is.
    etag: Option<String>,
}

impl Found {
    /// What stands at `url`, as it was answered.
    pub(super) async fn read(url: &Url, reply: Reply) -> Result<Self, Verdict> {
        let etag = reply.header("etag").map(ToOwned::to_owned);
        Ok(Self { reference: reference(url), object: calendar(reply).await?, etag })
    }

    /// For `If-Match`: this state of it; where the server has no strong name for that, any, as long as it is there.
    pub(super) fn tag(&self) -> &str {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/")).unwrap_or("*")
    }
}

impl Booked for Found {
    fn reference(&self) -> String {
        self.reference.clone()
    }

    fn is_cancelled(&self) -> bool {
        self.object.is_cancelled()
    }

    fn begins_at(&self) -> Option<DateTime<Utc>> {
        self.object.begins_at()
    }
}

/// What a meeting is called: its path.
pub(super) fn reference(url: &Url) -> String {
    one_line(url.path(), 256)
}

/// An answer that is a calendar object.
pub(super) async fn calendar(reply: Reply) -> Result<Object, Verdict> {
    let unclear = reply.retry(None, "in a form that cannot be read");
    let bytes = reply.bytes(PAGE).await;
    bytes.and_then(|bytes| Object::read(&bytes)).ok_or(unclear)
}

/// What a status other than success means; `what` is what was asked for.
pub(super) fn refused(reply: &Reply, what: &str) -> Verdict {
    match reply.status().as_u16() {
        401 => reply.reject("the user or the password is not valid (any more)"),
        403 => reply.reject(&format!("this user may not have {what}")),
        404 | 410 => reply.reject(&format!("there is no {what}")),
        409 => reply.reject(&format!("there is no {what}, or another meeting there has the same UID")),
        405 | 415 | 501 => reply.reject(&format!("this is no CalDAV server, or it does not give {what}")),
        _ => reply.refused(),
    }
}
