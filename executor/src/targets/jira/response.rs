//! What an answer means.

use serde::Deserialize;
use serde_json::Value;

use crate::{Verdict, http::Reply};

/// A page of comments.
#[derive(Debug, Deserialize)]
pub(super) struct Comments {
    pub(super) comments: Vec<Comment>,
    #[serde(default)]
    pub(super) total: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    pub(super) id: String,
    #[serde(default)]
    pub(super) body: Value,
}

/// What can be done with an issue now.
#[derive(Debug, Deserialize)]
pub(super) struct Transitions {
    transitions: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
struct Transition {
    id: String,
    name: String,
    to: Named,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl Transitions {
    /// The transition of this name, else the first that leads to a status of this name.
    pub(super) fn to(&self, name: &str) -> Option<&str> {
        let is = |found: &str| found.trim().to_lowercase() == name.trim().to_lowercase();
        let by_name = self.transitions.iter().find(|transition| is(&transition.name));
        let by_status = || self.transitions.iter().find(|transition| is(&transition.to.name));
        by_name.or_else(by_status).map(|transition| transition.id.as_str())
    }
}

/// An issue, of which only its status is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    fields: Fields,
}

#[derive(Debug, Deserialize)]
struct Fields {
    status: Named,
}

impl Issue {
    pub(super) fn status(&self) -> &str {
        &self.fields.status.name
    }
}

/// What a status other than success means.
pub(super) fn refused(reply: &Reply) -> Verdict {
    match reply.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => reply.reject("base is not the site's own address"),
        400 => reply.reject("this was not acceptable to the issue's project"),
        401 => reply.reject("the token is not valid (any more)"),
        403 => reply.reject("this account may not do that, or has to pass a CAPTCHA first"),
        404 => reply.reject("moved, deleted, or not visible to this account"),
        410 => reply.reject("the issue was deleted"),
        _ => reply.refused(),
    }
}
