//! GitHub's own example payloads, all of them (`scripts/fetch-webhook-examples.sh`).

use std::path::{Path, PathBuf};

use events::{EventType, IssueEvent};
use serde_json::Value;
use webhooks::Provider;

use crate::harness::*;

/// The directory with the unpacked package: `BREAKDOWN_OCTOKIT_EXAMPLES`, or where the script puts it.
fn directory() -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os("BREAKDOWN_OCTOKIT_EXAMPLES") {
        return Some(directory.into());
    }
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/octokit");
    let mut found: Vec<_> = std::fs::read_dir(fetched).ok()?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.join("api.github.com/index.json").is_file());
    found.sort();
    found.pop()
}

#[tokio::test]
async fn every_example_of_github_is_taken() {
    let Some(directory) = directory() else {
        eprintln!("skipped: every_example_of_github_is_taken (run scripts/fetch-webhook-examples.sh)");
        return;
    };
    let index = directory.join("api.github.com/index.json");
    let text =
        std::fs::read(&index).unwrap_or_else(|error| panic!("cannot read {}: {error}", index.display()));
    let kinds: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let server = start().await;
    let (mut taken, mut ignored) = (0, 0);
    for kind in &kinds {
        let name = kind["name"].as_str().unwrap();
        for (number, example) in kind["examples"].as_array().unwrap().iter().enumerate() {
            let reply = server.deliver(Provider::Github, name, example.to_string().as_bytes()).await;
            let body = String::from_utf8_lossy(&reply.body);
            match reply.status {
                202 => taken += 1,
                200 => ignored += 1,
                status => panic!("{name} {number} ({}): {status} {body}", example["action"]),
            }
            // What we use is an event, unless it is of a pull request or a milestone whose date did not move.
            let used =
                matches!(name, "issues" | "issue_comment") && example["issue"]["pull_request"].is_null();
            assert_eq!(reply.status == 202, used, "{name} {number} ({}): {body}", example["action"]);
        }
    }
    assert_eq!(taken + ignored, 329, "this version of the package has 329 examples");
    let is_answer = |event: &IssueEvent| event.event_type == EventType::IssueAcknowledged;
    let (answers, events): (Vec<_>, Vec<_>) = server.log.events().into_iter().partition(is_answer);
    assert_eq!(events.len(), taken);
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer.actor.is_some()));
    assert!(server.log.dead_letters().is_empty());
    for event in server.log.events() {
        assert!(event.updated_at.is_some() && event.issue_ref.starts_with("github:"));
    }
}

/// Jira publishes no such collection: the files of a directory of one's own, named by `BREAKDOWN_JIRA_EXAMPLES`.
#[tokio::test]
async fn every_example_of_jira_is_taken() {
    let Some(directory) = std::env::var_os("BREAKDOWN_JIRA_EXAMPLES") else {
        eprintln!(
            "skipped: every_example_of_jira_is_taken (set BREAKDOWN_JIRA_EXAMPLES to a directory of payloads)"
        );
        return;
    };
    let server = start().await;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let reply = server.deliver(Provider::Jira, "", &std::fs::read(&path).unwrap()).await;
        assert_eq!(reply.status, 202, "{}: {}", path.display(), String::from_utf8_lossy(&reply.body));
        let event = server.log.events().pop().unwrap();
        assert!(event.updated_at.is_some() && event.actor.is_some(), "{}", path.display());
        eprintln!("{}: {}", path.display(), serde_json::to_string_pretty(&event).unwrap());
    }
    assert!(server.log.len() > 0);
}
