//! Members of a group that are stopped and killed, as processes of their own, on a real broker.
//!
//! A member process is this test program run again for the ignored test `member_process`. It does what it is told on
//! standard input, line by line, and answers each line with lines that begin with `> `.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use eventlog::{
    Keep, Log, LogError, NewRecord, Polled, Step, Subscription, SubscriptionSpec, TopicSpec,
    kafka::{KafkaConfig, KafkaLog},
};

const TAG: &str = "KAFKA_FAULTS_TAG";
/// Short, so that a takeover does not take ten seconds; scripts/kafka.sh allows it.
const SESSION: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// The topics and the group of one test.
struct Place {
    tag: String,
    log: KafkaLog,
}

impl Place {
    /// `None`, and the test's name is said, where there is no broker.
    async fn make(test: &str, partitions: u32) -> Option<Self> {
        let Ok(brokers) = std::env::var("REDPANDA_BROKERS") else {
            eprintln!("skipped: {test}: set REDPANDA_BROKERS (scripts/kafka.sh up)");
            return None;
        };
        let place = Self::at(&brokers, format!("{test}-{:016x}", RandomState::new().hash_one(test)));
        let specs: Vec<_> = [("in", false), ("out", false), ("state", true)]
            .map(|(name, compacted)| TopicSpec {
                name: place.name(name),
                partitions,
                keep: if compacted { Keep::Newest } else { Keep::ALL },
            })
            .into();
        place.log.create_topics(&specs).await.unwrap();
        Some(place)
    }

    fn at(brokers: &str, tag: String) -> Self {
        let config = KafkaConfig { session_timeout: SESSION, ..KafkaConfig::new(brokers) };
        Self { tag, log: KafkaLog::new(config).unwrap() }
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.tag)
    }

    fn record(&self, topic: &str, partition: u32, key: &str, value: &str) -> NewRecord {
        NewRecord {
            topic: self.name(topic),
            partition: Some(partition),
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Vec::new(),
        }
    }

    async fn subscribe(&self) -> Box<dyn Subscription> {
        let (inputs, changelog) = (vec![self.name("in")], self.name("state"));
        self.log.subscribe(SubscriptionSpec { group: self.name("group"), inputs, changelog }).await.unwrap()
    }

    /// One step of `partition`: `value` goes to `out` and becomes the state.
    fn step(&self, partition: u32, value: &str) -> Step {
        let append =
            vec![self.record("out", partition, "k", value), self.record("state", partition, "last", value)];
        Step { partitions: vec![partition], append }
    }

    /// What a reader of committed records sees on `out`'s partition.
    async fn out(&self, partition: u32) -> Vec<String> {
        let mut reader = self.log.read(&self.name("out"), &[(partition, 0)]).await.unwrap();
        let (mut values, give_up) = (Vec::new(), Instant::now() + PATIENCE);
        while !reader.at_end().await.unwrap() {
            assert!(Instant::now() < give_up, "the end of out");
            let records = reader.next(Duration::from_millis(200)).await.unwrap();
            values.extend(
                records.iter().map(|r| String::from_utf8(r.value.clone().unwrap().to_vec()).unwrap()),
            );
        }
        values
    }

    /// A member process of this place's group.
    fn process(&self) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["member_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(TAG, &self.tag)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // libtest writes on the same line before the process does.
                if let Some((_, said)) = line.split_once("> ")
                    && told.send(said.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Process { tell: child.stdin.take().unwrap(), child, lines }
    }
}

/// A member process; it dies with the test.
struct Process {
    child: Child,
    tell: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Process {
    fn hear(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the member process answers")
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.tell, "{command}").unwrap();
        self.hear()
    }

    /// Polls until an answer begins with `wanted`.
    fn poll_until(&mut self, wanted: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("poll");
            if answer.starts_with(wanted) {
                return answer;
            }
            assert!(Instant::now() < give_up, "waited for {wanted}, at last heard {answer}");
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the member process of the other tests; does nothing by itself"]
fn member_process() {
    let (Ok(tag), Ok(brokers)) = (std::env::var(TAG), std::env::var("REDPANDA_BROKERS")) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::at(&brokers, tag);
        let mut member = place.subscribe().await;
        for line in std::io::stdin().lines() {
            let line = line.unwrap();
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["poll"] => println!("> {}", poll(&mut *member).await),
                ["commit", partition, value] => {
                    let made = member.commit(place.step(partition.parse().unwrap(), value)).await;
                    println!("> {}", made.map_or_else(|error| outcome(&error), |()| "committed".to_owned()));
                }
                ["stream", partition] => stream(&place, &mut *member, partition.parse().unwrap()).await,
                _ => panic!("no such command: {line}"),
            }
        }
    });
}

fn outcome(error: &LogError) -> String {
    match error {
        LogError::Lost(why) => format!("lost {why}"),
        LogError::Unavailable(why) => format!("unavailable {why}"),
        LogError::Refused(why) => format!("refused {why}"),
        LogError::Unfit(why) => format!("unfit {why}"),
    }
}

async fn poll(member: &mut dyn Subscription) -> String {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    match member.poll(100, Duration::from_millis(500)).await {
        Ok(Polled::Idle) => "idle".to_owned(),
        Ok(Polled::Assigned { partition }) => format!("assigned {partition}"),
        Ok(Polled::Revoked { partitions }) => format!("revoked {partitions:?}"),
        Ok(Polled::Restoring { partition, records }) => {
            let last = records.iter().rfind(|r| r.key == "last").and_then(|r| r.value.as_ref()).map(text);
            format!("restoring {partition} {}", last.unwrap_or_default())
        }
        Ok(Polled::Records(records)) => {
            let values: Vec<_> = records.iter().filter_map(|r| r.value.as_ref()).map(text).collect();
            format!("records {}", values.join(","))
        }
        Err(error) => outcome(&error),
    }
}

/// Makes steps for ever, each with the number after the one before, which is the state; says each when it is made.
async fn stream(place: &Place, member: &mut dyn Subscription, partition: u32) {
    let mut count = 0_u64;
    loop {
        match member.poll(100, Duration::from_millis(500)).await {
            Ok(Polled::Restoring { records, .. }) => {
                let last = records.iter().rfind(|r| r.key == "last").and_then(|r| r.value.clone());
                count = last.map_or(count, |last| String::from_utf8(last.to_vec()).unwrap().parse().unwrap());
            }
            Ok(Polled::Assigned { partition: p }) if p == partition => break,
            Ok(_) | Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    println!("> restored {count}");
    loop {
        member.commit(place.step(partition, &(count + 1).to_string())).await.unwrap();
        count += 1;
        println!("> made {count}");
    }
}

/// Stops a member that holds the partition, lets another take over, and lets the first go on and commit.
async fn fenced(test: &str, consumed: bool, other_commits: bool) {
    let Some(place) = Place::make(test, 1).await else { return };
    let mut stopped = place.process();
    stopped.poll_until("assigned 0");
    if consumed {
        place.log.append(vec![place.record("in", 0, "k", "cause")]).await.unwrap();
        assert_eq!(stopped.poll_until("records"), "records cause");
    }
    stopped.signal("-STOP");
    let mut other = place.process();
    other.poll_until("assigned 0");
    if consumed {
        assert_eq!(other.poll_until("records"), "records cause", "what was not committed comes again");
    }
    if other_commits {
        assert_eq!(other.ask("commit 0 other"), "committed");
    }
    stopped.signal("-CONT");
    let answer = stopped.ask("commit 0 stopped");
    assert!(answer.starts_with("lost "), "the fenced member's commit: {answer}");
    let expected: &[&str] = if other_commits { &["other"] } else { &[] };
    assert_eq!(place.out(0).await, expected, "nothing of the fenced step is visible");
    // It says so, rejoins by itself, and when the other is gone it goes on from what that one left.
    stopped.poll_until("revoked [0]");
    drop(other);
    let mut restored = String::new();
    loop {
        let answer = stopped.poll_until("");
        match answer.split_once(' ') {
            Some(("restoring", rest)) => restored = rest.to_owned(),
            Some(("assigned", "0")) => break,
            _ => {}
        }
    }
    assert_eq!(restored, if other_commits { "0 other" } else { "" });
    place.log.append(vec![place.record("in", 0, "k", "next")]).await.unwrap();
    let mut came = Vec::new();
    while came.last().is_none_or(|value| value != "next") {
        let answer = stopped.poll_until("records ");
        came.extend(answer["records ".len()..].split(',').map(str::to_owned));
    }
    let again: &[&str] = if consumed && !other_commits { &["cause"] } else { &[] };
    assert_eq!(came, [again, &["next"]].concat());
    assert_eq!(stopped.ask("commit 0 recovered"), "committed");
    assert_eq!(place.out(0).await, [expected, &["recovered"]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_stopped_between_poll_and_commit_is_fenced() {
    fenced("a_member_stopped_between_poll_and_commit_is_fenced", true, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_member_is_fenced_before_the_other_commits() {
    fenced("a_stopped_member_is_fenced_before_the_other_commits", true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_step_of_a_partition_never_consumed_is_fenced() {
    fenced("a_timer_step_of_a_partition_never_consumed_is_fenced", false, false).await;
}

/// Kills a member that makes step after step, again and again: sometimes right after a step returned, mostly somewhere
/// within one. The next finds every step that returned, at most one more, and each on `out` once.
async fn killed_again_and_again(group: usize) {
    const KILLS: u64 = 6;
    let Some(place) = Place::make(&format!("killed_again_and_again-{group}"), 1).await else { return };
    let random = RandomState::new();
    let mut known = 0_u64;
    for round in 0..KILLS {
        let mut member = place.process();
        writeln!(member.tell, "stream 0").unwrap();
        let restored: u64 = member.hear().strip_prefix("restored ").unwrap().parse().unwrap();
        assert!((known..=known + 1).contains(&restored), "{restored} restored, {known} steps had returned");
        known = restored;
        for _ in 0..random.hash_one((round, "steps")) % 20 + 1 {
            known = member.hear().strip_prefix("made ").unwrap().parse().unwrap();
        }
        if round % 3 != 0 {
            std::thread::sleep(Duration::from_micros(random.hash_one(round) % 8_000));
        }
        member.child.kill().unwrap();
        member.child.wait().unwrap();
        // What it had said by then.
        while let Ok(line) = member.lines.recv_timeout(Duration::from_secs(1)) {
            known = line.strip_prefix("made ").unwrap().parse().unwrap();
        }
    }
    let out: BTreeMap<usize, String> = place.out(0).await.into_iter().enumerate().collect();
    assert!(
        (known..=known + 1).contains(&(out.len() as u64)),
        "{} on out, {known} steps had returned",
        out.len()
    );
    assert!(out.iter().all(|(i, value)| *value == (i + 1).to_string()), "{out:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_loses_no_step() {
    let groups: Vec<_> = (0..6)
        .map(|group| {
            let runtime = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || runtime.block_on(killed_again_and_again(group)))
        })
        .collect();
    for group in groups {
        group.await.unwrap();
    }
}
