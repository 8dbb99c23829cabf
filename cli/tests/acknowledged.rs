//! A person answers, and the answer is known: with the real program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod program;

use std::path::Path;

use program::{SECRET, Serve, breakdown, client, run, tail, until};
use serde_json::Value;
use webhooks::{Provider, Secrets, sign};

const POLICY: &str = r#"
version: 1
teams: { platform: { members: [maria] } }
rules:
  - id: page
    when: '"p0" in issue.labels && issue.acknowledged_at == null'
    then: { action: escalate_owner, target: "team:platform" }
    rationale: Nobody has answered yet
    continue: true
  - id: thank
    when: 'event.type == "issue_acknowledged"'
    then: { action: post_nudge, target: "team:platform" }
    cooldown: 0s
    rationale: Somebody has
"#;
const ISSUE: &str = "github:acme/checkout#101";

/// A sample, as if it happened now: an answer that is older than a week could be a replay.
fn of_now(sample: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/deliveries").join(sample);
    #[expect(clippy::disallowed_methods, reason = "the program goes by the machine's clock")]
    let now: chrono::DateTime<chrono::Utc> = std::time::SystemTime::now().into();
    let now = now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let text = std::fs::read_to_string(path).unwrap();
    ["2026-02-02T09:31:40Z", "2026-02-02T09:33:22.169Z"].iter().fold(text, |text, at| text.replace(at, &now))
}

async fn deliver(serve: &Serve, provider: Provider, event: &str, id: &str, sample: &str) -> Value {
    deliver_text(serve, provider, event, id, of_now(sample)).await
}

async fn deliver_text(serve: &Serve, provider: Provider, event: &str, id: &str, body: String) -> Value {
    let body = body.into_bytes();
    let headers = sign(provider, &Secrets::parse(SECRET).unwrap(), event, id, &body);
    let request = client().post(format!("{}{}", serve.webhooks, provider.path())).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json().await.unwrap()
}

/// A server with the page sent, and its data directory.
async fn paged() -> (tempfile::TempDir, Serve) {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let serve = Serve::start(dir.path(), |command| {
        command.arg("--policy").arg(&policy).env("PAGERDUTY_WEBHOOK_SECRET", SECRET)
    })
    .await;
    deliver(&serve, Provider::Github, "issues", "d-1", "github-issue-opened-p0.json").await;
    decided(dir.path(), 1).await;
    (dir, serve)
}

/// Waits until so many actions were decided; which.
async fn decided(dir: &Path, count: usize) -> Vec<String> {
    let mut rules = Vec::new();
    until("actions are decided", async || {
        let actions = tail("actions", |command| command.arg("--data-dir").arg(dir)).await;
        rules = actions.iter().map(|action| action["rule"].as_str().unwrap().to_owned()).collect();
        rules.len() == count
    })
    .await;
    rules
}

async fn known(dir: &Path) -> Value {
    let mut command = breakdown();
    command.args(["issue", ISSUE, "--json", "--data-dir"]).arg(dir);
    let (out, err, code) = run(&mut command).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_acknowledges() {
    let (dir, serve) = paged().await;
    assert_eq!(known(dir.path()).await["acknowledged"], Value::Null);
    let answer = deliver(&serve, Provider::Github, "issue_comment", "d-2", "github-comment-ack.json").await;
    assert_eq!(decided(dir.path(), 3).await, ["page", "page", "thank"]);

    let events = tail("issues", |command| command.arg("--data-dir").arg(dir.path())).await;
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["issue_opened", "issue_commented", "issue_acknowledged"]);
    assert_eq!(events[1]["event_id"], answer["event_id"]);
    let acknowledged = &events[2];
    assert_eq!((&acknowledged["through"], &acknowledged["issue_ref"]), (&"comment".into(), &ISSUE.into()));

    let issue = known(dir.path()).await;
    let shown = &issue["acknowledged"];
    assert_eq!((&shown["by"], &shown["through"]), (&acknowledged["actor"], &"comment".into()));
    assert_eq!(shown["at"], acknowledged["updated_at"]);
    assert!(shown["acted_at"].is_string() && shown["after"].is_string(), "{issue}");
    // The newest are shown, and how to see the others.
    let newest = async |arguments: &[&str]| {
        let mut command = breakdown();
        command.args(["issue", ISSUE, "--data-dir"]).arg(dir.path()).args(arguments);
        let (out, err, code) = run(&mut command).await;
        assert_eq!(code, 0, "{err}");
        out
    };
    let out = newest(&["-n", "1"]).await;
    assert!(out.ends_with("\nthe newest 1 of 3 actions; all of them: -n 3\n"), "{out}");
    assert!(out.contains("Somebody has") && !out.contains("Nobody has answered yet"), "{out}");
    let some: Value = serde_json::from_str(&newest(&["-n", "2", "--json"]).await).unwrap();
    assert_eq!((&some["earlier_actions"], some["actions"].as_array().unwrap().len()), (&1.into(), 2));
    assert!(!newest(&[]).await.contains("the newest"), "there are not so many");
    // Nobody carries the acknowledgement here, which is no failure.
    let actions = issue["actions"].as_array().unwrap();
    let kinds: Vec<_> = actions.iter().map(|action| action["action"]["action"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["escalate_owner", "acknowledge", "post_nudge"]);
    let outcomes = async || tail("outcomes", |command| command.arg("--data-dir").arg(dir.path())).await;
    until("all have ended", async || outcomes().await.len() == 3).await;
    let outcomes = outcomes().await;
    let outcome = outcomes.iter().find(|outcome| outcome["action"] == "acknowledge").unwrap();
    assert_eq!(
        (&outcome["ack"], &outcome["attempts"], &outcome["error"]),
        (&true.into(), &0.into(), &Value::Null)
    );

    let mut command = breakdown();
    command
        .args(["policy", "explain", acknowledged["event_id"].as_str().unwrap(), "--data-dir"])
        .arg(dir.path());
    let (out, err, code) = run(&mut command).await;
    assert!(code == 0 && out.contains("`thank` fired: post_nudge for team:platform"), "{out}{err}");
    assert!(out.contains("acknowledges escalate_owner of `page`"), "{out}");
    assert!(out.contains("the answer counts: the issue is acknowledged"), "{out}");

    // The delivery leads to its answer, and that to what it did and what became of it.
    let id = answer["event_id"].as_str().unwrap();
    let (out, err, code) = explained(dir.path(), &[id]).await;
    assert_eq!(code, 0, "{err}");
    let said = &out[out.find("\nsomebody answered by it").unwrap_or_else(|| panic!("{out}"))..];
    for says in [
        &format!("issue_acknowledged {}", acknowledged["event_id"].as_str().unwrap()),
        &format!("(through comment, by {}) at issues partition", acknowledged["actor"].as_str().unwrap()),
        "\n  the answer counts: the issue is acknowledged",
        "\n  acknowledge for team:platform (a-",
        &format!(
            "), of escalate_owner {}: done without a call",
            actions[0]["action"]["event_id"].as_str().unwrap()
        ),
        "\n  post_nudge for team:platform (a-",
        "): done, risk -0.05, made ",
    ] {
        assert!(said.contains(says), "{says}\n{out}");
    }
    let (out, err, code) = explained(dir.path(), &[id, "--json"]).await;
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let told = &told["came_of"]["answer"];
    assert_eq!(&told["event"], acknowledged);
    assert_eq!(told["actions"][0]["outcomes"][0], *outcome);
    // Of what is an answer itself there is no other, and an event that is none has none.
    for event in [acknowledged, &events[0]] {
        let (out, ..) = explained(dir.path(), &[event["event_id"].as_str().unwrap(), "--json"]).await;
        let told: Value = serde_json::from_str(&out).unwrap();
        assert!(
            told["came_of"]["answer"].is_null()
                && told["came_of"]["actions"][0]["outcomes"][0]["ack"] == true,
            "{told}"
        );
    }
    serve.stop().await;
}

async fn explained(dir: &Path, arguments: &[&str]) -> (String, String, i32) {
    run(breakdown().args(["policy", "explain"]).args(arguments).arg("--data-dir").arg(dir)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_an_answer_says_why_it_is_none() {
    let (dir, serve) = paged().await;
    let said = of_now("github-comment-ack.json");
    let body = r#""body": "/ack\r\n\r\nLooking into it.""#;
    assert!(said.contains(body), "{said}");
    let quoted = said.replace(body, r#""body": "> /ack\r\n\r\nDid that count? \u001b[31m""#);
    let event = deliver_text(&serve, Provider::Github, "issue_comment", "d-2", quoted).await;
    let id = event["event_id"].as_str().unwrap();
    until("it is explained", async || explained(dir.path(), &[id]).await.2 == 0).await;
    let (out, ..) = explained(dir.path(), &[id]).await;
    assert!(out.contains("looks like an answer, and is none: the word is quoted"), "{out}");
    assert!(!out.contains("Did that count") && !out.contains("somebody answered"), "{out}");
    // In capitals, with words behind it, it is one.
    let loud = said.replace(body, r#""body": "/ACK I am on it""#);
    deliver_text(&serve, Provider::Github, "issue_comment", "d-3", loud).await;
    assert_eq!(decided(dir.path(), 3).await, ["page", "page", "thank"]);
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pagerduty_acknowledges() {
    let (dir, serve) = paged().await;
    let path = dir.path().join("acknowledged.json");
    std::fs::write(&path, of_now("pagerduty-incident-acknowledged.json")).unwrap();
    let mut command = breakdown();
    command.args(["deliver", "--provider", "pagerduty", "--file"]).arg(&path);
    command.args(["--url", &format!("{}/pagerduty/incidents", serve.webhooks)]);
    let (out, err, code) = run(command.env("PAGERDUTY_WEBHOOK_SECRET", SECRET)).await;
    assert!(code == 0 && out.starts_with("202 {\"event_id\":\"pd-"), "{out}{err}");
    assert_eq!(decided(dir.path(), 2).await, ["page", "thank"]);
    let shown = known(dir.path()).await["acknowledged"].clone();
    assert_eq!((&shown["by"], &shown["through"]), (&"Tenex Engineer".into(), &"pagerduty".into()));
    serve.stop().await;
}
