//! Every checker can fail: an honest run is doctored, once for each way in which it could have gone wrong.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use events::{ActionKind, Earlier, EventType, IssueEvent, IssueState, Outcome, Risk, Said, Source};
use serde_json::json;
use webhooks::Provider;

use super::CHECKERS;
use crate::{
    evidence::{Effect, Evidence, Placed, Shown},
    faults::LogKind,
    letters::{Happening, How, Letter, Post, project_id, provider},
    load::{Receipt, Story},
    payload::AGE,
    refolded::refold,
};

fn began() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn event(letter: &Letter, event_id: String) -> IssueEvent {
    let (source, opened) = match provider(letter.project) {
        Provider::Github => (Source::Github, EventType::IssueOpened),
        _ => (Source::Jira, EventType::IssueCreated),
    };
    let event_type = match letter.happening {
        Happening::Opened => opened,
        Happening::Commented => EventType::IssueCommented,
        Happening::Labelled(_) => EventType::IssueUpdated,
        Happening::Closed => EventType::IssueClosed,
        Happening::Reopened => EventType::IssueReopened,
    };
    let mut event =
        IssueEvent::new(event_id, project_id(letter.project), source, event_type, letter.issue_ref());
    event.title = Said::Value(letter.title());
    event.labels = Said::Value(letter.urgent.then(|| "urgent".to_owned()).into_iter().collect());
    event.state = Said::Value(if letter.open { IssueState::Open } else { IssueState::Closed });
    event.created_at = Some(began() - AGE + TimeDelta::from_std(letter.created).unwrap());
    event.updated_at = event.created_at.map(|at| at + TimeDelta::seconds(letter.turn.into()));
    event
}

/// A run in which everything went well, with one partition for each project.
fn honest() -> Evidence {
    let post = Post::draw(&mut fastrand::Rng::with_seed(11), 600, Duration::from_secs(60));
    let mut stories = Vec::new();
    let mut issues: Vec<Placed<IssueEvent>> = Vec::new();
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    for (number, delivery) in post.deliveries.iter().enumerate() {
        let letter = &post.letters[delivery.letter];
        // One after the other, however close they are due: of a millisecond each.
        let sent = Duration::from_millis(2 * number as u64) + delivery.due;
        let accepted = Some(sent + Duration::from_millis(1));
        let mut story = Story { delivery: number, sent, accepted, receipt: None, statuses: vec![0, 202] };
        if delivery.how == How::Forged {
            (story.accepted, story.statuses) = (None, vec![401]);
        } else {
            let partition = letter.project as u32;
            let offset = *ends.entry(partition).and_modify(|end| *end += 1).or_insert(0);
            let event_id = match delivery.how {
                How::Replay => format!("gh-{}-{number}", letter.number),
                _ => format!("gh-{}", letter.number),
            };
            let value = event(letter, event_id.clone());
            let at = began() + TimeDelta::from_std(sent).unwrap();
            let payload_hash = Some(format!("{:064x}", letter.number));
            issues.push(Placed { partition, offset, at, payload_hash, round: 0, value });
            story.receipt = Some(Receipt {
                event_id,
                topic: "issues".into(),
                partition: Some(partition),
                offset: Some(offset),
                spooled: false,
            });
        }
        stories.push(story);
    }
    issues.sort_by_key(|placed| (placed.partition, placed.offset));
    let ruleset = policy::load(crate::POLICY).unwrap();
    let until = began() + TimeDelta::hours(1);
    let (_, redecided) = refold([], &issues, &[], until, &ruleset);

    let place = |at: usize, project: &str| {
        let partition = project.trim_start_matches('p').parse().unwrap();
        (partition, at as u64, began() + TimeDelta::minutes(30))
    };
    let (mut actions, mut outcomes, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    for (number, action) in redecided.iter().enumerate() {
        let (partition, offset, at) = place(number, &action.project_id);
        let title = action.params["title"].as_str().unwrap();
        let (id, rule) = (format!("n-{number}"), action.rule.as_deref().unwrap());
        let mut outcome = Outcome::of(action, Risk::of_done(&action.action), true, at);
        outcome.reference = Some(id.clone());
        let text = format!("{}: {rule} {} {title}", action.target, action.action);
        effects.push(Effect { id, key: Some(action.event_id.clone()), text });
        let (payload_hash, round) = (None, 0);
        outcomes.push(Placed { partition, offset, at, payload_hash: None, round, value: outcome });
        actions.push(Placed { partition, offset, at, payload_hash, round, value: action.clone() });
    }
    // As the log is read: by partition.
    actions.sort_by_key(|placed| (placed.partition, placed.offset));
    outcomes.sort_by_key(|placed| (placed.partition, placed.offset));
    let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
    for Outcome { project_id, risk_delta, .. } in outcomes.iter().map(|placed| &placed.value) {
        let nothing = Shown { project_id: project_id.clone(), risk: Risk(0), outcomes: 0 };
        let shown = shown.entry(project_id.clone()).or_insert(nothing);
        (shown.risk.0, shown.outcomes) = (shown.risk.0 + risk_delta.0, shown.outcomes + 1);
    }
    let fold = || refold([], &issues, &outcomes, until, &ruleset).0;
    let (states, refolded) = (fold(), fold());
    Evidence {
        log: LogKind::Embedded,
        post,
        stories,
        actions,
        redriven: Vec::new(),
        outcomes,
        dead_letters: 0,
        unreadable: Vec::new(),
        effects,
        shown: shown.into_values().collect(),
        states,
        refolded,
        redecided,
        issues,
    }
}

/// The names of the checkers that find something.
fn finders(evidence: &Evidence) -> Vec<&'static str> {
    let finding = CHECKERS.iter().filter(|checker| !(checker.find)(evidence).is_empty());
    finding.map(|checker| checker.name).collect()
}

/// What doctoring makes the checkers find.
fn found(doctor: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    let mut evidence = honest();
    doctor(&mut evidence);
    finders(&evidence)
}

/// The place of the first letter's event of which something follows, in `issues`.
fn telling(evidence: &Evidence) -> usize {
    let causes: Vec<_> = evidence.actions.iter().filter_map(|action| action.value.cause.as_deref()).collect();
    evidence.issues.iter().position(|placed| causes.contains(&placed.value.event_id.as_str())).unwrap()
}

fn of_rule(evidence: &Evidence, rule: &str) -> usize {
    evidence.actions.iter().position(|placed| placed.value.rule.as_deref() == Some(rule)).unwrap()
}

fn story(evidence: &mut Evidence, how: How) -> &mut Story {
    let place = evidence.post.deliveries.iter().position(|delivery| delivery.how == how).unwrap();
    &mut evidence.stories[place]
}

#[test]
fn an_honest_run_has_everything_and_nobody_finds_anything() {
    let evidence = honest();
    let none: [&str; 0] = [];
    assert_eq!(finders(&evidence), none);
    for rule in ["urgent", "waiting", "opened", "commented", "closed", "reopened"] {
        of_rule(&evidence, rule);
    }
    for how in [How::Twin, How::Again, How::Replay, How::Forged] {
        assert!(evidence.post.deliveries.iter().any(|delivery| delivery.how == how), "{how:?}");
    }
}

#[test]
fn lost_write() {
    let nowhere = |evidence: &mut Evidence| {
        story(evidence, How::First).receipt.as_mut().unwrap().event_id = "gh-nowhere".into();
    };
    assert_eq!(found(nowhere), ["lost-write"]);
    let elsewhere = |evidence: &mut Evidence| {
        let receipt = story(evidence, How::Again).receipt.as_mut().unwrap();
        receipt.offset = receipt.offset.map(|offset| offset + 1);
    };
    assert_eq!(found(elsewhere), ["lost-write"]);
    let on_another_topic = |evidence: &mut Evidence| {
        story(evidence, How::First).receipt.as_mut().unwrap().topic = "elsewhere".into();
    };
    assert_eq!(found(on_another_topic), ["lost-write"]);
    let placeless = |evidence: &mut Evidence| {
        let receipt = story(evidence, How::First).receipt.as_mut().unwrap();
        (receipt.partition, receipt.offset) = (None, None);
    };
    assert_eq!(found(placeless), ["lost-write"]);
    // What was spooled has no place to be found at, and stands on issues all the same; without a broker nothing is spooled.
    let spooled = |log| {
        move |evidence: &mut Evidence| {
            placeless(evidence);
            story(evidence, How::First).receipt.as_mut().unwrap().spooled = true;
            evidence.log = log;
        }
    };
    assert_eq!(found(spooled(LogKind::Kafka)), [""; 0]);
    assert_eq!(found(spooled(LogKind::Embedded)), ["lost-write"]);
    // The record itself is gone: what the fold says then is another matter.
    let gone = found(|evidence| {
        let number = evidence.letter(&evidence.issues[0].value).unwrap().number;
        evidence.issues.retain(|placed| placed.value.title.value() != Some(&format!("Letter {number:06}")));
    });
    assert!(gone.contains(&"lost-write"));
    let without_receipt = found(|evidence| {
        let first = story(evidence, How::First);
        first.receipt = None;
        let delivery = first.delivery;
        let letter = evidence.post.deliveries[delivery].letter;
        evidence.issues.retain(|placed| placed.value.title.value() != Some(&format!("Letter {letter:06}")));
    });
    assert!(without_receipt.contains(&"lost-write"));
}

#[test]
fn refused_signed_and_never_accepted() {
    assert_eq!(found(|evidence| story(evidence, How::Twin).statuses.push(429)), ["refused-signed"]);
    let silent = |evidence: &mut Evidence| story(evidence, How::Replay).accepted = None;
    assert_eq!(found(silent), ["never-accepted"]);
    assert_eq!(found(|evidence| _ = evidence.stories.pop()), ["never-accepted"]);
}

#[test]
fn acted_on_refused() {
    assert_eq!(found(|evidence| story(evidence, How::Forged).statuses = vec![202]), ["acted-on-refused"]);
    let forgery = |evidence: &Evidence| {
        evidence.post.letters.iter().find(|letter| letter.forged.is_some()).unwrap().clone()
    };
    let on_the_log = found(|evidence| {
        let value = event(&forgery(evidence), "gh-forged".into());
        let last = evidence.issues.last().unwrap();
        evidence.issues.push(Placed { value, offset: last.offset + 1, ..last.clone() });
    });
    assert!(on_the_log.contains(&"acted-on-refused"));
    let decided = found(|evidence| {
        let title = forgery(evidence).title();
        evidence.actions[0].value.params.insert("title".into(), title.into());
    });
    assert!(decided.contains(&"acted-on-refused"));
    let made = found(|evidence| evidence.effects[0].text = forgery(evidence).title());
    assert_eq!(made, ["acted-on-refused"]);
}

#[test]
fn unreadable() {
    assert_eq!(found(|evidence| evidence.dead_letters = 1), ["unreadable"]);
    assert_eq!(found(|evidence| evidence.unreadable.push("actions 1/1".into())), ["unreadable"]);
}

#[test]
fn out_of_order() {
    // Two first arrivals of one project change places on the log: each is still where its receipt says.
    let arrived = found(|evidence| {
        let firsts: Vec<usize> = (0..evidence.stories.len())
            .filter(|number| evidence.post.deliveries[*number].how == How::First)
            .filter(|number| evidence.post.letters[evidence.post.deliveries[*number].letter].project == 0)
            .collect();
        let place = |story: &Story| (story.sent, story.accepted);
        let (one, other) = (place(&evidence.stories[firsts[0]]), place(&evidence.stories[firsts[5]]));
        (evidence.stories[firsts[0]].sent, evidence.stories[firsts[0]].accepted) = other;
        (evidence.stories[firsts[5]].sent, evidence.stories[firsts[5]].accepted) = one;
    });
    assert_eq!(arrived, ["out-of-order"]);
    let decided = found(|evidence| {
        let of_one: Vec<usize> = (0..evidence.actions.len())
            .filter(|place| evidence.actions[*place].value.project_id == "p00")
            .filter(|place| evidence.actions[*place].value.rule.as_deref() != Some("waiting"))
            .collect();
        evidence.actions.swap(of_one[0], of_one[of_one.len() - 1]);
    });
    assert_eq!(decided, ["out-of-order"]);
    let split = found(|evidence| {
        let first = story(evidence, How::First);
        let receipt = first.receipt.as_mut().unwrap();
        receipt.partition = Some(99);
        let id = receipt.event_id.clone();
        for placed in evidence.issues.iter_mut().filter(|placed| placed.value.event_id == id) {
            placed.partition = 99;
        }
    });
    assert!(split.contains(&"out-of-order"));
}

#[test]
fn counted_twice() {
    let by_another_id = found(|evidence| {
        // The replay of a letter acts as its first arrival did.
        let replay = evidence.issues.iter().find(|placed| placed.value.event_id.matches('-').count() == 2);
        let replay = replay.unwrap().value.clone();
        let number = evidence.letter(&replay).unwrap().number;
        let place = evidence
            .actions
            .iter()
            .position(|placed| placed.value.cause.as_deref() == Some(&format!("gh-{number}")));
        let mut again = evidence.actions[place.unwrap_or(0)].clone();
        again.value.event_id = "a-again".into();
        if place.is_some() {
            again.value.cause = Some(replay.event_id);
        }
        evidence.actions.push(again);
    });
    assert!(by_another_id.contains(&"counted-twice"));
    let a_date_twice = found(|evidence| {
        let mut again = evidence.actions[of_rule(evidence, "waiting")].clone();
        again.value.event_id = "a-again".into();
        evidence.actions.push(again);
    });
    assert!(a_date_twice.contains(&"counted-twice"));
}

#[test]
fn duplicate_action() {
    let twice = |evidence: &mut Evidence| {
        let action = evidence.actions[0].clone();
        evidence.actions.insert(0, action);
    };
    assert_eq!(found(twice), ["duplicate-action"]);
}

#[test]
fn missing_action() {
    for rule in ["urgent", "waiting", "opened", "commented", "closed", "reopened"] {
        let gone = found(|evidence| {
            let place = of_rule(evidence, rule);
            let id = evidence.actions.remove(place).value.event_id;
            evidence.outcomes.retain(|placed| placed.value.action_id.as_ref() != Some(&id));
            evidence.effects.retain(|effect| effect.key.as_ref() != Some(&id));
        });
        assert!(gone.contains(&"missing-action"), "{rule}: {gone:?}");
    }
    // By the table alone, should the fold have the same fault.
    let foretold = found(|evidence| {
        let place = of_rule(evidence, "commented");
        let id = evidence.actions.remove(place).value.event_id;
        evidence.redecided.retain(|action| action.event_id != id);
    });
    assert!(foretold.contains(&"missing-action"));
}

#[test]
fn unexpected_action() {
    let other_target = |evidence: &mut Evidence| {
        let place = of_rule(evidence, "opened");
        evidence.actions[place].value.target = "owner:nobody".into();
    };
    assert_eq!(found(other_target), ["unexpected-action"]);
    // By the table alone, should the fold have the same fault.
    let foretold = found(|evidence| {
        let place = of_rule(evidence, "closed");
        evidence.actions[place].value.rule = Some("opened".into());
        let action = evidence.actions[place].value.clone();
        for decided in evidence.redecided.iter_mut().filter(|decided| decided.event_id == action.event_id) {
            *decided = action.clone();
        }
    });
    assert!(foretold.contains(&"unexpected-action"));
}

#[test]
fn other_state() {
    let less = |evidence: &mut Evidence| _ = evidence.states.remove(&0);
    assert_eq!(found(less), ["other-state"]);
    let behind = found(|evidence| {
        let place = telling(evidence);
        let ruleset = policy::load(crate::POLICY).unwrap();
        let mut issues = evidence.issues.clone();
        issues.remove(place);
        evidence.states = refold([], &issues, &evidence.outcomes, began() + TimeDelta::hours(1), &ruleset).0;
    });
    assert_eq!(behind, ["other-state"]);
}

/// The first action has failed, was redriven as often, and was done in the last round.
fn redriven(rounds: u32) -> impl Fn(&mut Evidence) {
    move |evidence| {
        let first = evidence.actions[0].clone();
        let own = |placed: &Placed<Outcome>| placed.value.action_id.as_ref() == Some(&first.value.event_id);
        let place = evidence.outcomes.iter().position(own).unwrap();
        let done = evidence.outcomes.remove(place);
        for round in 0..=rounds {
            let mut outcome = done.clone();
            outcome.value.event_id = events::id::outcome(&first.value.event_id, round);
            if round > 0 {
                outcome.value.supersedes = Some(events::id::outcome(&first.value.event_id, round - 1));
                evidence.redriven.push(Placed { round, ..first.clone() });
            }
            let before = if round > 0 { Risk::FAILED.0 } else { 0 };
            outcome.value.ack = round == rounds;
            let now = if outcome.value.ack { done.value.risk_delta.0 } else { Risk::FAILED.0 };
            outcome.value.risk_delta = Risk(now - before);
            evidence.outcomes.push(outcome);
        }
        let project = evidence.shown.iter_mut().find(|at| at.project_id == first.value.project_id).unwrap();
        project.outcomes += u64::from(rounds);
    }
}

#[test]
fn redriven_actions() {
    assert_eq!(found(redriven(0)), Vec::<&str>::new());
    assert_eq!(found(redriven(2)), Vec::<&str>::new());
    let made_twice = |evidence: &mut Evidence| {
        redriven(1)(evidence);
        let again = evidence.redriven[0].clone();
        evidence.redriven.push(again);
    };
    assert_eq!(found(made_twice), Vec::<&str>::new(), "by somebody who was killed in between");
    let unended = |evidence: &mut Evidence| {
        redriven(2)(evidence);
        evidence.redriven.push(Placed { round: 3, ..evidence.actions[0].clone() });
    };
    assert_eq!(found(unended), ["missing-outcome"]);
    let twice = |evidence: &mut Evidence| {
        redriven(1)(evidence);
        let last = evidence.outcomes.last().unwrap().clone();
        evidence.outcomes.push(last);
    };
    assert_eq!(found(twice), ["duplicate-outcome"]);
    let of_no_round = |evidence: &mut Evidence| {
        redriven(1)(evidence);
        evidence.redriven.clear();
    };
    assert_eq!(found(of_no_round), ["duplicate-outcome"]);
}

#[test]
fn outcomes() {
    let gone = |evidence: &mut Evidence| _ = evidence.outcomes.remove(0);
    assert_eq!(found(gone), ["missing-outcome", "unseen"]);
    let twice = |evidence: &mut Evidence| {
        let outcome = evidence.outcomes[0].clone();
        evidence.outcomes.push(outcome);
    };
    assert_eq!(found(twice), ["duplicate-outcome"]);
    let strange = |evidence: &mut Evidence| {
        let mut outcome = evidence.outcomes[0].clone();
        (outcome.value.event_id, outcome.value.action_id) = ("o-strange".into(), None);
        outcome.value.ack = false;
        evidence.outcomes.push(outcome);
    };
    assert_eq!(found(strange), ["duplicate-outcome", "failed-outcome", "unseen"]);
    let failed = |evidence: &mut Evidence| evidence.outcomes[0].value.ack = false;
    assert_eq!(found(failed), ["failed-outcome"]);
    // Closed meanwhile: what was redriven is not needed any more, and that is to be true.
    let withdrawn = |evidence: &mut Evidence| {
        redriven(1)(evidence);
        let outcome = &mut evidence.outcomes.last_mut().unwrap().value;
        (outcome.ack, outcome.error) = (false, Some(Outcome::WITHDRAWN.to_owned()));
    };
    assert_eq!(found(withdrawn), ["failed-outcome"]);
    let closed = |evidence: &mut Evidence| {
        withdrawn(evidence);
        let mut resolve = evidence.actions[0].clone();
        let of = evidence.outcomes.last().unwrap().value.action_id.clone();
        resolve.value.action = ActionKind::Resolve;
        let of = json!({ "action": "schedule_unblocker", "action_id": of });
        resolve.value.params.insert(Earlier::PARAM.to_owned(), of);
        evidence.actions.push(resolve);
    };
    assert!(!found(closed).contains(&"failed-outcome"));
}

#[test]
fn effects() {
    let none = |evidence: &mut Evidence| _ = evidence.effects.remove(0);
    assert_eq!(found(none), ["missing-effect"]);
    let another = |evidence: &mut Evidence| evidence.effects[0].id = "n-another".into();
    assert_eq!(found(another), ["missing-effect"]);
    let by_key = |evidence: &mut Evidence| {
        let text = "something else".into();
        let effect = Effect { text, ..evidence.effects[0].clone() };
        evidence.effects.insert(0, effect);
    };
    assert_eq!(found(by_key), ["duplicate-effect"]);
    let by_text = |evidence: &mut Evidence| {
        let effect = Effect { id: "n-again".into(), key: None, ..evidence.effects[0].clone() };
        evidence.effects.push(effect);
    };
    assert_eq!(found(by_text), ["duplicate-effect", "groundless-effect"]);
    let groundless = |evidence: &mut Evidence| {
        let (id, key) = ("n-groundless".to_owned(), Some("a-nowhere".to_owned()));
        evidence.effects.push(Effect { id, key, text: "hello".into() });
    };
    assert_eq!(found(groundless), ["groundless-effect"]);
}

#[test]
fn unseen() {
    assert_eq!(found(|evidence| evidence.shown[0].risk.0 += 50), ["unseen"]);
    assert_eq!(found(|evidence| evidence.shown[0].outcomes -= 1), ["unseen"]);
    assert_eq!(found(|evidence| _ = evidence.shown.remove(0)), ["unseen"]);
    // A zombie still shows what it knew before others took its partition over.
    let zombie = |evidence: &mut Evidence| {
        let old = Shown { outcomes: 1, ..evidence.shown[0].clone() };
        evidence.shown.push(old);
    };
    assert_eq!(found(zombie), ["unseen"]);
}
