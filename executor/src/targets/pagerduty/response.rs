//! What an answer means: 202 is taken, 400 is not understood, 429 is too much.

use crate::{Verdict, http::Reply};

pub(super) async fn verdict(reply: Reply) -> Verdict {
    match reply.status().as_u16() {
        // Whatever the body says: it was taken.
        200..=299 => Verdict::Done { reference: reply.reference("dedup_key").await },
        400 => {
            reply.reject("the event is not valid; is the routing key that of an Events API v2 integration?")
        }
        401 | 403 => reply.reject("the routing key is not valid (any more)"),
        404 => reply.reject("base is not that of the Events API"),
        413 => reply.reject("the event is too large"),
        _ => reply.refused(),
    }
}
