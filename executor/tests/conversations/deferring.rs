//! More actions than may be pending: each test is one conversation.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use calendar_mock::{Collection, Fault};
use chrono::{DateTime, Utc};
use events::{ActionKind, Outcome, id, topic};
use executor::{Attempt, Mode, Route, Target, Verdict};
use serde_json::{Value, json};

use crate::world::{World, action};

const PENDING_MAX: usize = 4;

/// Of four actions that may be pending at a time.
async fn small() -> World {
    let mut world = World::new().await;
    world.config.pending_max = PENDING_MAX;
    world.config.batch_max = 10;
    world.config.limits.concurrency = 1;
    world.config.limits.quick_attempts = 1;
    // Dead is what says so, not what is slow here.
    world.config.limits.attempt_timeout = Duration::from_secs(15);
    world
}

fn dead() -> Fault {
    Fault::status(503).on(Collection::Meetings).times(100_000)
}

impl World {
    fn count(&self, state: &str) -> usize {
        self.state().values().filter(|entry| entry["state"] == state).count()
    }

    /// So many are pending, and so many deferred.
    async fn waiting(&self, pending: usize, deferred: usize) {
        self.until("so many wait", || (self.count("pending"), self.count("deferred")) == (pending, deferred))
            .await;
        self.until("it is told", || self.progress.deferred() == deferred as u64).await;
    }

    /// All that may be were tried in vain.
    async fn tried(&self) {
        self.until("they were tried", || parked(self) == PENDING_MAX).await;
    }

    /// The target is well again, and those that were tried are due.
    async fn revived(&self) {
        self.tried().await;
        self.mock.clear_faults();
        self.advance(300);
    }

    fn outcome_of(&self, id: &str) -> Option<Outcome> {
        self.outcomes().into_iter().rfind(|outcome| outcome.action_id.as_deref() == Some(id))
    }
}

fn ids(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().filter_map(|outcome| outcome.action_id.as_deref()).collect()
}

#[tokio::test]
async fn a_dead_target_holds_up_no_other_however_much_waits_for_it() {
    let mut world = small().await;
    world.mock.inject(dead());
    world.start();
    for n in 0..60 {
        world.publish(&action(&format!("a-m{n:03}"), "schedule_unblocker")).await;
        world.publish(&action(&format!("a-n{n:03}"), "post_nudge")).await;
    }
    let outcomes = world.outcomes_of(60).await;
    assert!(outcomes.iter().all(|o| o.ack && o.action_id.as_ref().unwrap().starts_with("a-n")));
    world.waiting(PENDING_MAX, 60 - PENDING_MAX).await;
    assert!(world.log.paused().is_empty(), "all was read");
    // What is kept of them is small.
    let entry = world.state()["deferred a-m059"].clone();
    let expected = json!({ "state": "deferred", "offset": 118, "by": "calendar", "project_id": "alpha",
                           "action": "schedule_unblocker" });
    assert_eq!(entry, expected);

    // In the middle of it, again: it stands on the log a second time, and others go on.
    world.kill().await;
    world.start();
    world.waiting(PENDING_MAX, 60 - PENDING_MAX).await;
    world.publish(&action("a-m030", "schedule_unblocker")).await;
    world.publish(&action("a-m059", "schedule_unblocker")).await;
    world.publish(&action("a-n060", "post_nudge")).await;
    assert_eq!(world.outcomes_of(61).await[60].action_id.as_deref(), Some("a-n060"));
    world.waiting(PENDING_MAX, 60 - PENDING_MAX).await;

    // It comes back: all are done, once and in their order.
    world.revived().await;
    world.outcomes_of(121).await;
    world.waiting(0, 0).await;
    assert!(world.outcomes().iter().all(|outcome| outcome.ack) && world.dead_letters().is_empty());
    let keys: Vec<String> =
        world.mock.meetings().into_iter().map(|meeting| meeting.idempotency_key.unwrap()).collect();
    assert_eq!(keys.len(), 60);
    assert!(keys[PENDING_MAX..].is_sorted_by(|a, b| a < b), "{keys:?}");
    assert!(!world.state().keys().any(|key| key.starts_with("deferred")), "nothing is left of it");
}

#[tokio::test]
async fn its_time_begins_when_it_is_taken_up_and_a_day_is_the_limit() {
    let mut world = small().await;
    world.mock.inject(dead());
    world.start();
    for n in 0..20 {
        world.publish(&action(&format!("a-{n:02}"), "schedule_unblocker")).await;
    }
    world.waiting(PENDING_MAX, 16).await;
    world.tried().await;
    // The first have had their time, and the next begin theirs.
    world.advance(16 * 60);
    world.until("the first are given up", || world.outcomes().len() == PENDING_MAX).await;
    world.waiting(PENDING_MAX, 12).await;
    let mut given_up = world.outcomes_of(PENDING_MAX).await;
    given_up.sort_by(|a, b| a.action_id.cmp(&b.action_id));
    assert_eq!(ids(&given_up), ["a-00", "a-01", "a-02", "a-03"]);
    assert_eq!(world.state()["a-04"]["accepted_at"], "2026-03-02T10:16:00Z");
    // The rest expires, and is called for no more.
    world.tried().await;
    let calls = world.mock.faults()[0].times;
    world.advance(24 * 3600);
    let outcomes = world.outcomes_of(20).await;
    let expired = outcomes.iter().filter(|outcome| outcome.error.as_deref() == Some("expired"));
    assert_eq!(expired.map(|outcome| outcome.risk_delta.0).collect::<Vec<_>>(), [0; 16]);
    assert_eq!(world.mock.faults()[0].times, calls);
    assert_eq!(world.dead_letters().len(), PENDING_MAX);
}

fn parked(world: &World) -> usize {
    world.state().values().filter(|entry| entry["parkings"].as_u64() > Some(0)).count()
}

#[tokio::test]
async fn a_pause_holds_for_what_is_deferred_as_well() {
    let mut world = small().await;
    world.mock.inject(dead());
    world.start();
    for n in 0..10 {
        world.publish(&action(&format!("a-{n}"), "schedule_unblocker")).await;
    }
    world.waiting(PENDING_MAX, 6).await;
    world.tried().await;
    world.say(Some("alpha"), true).await;
    // What is held back takes no room, so the others follow; and nothing is called.
    world.waiting(10, 0).await;
    world.until("all are held back", || world.progress.held_back() == 10).await;
    world.mock.clear_faults();
    world.advance(3600);
    world.kill().await;
    world.start();
    world.settle().await;
    assert!(world.mock.meetings().is_empty());
    world.say(Some("alpha"), false).await;
    world.until("all are done", || world.mock.meetings().len() == 10).await;
}

#[tokio::test]
async fn what_is_redriven_is_deferred_too_and_replaces_its_outcome() {
    for restarted in [false, true] {
        let mut world = small().await;
        world.mock.inject(Fault::status(503).on(Collection::Meetings).retry_after("3600"));
        world.start();
        world.publish(&action("a-1", "schedule_unblocker")).await;
        assert!(!world.outcome().await.ack);
        world.mock.inject(dead());
        for n in 2..8 {
            world.publish(&action(&format!("a-{n}"), "schedule_unblocker")).await;
        }
        world.waiting(PENDING_MAX, 2).await;
        let letter = world.dead_letters().remove(0);
        world.redrive(&letter).await;
        world.redrive(&letter).await;
        world.waiting(PENDING_MAX, 3).await;
        assert_eq!(world.state()["deferred a-1"]["round"], 1);
        assert_eq!(world.state()["a-1"]["state"], "done", "its first round is not forgotten");
        if restarted {
            world.kill().await;
            world.start();
            world.waiting(PENDING_MAX, 3).await;
        }
        world.revived().await;
        world.outcomes_of(8).await;
        let again = world.outcome_of("a-1").unwrap();
        assert_eq!((again.event_id, again.ack), (id::outcome("a-1", 1), true));
        assert_eq!((again.risk_delta.0, again.supersedes), (-300, Some(id::outcome("a-1", 0))));
        assert_eq!(world.mock.meetings().len(), 7);
    }
}

#[tokio::test]
async fn what_the_log_keeps_no_longer_has_an_outcome_and_a_letter_that_say_so() {
    let mut world = small().await;
    world.mock.inject(dead());
    world.start();
    for n in 0..9 {
        world.publish(&action(&format!("a-{n}"), "schedule_unblocker")).await;
    }
    world.waiting(PENDING_MAX, 5).await;
    // Also where nothing behind it is left, and with a record that has taken its place.
    world.log.remove_before(topic::ACTIONS, 6);
    world.revived().await;
    world.outcomes_of(9).await;
    for (n, gone) in (0..9).map(|n| (n, (4..6).contains(&n))) {
        let outcome = world.outcome_of(&format!("a-{n}")).unwrap();
        let error = outcome.error.as_deref().unwrap_or_default();
        assert_eq!((outcome.ack, error.contains("retention")), (!gone, gone), "{n}: {outcome:?}");
        let told =
            (outcome.project_id.as_str(), outcome.attempts, outcome.action.as_ref().map(ActionKind::as_str));
        assert_eq!((told.0, told.2), ("alpha", Some("schedule_unblocker")));
        assert_eq!(told.1 == Some(0), gone);
    }
    let letters = world.dead_letters();
    assert_eq!(letters.len(), 2);
    assert!(
        letters.iter().all(|letter| letter.reason == "gone" && letter.original_length == 0),
        "{letters:?}"
    );
    assert_ne!(letters[0].event_id, letters[1].event_id);
    assert_eq!(world.mock.meetings().len(), 7);
    assert!(!world.state().keys().any(|key| key.starts_with("deferred")));
}

/// `actions` was made anew, with offsets from 0, and the group kept what it knew: what was deferred is not there any more, also where
/// another record stands in its place, which may be deferred itself.
#[tokio::test]
async fn what_was_deferred_on_a_topic_that_was_made_anew_is_told_and_holds_up_nothing() {
    for (anew, replaced) in [(12, 4), (6, 2), (0, 0)] {
        let mut world = small().await;
        world.mock.inject(dead());
        world.start();
        for n in 0..8 {
            world.publish(&action(&format!("a-old-{n}"), "schedule_unblocker")).await;
        }
        world.waiting(PENDING_MAX, 4).await;
        world.tried().await;
        world.kill().await;
        world.log.make_anew(topic::ACTIONS);
        for n in 0..anew {
            world.publish(&action(&format!("a-new-{n:02}"), "schedule_unblocker")).await;
        }
        world.start();
        world.waiting(PENDING_MAX, 4 + anew).await;
        // Also for the next holder.
        world.kill().await;
        world.start();
        world.waiting(PENDING_MAX, 4 + anew).await;
        world.mock.clear_faults();
        world.advance(300);
        world.outcomes_of(8 + anew).await;
        world.waiting(0, 0).await;
        let count = |part: &str| {
            let told = world.outcomes().into_iter().filter_map(|outcome| outcome.error);
            told.filter(|error| error.contains(part)).count()
        };
        assert_eq!((count("another record"), count("retention")), (replaced, 4 - replaced), "{anew}");
        let letters = world.dead_letters();
        assert!(letters.iter().all(|letter| letter.reason == "gone"), "{letters:?}");
        assert!((4..8).all(|n| letters.iter().any(|it| it.detail.contains(&format!("a-old-{n}")))));
        assert_eq!((letters.len(), world.mock.meetings().len()), (4, 4 + anew));
        assert!(!world.state().keys().any(|key| key.starts_with("deferred")));
    }
}

/// A page that called people in its first round, and is gone in its second, was a later page all the same.
#[tokio::test]
async fn a_page_that_is_gone_when_redriven_keeps_its_place() {
    let mut world = small().await;
    world.start();
    let hopeless = || Fault::status(503).on(Collection::Nudges).retry_after("3600");
    let at = |mut action: Value, minute: u32| {
        action["evaluated_at"] = json!(format!("2026-03-02T09:{minute}:00Z"));
        action
    };
    world.publish(&at(page(1), 50)).await;
    assert!(world.outcome().await.ack);
    world.mock.inject(hopeless());
    world.publish(&at(resolve("a-back", 1), 51)).await;
    assert!(!world.outcomes_of(2).await[1].ack);
    world.mock.inject(hopeless().after_work());
    let mut again = at(page(1), 52);
    again["event_id"] = json!("a-again");
    world.publish(&again).await;
    assert!(!world.outcomes_of(3).await[2].ack);
    let [back, called] = world.dead_letters().try_into().unwrap();

    world.mock.inject(Fault::status(503).on(Collection::Nudges).times(100_000));
    for n in 0..PENDING_MAX {
        world.publish(&action(&format!("a-n{n}"), "post_nudge")).await;
    }
    world.waiting(PENDING_MAX, 0).await;
    world.redrive(&called).await;
    world.waiting(PENDING_MAX, 1).await;
    world.log.remove_before(topic::ACTIONS, 100);
    world.revived().await;
    world.outcomes_of(4 + PENDING_MAX).await;
    assert!(world.outcome_of("a-again").unwrap().error.unwrap().contains("retention"));

    world.redrive(&back).await;
    world.outcomes_of(5 + PENDING_MAX).await;
    let end = world.outcome_of("a-back").unwrap();
    assert_eq!((end.ack, end.error.as_deref()), (true, Some("not taken back: a later page took its place")));
    assert_eq!(end.attempts, Some(0), "people are still called by the later one");
}

/// A meeting that is gone when redriven, and that nobody needs by then, is no failure.
#[tokio::test]
async fn what_is_gone_when_nobody_needs_it_any_more_leaves_no_letter() {
    let mut world = small().await;
    world.mock.inject(Fault::status(503).on(Collection::Meetings).retry_after("3600"));
    world.start();
    world.publish(&action("a-1", "schedule_unblocker")).await;
    assert!(!world.outcome().await.ack);
    world.mock.inject(dead());
    for n in 2..2 + PENDING_MAX {
        world.publish(&action(&format!("a-{n}"), "schedule_unblocker")).await;
    }
    world.waiting(PENDING_MAX, 0).await;
    world.redrive(&world.dead_letters()[0]).await;
    world.waiting(PENDING_MAX, 1).await;
    let mut back = action("a-back", "resolve");
    back["params"]["of"] = json!({ "action": "schedule_unblocker", "action_id": "a-1" });
    world.publish(&back).await;
    world.waiting(PENDING_MAX, 2).await;
    // All but the last record.
    world.log.remove_before(topic::ACTIONS, 2 + PENDING_MAX);
    world.revived().await;
    world.outcomes_of(3 + PENDING_MAX).await;
    let end = world.outcome_of("a-1").unwrap();
    assert_eq!((end.error.as_deref(), end.risk_delta.0), (Some(Outcome::WITHDRAWN), -100));
    assert_eq!(end.supersedes, Some(id::outcome("a-1", 0)));
    assert_eq!(world.dead_letters().len(), 1, "that of its first round");
    let back = world.outcome_of("a-back").unwrap();
    assert!(back.ack && back.attempts == Some(1), "what the first round may have left: {back:?}");
}

#[tokio::test]
async fn past_their_bound_the_partition_waits_and_hears_all_the_same() {
    let mut world = small().await;
    world.config.deferred_max = 20;
    world.mock.inject(dead());
    world.start();
    for n in 0..60 {
        world.publish(&action(&format!("a-{n:02}"), "schedule_unblocker")).await;
    }
    for _ in 0..2 {
        world.until("no more is read", || !world.log.paused().is_empty()).await;
        assert!(world.log.paused().iter().all(|(topic, _)| topic == "actions"));
        assert!((20..30).contains(&world.count("deferred")), "{}", world.count("deferred"));
        // Also for the next holder.
        world.kill().await;
        world.start();
        world.until("it is restored", || world.progress.deferred() >= 20).await;
    }
    world.say(Some("beta"), true).await;
    world.until("it is heard", || world.progress.paused().contains_key("beta")).await;
    world.revived().await;
    world.outcomes_of(60).await;
    world.until("it goes on", || world.log.paused().is_empty()).await;
    assert_eq!(world.mock.meetings().len(), 60);
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_told_and_holds_up_no_other() {
    let mut world = small().await;
    world.mock.inject(dead());
    world.start();
    for n in 0..8 {
        world.publish(&action(&format!("a-{n}"), "schedule_unblocker")).await;
    }
    world.waiting(PENDING_MAX, 4).await;
    world.log.hold_reads(true);
    world.revived().await;
    world.until("the first are done", || world.mock.meetings().len() == PENDING_MAX).await;
    world.publish(&action("a-n", "post_nudge")).await;
    world.outcomes_of(PENDING_MAX + 1).await;
    world.advance(50);
    world.settle().await;
    assert_eq!(world.progress.stalled().actions, 0);
    world.advance(11);
    world.until("it is told", || world.progress.stalled().actions == 1).await;
    world.log.hold_reads(false);
    world.until("all are done", || world.mock.meetings().len() == 8).await;
    world.advance(11);
    world.until("it is over", || world.progress.stalled().actions == 0).await;
}

/// A target of a name, which can be dead, hang, and says in which order it was called.
struct Fake {
    name: &'static str,
    takes_back: bool,
    dead: AtomicBool,
    hangs: AtomicBool,
    done: Mutex<Vec<String>>,
    calls: Mutex<Vec<String>>,
}

impl Fake {
    fn new(name: &'static str, takes_back: bool) -> Arc<Self> {
        let (dead, hangs) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { name, takes_back, dead, hangs, done: Mutex::default(), calls: Mutex::default() })
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Target for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn carries(&self, kind: &ActionKind) -> bool {
        self.takes_back || *kind != ActionKind::Resolve
    }

    async fn attempt(&self, attempt: &Attempt) -> Verdict {
        let id = attempt.action.event_id.clone();
        self.calls.lock().unwrap().push(id.clone());
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.dead.load(SeqCst) {
            return Verdict::Retry { after: None, reason: "dead".into() };
        }
        self.done.lock().unwrap().push(id);
        Verdict::Done { reference: None }
    }
}

fn route(action: &str, targets: &[&str]) -> Route {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    Route { project: None, action: action.to_owned(), targets, otherwise: Vec::new(), mode: Mode::Live }
}

fn page(n: usize) -> Value {
    let mut page = action(&format!("a-{n}"), "escalate_owner");
    page["issue_ref"] = json!(format!("github:o/r#{n}"));
    page
}

fn resolve(id: &str, n: usize) -> Value {
    let mut resolve = page(n);
    resolve["event_id"] = json!(id);
    resolve["action"] = json!("resolve");
    resolve["params"]["of"] = json!({ "action": "escalate_owner", "action_id": format!("a-{n}") });
    resolve
}

/// A route to one target, and two to the same: what waits behind one of them waits there after a restart, too.
#[tokio::test]
async fn behind_a_route_they_wait_in_their_order_after_a_restart_too() {
    let mut world = small().await;
    let of_beta = Route { project: Some("beta".to_owned()), ..route("escalate_owner", &["pager"]) };
    world.config.routes = vec![of_beta, route("escalate_owner", &["pager"])];
    let pager = Fake::new("pager", true);
    pager.dead.store(true, SeqCst);
    world.start_with(vec![pager.clone()]);
    for n in 100..130 {
        world.publish(&page(n)).await;
    }
    world.waiting(PENDING_MAX, 30 - PENDING_MAX).await;
    world.tried().await;
    let entry = |world: &World| world.state()["deferred a-129"].clone();
    assert_eq!(entry(&world)["by"], "escalate_owner: pager");
    world.kill().await;
    world.start_with(vec![pager.clone()]);
    world.publish(&page(130)).await;
    world.waiting(PENDING_MAX, 31 - PENDING_MAX).await;
    assert_eq!(entry(&world)["by"], "escalate_owner: pager", "none has moved");
    pager.dead.store(false, SeqCst);
    world.advance(300);
    world.outcomes_of(31).await;
    let done = pager.done.lock().unwrap().clone();
    assert_eq!(done.len(), 31);
    assert!(done[PENDING_MAX..].is_sorted(), "{done:?}");
}

/// A pager and a screen, of which only the pager can take back; what takes back has a carrier of its own, and there is room.
#[tokio::test]
async fn what_takes_back_never_overtakes_what_waits() {
    for restarted in [false, true] {
        let mut world = small().await;
        world.config.routes =
            vec![route("escalate_owner", &["pager", "screen"]), route("post_nudge", &["screen"])];
        let (pager, screen) = (Fake::new("pager", true), Fake::new("screen", false));
        pager.dead.store(true, SeqCst);
        let targets: Vec<Arc<dyn Target>> = vec![pager.clone(), screen.clone()];
        world.start_with(targets.clone());
        for n in 0..8 {
            world.publish(&page(n)).await;
        }
        world.waiting(PENDING_MAX, 4).await;
        // Of one that waits, of one that is deferred, and one more page of that issue.
        world.publish(&resolve("a-back-0", 0)).await;
        world.publish(&resolve("a-back-6", 6)).await;
        let mut again = page(6);
        again["event_id"] = json!("a-again");
        world.publish(&again).await;
        world.publish(&action("a-nudge", "post_nudge")).await;
        world.outcomes_of(1).await;
        world.waiting(PENDING_MAX + 1, 6).await;
        assert_eq!(world.state()["deferred a-back-6"]["takes_back"], "a-6");
        assert_eq!(
            world.state()["deferred a-back-6"]["by"],
            "escalate_owner: pager+screen",
            "behind what it takes back"
        );
        if restarted {
            world.kill().await;
            world.start_with(targets);
            world.waiting(PENDING_MAX + 1, 6).await;
        }
        world.tried().await;
        pager.dead.store(false, SeqCst);
        world.advance(300);
        world.outcomes_of(12).await;
        world.waiting(0, 0).await;
        let done = pager.done();
        let place = |id: &str| done.iter().position(|done| done == id);
        assert!(place("a-0") < place("a-back-0") && place("a-0").is_some(), "{done:?}");
        // The later page took the place of the one that was to be taken back.
        assert_eq!(place("a-back-6"), None, "{done:?}");
        assert!(place("a-6") < place("a-again") && place("a-6").is_some(), "{done:?}");
        let back = world.outcome_of("a-back-6").unwrap();
        assert_eq!(
            (back.ack, back.error.as_deref()),
            (true, Some("not taken back: a later page took its place"))
        );
        assert_eq!(screen.done().len(), 10, "each once, and nothing is taken back there");
    }
}

#[tokio::test]
async fn a_meeting_that_is_deferred_is_taken_back_after_it_was_booked() {
    let mut world = small().await;
    world.mock.inject(dead());
    world.start();
    for n in 0..6 {
        world.publish(&action(&format!("a-{n}"), "schedule_unblocker")).await;
    }
    let mut back = action("a-back", "resolve");
    back["params"]["of"] = json!({ "action": "schedule_unblocker", "action_id": "a-5" });
    world.publish(&back).await;
    world.waiting(PENDING_MAX, 3).await;
    world.revived().await;
    world.outcomes_of(7).await;
    let kept: Vec<_> =
        world.mock.meetings().into_iter().filter_map(|meeting| meeting.idempotency_key).collect();
    assert!(!kept.contains(&"a-5".to_owned()) && kept.len() == 5, "{kept:?}");
    assert!(world.outcomes().iter().all(|outcome| outcome.ack));
}

#[tokio::test]
async fn a_leg_that_has_ended_is_not_called_again_after_a_crash() {
    let mut world = World::new().await;
    world.config.limits.attempt_timeout = Duration::from_secs(3600);
    world.config.routes = vec![route("escalate_owner", &["pager", "screen", "board"])];
    let (pager, screen, board) =
        (Fake::new("pager", true), Fake::new("screen", true), Fake::new("board", true));
    screen.hangs.store(true, SeqCst);
    let targets: Vec<Arc<dyn Target>> = vec![pager.clone(), screen.clone(), board.clone()];
    world.start_with(targets.clone());
    world.publish(&page(1)).await;
    world
        .until("two have ended", || {
            world
                .state()
                .get("a-1")
                .is_some_and(|entry| entry["legs"].as_array().is_some_and(|legs| legs.len() == 2))
        })
        .await;
    let entries = || {
        let records = world.log.all(topic::EXECUTOR_STATE);
        records.iter().filter(|record| record.key == "a-1").count()
    };
    assert_eq!(entries(), 2, "one step for both");
    assert_eq!((pager.calls().len(), screen.calls().len(), board.calls().len()), (1, 1, 1));
    world.kill().await;
    screen.hangs.store(false, SeqCst);
    world.start_with(targets);
    let outcome = world.outcome().await;
    assert_eq!((pager.calls().len(), screen.calls().len(), board.calls().len()), (1, 2, 1));
    assert!(outcome.ack);
    let mut carried: Vec<_> =
        outcome.carried.iter().map(|it| (it.by.as_str(), it.ack, it.attempts)).collect();
    carried.sort_unstable();
    assert_eq!(carried, [("board", true, 1), ("pager", true, 1), ("screen", true, 1)]);
    assert_eq!(outcome.attempts, Some(3));
}

#[tokio::test]
async fn legs_that_end_together_are_kept_with_the_action_only() {
    let mut world = World::new().await;
    world.config.routes = vec![route("escalate_owner", &["pager", "screen"])];
    let targets: Vec<Arc<dyn Target>> = vec![Fake::new("pager", true), Fake::new("screen", true)];
    world.start_with(targets);
    world.publish(&page(1)).await;
    assert!(world.outcome().await.ack);
    world.settle().await;
    let records = world.log.all(topic::EXECUTOR_STATE);
    let states: Vec<Value> = records
        .iter()
        .filter(|record| record.key == "a-1")
        .map(|record| {
            serde_json::from_slice::<Value>(record.value.as_ref().unwrap()).unwrap()["state"].clone()
        })
        .collect();
    assert_eq!(states, ["pending", "done"]);
}

#[tokio::test]
async fn a_leg_that_was_kept_counts_once_when_the_others_end() {
    let mut world = World::new().await;
    world.config.limits.attempt_timeout = Duration::from_millis(400);
    world.config.limits.quick_attempts = 1;
    world.config.routes = vec![route("escalate_owner", &["pager", "screen"])];
    let (pager, screen) = (Fake::new("pager", true), Fake::new("screen", true));
    screen.hangs.store(true, SeqCst);
    world.start_with(vec![pager.clone(), screen.clone()]);
    world.publish(&page(1)).await;
    let due: DateTime<Utc> = world.parked_until("a-1").await;
    assert_eq!(world.state()["a-1"]["attempts"], 2);
    screen.hangs.store(false, SeqCst);
    world.clock.advance(due - "2026-03-02T10:00:00Z".parse::<DateTime<Utc>>().unwrap());
    let outcome = world.outcome().await;
    assert_eq!((outcome.ack, outcome.attempts), (true, Some(3)));
    assert_eq!((pager.calls().len(), screen.calls().len()), (1, 2));
}
