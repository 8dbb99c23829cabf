//! What an answer means: only success is success; 410 means never again.

use crate::{Verdict, http::Reply};

pub(super) fn verdict(reply: &Reply) -> Verdict {
    match reply.status().as_u16() {
        200..=299 => Verdict::Done { reference: None },
        300..=399 => reply.reject("redirects are not followed; set url to where it leads"),
        410 => reply.reject("the endpoint wants no more; nothing is sent to it until the next start"),
        401 | 403 => reply.reject("does it know our secret?"),
        _ => reply.refused(),
    }
}
