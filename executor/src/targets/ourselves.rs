//! Who we are where comments and messages are looked through for our own. Whoever reads one can copy its marker, and who knows how a
//! marker is made can leave it before us: what bears one is ours only where its author is.

use std::sync::{Mutex, PoisonError};

use crate::Verdict;

/// Our account, in the words in which the tool names its authors. Asked for when there is a marker to judge by it, so not at all where
/// nobody left one, and kept: another credential needs a restart.
pub(super) struct Ourselves<A>(Mutex<Option<A>>);

/// Not asked as yet.
impl<A> Default for Ourselves<A> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<A: Clone> Ourselves<A> {
    /// The first that is ours of those that bear our marker. Nobody is asked where none does.
    pub(super) async fn first<T>(
        &self,
        marked: impl Iterator<Item = T>,
        is_by: impl Fn(&T, &A) -> bool,
        asked: impl Future<Output = Result<A, Verdict>>,
    ) -> Result<Option<T>, Verdict> {
        let marked: Vec<T> = marked.collect();
        if marked.is_empty() {
            return Ok(None);
        }
        let account = self.account(asked).await?;
        Ok(marked.into_iter().find(|one| is_by(one, &account)))
    }

    /// The account that is known, else the one that the tool answers.
    async fn account(&self, asked: impl Future<Output = Result<A, Verdict>>) -> Result<A, Verdict> {
        // Not locked while it is asked: being refused then forgets it.
        if let Some(account) = self.known().clone() {
            return Ok(account);
        }
        let account = asked.await?;
        *self.known() = Some(account.clone());
        Ok(account)
    }

    /// Our credential was refused: whom it stands for is asked again.
    pub(super) fn forget(&self) {
        self.known().take();
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn nobody_is_asked_where_there_is_nothing_to_judge() {
        let ourselves = Ourselves::default();
        let by = |author: &u64, account: &u64| author == account;
        let never = async { panic!("nothing to judge") };
        assert_eq!(ourselves.first([].into_iter(), by, never).await, Ok(None));
        assert_eq!(ourselves.first([3, 2].into_iter(), by, ready(Ok(2))).await, Ok(Some(2)));
        assert_eq!(ourselves.first([3].into_iter(), by, ready(Ok(3))).await, Ok(None));
    }

    #[tokio::test]
    async fn it_is_asked_once_and_again_after_a_refusal() {
        let ourselves = Ourselves::default();
        let trouble = Verdict::Retry { after: None, reason: "away".to_owned() };
        assert_eq!(ourselves.account(ready(Err(trouble.clone()))).await, Err(trouble));
        assert_eq!(ourselves.account(ready(Ok(1))).await, Ok(1));
        assert_eq!(ourselves.account(ready(Ok(2))).await, Ok(1));
        ourselves.forget();
        assert_eq!(ourselves.account(ready(Ok(3))).await, Ok(3));
    }
}
