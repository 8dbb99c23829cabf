//! Requests that are refused, and what is left of them: nothing.

use std::num::NonZeroU32;

use eventlog::LogError;
use events::Original;
use rstest::rstest;
use serde_json::json;
use webhooks::{Config, Limits, Provider, Secrets, Senders, sign};

use crate::{github::opened, harness::*};

const BODY: &[u8] = b"{}";

#[tokio::test]
async fn the_published_vectors_pass_verification() {
    let server = start().await;
    let headers = |provider: Provider, signature: &str| {
        with(&signed(provider, "ping", b""), provider.signature_header().as_str(), Some(signature))
    };
    let github =
        headers(Provider::Github, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    assert_eq!(server.post("/github/issues", &github, b"Hello, World!").await.status, 200);
    assert_eq!(
        server.post("/github/issues", &github, b"Hello, World?").await.refused(401),
        "signature_wrong"
    );
    let jira =
        headers(Provider::Jira, "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9");
    // Verified, and then not JSON.
    assert_eq!(server.post("/jira/issues", &jira, b"Hello World!").await.refused(400), "unreadable");
    assert_eq!(server.post("/jira/issues", &jira, b"Hello, World!").await.refused(401), "signature_wrong");
}

#[rstest]
#[case::missing(None, "signature_missing")]
#[case::empty(Some(""), "signature_malformed")]
#[case::prefix_only(Some("sha256="), "signature_malformed")]
#[case::upper_case(
    Some("sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17"),
    "signature_malformed"
)]
#[case::truncated(Some("sha256=757107ea0eb2509fc211221cce984b8a"), "signature_malformed")]
#[case::sha1(Some("sha1=03a2cbd1ab65c70a4c2b1b3a8d4e6c8c4a4bc5d1"), "signature_malformed")]
#[case::non_ascii(
    Some("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043eé"),
    "signature_malformed"
)]
#[case::wrong(
    Some("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    "signature_wrong"
)]
#[tokio::test]
async fn bad_signatures(
    #[values(Provider::Github, Provider::Jira)] provider: Provider,
    #[case] signature: Option<&str>,
    #[case] reason: &str,
) {
    let server = start().await;
    let headers = with(&signed(provider, "issues", BODY), provider.signature_header().as_str(), signature);
    assert_eq!(server.post(provider.path(), &headers, BODY).await.refused(401), reason);
    assert_eq!(server.log.len(), 0);
}

#[tokio::test]
async fn a_doubled_signature_is_refused_even_when_both_are_right() {
    let server = start().await;
    let mut headers = signed(Provider::Github, "issues", BODY);
    headers.push(headers.iter().find(|(name, _)| name == "x-hub-signature-256").unwrap().clone());
    assert_eq!(server.post("/github/issues", &headers, BODY).await.refused(401), "signature_malformed");
}

#[tokio::test]
async fn github_is_not_verified_by_its_sha1_header() {
    let server = start().await;
    let body = opened().to_string().into_bytes();
    let mut headers = with(&signed(Provider::Github, "issues", &body), "x-hub-signature-256", None);
    headers.push(("x-hub-signature".into(), "sha1=03a2cbd1ab65c70a4c2b1b3a8d4e6c8c4a4bc5d1".into()));
    assert_eq!(server.post("/github/issues", &headers, &body).await.refused(401), "signature_missing");
}

#[tokio::test]
async fn a_missing_signature_is_answered_before_the_body_is_sent() {
    let server = start().await;
    let mut client = Client::connect(server.address).await;
    let headers = with(&signed(Provider::Github, "issues", BODY), "x-hub-signature-256", None);
    client.write(&head("POST", "/github/issues", &with(&headers, "content-length", Some("1000000")))).await;
    let reply = client.reply().await.expect("an answer");
    assert_eq!(reply.refused(401), "signature_missing");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn each_provider_has_its_own_secrets_and_all_of_them_are_live() {
    let config = Config {
        github: Some(Secrets::parse("old,new").unwrap()),
        jira: Some(Secrets::parse("other").unwrap()),
        ..config(Limits::default())
    };
    let server = start_with(config).await;
    for (provider, secret, status) in [
        (Provider::Github, "old", 200),
        (Provider::Github, "new", 200),
        (Provider::Github, "other", 401),
        (Provider::Jira, "old", 401),
    ] {
        let headers = sign(provider, &Secrets::parse(secret).unwrap(), "ping", "d", BODY);
        assert_eq!(server.post(provider.path(), &headers, BODY).await.status, status, "{provider} {secret}");
    }
}

#[tokio::test]
async fn a_provider_without_secrets_has_no_receiver() {
    let server = start_with(Config { jira: None, ..config(Limits::default()) }).await;
    assert_eq!(server.deliver(Provider::Jira, "", BODY).await.refused(404), "not_found");
    assert_eq!(server.deliver(Provider::Github, "ping", BODY).await.status, 200);
}

#[tokio::test]
async fn other_content_types_and_encodings_are_refused() {
    let server = start().await;
    let headers = signed(Provider::Github, "ping", BODY);
    for kind in [None, Some("text/plain"), Some("application/xml")] {
        let reply = server.post("/github/issues", &with(&headers, "content-type", kind), BODY).await;
        assert_eq!(reply.refused(415), "content_type");
    }
    for encoding in ["gzip", "identity", ""] {
        let reply =
            server.post("/github/issues", &with(&headers, "content-encoding", Some(encoding)), BODY).await;
        assert_eq!(reply.refused(415), "content_encoding");
    }
    let form = Some("application/x-www-form-urlencoded");
    let jira = with(&signed(Provider::Jira, "", BODY), "content-type", form);
    assert_eq!(server.post("/jira/issues", &jira, BODY).await.refused(415), "content_type");
    assert_eq!(server.log.len(), 0);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_and_the_extra_routes_served() {
    let server = start().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let reply = Client::connect(server.address).await.send(method, "/github/issues", &[], b"").await;
        assert_eq!(reply.refused(405), "method_not_allowed");
        assert_eq!(reply.header("allow"), Some("POST"));
    }
    for path in ["/", "/github/issues/", "/GITHUB/issues", "/github/issues/../x", "/metrics"] {
        let reply = Client::connect(server.address).await.send("GET", path, &[], b"").await;
        assert_eq!(reply.refused(404), "not_found");
    }
    let live = Client::connect(server.address).await.send("GET", "/health/live", &[], b"").await;
    assert_eq!((live.status, live.body.as_slice()), (200, b"live".as_slice()));
    let wrong = Client::connect(server.address).await.send("POST", "/health/live", &[], b"").await;
    assert_eq!(wrong.refused(405), "method_not_allowed");
}

#[tokio::test]
async fn who_keeps_failing_gets_429_and_is_still_heard_when_signed_right() {
    let limits = Limits { failures_per_peer: NonZeroU32::new(3).unwrap(), ..Limits::default() };
    let server = start_with(config(limits)).await;
    let payload = opened().to_string();
    let good = signed(Provider::Github, "issues", payload.as_bytes());
    let wrong = with(&good, "x-hub-signature-256", Some(&format!("sha256={}", "0".repeat(64))));
    let missing = with(&good, "x-hub-signature-256", None);
    for headers in [&wrong, &missing, &wrong] {
        server.post("/github/issues", headers, payload.as_bytes()).await.refused(401);
    }
    for headers in [&wrong, &missing, &wrong] {
        let reply = server.post("/github/issues", headers, payload.as_bytes()).await;
        assert_eq!(reply.refused(429), "too_many_failures");
        assert!(reply.header("retry-after").is_some());
    }
    for _ in 0..50 {
        assert_eq!(server.post("/github/issues", &good, payload.as_bytes()).await.status, 202);
    }
    assert_eq!(server.log.events().len(), 50);
}

#[tokio::test]
async fn signed_deliveries_alone_never_meet_a_limit() {
    let limits = Limits { failures_per_peer: NonZeroU32::MIN, ..Limits::default() };
    let server = start_with(config(limits)).await;
    for _ in 0..200 {
        assert_eq!(server.deliver(Provider::Github, "ping", BODY).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_signed_and_cannot_be_read_becomes_a_dead_letter() {
    let server = start().await;
    let body = b"{\"action\": \"opened\", \"issue\": <script>";
    let reply = server.deliver(Provider::Github, "issues", body).await;
    assert_eq!(reply.refused(400), "unreadable");
    assert!(!String::from_utf8_lossy(&reply.body).contains("script"));
    let letters = server.log.dead_letters();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.reason, "unreadable");
    assert!(letter.detail.contains("line 1") && !letter.detail.contains("script"), "{}", letter.detail);
    assert_eq!(letter.original, Original::Utf8(String::from_utf8(body.to_vec()).unwrap()));
    assert_eq!(letter.at, "2026-02-02T10:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap());
    assert_eq!(
        serde_json::to_value(&letter.origin).unwrap(),
        json!({"kind": "delivery", "provider": "github", "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "event": "issues"})
    );
    assert!(server.log.events().is_empty());
}

#[tokio::test]
async fn when_the_log_fails_the_answer_is_503_and_the_same_delivery_is_taken_later() {
    let server = start().await;
    let payload = opened().to_string();
    for failure in [LogError::Unavailable("disk full".into()), LogError::Refused("too large".into())] {
        server.log.fail(Some(failure));
        for (event, body) in [("issues", payload.as_bytes()), ("issues", b"unreadable".as_slice())] {
            let reply = server.deliver(Provider::Github, event, body).await;
            assert_eq!(reply.refused(503), "unavailable");
            assert!(reply.header("retry-after").is_some());
            assert!(!String::from_utf8_lossy(&reply.body).contains("disk"));
        }
    }
    server.log.fail(None);
    assert_eq!(server.deliver(Provider::Github, "issues", payload.as_bytes()).await.status, 202);
    assert_eq!(server.log.len(), 1);
}

#[tokio::test]
async fn a_log_that_hangs_is_503_too() {
    let limits = Limits { append_timeout: std::time::Duration::from_millis(50), ..Limits::default() };
    let server = start_with(config(limits)).await;
    server.log.close();
    let reply = server.deliver(Provider::Github, "issues", opened().to_string().as_bytes()).await;
    assert_eq!(reply.refused(503), "unavailable");
}

#[tokio::test]
async fn ignored_deliveries_need_no_log() {
    let server = start().await;
    server.log.fail(Some(LogError::Unavailable("down".into())));
    let reply = server.deliver(Provider::Github, "push", BODY).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"ignored": "event_not_used"})));
}

fn networks(list: &[&str]) -> Vec<ipnet::IpNet> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn deliveries_from_other_networks_are_refused_before_their_signature_is_looked_at() {
    let senders = Senders { github: Some(networks(&["192.0.2.0/24"])), ..Senders::default() };
    let server = start_with(Config { senders, ..config(Limits::default()) }).await;
    let body = opened().to_string().into_bytes();
    let mut headers = signed(Provider::Github, "issues", &body);
    assert_eq!(server.post("/github/issues", &headers, &body).await.refused(403), "sender_network");
    assert_eq!(server.post("/github/issues", &[], &body).await.refused(403), "sender_network");
    headers.push(("x-forwarded-for".into(), "192.0.2.1".into()));
    assert_eq!(
        server.post("/github/issues", &headers, &body).await.refused(403),
        "sender_network",
        "who says so is no proxy of ours"
    );
    assert_eq!(server.log.len(), 0);
    let jira = server.deliver(Provider::Jira, "", b"{}").await;
    assert_eq!(jira.refused(400), "unreadable", "the other provider's are taken from anywhere");
}

#[tokio::test]
async fn behind_a_proxy_of_ours_it_is_the_caller_who_counts() {
    let senders = Senders {
        trusted_proxies: networks(&["127.0.0.0/8"]),
        github: Some(networks(&["192.0.2.0/24"])),
        ..Senders::default()
    };
    let limits = Limits { failures_per_peer: NonZeroU32::new(2).unwrap(), ..Limits::default() };
    let server = start_with(Config { senders, ..config(limits) }).await;
    let body = opened().to_string().into_bytes();
    let through = |headers: &[(String, String)], callers: &str| {
        let mut headers = headers.to_vec();
        headers.push(("x-forwarded-for".into(), callers.into()));
        headers
    };
    let good = signed(Provider::Github, "issues", &body);
    let bad = with(&good, "x-hub-signature-256", None);
    let post = async |headers: Vec<(String, String)>| server.post("/github/issues", &headers, &body).await;
    assert_eq!(post(through(&good, "192.0.2.1")).await.status, 202);
    assert_eq!(post(through(&good, "192.0.2.1, 203.0.113.9")).await.refused(403), "sender_network");
    for expected in [401, 401, 429] {
        post(through(&bad, "192.0.2.1")).await.refused(expected);
    }
    // Neither others behind the proxy, nor the proxy itself, pay for that.
    post(through(&bad, "192.0.2.2")).await.refused(401);
    // What the sender writes before it reaches the proxy changes nothing.
    post(through(&bad, "192.0.2.77, 192.0.2.1")).await.refused(429);
    assert_eq!(post(through(&good, "192.0.2.1")).await.status, 202, "signed right, it is still heard");
}
