//! Of logs that were made by hand: what counts is when a gateway was away, and what is kept.

use chrono::TimeDelta;
use events::Action;
use serde_json::{Value, json};

use crate::{
    assert_inert, document, explain,
    past::{Past, at},
    rule,
};

/// Until 13:30 it is repeated each hour; a cooldown of two hours.
const REMIND: &str = r#"
version: 1
teams: {}
rules:
  - id: remind
    when: |
      "stuck" in issue.labels &&
      (now < timestamp("2026-03-02T13:30:00Z") || "again" in issue.labels)
    then: { action: post_nudge, target: "owner:kim" }
    repeat: 1h
    cooldown: 2h
    rationale: It is stuck
"#;

#[tokio::test]
async fn repeats_that_gave_way_start_no_cooldown() {
    let dir = tempfile::tempdir().unwrap();
    let mut past = Past::begin(dir.path(), REMIND).await;
    past.event(at("10:00"), 1, json!({"labels": ["stuck"]})).await;
    past.timers(at("10:30"), 10).await;
    // Away. The turns of 11, 12 and 13 give way to that of 14, and that makes nothing any more.
    past.timers(at("14:30"), 10).await;
    past.event(at("14:31"), 1, json!({"labels": []})).await;
    past.event(at("14:40"), 1, json!({"labels": ["stuck", "again"]})).await;
    past.timers(at("15:50"), 10).await;
    assert_eq!(past.when(), ["10:00 owner:kim", "14:40 owner:kim", "15:40 owner:kim"]);
    past.assert_all_met(dir.path()).await;
    let told = document(&[&past.made[1].event_id], dir.path()).await;
    assert_eq!(rule(&told, "remind")["before"]["fired_at"], "2026-03-02T10:00:00Z");
}

/// Each turn of a rota picks the next of two.
const ROTA: &str = r#"
version: 1
teams: { pair: { members: [alice, bo] } }
rules:
  - id: date
    at: issue.due_at
    when: issue.due_at != null && issue.due_at <= now
    then: { action: post_nudge, target: "team:pair" }
    continue: true
    rationale: It is due
  - id: rota
    when: '"rota" in issue.labels'
    then: { action: assign_owner, target: "team:pair" }
    repeat: 1h
    rationale: Everyone has a turn
"#;

#[tokio::test]
async fn repeats_that_gave_way_pick_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut past = Past::begin(dir.path(), ROTA).await;
    past.event(at("10:00"), 1, json!({"labels": ["rota"]})).await;
    past.event(at("10:05"), 2, json!({"due_at": "2026-03-02T12:30:00Z"})).await;
    // Away; back, it is stopped again after two timers: the rota's has given way, the date has fired.
    past.timers(at("14:30"), 2).await;
    assert_eq!(past.when(), ["10:00 owner:alice", "12:30 team:pair"]);
    past.assert_all_met(dir.path()).await;
    // Another policy meanwhile; its clock stands at the date.
    past.follow(&ROTA.replace("Everyone has", "Each one has")).await;
    past.timers(at("14:40"), 10).await;
    past.event(at("14:45"), 3, json!({"labels": ["rota"]})).await;
    past.timers(at("16:10"), 10).await;
    past.event(at("18:50"), 4, json!({"labels": ["rota"]})).await;
    let when = past.when();
    assert_eq!(when[..4], ["10:00 owner:alice", "12:30 team:pair", "14:00 owner:bo", "14:45 owner:alice"]);
    assert!(when.len() > 7, "{when:?}");
    past.assert_all_met(dir.path()).await;
}

/// A small generator, so that a seed says everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Repeats whose condition comes and goes with the hour, an `at` that repeats too, and rules that decide in between.
const MIXED: &str = r#"
version: 1
teams: { pair: { members: [alice, bo] } }
rules:
  - id: date
    at: issue.due_at
    when: issue.due_at != null && issue.due_at <= now
    then: { action: post_nudge, target: "team:pair" }
    repeat: 25m
    cooldown: 40m
    continue: true
    rationale: It is due
  - id: quiet
    when: '"quiet" in issue.labels'
    then: { action: post_nudge, target: [assignee] }
    rationale: Quiet
  - id: rota
    when: '"rota" in issue.labels && !(now > timestamp("2026-03-02T13:20:00Z") && now < timestamp("2026-03-02T15:00:00Z"))'
    then: { action: assign_owner, target: "team:pair" }
    repeat: 30m
    cooldown: 50m
    rationale: Everyone has a turn
"#;

#[tokio::test]
async fn whenever_a_gateway_was_away_its_actions_are_met_again() {
    let mut tried = 0;
    for seed in 1..=4 {
        let dir = tempfile::tempdir().unwrap();
        let mut dice = Dice(seed);
        let mut past = Past::begin(dir.path(), MIXED).await;
        past.project = |number| if number == 3 { "beta" } else { "alpha" };
        let mut now = at("09:00");
        for _ in 0..26 {
            now += TimeDelta::minutes(1 + i64::try_from(dice.roll(50)).unwrap());
            match dice.roll(5) {
                // It is there, and sometimes it is stopped in the middle.
                0 | 1 => past.timers(now, if dice.roll(2) == 0 { 1 } else { 100 }).await,
                2 if dice.roll(2) == 0 => {
                    let cooldown = format!("cooldown: {}m", 20 + dice.roll(60));
                    let policy = MIXED.replace("cooldown: 50m", &cooldown);
                    match dice.roll(2) {
                        0 => past.follow(&policy).await,
                        _ => past.try_out(&policy.replace("repeat: 30m", "repeat: 40m")).await,
                    }
                }
                _ => {
                    let labels: Vec<_> =
                        ["rota", "quiet"].into_iter().filter(|_| dice.roll(2) == 0).collect();
                    let due_at = now + TimeDelta::minutes(i64::try_from(dice.roll(90)).unwrap() - 20);
                    let due_at = if dice.roll(3) == 0 { json!(due_at) } else { Value::Null };
                    let number = 1 + dice.roll(3);
                    past.event(now, number, json!({"labels": labels, "due_at": due_at})).await;
                }
            }
        }
        let by_timers =
            past.made.iter().filter(|it| it.cause.as_ref().is_some_and(|cause| cause.starts_with("t-")));
        assert!(by_timers.count() > 2, "seed {seed} tries little: {:?}", past.when());
        println!("seed {seed}: {:?}", past.when());
        past.assert_all_met(dir.path()).await;
        tried += past.tried.len();
    }
    assert!(tried > 10, "{tried} actions of policies on trial are few");
}

#[tokio::test]
async fn of_an_action_whose_history_is_gone_it_is_told_what_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut past = Past::begin(dir.path(), REMIND).await;
    let evil = "\u{1b}[31m\u{202e}evil\nFAKE";
    // As if the records of `issues` were gone: only what came of them is there.
    let orphan = Action {
        event_id: format!("a-{}", "5".repeat(32)),
        project_id: "alpha".into(),
        action: events::ActionKind::PostNudge,
        target: format!("owner:{evil}"),
        rationale: "It is stuck".into(),
        source_ref: "https://github.com/o/r/issues/1".into(),
        issue_ref: Some("github:o/r#1".into()),
        cause: Some("gh-1".into()),
        rule: Some("remind".into()),
        policy_hash: Some(past.ruleset.hash().into()),
        evaluated_at: Some(at("10:00")),
        params: serde_json::Map::new(),
    };
    let foreign = Action {
        event_id: format!("a-{}", "6".repeat(32)),
        policy_hash: Some("f".repeat(64)),
        evaluated_at: None,
        ..orphan.clone()
    };
    past.say(vec![orphan.clone(), foreign.clone()]).await;

    let (out, err, code) = explain(&[&orphan.event_id], dir.path()).await;
    assert_eq!(code, 1);
    for says in [
        "action a-5555",
        "about github:o/r#1",
        "decided at 2026-03-02T10:00:00Z by rule `remind`, caused by gh-1",
        "  It is stuck\n",
        "rule `remind` (line 5 of policy ",
        "  \"stuck\" in issue.labels &&\n  (now < timestamp(",
    ] {
        assert!(out.contains(says), "{says}\n{out}");
    }
    for says in [
        "issues partition 0 holds no event",
        "breakdown issue github:o/r#1",
        "https://github.com/o/r/issues/1",
        "outcomes",
    ] {
        assert!(err.contains(says), "{says}\n{err}");
    }
    assert!(!out.contains("\nFAKE"), "{out}");
    assert_inert(&out);
    assert_inert(&err);

    past.event(at("11:00"), 1, json!({"labels": ["other"]})).await;
    let (out, err, code) = explain(&[&orphan.event_id, "--json"], dir.path()).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["action"]), (1, &json!(orphan)));
    assert_eq!((&told["rule"]["id"], &told["rule"]["line"]), (&json!("remind"), &json!(5)));
    assert!(told["rule"]["condition"].as_str().unwrap().contains("\"stuck\" in issue.labels"));
    assert!(
        told["not_explained"].as_str().unwrap().contains("deciding it again does not make this action"),
        "{told}"
    );
    assert!(err.starts_with("error: action a-555"), "{err}");

    let (out, _, code) = explain(&[&foreign.event_id], dir.path()).await;
    assert_eq!(code, 1);
    assert!(
        out.contains("decided at an unknown time") && out.contains("policy ffffffffffff is not on the log"),
        "{out}"
    );
}

#[tokio::test]
async fn what_is_no_longer_kept_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut past = Past::begin(dir.path(), REMIND).await;
    past.event(at("10:00"), 1, json!({"labels": ["other"]})).await;
    past.event(at("11:00"), 1, json!({"labels": ["stuck"]})).await;
    let (action, ruleset) = (past.made[0].clone(), past.ruleset.hash().to_owned());
    drop(past);
    // As retention leaves it.
    let log = rusqlite::Connection::open(dir.path().join("log.db")).unwrap();
    let of_issues = "topic = (SELECT id FROM topics WHERE name = 'issues')";
    log.execute(&format!("DELETE FROM records WHERE {of_issues} AND offset = 0"), ()).unwrap();
    log.execute(&format!("UPDATE partitions SET first_offset = 1 WHERE {of_issues}"), ()).unwrap();
    drop(log);
    let (out, err, code) = explain(&[&action.event_id, "--json"], dir.path()).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(
        err.starts_with("note: issues is kept in partition 0 from offset 1 on: what happened before is gone"),
        "{err}"
    );
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        told["history"],
        json!({"topic": "issues", "whole": false, "begins": [{"partition": 0, "first_offset": 1}]})
    );
    assert_eq!((&told["remarks"], &told["policy_hash"]), (&json!([]), &json!(ruleset)));
    let (_, err, code) = explain(&["p-0"], dir.path()).await;
    assert_eq!(code, 2);
    assert!(err.contains("no event p-0 is on the log, or not any more; looked through: issues is kept in partition 0 from offset 1 on"), "{err}");
}
