//! The embedded log at one moment: what is read of it, and what is found when somebody has meddled with the file.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{sync::Arc, time::Duration};

use eventlog::{
    Keep, Log, LogError, ManualClock, NewRecord, Polled, Record, Step, SubscriptionSpec, TopicSpec,
    embedded::{EmbeddedLog, Snapshot},
};

struct House {
    dir: tempfile::TempDir,
    log: Option<EmbeddedLog>,
}

fn record(topic: &str, partition: u32, key: &str, value: usize) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: key.to_owned().into(),
        value: Some(vec![b'v'; value].into()),
        headers: vec![("name".into(), "value".into())],
    }
}

impl House {
    /// Three topics of two partitions, with records; a group has consumed some.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-03-02T10:00:00Z".parse().unwrap()));
        let log = EmbeddedLog::hold(dir.path(), clock).unwrap();
        let topic = |name: &str, keep| TopicSpec { name: name.into(), partitions: 2, keep };
        let keep = [topic("in", Keep::ALL), topic("out", Keep::ALL), topic("state", Keep::Newest)];
        log.create_topics(&keep).await.unwrap();
        for n in 0..20 {
            log.append(vec![record("in", n % 2, &format!("k{n}"), 3_000)]).await.unwrap();
        }
        let spec =
            SubscriptionSpec { group: "group".into(), inputs: vec!["in".into()], changelog: "state".into() };
        let mut member = log.subscribe(spec).await.unwrap();
        loop {
            if let Polled::Records(records) = member.poll(100, Duration::from_secs(1)).await.unwrap() {
                let said = |r: &Record| record("out", r.partition, "k", 10);
                let mut append: Vec<_> = records.iter().map(said).collect();
                append.extend(
                    records.iter().map(|r| record("state", r.partition, &format!("s{}", r.offset), 10)),
                );
                append.extend(records.iter().map(|r| record("state", r.partition, "one", 10)));
                member.commit(Step { partitions: vec![0, 1], append }).await.unwrap();
                break;
            }
        }
        drop(member);
        Self { dir, log: Some(log) }
    }

    /// Closes the log and does something to its file.
    fn meddle(&mut self, sql: &str) {
        self.log = None;
        let connection = rusqlite::Connection::open(self.dir.path().join("log.db")).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// What is found wrong, by question.
    async fn found(&self) -> Vec<(&'static str, String)> {
        let examined = Snapshot::take(self.dir.path()).unwrap().examine().await.unwrap();
        assert_eq!(examined.len(), 6);
        examined.into_iter().flat_map(|it| it.flaws.into_iter().map(move |flaw| (it.what, flaw))).collect()
    }
}

#[tokio::test]
async fn it_is_of_one_moment_and_changes_nothing() {
    let mut house = House::new().await;
    let log = house.log.clone().unwrap();
    let snapshot = Snapshot::take(house.dir.path()).unwrap();
    log.append(vec![record("in", 0, "later", 10)]).await.unwrap();
    let ends = async |log: &dyn Log| log.topics().await.unwrap()[0].partitions[0].end;
    assert_eq!((ends(&log).await, ends(&snapshot).await), (11, 10));
    let mut reader = snapshot.read("in", &[(0, 0), (1, 4)]).await.unwrap();
    let mut seen = Vec::new();
    while !reader.at_end().await.unwrap() {
        seen.extend(reader.next(Duration::from_secs(60)).await.unwrap());
    }
    assert_eq!(seen.len(), 16);
    assert_eq!(
        seen.iter().filter(|r| r.partition == 1).map(|r| r.offset).collect::<Vec<_>>(),
        [4, 5, 6, 7, 8, 9]
    );
    assert!(reader.next(Duration::from_secs(60)).await.unwrap().is_empty());
    assert_eq!(snapshot.group("group").await.unwrap().iter().map(|at| at.committed).sum::<u64>(), 20);
    for refused in [
        snapshot.append(vec![record("in", 0, "k", 1)]).await.map(drop),
        snapshot.create_topics(&[]).await,
        snapshot.writable().await,
    ] {
        assert!(
            matches!(&refused, Err(LogError::Refused(why)) if why.contains("reading only")),
            "{refused:?}"
        );
    }
    assert!(house.found().await.is_empty());
    drop((snapshot, reader));
    // Also where nobody else has it open.
    drop(log);
    house.log = None;
    let before = std::fs::read(house.dir.path().join("log.db")).unwrap();
    assert!(house.found().await.is_empty());
    assert_eq!(std::fs::read(house.dir.path().join("log.db")).unwrap(), before);
}

#[tokio::test]
async fn what_does_not_agree_is_found_and_named() {
    for (sql, what, says) in [
        (
            "DELETE FROM records WHERE topic = 1 AND partition = 1 AND offset = 4",
            "offsets",
            "in partition 1 offset 5: what should stand right before it is missing",
        ),
        (
            "DELETE FROM records WHERE topic = 1 AND partition = 0 AND offset = 9",
            "offsets",
            "9 records are there, from 0 to 9",
        ),
        (
            "DELETE FROM records WHERE topic = 1 AND partition = 0 AND offset = 0",
            "offsets",
            "9 records are there, from 1 to 10",
        ),
        (
            "UPDATE partitions SET end_offset = 3 WHERE topic = 3 AND partition = 0",
            "offsets",
            "lies past the partition's end, 3",
        ),
        (
            "UPDATE group_offsets SET committed = 99 WHERE partition = 1",
            "committed offsets",
            "group group has committed 99 in in partition 1, past its end, 10",
        ),
        (
            "UPDATE partitions SET first_offset = 10 WHERE topic = 1 AND partition = 0; DELETE FROM records WHERE topic = 1 AND partition = 0; UPDATE group_offsets SET committed = 7 WHERE partition = 0",
            "committed offsets",
            "3 records were removed before it consumed them",
        ),
        (
            "UPDATE group_offsets SET partition = 7 WHERE partition = 1",
            "committed offsets",
            "partition 7, which is none",
        ),
        (
            "UPDATE records SET timestamp = 5 WHERE topic = 2 AND partition = 1 AND offset = 3",
            "timestamps",
            "out partition 1 offset 3 is stamped earlier",
        ),
        (
            "UPDATE records SET headers = '[[\"name' WHERE topic = 2 AND partition = 1 AND offset = 3",
            "headers",
            "out partition 1 offset 3: its headers",
        ),
        (
            "UPDATE records SET topic = 77 WHERE topic = 2 AND partition = 1 AND offset = 9",
            "tables",
            "1 records are of topic number 77",
        ),
        (
            "DELETE FROM records WHERE topic = 3 AND partition = 1 AND offset = 5",
            "tables",
            "state partition 1: a key's newest record",
        ),
        (
            "DELETE FROM newest WHERE topic = 3 AND partition = 1 AND key = CAST('one' AS BLOB)",
            "tables",
            "a record is kept that is not its key's newest",
        ),
        (
            "DELETE FROM partitions WHERE topic = 3 AND partition = 1",
            "tables",
            "state has 2 partitions, and 1 of them have ends",
        ),
    ] {
        let mut house = House::new().await;
        house.meddle(sql);
        let found = house.found().await;
        assert!(found.iter().any(|(of, flaw)| *of == what && flaw.contains(says)), "{sql}: {found:#?}");
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_page_is_found() {
    let mut house = House::new().await;
    house.meddle("PRAGMA wal_checkpoint(TRUNCATE)");
    let file = house.dir.path().join("log.db");
    let whole = std::fs::read(&file).unwrap();
    let mut found = 0;
    // In the head of each page but the first, as a failing disk might; free pages and overflow pages have none that matters.
    for page in 1..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096 + 3] ^= 0x40;
        std::fs::write(&file, &bytes).unwrap();
        let flaws = house.found().await;
        found += usize::from(flaws.iter().any(|(what, _)| *what == "database"));
    }
    assert!(found >= 8, "{found} of {}", whole.len() / 4096);
    std::fs::write(&file, &whole).unwrap();
    assert!(house.found().await.is_empty());
    // The first page says what the file is.
    let mut bytes = whole;
    bytes[0] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let refused = Snapshot::take(house.dir.path());
    assert!(
        matches!(&refused, Err(LogError::Refused(why)) if why.contains("damaged, or not a log")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_no_log_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |dir: &std::path::Path| match Snapshot::take(dir) {
        Err(LogError::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(dir.path()).contains("there is no log in"));
    assert!(!dir.path().join("log.db").exists(), "nothing was made");
    std::fs::write(dir.path().join("log.db"), b"").unwrap();
    assert!(refused(dir.path()).contains("is empty"));
    let house = House::new().await;
    let wal = house.dir.path().join("log.db-wal");
    let kept = std::fs::read(&wal).unwrap();
    std::fs::remove_file(&wal).unwrap();
    assert!(refused(house.dir.path()).contains("somebody removed the write-ahead log"));
    std::fs::write(&wal, kept).unwrap();
}
