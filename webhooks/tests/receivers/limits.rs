//! Size, time and number: what one peer, or many, can make the server hold.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};
use webhooks::{Limits, Provider};

use crate::{github::opened, harness::*};

const MIB: usize = 1024 * 1024;

/// `body` in chunks of 64 KiB.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / 1000 + 64);
    for chunk in body.chunks(64 * 1024) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// A ping of exactly so many bytes.
fn ping(length: usize) -> Vec<u8> {
    let mut body = b"{\"zen\":\"".to_vec();
    body.resize(length - 2, b'a');
    body.extend_from_slice(b"\"}");
    body
}

async fn send_chunked(server: &Receiver, body: &[u8]) -> Reply {
    let mut client = Client::connect(server.address).await;
    let headers = with(&signed(Provider::Github, "ping", body), "transfer-encoding", Some("chunked"));
    client.write(&head("POST", "/github/issues", &headers)).await;
    client.write(&chunked(body)).await;
    client.reply().await.expect("an answer")
}

#[tokio::test]
async fn a_body_of_25_mib_is_taken_and_one_byte_more_is_not() {
    let server = start().await;
    let longest = ping(25 * MIB);
    assert_eq!(server.deliver(Provider::Github, "ping", &longest).await.status, 200);
    assert_eq!(send_chunked(&server, &longest).await.status, 200);
    let longer = ping(25 * MIB + 1);
    assert_eq!(server.deliver(Provider::Github, "ping", &longer).await.refused(413), "too_large");
    assert_eq!(send_chunked(&server, &longer).await.refused(413), "too_large");
    assert_eq!(server.log.len(), 0);
}

#[tokio::test]
async fn an_announced_length_is_refused_before_the_body_is_sent() {
    let server = start().await;
    for length in [(25 * MIB + 1).to_string(), (u64::MAX / 2).to_string()] {
        let mut client = Client::connect(server.address).await;
        let headers = signed(Provider::Github, "issues", b"");
        client.write(&head("POST", "/github/issues", &with(&headers, "content-length", Some(&length)))).await;
        assert_eq!(client.reply().await.expect("an answer").refused(413), "too_large");
    }
}

#[tokio::test]
async fn both_lengths_at_once_are_refused_in_either_order() {
    let server = start().await;
    let body = b"{}";
    let headers = signed(Provider::Github, "ping", body);
    let (length, encoding) = (
        ("content-length".to_owned(), "2".to_owned()),
        ("Transfer-Encoding".to_owned(), "chunked".to_owned()),
    );
    for both in [[length.clone(), encoding.clone()], [encoding, length]] {
        let mut client = Client::connect(server.address).await;
        let headers: Vec<_> = headers.iter().cloned().chain(both).collect();
        let smuggled = [&head("POST", "/github/issues", &headers), chunked(body).as_slice()].concat();
        // Cut in two, so that no single read shows the whole head.
        let (first, second) = smuggled.split_at(60);
        client.write(first).await;
        sleep(Duration::from_millis(20)).await;
        client.write(second).await;
        let reply = client.reply().await.expect("an answer");
        assert_eq!(reply.refused(400), "ambiguous_length");
        assert!(client.ends_silently().await, "nothing may follow on this connection");
    }
    let later = Client::connect(server.address).await.send("POST", "/github/issues", &headers, body).await;
    assert_eq!(later.status, 200);
}

#[tokio::test]
async fn however_a_length_is_written_the_next_request_is_seen_whole() {
    let server = start().await;
    let body = ping(30);
    let headers = signed(Provider::Github, "ping", &body);
    for length in [" ".repeat(48) + "30", "0".repeat(49) + "30", "\t".repeat(3000) + "30" + &" ".repeat(3000)]
    {
        let mut client = Client::connect(server.address).await;
        let padded = with(&headers, "content-length", Some(&length));
        client.write(&[&head("POST", "/github/issues", &padded), body.as_slice()].concat()).await;
        assert_eq!(client.reply().await.expect("an answer").status, 200);
        let both = with(&headers, "content-length", Some("30"));
        let both = with(&both, "transfer-encoding", Some("chunked"));
        client.write(&[&head("POST", "/github/issues", &both), chunked(&body).as_slice()].concat()).await;
        assert_eq!(client.reply().await.expect("an answer").refused(400), "ambiguous_length");
        assert!(client.ends_silently().await);
    }
}

#[tokio::test]
async fn a_request_sent_before_the_answer_to_the_last_is_not_taken() {
    let server = start().await;
    let body = b"{}";
    let headers = with(&signed(Provider::Github, "ping", body), "content-length", Some("2"));
    let request = [&head("POST", "/github/issues", &headers), body.as_slice()].concat();
    for more in [request.repeat(100), b"G".to_vec()] {
        let mut client = Client::connect(server.address).await;
        client.write(&[request.as_slice(), &more].concat()).await;
        let reply = client.reply().await.expect("an answer");
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
        assert!(client.ends_silently().await);
    }
}

#[tokio::test]
async fn a_peer_that_reads_no_answer_is_cut_off() {
    let limits = Limits { connections: 1, answer_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = start_with(config(limits)).await;
    for requests in [1, 2, 100] {
        let mut deaf = Client::connect(server.address).await;
        deaf.write(&head("GET", "/large", &[]).repeat(requests)).await;
        // There is one place, so that this is answered once the other is gone.
        let headers = signed(Provider::Github, "ping", b"{}");
        assert_eq!(server.post("/github/issues", &headers, b"{}").await.status, 200);
        let mut read = Vec::new();
        let _ =
            timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_end(&mut deaf.0, &mut read)).await.unwrap();
        assert!(read.len() < LARGE);
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = start().await;
    let mut client = Client::connect(server.address).await;
    let payload = opened().to_string();
    let headers = signed(Provider::Github, "issues", payload.as_bytes());
    for _ in 0..5 {
        assert_eq!(client.send("POST", "/github/issues", &headers, payload.as_bytes()).await.status, 202);
    }
    // After an answer that came before the body was asked for, the connection ends.
    let unsigned = with(&headers, "x-hub-signature-256", None);
    assert_eq!(client.send("POST", "/github/issues", &unsigned, payload.as_bytes()).await.status, 401);
    assert!(client.ends_silently().await);
}

#[tokio::test]
async fn a_body_that_ends_early_appends_nothing() {
    let server = start().await;
    let mut client = Client::connect(server.address).await;
    let headers = with(&signed(Provider::Github, "ping", b"{}"), "transfer-encoding", Some("chunked"));
    client.write(&head("POST", "/github/issues", &headers)).await;
    client.write(b"2\r\n{}\r\nnonsense\r\n").await;
    if let Some(reply) = client.reply().await {
        assert_eq!(reply.refused(400), "body_broken");
    }
    assert_eq!(server.log.len(), 0);
}

#[tokio::test]
async fn heads_that_dribble_in_are_cut_off() {
    let limits = Limits { head_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = start_with(config(limits)).await;
    let started = Instant::now();
    let mut silent = Client::connect(server.address).await;
    let dribbling = Client::connect(server.address).await;
    let dribble = async {
        // A byte now and then does not extend the time.
        for byte in b"POST /github/issues HTTP/1.1\r\nhost: localhost\r\nx-slow: ".iter().cycle() {
            if dribbling.0.try_write(&[*byte]).is_err() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, dribble).await.expect("the server ends the connection");
    assert!(silent.ends_silently().await);
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn an_idle_connection_lives_longer_than_a_head_and_is_closed_then() {
    let limits = Limits {
        head_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(600),
        ..Limits::default()
    };
    let server = start_with(config(limits)).await;
    let mut client = Client::connect(server.address).await;
    let headers = signed(Provider::Github, "ping", b"{}");
    assert_eq!(client.send("POST", "/github/issues", &headers, b"{}").await.status, 200);
    sleep(Duration::from_millis(250)).await;
    assert_eq!(client.send("POST", "/github/issues", &headers, b"{}").await.status, 200);
    let idle = Instant::now();
    assert!(client.ends_silently().await);
    assert!(idle.elapsed() >= Duration::from_millis(500), "{:?}", idle.elapsed());
}

#[tokio::test]
async fn the_second_head_on_a_connection_has_its_time_too() {
    let limits = Limits { head_timeout: Duration::from_millis(150), ..Limits::default() };
    let server = start_with(config(limits)).await;
    let mut client = Client::connect(server.address).await;
    let headers = signed(Provider::Github, "ping", b"{}");
    assert_eq!(client.send("POST", "/github/issues", &headers, b"{}").await.status, 200);
    client.write(b"POST /github/iss").await;
    let started = Instant::now();
    assert!(client.ends_silently().await);
    assert!(started.elapsed() < Duration::from_secs(10), "cut as a slow head, not as idle");
}

#[tokio::test]
async fn a_body_that_dribbles_in_is_cut_off_without_an_answer() {
    let limits = Limits { body_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start_with(config(limits)).await;
    let mut client = Client::connect(server.address).await;
    let headers = with(&signed(Provider::Github, "issues", b"{}"), "content-length", Some("100"));
    client.write(&head("POST", "/github/issues", &headers)).await;
    client.write(b"{").await;
    assert!(client.ends_silently().await);
}

#[tokio::test]
async fn a_slow_log_is_no_idle_connection() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = start_with(config(limits)).await;
    server.log.close();
    let payload = opened().to_string();
    let request = server.deliver(Provider::Github, "issues", payload.as_bytes());
    let open = async {
        server.log.wait_for(1).await;
        sleep(Duration::from_millis(250)).await;
        server.log.open();
    };
    assert_eq!(tokio::join!(request, open).0.status, 202);
}

#[tokio::test]
async fn whose_request_was_read_keeps_its_place_and_further_connections_wait() {
    for chunks in [false, true] {
        let server = start_with(config(Limits { connections: 1, ..Limits::default() })).await;
        server.log.close();
        let payload = opened().to_string();
        let headers = signed(Provider::Github, "issues", payload.as_bytes());
        let mut first = Client::connect(server.address).await;
        let (length, body) = match chunks {
            true => (("transfer-encoding", "chunked".to_owned()), chunked(payload.as_bytes())),
            false => (("content-length", payload.len().to_string()), payload.clone().into_bytes()),
        };
        first.write(&head("POST", "/github/issues", &with(&headers, length.0, Some(&length.1)))).await;
        first.write(&body).await;
        server.log.wait_for(1).await;
        let ping = signed(Provider::Github, "ping", b"{}");
        let mut second = Client::connect(server.address).await;
        let mut answer = std::pin::pin!(second.send("POST", "/github/issues", &ping, b"{}"));
        assert!(timeout(Duration::from_millis(200), &mut answer).await.is_err(), "there was no place yet");
        server.log.open();
        assert_eq!(first.reply().await.unwrap().status, 202);
        // Idle now, the first gives way.
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().status, 200);
        assert!(first.ends_silently().await);
    }
}

/// All places are taken by peers that say nothing, or never come to an end; each has minutes by its own limit.
#[tokio::test]
async fn whoever_only_holds_a_place_keeps_nobody_out() {
    let long = Duration::from_secs(600);
    let limits = Limits {
        connections: 16,
        head_timeout: long,
        body_timeout: long,
        idle_timeout: long,
        ..Limits::default()
    };
    let server = start_with(config(limits)).await;
    let headers = signed(Provider::Github, "ping", b"{}");
    let mut held = Vec::new();
    for number in 0..64 {
        let mut client = Client::connect(server.address).await;
        match number % 4 {
            0 => {}
            1 => client.write(b"POST /github/issues HTTP/1.1\r\nhost: a").await,
            2 => {
                let headers = with(&headers, "content-length", Some("100"));
                client.write(&[&head("POST", "/github/issues", &headers), &b"{"[..]].concat()).await;
            }
            _ => {
                let headers = with(&headers, "transfer-encoding", Some("chunked"));
                client.write(&[&head("POST", "/github/issues", &headers), &b"1\r\n{\r\n"[..]].concat()).await;
            }
        }
        held.push(client);
        if number % 8 == 7 {
            let asked = Instant::now();
            let answer = server.deliver(Provider::Github, "issues", opened().to_string().as_bytes()).await;
            assert_eq!(answer.status, 202, "beside {number}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?} beside {number}", asked.elapsed());
        }
    }
    drop(held);
}

#[tokio::test]
async fn so_many_deliveries_are_worked_on_at_a_time() {
    let server = start_with(config(Limits { concurrency: 2, ..Limits::default() })).await;
    server.log.close();
    let payload = opened().to_string();
    let deliveries = async {
        let one = || server.deliver(Provider::Github, "issues", payload.as_bytes());
        tokio::join!(one(), one(), one(), one(), one())
    };
    let open = async {
        server.log.wait_for(2).await;
        sleep(Duration::from_millis(100)).await;
        server.log.open();
    };
    let ((a, b, c, d, e), ()) = tokio::join!(deliveries, open);
    assert_eq!([a.status, b.status, c.status, d.status, e.status], [202; 5]);
    assert_eq!(server.log.most_waiting.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn slow_bodies_do_not_keep_out_others() {
    let limits = Limits { concurrency: 1, body_bytes_in_flight: 1, ..Limits::default() };
    let server = start_with(config(limits)).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(server.address).await;
        let headers = with(&signed(Provider::Github, "issues", b""), "content-length", Some("26214400"));
        client.write(&head("POST", "/github/issues", &headers)).await;
        client.write(b"{").await;
        slow.push(client);
    }
    let payload = opened().to_string();
    assert_eq!(server.deliver(Provider::Github, "issues", payload.as_bytes()).await.status, 202);
    drop(slow);
}

#[tokio::test]
async fn what_slow_bodies_only_announce_keeps_nobody_out() {
    let server = start().await;
    let mut slow = Vec::new();
    for _ in 0..12 {
        let mut client = Client::connect(server.address).await;
        let wrong = with(&signed(Provider::Github, "issues", b""), "content-length", Some("26214400"));
        client.write(&head("POST", "/github/issues", &wrong)).await;
        client.write(&vec![b' '; 65 * 1024]).await;
        slow.push(client);
    }
    let mut payload = opened().to_string();
    payload.push_str(&" ".repeat(200 * 1024));
    let answer = server.deliver(Provider::Github, "issues", payload.as_bytes());
    assert_eq!(timeout(Duration::from_secs(5), answer).await.expect("promptly").status, 202);
    drop(slow);
}

#[tokio::test]
async fn draining_finishes_what_is_open_and_takes_nothing_new() {
    let server = start().await;
    server.log.close();
    let mut idle = Client::connect(server.address).await;
    let headers = signed(Provider::Github, "ping", b"{}");
    assert_eq!(idle.send("POST", "/github/issues", &headers, b"{}").await.status, 200);
    let payload = opened().to_string();
    let open = server.deliver(Provider::Github, "issues", payload.as_bytes());
    let drain = async {
        server.log.wait_for(1).await;
        server.shutdown.cancel();
        assert!(idle.ends_silently().await, "an idle connection is closed at once");
        let refused = tokio::net::TcpStream::connect(server.address).await;
        assert!(refused.is_err(), "the listener is closed");
        assert!(!server.served.is_finished());
        server.log.open();
    };
    let (reply, ()) = tokio::join!(open, drain);
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("connection"), Some("close"));
    timeout(PATIENCE, server.served).await.expect("drained").unwrap().unwrap();
    assert_eq!(server.log.events().len(), 1);
}

#[tokio::test]
async fn draining_does_not_wait_for_a_connection_that_never_spoke() {
    let server = start().await;
    let mut silent = Client::connect(server.address).await;
    // A second one was accepted and answered, so the first was accepted too.
    let headers = signed(Provider::Github, "ping", b"{}");
    assert_eq!(server.post("/github/issues", &headers, b"{}").await.status, 200);
    let started = Instant::now();
    server.shutdown.cancel();
    assert!(silent.ends_silently().await);
    timeout(PATIENCE, server.served).await.expect("drained").unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "sooner than a head's time");
}

#[tokio::test]
async fn what_is_not_http_and_heads_that_are_too_large_never_become_a_request() {
    let server = start().await;
    let many: Vec<_> = (0..101).map(|number| (format!("x-{number}"), "y".to_owned())).collect();
    let large = vec![("x-large".to_owned(), "y".repeat(17 * 1024))];
    for (bytes, status) in [
        (head("POST", "/github/issues", &many), 431),
        (head("POST", "/github/issues", &large), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 client hello\r\n\r\n".to_vec(), 400),
        (b"POST /github/issues HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_vec(), 400),
        (b"POST /github/issues HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(), 400),
        (b"POST /github/issues HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n".to_vec(), 400),
    ] {
        let mut client = Client::connect(server.address).await;
        client.write(&bytes).await;
        let reply = client.reply().await.expect("an answer");
        assert_eq!((reply.status, reply.body.len()), (status, 0), "{}", String::from_utf8_lossy(&bytes));
        assert!(client.ends_silently().await);
    }
    assert_eq!(server.log.len(), 0);
}

#[tokio::test]
async fn draining_does_not_wait_for_ever() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start_with(config(limits)).await;
    server.log.close();
    let payload = opened().to_string();
    let mut client = Client::connect(server.address).await;
    let headers = signed(Provider::Github, "issues", payload.as_bytes());
    let length = payload.len().to_string();
    client.write(&head("POST", "/github/issues", &with(&headers, "content-length", Some(&length)))).await;
    client.write(payload.as_bytes()).await;
    server.log.wait_for(1).await;
    server.shutdown.cancel();
    timeout(PATIENCE, server.served).await.expect("returned").unwrap().unwrap();
    assert!(client.ends_silently().await);
}
