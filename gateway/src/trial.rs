//! Whether a policy goes on being tried out, after what became of its steps.
//!
//! A step that fails costs production a restore. Of steps with something of the shadow in them so many may fail on end; then the
//! partitions are restored without it. If a step is made then, the shadow was to blame: it is given up, until its file has another
//! policy or the process starts again. If that step fails as well, it was not the shadow, which is tried on.

use eventlog::LogError;

use crate::Policies;

/// Failures on end after which the shadow is left out. A rebalance, or a broker that goes away, makes one or two.
const TRIES: u32 = 4;

/// What is known of the candidate's steps.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// The hash of the candidate; none where nothing is on trial.
    candidate: Option<String>,
    /// Steps with something of it that failed since one was made.
    failures: u32,
    /// Why the last of them failed.
    last: String,
    given_up: bool,
}

impl Trial {
    /// What is to decide, of what was asked for; true when the candidate is another than before.
    pub(crate) fn admit(&mut self, asked: &Policies) -> (Policies, bool) {
        let candidate = asked.shadow.as_ref().map(|shadow| shadow.hash());
        let another = self.candidate.as_deref() != candidate;
        if another {
            *self = Self { candidate: candidate.map(str::to_owned), ..Self::default() };
        }
        let shadow = asked.shadow.clone().filter(|_| !self.is_left_out());
        (Policies { policy: asked.policy.clone(), shadow }, another)
    }

    /// Whether nothing is decided or written for a shadow now.
    pub(crate) fn is_left_out(&self) -> bool {
        self.failures >= TRIES
    }

    /// A step was made, `of_shadow` where that got on with it. True when the shadow is given up by that.
    pub(crate) fn step_made(&mut self, of_shadow: bool) -> bool {
        if of_shadow {
            self.failures = 0;
        }
        if !self.is_left_out() || self.given_up {
            return false;
        }
        self.given_up = true;
        true
    }

    /// The candidate's hash, and why the last step with something of it failed.
    pub(crate) fn verdict(&self) -> (Option<&str>, &str) {
        (self.candidate.as_deref(), &self.last)
    }

    /// A step failed. True when it can be made otherwise: without the shadow.
    pub(crate) fn step_failed(&mut self, of_shadow: bool, error: &LogError) -> bool {
        if !of_shadow {
            if !self.given_up {
                self.failures = 0;
            }
            return false;
        }
        self.last = error.to_string();
        self.failures = match error {
            // The same step would be refused again.
            LogError::Refused(_) | LogError::Unfit(_) => TRIES,
            _ => self.failures + 1,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn asked(shadow: Option<&str>) -> Policies {
        let load =
            |rules: &str| Arc::new(policy::load(&format!("version: 1\nrules: []\n# {rules}\n")).unwrap());
        Policies { policy: load("policy"), shadow: shadow.map(load) }
    }

    fn lost() -> LogError {
        LogError::Lost("lost".into())
    }

    #[test]
    fn failures_on_end_and_a_step_without_it_give_a_shadow_up_once() {
        let (mut trial, asked) = (Trial::default(), asked(Some("a")));
        assert!(trial.admit(&asked).1 && trial.admit(&asked).0.shadow.is_some());
        for _ in 1..TRIES {
            assert!(trial.step_failed(true, &lost()));
        }
        assert!(!trial.step_made(true) && !trial.is_left_out(), "not on end");
        for _ in 0..TRIES {
            assert!(trial.admit(&asked).0.shadow.is_some());
            trial.step_failed(true, &lost());
        }
        assert!(trial.admit(&asked).0.shadow.is_none());
        assert!(trial.step_made(false));
        assert_eq!(trial.verdict(), (asked.shadow.as_ref().map(|shadow| shadow.hash()), "lost"));
        assert!(!trial.step_made(false), "once");
        trial.step_failed(false, &lost());
        assert!(trial.admit(&asked).0.shadow.is_none(), "for good");
    }

    #[test]
    fn where_production_fails_as_well_it_was_not_the_shadow() {
        let (mut trial, asked) = (Trial::default(), asked(Some("a")));
        trial.admit(&asked);
        (0..TRIES).for_each(|_| _ = trial.step_failed(true, &lost()));
        assert!(!trial.step_failed(false, &lost()));
        assert!(trial.admit(&asked).0.shadow.is_some());
        assert!(!trial.step_made(true));
    }

    #[test]
    fn what_is_refused_is_not_tried_again_and_another_candidate_is() {
        let mut trial = Trial::default();
        trial.admit(&asked(Some("a")));
        assert!(trial.step_failed(true, &LogError::Refused("no".into())));
        assert!(trial.admit(&asked(Some("a"))).0.shadow.is_none());
        assert!(trial.step_made(false));
        let (policies, another) = trial.admit(&asked(Some("b")));
        assert!(another && policies.shadow.is_some());
        assert!(!trial.step_failed(false, &LogError::Refused("no".into())), "production's own");
    }
}
