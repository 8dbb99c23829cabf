//! What an answer means.

use super::ical::Object;
use crate::{
    Verdict,
    http::{PAGE, Reply},
};

/// A meeting that is there.
pub(super) struct Found {
    pub(super) object: Object,
    /// Which state of it this is.
    etag: Option<String>,
}

impl Found {
    /// For `If-Match`: this state of it; where the server has no strong name for that, any, as long as it is there.
    pub(super) fn tag(&self) -> &str {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/")).unwrap_or("*")
    }
}

/// The object of an answer.
pub(super) async fn object(reply: Reply) -> Result<Found, Verdict> {
    let etag = reply.header("etag").map(ToOwned::to_owned);
    Ok(Found { object: calendar(reply).await?, etag })
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
