use std::sync::Arc;

use chrono::TimeDelta;
use eventlog::ManualClock;
use serde_json::{Value, json};

use super::{
    HOSTILE, action, attempt, clock,
    fake::{
        Fault,
        github::{BOT, Comment, Github, USER},
        inert,
    },
    later, open, reference, rejected,
};

fn said(github: &Github) -> Value {
    json!({ "kind": "github", "token": { "env": "GITHUB_TOKEN" }, "base": github.base })
}

fn app(github: &Github, installation: u64) -> Value {
    json!({ "kind": "github", "base": github.base, "app": {
        "id": "Iv1.app", "installation": installation, "private_key": { "env": "GITHUB_APP_KEY" },
    } })
}

async fn site() -> (Arc<ManualClock>, Github) {
    let clock = clock();
    let github = Github::start(clock.clone()).await;
    (clock, github)
}

#[tokio::test]
async fn an_issue_gets_its_owner_and_the_reason() {
    let (clock, github) = site().await;
    let target = open("github", said(&github), &clock);
    let done = attempt(&target, &action("a-1", "assign_owner")).await;
    assert_eq!(reference(&done), Some("https://github.com/o/r/issues/1#issuecomment-1"));
    let issue = github.issue();
    assert_eq!(issue.assignees, ["Alice"], "as GitHub writes the name");
    let body = "<!-- breakdown:a-1 -->\n@alice ` team:triage is to own this ` · ` New issue needs triage `\n";
    assert_eq!((issue.comments[0].by, &*issue.comments[0].body), (USER, body));
    let mut silent = said(&github);
    silent["comment"] = json!(false);
    attempt(&open("github", silent, &clock), &action("a-2", "assign_owner")).await;
    assert_eq!(github.issue().comments.len(), 1);
}

#[tokio::test]
async fn who_may_not_push_is_left_out_and_that_is_said() {
    let (clock, github) = site().await;
    let target = open("github", said(&github), &clock);
    let mut three = action("a-1", "assign_owner");
    three["params"]["to"]["people"] = json!([
        { "name": "bo", "github": "BO" }, { "name": "mallory", "github": "mallory" }, { "name": "eve", "github": "eve" },
    ]);
    let reason = rejected(attempt(&target, &three).await);
    assert!(
        reason.contains("mallory, eve cannot be assigned") && reason.contains("push access to o/r"),
        "{reason}"
    );
    assert_eq!(github.issue().assignees, ["bo"]);
    assert!(github.issue().comments.is_empty(), "nobody is told that it is theirs");
    let mut nobody = action("a-2", "assign_owner");
    nobody["params"]["to"]["people"] = json!([{ "name": "eve\u{202e}" }]);
    assert!(rejected(attempt(&target, &nobody).await).contains("eve : no github login in the policy"));
}

#[tokio::test]
async fn an_escalated_issue_bears_a_label_until_it_is_resolved() {
    let (clock, github) = site().await;
    let target = open("github", said(&github), &clock);
    attempt(&target, &action("a-1", "escalate_owner")).await;
    assert_eq!((github.issue().labels, github.issue().comments.len()), (vec!["escalated".into()], 1));
    for _ in 0..2 {
        assert_eq!(reference(&attempt(&target, &action("a-2", "resolve")).await), None);
        assert!(github.issue().labels.is_empty());
    }
    let mut other = action("a-3", "resolve");
    other["issue_ref"] = json!("github:o/r#2");
    assert!(
        rejected(attempt(&target, &other).await).contains("not visible"),
        "a missing issue is no missing label"
    );
    assert_eq!(github.issue().comments.len(), 1);
    let mut named = said(&github);
    named["label"] = json!("on fire/now");
    let target = open("github", named, &clock);
    attempt(&target, &action("a-4", "escalate_owner")).await;
    assert_eq!(github.issue().labels, ["on fire/now"]);
    attempt(&target, &action("a-5", "resolve")).await;
    assert!(github.issue().labels.is_empty());
}

#[tokio::test]
async fn a_comment_is_found_among_many_also_days_later() {
    let (clock, github) = site().await;
    let target = open("github", said(&github), &clock);
    let before = clock_at(&clock) - TimeDelta::days(1);
    let comment = |body: String| Comment { at: before + TimeDelta::days(1), by: "mallory", body };
    let others = (0..100).map(|n| comment(format!("comment {n}"))).collect();
    github.state.lock().unwrap().issues.get_mut("o/r/1").unwrap().comments = others;
    attempt(&target, &action("a-1", "post_nudge")).await;
    // A quotation of ours is none of ours.
    let quote = comment(github.issue().comments[100].body.replace("<!--", "> <!--"));
    github.state.lock().unwrap().issues.get_mut("o/r/1").unwrap().comments.insert(3, quote);
    clock.advance(TimeDelta::days(3));
    let again = attempt(&target, &action("a-1", "post_nudge")).await;
    assert_eq!(reference(&again), Some("https://github.com/o/r/issues/1#issuecomment-102"));
    assert_eq!(github.issue().comments.len(), 102);
}

/// The marker is no secret: the id of what a timer makes can be worked out, and every comment shows its own.
#[tokio::test]
async fn a_marker_that_a_stranger_left_is_none_of_ours() {
    for as_app in [false, true] {
        let (clock, github) = site().await;
        let (config, us) = if as_app { (app(&github, 42), BOT) } else { (said(&github), USER) };
        let target = open("github", config.clone(), &clock);
        let nudge = action("a-1", "post_nudge");
        let forged = "<!-- breakdown:a-1 -->\nnothing to see";
        github.comment("mallory", forged);
        github.comment("whoever is no more", forged);
        // Ours is made, and the answer lost with the process.
        github.way.fault("POST /repos/o/r/issues/1/comments", Fault::BrokenAfter);
        later(attempt(&target, &nudge).await);
        let ours = |github: &Github| {
            let comments = github.issue().comments;
            comments.iter().filter(|comment| comment.by == us && comment.body.starts_with("<!--")).count()
        };
        assert_eq!(ours(&github), 1);
        github.comment("mallory", &github.issue().comments[2].body);
        let target = open("github", config, &clock);
        for _ in 0..2 {
            let again = attempt(&target, &nudge).await;
            assert_eq!(reference(&again), Some("https://github.com/o/r/issues/1#issuecomment-3"));
        }
        assert_eq!((ours(&github), github.issue().comments.len()), (1, 4));
        // By each of the two processes it was asked once; not at all for an action whose marker nobody left.
        let asked = if as_app { "GET /users/breakdown[bot]" } else { "GET /user" };
        let asked = || {
            github
                .way
                .calls()
                .iter()
                .filter(|call| call.replace("%5B", "[").replace("%5D", "]") == asked)
                .count()
        };
        assert_eq!(asked(), 2);
        reference(&attempt(&target, &action("a-2", "post_nudge")).await).unwrap();
        assert_eq!(asked(), 2);
    }
}

#[tokio::test]
async fn who_we_are_is_a_call_like_any_other() {
    for as_app in [false, true] {
        let (clock, github) = site().await;
        let config = if as_app { app(&github, 42) } else { said(&github) };
        let target = open("github", config, &clock);
        let nudge = action("a-1", "post_nudge");
        let first = attempt(&target, &nudge).await;
        let calls = if as_app { &["GET /app", "GET /users/"][..] } else { &["GET /user"] };
        for call in calls {
            github.way.fault(call, Fault::status(429).header("retry-after", 7));
            assert_eq!(later(attempt(&target, &nudge).await).0, Some(7), "{call}");
            github.way.fault(call, Fault::GarbageAfter);
            assert!(later(attempt(&target, &nudge).await).1.contains("cannot be read"), "{call}");
            github.way.fault(call, Fault::status(404));
            rejected(attempt(&target, &nudge).await);
        }
        assert_eq!(attempt(&target, &nudge).await, first);
        // A credential that is refused may be another's by now: it is asked again, by the next who has to know.
        let asked = || github.way.calls().iter().filter(|call| call.starts_with(calls[0])).count();
        let before = asked();
        github.way.fault("GET /repos", Fault::status(401));
        attempt(&target, &nudge).await;
        assert_eq!(attempt(&target, &nudge).await, first);
        assert_eq!(attempt(&target, &nudge).await, first);
        assert_eq!((asked(), github.issue().comments.len()), (before + 1, 1));
    }
}

fn clock_at(clock: &ManualClock) -> chrono::DateTime<chrono::Utc> {
    eventlog::Clock::now(clock)
}

#[tokio::test]
async fn its_rate_limits_are_obeyed() {
    let (clock, github) = site().await;
    let target = open("github", said(&github), &clock);
    let nudge = action("a-1", "post_nudge");
    let reset = clock_at(&clock).timestamp() + 90;
    let date = clock_at(&clock).to_rfc2822();
    let primary = |status| {
        Fault::status(status)
            .header("x-ratelimit-limit", 5000)
            .header("x-ratelimit-remaining", 0)
            .header("x-ratelimit-reset", reset)
            .header("date", &date)
    };
    let message = |text: &str| json!({ "message": text });
    for (fault, expected) in [
        (primary(403), Some(91)),
        (primary(429), Some(91)),
        (primary(403).header("retry-after", 5), Some(5)),
        (
            Fault::status(403)
                .header("retry-after", 60)
                .body(message("You have exceeded a secondary rate limit")),
            Some(60),
        ),
        (Fault::status(403).body(message("You have exceeded a secondary rate limit.")), Some(60)),
        (Fault::status(429), Some(60)),
    ] {
        github.way.fault("GET", fault);
        assert_eq!(later(attempt(&target, &nudge).await).0, expected);
    }
    github
        .way
        .fault("POST", Fault::status(403).body(message("Resource not accessible by personal access token")));
    assert!(rejected(attempt(&target, &nudge).await).contains("may not do that"));
    assert!(github.issue().comments.is_empty());
}

#[tokio::test]
async fn an_issue_that_moved_or_went_is_said_so() {
    let (clock, github) = site().await;
    let target = open("github", said(&github), &clock);
    for (status, why) in [(301, "has moved"), (404, "not visible"), (410, "deleted"), (422, "locked")] {
        github.way.fault("GET", Fault::status(status));
        let reason = rejected(attempt(&target, &action("a-1", "post_nudge")).await);
        assert!(reason.contains(why), "{reason}");
    }
    let mut elsewhere = action("a-1", "post_nudge");
    elsewhere["issue_ref"] = json!("jira:acme.atlassian.net/OPS-7");
    assert!(rejected(attempt(&target, &elsewhere).await).contains("no issue of GitHub"));
}

#[tokio::test]
async fn an_app_gets_its_token_renews_it_and_replaces_one_that_was_revoked() {
    let (clock, github) = site().await;
    let target = open("github", app(&github, 42), &clock);
    let issued = || github.state.lock().unwrap().issued;
    for n in 1..=3 {
        assert!(reference(&attempt(&target, &action(&format!("a-{n}"), "post_nudge")).await).is_some());
    }
    assert_eq!(issued(), 1, "one token for an hour");
    clock.advance(TimeDelta::minutes(54));
    attempt(&target, &action("a-4", "post_nudge")).await;
    assert_eq!(issued(), 1);
    clock.advance(TimeDelta::minutes(2));
    attempt(&target, &action("a-5", "post_nudge")).await;
    assert_eq!(issued(), 2, "renewed before its end");

    github.state.lock().unwrap().tokens.clear();
    let (_, reason) = later(attempt(&target, &action("a-6", "post_nudge")).await);
    assert!(reason.contains("another is asked for"), "{reason}");
    assert!(reference(&attempt(&target, &action("a-6", "post_nudge")).await).is_some());
    assert_eq!((issued(), github.issue().comments.len()), (3, 6));

    // Two bear it when it is revoked: both try again.
    github.state.lock().unwrap().tokens.clear();
    let both = [action("a-8", "post_nudge"), action("a-9", "post_nudge")];
    let verdicts = futures::future::join_all(both.iter().map(|action| attempt(&target, action))).await;
    verdicts.into_iter().for_each(|verdict| assert!(later(verdict).1.contains("another is asked for")));
    for action in &both {
        assert!(reference(&attempt(&target, action).await).is_some());
    }
    assert_eq!((issued(), github.issue().comments.len()), (4, 8));

    let elsewhere = open("github", app(&github, 7), &clock);
    assert!(
        rejected(attempt(&elsewhere, &action("a-7", "post_nudge")).await).contains("no such installation")
    );
    let mut other = app(&github, 42);
    other["app"]["id"] = json!("Iv1.other");
    let reason = rejected(attempt(&open("github", other, &clock), &action("a-7", "post_nudge")).await);
    assert!(reason.contains("do not belong together"), "{reason}");
}

#[tokio::test]
async fn text_is_data() {
    let (clock, github) = site().await;
    let target = open("github", said(&github), &clock);
    let mut hostile = action("--><script>", "post_nudge");
    hostile["rationale"] = json!(format!("{HOSTILE} ``` @o/team fixes #2"));
    hostile["params"]["to"]["people"] =
        json!([{ "name": "x", "github": "a @all" }, { "name": "bo", "github": "bo" }]);
    assert!(reference(&attempt(&target, &hostile).await).is_some());
    let body = github.issue().comments[0].body.clone();
    inert(&body);
    let [marker, said] = body.lines().collect::<Vec<_>>()[..] else { panic!("{body:?}") };
    assert!(
        marker.len() == "<!-- breakdown: -->".len() + 64 && marker.matches("-->").count() == 1,
        "{marker}"
    );
    // All of it stands between fences that are longer than any run of backticks inside.
    let (mention, rest) = said.split_once(' ').unwrap();
    assert_eq!(mention, "@bo");
    let (what, why) = rest.split_once(" · ").unwrap();
    assert_eq!(what, "` team:triage please look `");
    assert!(
        why.starts_with("```` ") && why.ends_with(" ````") && !why[4..why.len() - 4].contains("````"),
        "{why}"
    );
    assert!(
        attempt(&target, &hostile).await == attempt(&target, &hostile).await
            && github.issue().comments.len() == 1
    );
}
