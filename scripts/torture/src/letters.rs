//! What is delivered: who says what of which issue, when, and how honestly. Drawn from the seed alone.
//!
//! A *letter* is one thing that happened in a tracker, and so one payload; a *delivery* is one HTTP request with it, as often as
//! it takes until it is answered. A letter may be delivered twice at once, again under the same delivery id, and replayed under
//! another one; a forged letter is never signed as it should be.

use std::time::Duration;

use webhooks::Provider;

/// What happened to an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// It was made.
    Opened,
    /// Somebody wrote a comment.
    Commented,
    /// The label `urgent` came (`true`) or went.
    Labelled(bool),
    /// It was closed.
    Closed,
    /// It was opened again.
    Reopened,
}

/// How a forged delivery is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// Not at all.
    Unsigned,
    /// With a secret of the forger's own.
    OtherSecret,
    /// Right, and then the body was changed.
    Altered,
    /// With something that has not the form of a signature.
    Malformed,
    /// Twice: rightly, and with another secret.
    Doubled,
}

impl Forgery {
    /// Every kind.
    pub(crate) const ALL: [Self; 5] =
        [Self::Unsigned, Self::OtherSecret, Self::Altered, Self::Malformed, Self::Doubled];
}

/// One payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Its place among all letters; stands in the issue's title.
    pub(crate) number: usize,
    /// Index of the project.
    pub(crate) project: usize,
    /// Number of the issue in the project, from 1.
    pub(crate) issue: u64,
    /// How many letters of the issue came before; its `updated_at` grows with it.
    pub(crate) turn: u32,
    /// When the issue was made, since the run began.
    pub(crate) created: Duration,
    /// What happened.
    pub(crate) happening: Happening,
    /// Whether the issue bears the label `urgent` now.
    pub(crate) urgent: bool,
    /// Whether the issue is open now.
    pub(crate) open: bool,
    /// Set for what nobody may believe.
    pub(crate) forged: Option<Forgery>,
}

/// How a letter is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// For the first time.
    First,
    /// At the same moment as for the first time, under the same delivery id.
    Twin,
    /// Once more, under the same delivery id.
    Again,
    /// The same payload under another delivery id.
    Replay,
    /// Not signed as it should be.
    Forged,
}

/// One delivery that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Which letter.
    pub(crate) letter: usize,
    /// How.
    pub(crate) how: How,
    /// Not before this, since the run began.
    pub(crate) due: Duration,
    /// Deliveries of one lane are made one after the other, each when the one before it was answered (a twin: together).
    pub(crate) lane: usize,
}

/// All that is to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    /// Every letter, by number.
    pub(crate) letters: Vec<Letter>,
    /// Every delivery, in the order in which it is due.
    pub(crate) deliveries: Vec<Delivery>,
}

/// How many projects there are: the first two thirds on GitHub, the others in Jira.
pub(crate) const PROJECTS: usize = 12;
/// Issues of one project are written about from so many senders at a time.
const LANES_PER_PROJECT: usize = 2;
/// How many lanes there are.
pub(crate) const LANES: usize = PROJECTS * LANES_PER_PROJECT;

/// So many deliveries are due at once: while they are worked on, a fault meets steps and calls under way.
const BURST: usize = 50;

/// How long it is from one burst to the next.
pub(crate) fn burst_every(events: usize, length: Duration) -> Duration {
    length.mul_f64(BURST as f64 / events.max(BURST) as f64)
}

/// Who knows of the issues of a project.
pub(crate) fn provider(project: usize) -> Provider {
    if project < PROJECTS * 2 / 3 { Provider::Github } else { Provider::Jira }
}

/// The project's id.
pub(crate) fn project_id(project: usize) -> String {
    format!("p{project:02}")
}

/// GitHub's repository, `owner/repo`.
pub(crate) fn repository(project: usize) -> String {
    format!("torture/{}", project_id(project))
}

/// Jira's key.
pub(crate) fn jira_key(project: usize) -> String {
    format!("T{project:02}")
}

impl Letter {
    /// What `issue_ref` says on the log.
    pub(crate) fn issue_ref(&self) -> String {
        match provider(self.project) {
            Provider::Github => events::issue_ref_of_github(&repository(self.project), self.issue),
            _ => events::issue_ref_of_jira(
                crate::payload::JIRA_HOST,
                &format!("{}-{}", jira_key(self.project), self.issue),
            ),
        }
    }

    /// The issue's title after it: no other letter has the same.
    pub(crate) fn title(&self) -> String {
        match self.forged {
            None => format!("Letter {:06}", self.number),
            Some(_) => format!("Forgery {:06}", self.number),
        }
    }
}

/// An issue on its way through the plan.
#[derive(Debug, Clone, Default)]
struct Course {
    turns: u32,
    created: Duration,
    open: bool,
    urgent: bool,
    letters: Vec<usize>,
}

impl Post {
    /// Draws `events` deliveries, in bursts over `length`.
    pub(crate) fn draw(rng: &mut fastrand::Rng, events: usize, length: Duration) -> Self {
        let issues = (events / (PROJECTS * 10)).max(2 * LANES_PER_PROJECT);
        let mut courses = vec![vec![Course::default(); issues]; PROJECTS];
        let mut post = Self { letters: Vec::new(), deliveries: Vec::with_capacity(events) };
        while post.deliveries.len() < events {
            let at = post.deliveries.len();
            let due = burst_every(events, length) * u32::try_from(at / BURST).unwrap_or(u32::MAX);
            let (project, issue) = (rng.usize(..PROJECTS), rng.usize(..issues));
            let course = &mut courses[project][issue];
            let lane = project * LANES_PER_PROJECT + issue % LANES_PER_PROJECT;
            let mut deliver = |letter, how| post.deliveries.push(Delivery { letter, how, due, lane });
            let number = post.letters.len();
            match (rng.u32(..100), course.letters.as_slice()) {
                (0..8, letters @ [_, ..]) => deliver(letters[rng.usize(..letters.len())], How::Again),
                (8..12, letters @ [_, ..]) => deliver(letters[rng.usize(..letters.len())], How::Replay),
                (12..22, _) => {
                    deliver(number, How::Forged);
                    let forgery = Forgery::ALL[rng.usize(..Forgery::ALL.len())];
                    let happening = if course.turns == 0 { Happening::Opened } else { Happening::Commented };
                    let letter = course.letter(number, project, issue, happening, Some(forgery));
                    post.letters.push(letter);
                }
                (chance, _) => {
                    deliver(number, How::First);
                    if chance < 27 && post.deliveries.len() < events {
                        post.deliveries.push(Delivery { letter: number, how: How::Twin, due, lane });
                    }
                    let happening = course.next(rng, due);
                    let letter = course.letter(number, project, issue, happening, None);
                    course.turns += 1;
                    course.letters.push(number);
                    post.letters.push(letter);
                }
            }
        }
        post
    }
}

impl Course {
    /// What happens next to the issue.
    fn next(&mut self, rng: &mut fastrand::Rng, due: Duration) -> Happening {
        let happening = match (self.turns, self.open, rng.u32(..100)) {
            (0, ..) => Happening::Opened,
            (_, true, 0..45) | (_, false, 0..40) => Happening::Commented,
            (_, true, 45..85) => Happening::Labelled(!self.urgent),
            (_, true, _) => Happening::Closed,
            (_, false, _) => Happening::Reopened,
        };
        match happening {
            Happening::Opened => (self.created, self.open) = (due, true),
            Happening::Labelled(urgent) => self.urgent = urgent,
            Happening::Closed => self.open = false,
            Happening::Reopened => self.open = true,
            Happening::Commented => {}
        }
        happening
    }

    fn letter(
        &self,
        number: usize,
        project: usize,
        issue: usize,
        happening: Happening,
        forged: Option<Forgery>,
    ) -> Letter {
        let Self { turns: turn, created, open, urgent, .. } = *self;
        Letter { number, project, issue: issue as u64 + 1, turn, created, happening, urgent, open, forged }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn drawn(seed: u64, events: usize) -> Post {
        Post::draw(&mut fastrand::Rng::with_seed(seed), events, Duration::from_secs(60))
    }

    #[test]
    fn the_seed_reproduces_the_post() {
        assert_eq!(drawn(7, 500), drawn(7, 500));
        assert_ne!(drawn(7, 500), drawn(8, 500));
    }

    #[test]
    fn every_kind_of_delivery_is_in_it() {
        let post = drawn(1, 2000);
        assert_eq!(post.deliveries.len(), 2000);
        for how in [How::First, How::Twin, How::Again, How::Replay, How::Forged] {
            assert!(post.deliveries.iter().filter(|delivery| delivery.how == how).count() > 40, "{how:?}");
        }
        for forgery in Forgery::ALL {
            assert!(post.letters.iter().any(|letter| letter.forged == Some(forgery)), "{forgery:?}");
        }
        let projects: BTreeSet<_> = post.letters.iter().map(|letter| letter.project).collect();
        assert_eq!(projects.len(), PROJECTS);
    }

    #[test]
    fn an_issue_goes_its_way_in_one_lane_and_each_letter_is_delivered_first_once() {
        let post = drawn(2, 1000);
        let mut lanes = BTreeMap::new();
        let mut open = BTreeMap::new();
        let mut first = BTreeSet::new();
        for delivery in &post.deliveries {
            let letter = &post.letters[delivery.letter];
            let issue = (letter.project, letter.issue);
            assert_eq!(*lanes.entry(issue).or_insert(delivery.lane), delivery.lane);
            match delivery.how {
                How::First => {
                    assert!(first.insert(letter.number));
                    let before = open.insert(issue, letter.open);
                    match letter.happening {
                        Happening::Opened => assert_eq!(before, None),
                        Happening::Reopened => assert_eq!(before, Some(false)),
                        Happening::Closed => assert_eq!((before, letter.open), (Some(true), false)),
                        _ => assert!(before.is_some()),
                    }
                }
                How::Forged => assert!(letter.forged.is_some()),
                How::Twin | How::Again | How::Replay => assert!(first.contains(&letter.number)),
            }
        }
    }
}
