//! `breakdown policy explain` on files, and on logs: made by `serve`, and made by hand where what counts is when a gateway was away.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

mod program;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use eventlog::{Clock, Keep, Log, ManualClock, NewRecord, TopicSpec, embedded::EmbeddedLog};
use events::{Action, IssueEvent, Message, PolicyChange, topic};
use policy::{Decided, Repeats, Ruleset, State, fire_timers, switch_policy, take_event};
use program::{Serve, breakdown, run, tail, until};
use serde_json::{Value, json};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("samples").join(name)
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

async fn explain(arguments: &[&str], dir: &Path) -> (String, String, i32) {
    run(breakdown().args(["policy", "explain"]).args(arguments).arg("--data-dir").arg(dir)).await
}

async fn document(arguments: &[&str], dir: &Path) -> Value {
    let (out, err, code) = explain(&[arguments, &["--json"]].concat(), dir).await;
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?} {out}");
    assert!(!out.trim_end().chars().any(char::is_control), "{out:?}");
    serde_json::from_str(&out).unwrap()
}

fn rule<'v>(document: &'v Value, id: &str) -> &'v Value {
    let rules = document["issues"][0]["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["id"] == id).unwrap_or_else(|| panic!("no rule {id}: {document}"))
}

fn assert_inert(text: &str) {
    let is_active = |c: char| {
        c != '\n' && (c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    assert!(!text.chars().any(is_active), "{text:?}");
}

async fn publish(event: &Value, dir: &Path) -> Value {
    let file = write(dir, "event.json", &event.to_string());
    let (out, err, code) =
        run(breakdown().args(["publish", "--json", "--file"]).arg(file).arg("--data-dir").arg(dir)).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

async fn actions(dir: &Path) -> Vec<Value> {
    tail("actions", |command| command.arg("--data-dir").arg(dir)).await
}

/// The action that `cause` has, once there is one.
async fn action_of(cause: impl Fn(&str) -> bool, dir: &Path) -> Value {
    let mut found = None;
    until("an action", async || {
        found = actions(dir).await.into_iter().find(|action| action["cause"].as_str().is_some_and(&cause));
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// The action of a due date that passed by itself, of the issue github:o/r#2. `last` was made just now.
async fn due_soon(last: &Value, dir: &Path) -> Value {
    let mut now: DateTime<Utc> = last["evaluated_at"].as_str().unwrap().parse().unwrap();
    // On a machine so slow that the date is over before the event is there, the event makes the action: once more, then.
    for lead in [2, 10, 60] {
        let event = json!({"project_id": "alpha", "source": "github", "type": "issue_updated", "repo": "o/r", "issue_number": 2,
            "assignee": "kim", "due_at": now + TimeDelta::seconds(lead)});
        let id = publish(&event, dir).await["event_id"].as_str().unwrap().to_owned();
        let action = action_of(|cause| cause.starts_with("t-") || cause == id, dir).await;
        if action["cause"] != id.as_str() {
            return action;
        }
        now = action["evaluated_at"].as_str().unwrap().parse().unwrap();
    }
    panic!("no date passes by itself");
}

#[tokio::test]
async fn an_event_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = sample("issue_triage.json").display().to_string();
    let (out, err, code) = explain(&[&file], dir.path()).await;
    assert_eq!((code, err.as_str()), (0, ""));
    for says in [
        "event sample-triage-1 (issue_opened) of github:acme/payments#43",
        "now 2026-02-03T10:20:00Z, policy ",
        "1. `escalate-p0-bug` (line 14): does not hold",
        "issue.labels = [\"question\"]  ← decides",
        "3. `deadline` (line 25): does not hold",
        "or with label overdue",
        "4. `triage-new` (line 34): fired: post_nudge for team:triage (a-",
    ] {
        assert!(out.contains(says), "{says}\n{out}");
    }

    // Another instant and another policy, one rule of it.
    let policy = write(
        dir.path(),
        "mine.yaml",
        "version: 1\nteams: { triage: { members: [kim] } }\nrules:\n  - id: unowned\n    at: issue.created_at + duration(\"72h\")\n    \
         when: issue.assignee == null && now - issue.created_at >= duration(\"72h\")\n    then: { action: post_nudge, target: \"team:triage\" }\n    \
         rationale: Nobody takes it\n",
    );
    let policy = policy.display().to_string();
    let early = document(&[&file, "--policy", &policy, "--rule", "unowned"], dir.path()).await;
    assert_eq!(rule(&early, "unowned")["verdict"], "does_not_hold");
    assert_eq!(rule(&early, "unowned")["what_if"]["goal"], "fire");
    assert_eq!(early["issues"][0]["timers"][0]["reason"], "at");
    assert_eq!(early["issues"][0]["timers"][0]["rule"], "unowned");
    let late = document(&[&file, "--policy", &policy, "--at", "2026-02-07T00:00:00Z"], dir.path()).await;
    assert_eq!(rule(&late, "unowned")["became"]["what"], "fired");
    assert_eq!(late["now"], "2026-02-07T00:00:00Z");
    assert_ne!(late["policy_hash"], document(&[&file], dir.path()).await["policy_hash"]);
}

#[tokio::test]
async fn actions_and_issues_of_a_server_with_the_policy_of_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let text = fs::read_to_string(sample("policy.yaml")).unwrap();
    let policy = write(path, "policy.yaml", &text);
    let serve = Serve::start(path, |command| command.arg("--policy").arg(&policy)).await;
    let bug = json!({"project_id": "alpha", "source": "github", "type": "issue_opened", "repo": "o/r", "issue_number": 1,
        "title": "It \u{1b}[2J\u{202e}burns", "labels": ["bug", "p0"], "url": "https://github.com/o/r/issues/1"});
    let cause = publish(&bug, path).await["event_id"].as_str().unwrap().to_owned();
    let by_event = action_of(|it| it == cause, path).await;
    let by_timer = due_soon(&by_event, path).await;
    serve.stop().await;

    // From here on bugs are no matter, and the rule's place is another.
    let later =
        text.replace("\"bug\" in", "\"crash\" in").replace("version: 1\n", "version: 1\n# Crashes only.\n");
    fs::write(&policy, later).unwrap();
    let serve = Serve::start(path, |command| command.arg("--policy").arg(&policy)).await;
    let crash = json!({"project_id": "alpha", "source": "github", "type": "issue_opened", "repo": "o/r", "issue_number": 3,
        "labels": ["crash", "p0"]});
    let cause = publish(&crash, path).await["event_id"].as_str().unwrap().to_owned();
    let after = action_of(|it| it == cause, path).await;
    serve.stop().await;

    let id = |action: &Value| action["event_id"].as_str().unwrap().to_owned();
    let told = document(&[&id(&by_event)], path).await;
    assert_eq!((&told["action"], &told["policy_hash"]), (&by_event, &by_event["policy_hash"]));
    assert_eq!((&told["now"], &told["remarks"]), (&by_event["evaluated_at"], &json!([])));
    assert_eq!(told["about"]["event_id"], by_event["cause"]);
    let fired = rule(&told, "escalate-p0-bug");
    assert_eq!(fired["became"]["actions"][0]["id"], by_event["event_id"]);
    assert_eq!((&fired["line"], &fired["ends_walk"]), (&json!(14), &json!(true)));
    assert!(fired["condition"]["text"].as_str().unwrap().starts_with("\"bug\" in issue.labels"));
    assert_eq!(fired["what_if"]["alternatives"][0][0]["says"], "without label bug");

    let (out, err, code) = explain(&[&id(&by_event)], path).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_inert(&out);
    let head = format!("action {}: escalate_owner for team:platform, about github:o/r#1\n", id(&by_event));
    assert!(out.starts_with(&head), "{out}");
    assert!(out.contains("\n  High-priority bug needs the platform team now\n"), "{out}");
    let (upper, ..) = explain(&[&id(&by_event).to_ascii_uppercase()], path).await;
    assert_eq!(upper, out);

    let told = document(&[&id(&after)], path).await;
    assert_eq!(told["policy_hash"], after["policy_hash"]);
    assert_ne!(after["policy_hash"], by_event["policy_hash"]);
    assert_eq!(rule(&told, "escalate-p0-bug")["line"], 15);

    let told = document(&[&id(&by_timer)], path).await;
    assert_eq!((&told["action"], &told["policy_hash"]), (&by_timer, &by_event["policy_hash"]));
    assert_eq!(
        told["about"],
        json!({"kind": "timer", "id": by_timer["cause"], "rule": "deadline", "reason": "at",
        "issue_ref": "github:o/r#2"})
    );
    assert_eq!((&told["issues"][0]["occasion"], &told["remarks"]), (&json!("timer"), &json!([])));
    assert_eq!(rule(&told, "deadline")["became"]["actions"][0]["target"], "owner:kim");
    let (out, ..) = explain(&[&id(&by_timer)], path).await;
    assert!(out.contains("timer t-") && out.contains("a timer asks only the rule that set it"), "{out}");

    // The event that a webhook would be answered with, and the timer that an action names as its cause.
    let of_event = document(&[by_event["cause"].as_str().unwrap()], path).await;
    let of_its_action = document(&[&id(&by_event)], path).await;
    for field in ["about", "issues", "now", "policy_hash", "remarks", "history"] {
        assert_eq!(of_event[field], of_its_action[field], "{field}");
    }
    assert_eq!(
        (&of_event["record"]["topic"], &of_event["record"]["offset"]),
        (&json!("issues"), &json!(0)),
        "{of_event}"
    );
    assert_eq!(document(&[by_timer["cause"].as_str().unwrap()], path).await, told);
    // A record of it, as `tail --json` prints it, from a file or standard input.
    let (lines, ..) = run(breakdown().args(["tail", "actions", "--json", "--data-dir"]).arg(path)).await;
    let line = lines.lines().find(|line| line.contains(&id(&by_event))).unwrap();
    let line = write(path, "line.json", line).display().to_string();
    assert_eq!(document(&[&line], path).await, of_its_action);
    let (lines, ..) = run(breakdown().args(["tail", "issues", "--json", "--data-dir"]).arg(path)).await;
    let line = write(path, "line.json", lines.lines().next().unwrap()).display().to_string();
    let of_line = document(&[&line, "--policy", &policy.display().to_string()], path).await;
    assert_eq!((&of_line["about"], &of_line["now"]), (&of_event["about"], &of_event["now"]));
    assert!(of_line["remarks"][0].as_str().unwrap().contains("policy explain p-"), "{of_line}");
    // Not decided yet: nobody serves.
    let next = json!({"project_id": "alpha", "source": "github", "type": "issue_updated", "repo": "o/r", "issue_number": 3,
        "labels": []});
    let next = document(&[publish(&next, path).await["event_id"].as_str().unwrap()], path).await;
    assert!(next["remarks"][0].as_str().unwrap().contains("has not come to this event yet"), "{next}");
    assert_eq!(next["policy_hash"], after["policy_hash"]);

    // A rule that did not decide; one that there was not.
    let told = document(&[&id(&by_event), "--rule", "frontend-to-alice"], path).await;
    assert_eq!(rule(&told, "frontend-to-alice")["not_asked"]["rule"], "escalate-p0-bug");
    let (out, err, code) = explain(&[&id(&by_event), "--rule", "no\u{1b}[31m"], path).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("has no rule") && err.contains("escalate-p0-bug, frontend-to-alice, deadline"),
        "{err}"
    );
    assert_inert(&err);

    // As it is known now, by the policy that is asked; of the log's own nothing needs to be said.
    let policy = policy.display().to_string();
    let told = document(&["github:o/r#1", "--policy", &policy], path).await;
    assert_eq!((&told["about"]["kind"], &told["remarks"]), (&json!("issue"), &json!([])));
    assert_eq!(rule(&told, "escalate-p0-bug")["verdict"], "does_not_hold");
    assert_eq!(rule(&told, "triage-new")["not_asked"]["why"], "no_event");
    let (out, err, code) = explain(&["github:o/r#1"], path).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(!out.contains("another policy"), "without a name it is the one in force: {out}");
    assert!(
        out.contains("holds, and decides the issue already, fired last at") || out.contains("would fire"),
        "{out}"
    );
    assert_inert(&out);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let event = sample("issue_triage.json").display().to_string();
    let (_, err, code) = run(breakdown().args(["publish", "--file", &event, "--data-dir"]).arg(&data)).await;
    assert_eq!(code, 0, "{err}");
    let file = |name: &str, text: &str| write(dir.path(), name, text).display().to_string();
    let odd = file("odd.json", &json!({"project_id": "alpha", "\u{1b}[31m": "x".repeat(9000)}).to_string());
    let two = file("two.json", &"{}\n".repeat(2));
    let large = file("large.json", &" ".repeat((8 << 20) + 1));
    let unknown = format!("a-{}", "0".repeat(32));
    let shapes: &[&str] = &["32 hex digits", "github:owner/repo#12", "one event"];
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &[&unknown],
            1,
            &["no action a-0", "looked through: actions from the start; actions-shadow", "tail actions"],
        ),
        (&[&unknown, "--topic", "actions"], 1, &["looked through: actions from the start; `breakdown"]),
        (&["T-00000000000000000000000000000000"], 1, &["explain its issue"]),
        (&[&event, "--topic", "actions"], 2, &["--topic is for an id"]),
        (&[&unknown, "--at", "2026-01-01T00:00:00Z"], 2, &["leave out --policy and --at"]),
        (&["a-123"], 2, shapes),
        (&["o/r#1"], 2, shapes),
        (
            &["gh-fc5a76c271ce04b9c35d4b40e61efcdc"],
            1,
            &["no event gh-fc5a", "looked through: issues from the start", "tail issues"],
        ),
        (&["sample-triage-2"], 2, &["no event sample-triage-2", "no such file"]),
        (
            &["sample-triage-1"],
            1,
            &["issues partition", "offset 0", "no gateway has come", "breakdown groups"],
        ),
        (&["no\u{1b}[31m\u{202e}"], 2, shapes),
        (&["github:o/r#1"], 1, &["github:o/r#1", "not known here"]),
        (&[&odd], 2, &["odd.json: "]),
        (&[&two], 2, &["two.json is not one JSON object", "line 2", "one event"]),
        (&[&large], 2, &["large.json", "8388608 bytes"]),
        (&[&event, "--rule", "none"], 2, &["has no rule \"none\"", "triage-new"]),
        (&[&event, "--policy", "/no/such.yaml"], 2, &["/no/such.yaml", "no such file"]),
    ];
    for (arguments, expected, says) in cases {
        let (out, err, code) = explain(arguments, &data).await;
        assert_eq!((code, out.as_str()), (*expected, ""), "{arguments:?}\n{err}");
        for part in *says {
            assert!(err.contains(part), "{arguments:?} does not say {part:?}:\n{err}");
        }
        assert!(err.len() < 1500, "{err}");
        assert_inert(&err);
    }
    let (_, err, code) = explain(&[&unknown], &dir.path().join("mistyped")).await;
    assert_eq!((code, err.contains("no log in")), (1, true), "{err}");
}

#[tokio::test]
async fn hostile_events_are_inert() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "\u{1b}[31m\u{9b}2J\u{202e}\u{7}\nFAKE";
    let event = json!({"project_id": format!("alpha{evil}"), "source": "github", "type": "issue_opened", "repo": "o/r",
        "issue_number": 1, "title": evil, "labels": [evil, "bug", "p0"], "assignee": evil, "actor": evil, "event_id": format!("e{evil}")});
    let file = write(dir.path(), "evil.json", &event.to_string()).display().to_string();
    let (out, err, code) = explain(&[&file], dir.path()).await;
    match code {
        0 => assert!(!out.contains("\nFAKE"), "{out}"),
        code => assert_eq!((code, out.as_str()), (2, ""), "refused"),
    }
    assert_inert(&out);
    assert_inert(&err);
}

/// A log written as a gateway writes it, at chosen instants.
struct Past {
    clock: Arc<ManualClock>,
    log: EmbeddedLog,
    state: State,
    ruleset: Ruleset,
    made: Vec<Action>,
    /// A policy on trial, and what it made.
    trial: Option<(State, Ruleset)>,
    tried: Vec<Action>,
    /// Which project an issue is of, by its number.
    project: fn(u64) -> &'static str,
    next: u64,
}

fn switched(state: &State, ruleset: &Ruleset) -> policy::Decision {
    switch_policy(state, state.clock().unwrap_or(DateTime::UNIX_EPOCH), ruleset)
}

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-03-02T{time}:00Z").parse().unwrap()
}

fn record(message: Message) -> NewRecord {
    NewRecord {
        topic: message.topic.into(),
        partition: None,
        key: message.key.into(),
        value: Some(message.value.into()),
        headers: message.headers,
    }
}

impl Past {
    async fn begin(dir: &Path, policy: &str) -> Self {
        let clock = Arc::new(ManualClock::new(at("00:00")));
        let log = EmbeddedLog::open(dir, clock.clone()).unwrap();
        let topics = [topic::ISSUES, topic::ACTIONS, topic::ACTIONS_SHADOW, topic::OUTCOMES, topic::POLICIES];
        let spec = |name: &&str| TopicSpec { name: (*name).into(), partitions: 1, keep: Keep::ALL };
        log.create_topics(&topics.iter().map(spec).collect::<Vec<_>>()).await.unwrap();
        let ruleset = policy::load(policy).unwrap();
        let mut past = Self {
            clock,
            log,
            state: State::default(),
            ruleset,
            made: Vec::new(),
            trial: None,
            tried: Vec::new(),
            project: |_| "alpha",
            next: 0,
        };
        past.follow(policy).await;
        past
    }

    async fn append(&self, message: Message) {
        self.log.append(vec![record(message)]).await.unwrap();
    }

    async fn follow(&mut self, policy: &str) {
        self.ruleset = policy::load(policy).unwrap();
        self.state.apply(switched(&self.state, &self.ruleset));
        self.say_policy(policy, false).await;
    }

    /// A policy is put on trial: it begins with what is known.
    async fn try_out(&mut self, policy: &str) {
        let ruleset = policy::load(policy).unwrap();
        let mut state = self.state.clone();
        state.apply(switched(&state, &ruleset));
        self.trial = Some((state, ruleset));
        self.say_policy(policy, true).await;
    }

    async fn say_policy(&self, policy: &str, on_trial: bool) {
        let change = PolicyChange {
            partition: 0,
            policy_hash: policy::load(policy).unwrap().hash().into(),
            offsets: [(topic::ISSUES.to_owned(), self.next)].into(),
            at: self.clock.now(),
            clock: self.state.clock(),
            on_trial,
            policy: policy.into(),
        };
        self.append(change.to_message().unwrap()).await;
    }

    /// Both policies decide; what they make is written down.
    async fn decide(&mut self, step: impl Fn(&mut State, &Ruleset) -> Vec<Action>) {
        let made = step(&mut self.state, &self.ruleset);
        let tried = self.trial.as_mut().map(|(state, ruleset)| step(state, ruleset)).unwrap_or_default();
        self.say(made).await;
        for action in tried {
            let message = Message { topic: topic::ACTIONS_SHADOW, ..action.to_message().unwrap() };
            self.append(message).await;
            self.tried.push(action);
        }
    }

    /// An event comes; the gateway is there, and takes it in.
    async fn event(&mut self, now: DateTime<Utc>, number: u64, more: Value) {
        let mut event = json!({"event_id": format!("p-{}", self.next), "project_id": (self.project)(number), "source": "github",
            "type": "issue_updated", "issue_ref": format!("github:o/r#{number}"), "repo": "o/r", "issue_number": number});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let event: IssueEvent = serde_json::from_value(event).unwrap();
        self.clock.advance(now - self.clock.now());
        self.append(event.to_message(None).unwrap()).await;
        self.next += 1;
        self.decide(|state, ruleset| {
            let mut made = Vec::new();
            let mut sink = |decided: Decided<'_>| {
                made.extend(decided.decision.actions.clone());
                Ok::<(), ()>(())
            };
            take_event(state, &event, None, now, Repeats::Last, ruleset, &mut sink).unwrap();
            made
        })
        .await;
    }

    /// The gateway is there, and time has come to `now`. It decides at most `limit` timers.
    async fn timers(&mut self, now: DateTime<Utc>, limit: usize) {
        self.clock.advance(now - self.clock.now());
        self.decide(|state, ruleset| {
            let mut made = Vec::new();
            let mut sink = |decided: Decided<'_>| {
                made.extend(decided.decision.actions.clone());
                Ok::<(), ()>(())
            };
            fire_timers(state, now, limit, Repeats::Last, ruleset, &mut sink).unwrap();
            made
        })
        .await;
    }

    async fn say(&mut self, made: Vec<Action>) {
        for action in made {
            self.append(action.to_message().unwrap()).await;
            self.made.push(action);
        }
    }

    fn when(&self) -> Vec<String> {
        let of = |it: &Action| format!("{} {}", it.evaluated_at.unwrap().format("%H:%M"), it.target);
        self.made.iter().map(of).collect()
    }

    /// Every action is met again, as it was made.
    async fn assert_all_met(&self, dir: &Path) {
        for (topic, all) in [("actions", &self.made), ("actions-shadow", &self.tried)] {
            for action in all {
                let told = document(&[&action.event_id, "--topic", topic], dir).await;
                let fired = rule(&told, action.rule.as_deref().unwrap())["became"]["actions"].clone();
                let again = fired.as_array().unwrap().iter().find(|it| it["id"] == action.event_id.as_str());
                assert_eq!(again.expect("fired")["target"], action.target, "{told}");
                assert_eq!(told["policy_hash"], json!(action.policy_hash), "{told}");
                let remarks = told["remarks"].as_array().unwrap();
                let on_trial = remarks.iter().any(|it| it.as_str().unwrap().contains("was on trial"));
                assert_eq!(
                    (remarks.len(), on_trial),
                    if topic == "actions" { (0, false) } else { (1, true) },
                    "{told}"
                );
                assert_eq!(told["now"], json!(action.evaluated_at), "{told}");
                assert_eq!(
                    (&told["record"]["topic"], &told["history"]["whole"]),
                    (&json!(topic), &json!(true))
                );
            }
        }
    }
}

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
async fn a_policy_on_trial_is_explained_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let text = fs::read_to_string(sample("policy.yaml")).unwrap();
    let candidate = text
        .replace("action: post_nudge, target: \"team:triage\"", "action: assign_owner, target: \"owner:bo\"");
    assert_ne!(text, candidate);
    let (policy, candidate) = (write(path, "policy.yaml", &text), write(path, "candidate.yaml", &candidate));
    let serve =
        Serve::start(path, |command| command.arg("--policy").arg(&policy).arg("--shadow").arg(&candidate))
            .await;
    let opened = json!({"project_id": "alpha", "source": "github", "type": "issue_opened", "repo": "o/r", "issue_number": 1});
    let cause = publish(&opened, path).await["event_id"].as_str().unwrap().to_owned();
    let real = action_of(|it| it == cause, path).await;
    let tried = async || tail("actions-shadow", |command| command.arg("--data-dir").arg(path)).await;
    until("the shadow decides, too", async || !tried().await.is_empty()).await;
    let tried = tried().await.remove(0);
    assert_eq!(real["event_id"], tried["event_id"], "one id, two decisions");
    let id = real["event_id"].as_str().unwrap();
    serve.stop().await;

    let told = document(&[id], path).await;
    assert_eq!((&told["action"], &told["policy_hash"]), (&real, &real["policy_hash"]));
    for subject in [id, &cause] {
        let told = document(&[subject, "--topic", "actions-shadow"], path).await;
        assert_eq!(told["policy_hash"], tried["policy_hash"]);
        assert_ne!(told["policy_hash"], real["policy_hash"]);
        let fired = &rule(&told, "triage-new")["became"]["actions"][0];
        assert_eq!((&fired["target"], &fired["id"]), (&json!("owner:bo"), &json!(id)));
        assert!(told["remarks"][0].as_str().unwrap().contains("on trial"), "{told}");
    }

    // Taken away, it has decided nothing; and an action that is only its own is found.
    let only = json!({"project_id": "alpha", "source": "github", "type": "issue_updated", "repo": "o/r", "issue_number": 2,
        "labels": ["ours"]});
    let own = text.replace("rules:\n", "rules:\n  - { id: ours, when: '\"ours\" in issue.labels', then: { action: post_nudge, target: \"team:triage\" }, rationale: Ours }\n");
    fs::write(&candidate, own).unwrap();
    let serve =
        Serve::start(path, |command| command.arg("--policy").arg(&policy).arg("--shadow").arg(&candidate))
            .await;
    publish(&only, path).await;
    let mut found = None;
    until("the next candidate decides", async || {
        let all = tail("actions-shadow", |command| command.arg("--data-dir").arg(path)).await;
        found = all.into_iter().find(|action| action["rule"] == "ours");
        found.is_some()
    })
    .await;
    serve.stop().await;
    let found = found.unwrap();
    let told = document(&[found["event_id"].as_str().unwrap()], path).await;
    assert_eq!((&told["action"], &told["record"]["topic"]), (&found, &json!("actions-shadow")));
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
