//! A log written as a gateway writes it.

use std::{path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use eventlog::{Clock, Keep, Log, ManualClock, NewRecord, TopicSpec, embedded::EmbeddedLog};
use events::{Action, IssueEvent, Message, PolicyChange, topic};
use policy::{Decided, Repeats, Ruleset, State, fire_timers, switch_policy, take_event};
use serde_json::{Value, json};

use crate::{document, rule};

/// A log written as a gateway writes it, at chosen instants.
pub struct Past {
    pub clock: Arc<ManualClock>,
    pub log: EmbeddedLog,
    pub state: State,
    pub ruleset: Ruleset,
    pub made: Vec<Action>,
    /// A policy on trial, and what it made.
    pub trial: Option<(State, Ruleset)>,
    pub tried: Vec<Action>,
    /// Which project an issue is of, by its number.
    pub project: fn(u64) -> &'static str,
    pub next: u64,
}

fn switched(state: &State, ruleset: &Ruleset) -> policy::Decision {
    switch_policy(state, state.clock().unwrap_or(DateTime::UNIX_EPOCH), ruleset)
}

pub fn at(time: &str) -> DateTime<Utc> {
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
    pub async fn begin(dir: &Path, policy: &str) -> Self {
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

    pub async fn append(&self, message: Message) {
        self.log.append(vec![record(message)]).await.unwrap();
    }

    pub async fn follow(&mut self, policy: &str) {
        self.ruleset = policy::load(policy).unwrap();
        self.state.apply(switched(&self.state, &self.ruleset));
        self.say_policy(policy, false).await;
    }

    /// A policy is put on trial: it begins with what is known.
    pub async fn try_out(&mut self, policy: &str) {
        let ruleset = policy::load(policy).unwrap();
        let mut state = self.state.clone();
        state.apply(switched(&state, &ruleset));
        self.trial = Some((state, ruleset));
        self.say_policy(policy, true).await;
    }

    pub async fn say_policy(&self, policy: &str, on_trial: bool) {
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
    pub async fn decide(&mut self, step: impl Fn(&mut State, &Ruleset) -> Vec<Action>) {
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
    pub async fn event(&mut self, now: DateTime<Utc>, number: u64, more: Value) {
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
    pub async fn timers(&mut self, now: DateTime<Utc>, limit: usize) {
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

    pub async fn say(&mut self, made: Vec<Action>) {
        for action in made {
            self.append(action.to_message().unwrap()).await;
            self.made.push(action);
        }
    }

    pub fn when(&self) -> Vec<String> {
        let of = |it: &Action| format!("{} {}", it.evaluated_at.unwrap().format("%H:%M"), it.target);
        self.made.iter().map(of).collect()
    }

    /// Every action is met again, as it was made.
    pub async fn assert_all_met(&self, dir: &Path) {
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
