//! What a target says when it is asked who we are there: by a harmless call, before anything depends on it.

use std::net::IpAddr;

use serde::Serialize;

use crate::{
    Verdict,
    http::{Api, Reply},
    plain_text::one_line,
};

/// The longest thing that is told of another's words, in characters.
const TOLD_MAX: usize = 128;
/// How many such things are told of one kind.
const MANY: usize = 32;

/// Where a target is, as the guard sees it: nothing was called for this, a name was looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Whereabouts {
    /// Host and port.
    pub host: String,
    /// Its requests go through `executor.proxy`; the addresses are the proxy's.
    pub proxied: bool,
    /// What the name resolves to now; at most 16.
    pub addresses: Vec<Address>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unresolved: Option<&'static str>,
}

/// One address of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Nothing is ever sent there: it is private, link-local or reserved, and not allowed for this target.
    pub refused: bool,
}

impl Whereabouts {
    /// Why nothing can be sent there.
    fn trouble(&self) -> Option<String> {
        match self.unresolved {
            Some(why) => Some(format!("{}: {why}", self.host)),
            None if self.addresses.iter().all(|at| at.refused) => Some(format!(
                "{} resolves to private, link-local or reserved addresses only; if that is meant, set allow_private = true",
                self.host
            )),
            None => None,
        }
    }
}

/// Who we are at a target, and what we may do there. Words of others in it are plain text, one line and bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    /// Where it is; none for a target that is nowhere.
    pub at: Option<Whereabouts>,
    /// Whom the target takes us for.
    pub who: Option<String>,
    /// What we may do, in the target's words: scopes, permissions.
    pub may: Vec<String>,
    /// What is missing for what the target has to do, and what to do about it.
    pub missing: Vec<String>,
    /// What could not be looked at, and what else is to be known.
    pub notes: Vec<String>,
    /// Why we do not know more.
    pub trouble: Option<String>,
}

impl Introduction {
    /// Nothing that was looked at stands against the target doing what it has to.
    pub fn holds(&self) -> bool {
        self.trouble.is_none() && self.missing.is_empty()
    }

    /// What came of asking the target behind `api`. Where asking it is no call at all, its address says whether it can be reached.
    pub(crate) async fn at(api: &Api, asked: impl Future<Output = Result<Self, Verdict>>) -> Self {
        let at = api.whereabouts().await;
        let mut introduction = asked.await.unwrap_or_else(|verdict| match verdict {
            Verdict::Retry { reason, .. } | Verdict::Reject { reason } => {
                Self { trouble: Some(reason), ..Self::default() }
            }
            Verdict::Done { .. } => Self::default(),
        });
        introduction.trouble = introduction.trouble.or_else(|| at.trouble());
        introduction.at = Some(at);
        introduction
    }

    /// Whom the target takes us for, in its words.
    pub(crate) fn of(who: &str) -> Self {
        let who = Some(told(who)).filter(|who| !who.is_empty());
        Self { who, ..Self::default() }
    }

    /// What we may do, in its words.
    pub(crate) fn may(mut self, may: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let may = may.into_iter().map(|word| told(word.as_ref())).filter(|word| !word.is_empty());
        self.may.extend(may.take(MANY));
        self
    }

    /// Something is missing, unless it is `there`.
    pub(crate) fn need(mut self, there: bool, otherwise: impl Into<String>) -> Self {
        if !there {
            self.missing.push(otherwise.into());
        }
        self
    }

    /// To be known.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Another's words, as they are told.
pub(crate) fn told(text: &str) -> String {
    one_line(text, TOLD_MAX)
}

/// The scopes of a token, where the answer says them: `x-oauth-scopes`, as GitHub and Slack do.
pub(crate) fn scopes(reply: &Reply) -> Option<Vec<String>> {
    let said = reply.header("x-oauth-scopes")?;
    Some(said.split(',').map(told).filter(|scope| !scope.is_empty()).take(MANY).collect())
}
