//! A token that is issued for a while: one for all requests, renewed shortly before its end, and replaced where it was revoked.

use std::future::Future;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::Verdict;

/// How long before its end a token is renewed.
const RENEWED: TimeDelta = TimeDelta::minutes(5);

/// The token that requests bear, while there is one.
#[derive(Default)]
pub(super) struct Held(Mutex<Option<(SecretString, DateTime<Utc>)>>);

/// The token of one request.
pub(super) struct Bearer {
    pub(super) token: SecretString,
    /// Whether it was issued for this request.
    is_new: bool,
}

impl Bearer {
    /// One that nobody renews.
    pub(super) fn plain(token: &SecretString) -> Self {
        Self { token: token.clone(), is_new: true }
    }
}

impl Held {
    /// One that holds `now`; where there is none, the one that is issued, and its end.
    pub(super) async fn get(
        &self,
        now: DateTime<Utc>,
        issued: impl Future<Output = Result<(SecretString, DateTime<Utc>), Verdict>>,
    ) -> Result<Bearer, Verdict> {
        // Locked while it is renewed: whoever else needs one waits for this one.
        let mut held = self.0.lock().await;
        if let Some((token, until)) = &*held
            && *until - RENEWED > now
        {
            return Ok(Bearer { token: token.clone(), is_new: false });
        }
        let (token, until) = issued.await?;
        *held = Some((token.clone(), until));
        Ok(Bearer { token, is_new: true })
    }

    /// It was refused, and is borne no more. Whether to try again with another: not where one that had just been issued is refused,
    /// unless somebody else has found so, too, and will see what the next is worth. A late answer to an earlier token takes none of
    /// the requests that bear a later one.
    pub(super) async fn refused(&self, bearer: &Bearer) -> bool {
        let mut held = self.0.lock().await;
        let is_held =
            |(token, _): &mut (SecretString, _)| token.expose_secret() == bearer.token.expose_secret();
        held.take_if(is_held).is_none() || !bearer.is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-02T10:00:00Z".parse().expect("an instant")
    }

    async fn get(held: &Held, issued: &str) -> Bearer {
        let issued = async { Ok((issued.to_owned().into(), now() + TimeDelta::hours(1))) };
        held.get(now(), issued).await.unwrap_or_else(|verdict| panic!("{verdict:?}"))
    }

    #[tokio::test]
    async fn all_who_bore_a_revoked_token_try_again_with_another() {
        let held = Held::default();
        get(&held, "one").await;
        let (first, second, third) = (get(&held, "x").await, get(&held, "x").await, get(&held, "x").await);
        assert_eq!(second.token.expose_secret(), "one");
        assert!(held.refused(&first).await && held.refused(&second).await);
        assert_eq!(get(&held, "two").await.token.expose_secret(), "two");
        // Late: it takes nothing from who has the new one.
        assert!(held.refused(&third).await);
        assert_eq!(get(&held, "three").await.token.expose_secret(), "two");
    }

    #[tokio::test]
    async fn a_new_token_that_is_refused_is_no_use_and_is_not_kept() {
        let held = Held::default();
        let (new, same) = (get(&held, "one").await, get(&held, "x").await);
        assert!(!held.refused(&new).await);
        assert!(held.refused(&same).await, "it does not know as yet that there is no better one");
        assert_eq!(get(&held, "two").await.token.expose_secret(), "two");
    }

    #[tokio::test]
    async fn it_is_renewed_before_its_end() {
        let held = Held::default();
        get(&held, "one").await;
        let later = now() + TimeDelta::minutes(55);
        let issued = async { Ok(("two".to_owned().into(), later + TimeDelta::hours(1))) };
        let bearer = held.get(later, issued).await.unwrap_or_else(|verdict| panic!("{verdict:?}"));
        assert_eq!(bearer.token.expose_secret(), "two");
    }
}
