//! What a data directory keeps, and how an older one is brought up to date.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta};
use eventlog::{
    Clock, Keep, Log, LogError, ManualClock, NewRecord, Polled, Step, SubscriptionSpec, TopicSpec,
    embedded::EmbeddedLog,
};
use rusqlite::Connection;

const DAY: Duration = Duration::from_secs(86_400);

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap()))
}

fn topic(name: &str, keep: Keep) -> TopicSpec {
    TopicSpec { name: name.into(), partitions: 2, keep }
}

fn record(topic: &str, key: &str, bytes: usize) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(0),
        key: key.to_owned().into(),
        value: Some(vec![b'x'; bytes].into()),
        headers: vec![("name".into(), "value".into())],
    }
}

async fn offsets(log: &EmbeddedLog, topic: &str) -> Vec<u64> {
    let mut reader = log.read(topic, &[(0, 0)]).await.unwrap();
    let mut offsets = Vec::new();
    while !reader.at_end().await.unwrap() {
        offsets.extend(reader.next(Duration::from_secs(5)).await.unwrap().iter().map(|record| record.offset));
    }
    offsets
}

fn bytes_on_disk(directory: &Path) -> u64 {
    ["log.db", "log.db-wal"]
        .iter()
        .filter_map(|name| std::fs::metadata(directory.join(name)).ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// What is counted of each partition, beside what is really there.
fn counted(directory: &Path) -> Vec<(i64, i64)> {
    let connection = Connection::open(directory.join("log.db")).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT bytes, (SELECT coalesce(sum(octet_length(key) + coalesce(octet_length(value), 0)
                 + coalesce(octet_length(headers), 0)), 0) FROM records r
                 WHERE r.topic = p.topic AND r.partition = p.partition)
             FROM partitions p",
        )
        .unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_is_too_old_or_too_much_goes_and_the_rest_stays() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = EmbeddedLog::hold(directory.path(), clock.clone()).unwrap();
    let limit = |age, bytes| Keep::Until { age, bytes };
    log.create_topics(&[
        topic("aged", limit(Some(DAY), None)),
        topic("sized", limit(None, Some(10_000))),
        topic("all", Keep::ALL),
        topic("newest", Keep::Newest),
    ])
    .await
    .unwrap();
    for day in 0..4 {
        for name in ["aged", "sized", "all", "newest"] {
            let key = format!("{name} {}", day % 2);
            log.append((0..10).map(|_| record(name, &key, 1_000)).collect()).await.unwrap();
        }
        clock.advance(TimeDelta::days(1));
    }
    // Exactly a day old is not too old.
    let tidied = log.tidy().await.unwrap();
    assert_eq!(offsets(&log, "aged").await, (30..40).collect::<Vec<_>>());
    assert_eq!(offsets(&log, "sized").await, (31..40).collect::<Vec<_>>());
    assert_eq!(offsets(&log, "all").await, (0..40).collect::<Vec<_>>());
    assert_eq!(offsets(&log, "newest").await, [29, 39]);
    assert_eq!(tidied.records, 30 + 31);
    assert!(tidied.bytes > 61_000 && tidied.bytes < 63_000, "{tidied:?}");
    assert!(counted(directory.path()).iter().all(|(counted, kept)| counted == kept));
    assert_eq!(log.tidy().await.unwrap().records, 0);

    // A word said anew holds, also for what stands there already.
    log.create_topics(&[topic("sized", limit(None, Some(3_000)))]).await.unwrap();
    log.tidy().await.unwrap();
    assert_eq!(offsets(&log, "sized").await, [38, 39]);
    let bounds =
        log.topics().await.unwrap().into_iter().find(|topic| topic.name == "sized").unwrap().partitions[0];
    assert_eq!((bounds.first, bounds.end), (38, 40));
    assert_eq!(log.append(vec![record("sized", "k", 1)]).await.unwrap()[0].offset, 40);
}

#[tokio::test]
async fn what_a_group_has_yet_to_consume_stays() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = EmbeddedLog::hold(directory.path(), clock.clone()).unwrap();
    let keep = Keep::Until { age: Some(DAY), bytes: Some(1) };
    log.create_topics(&[topic("in", keep), topic("state", Keep::Newest)]).await.unwrap();
    log.append((0..10).map(|_| record("in", "k", 100)).collect()).await.unwrap();
    let spec = SubscriptionSpec { group: "g".into(), inputs: vec!["in".into()], changelog: "state".into() };
    let mut member = log.subscribe(spec).await.unwrap();
    loop {
        match member.poll(4, Duration::from_secs(5)).await.unwrap() {
            Polled::Records(records) => {
                assert_eq!(records.len(), 4);
                break;
            }
            Polled::Idle => panic!("no records came"),
            _ => {}
        }
    }
    member.commit(Step { partitions: vec![0], append: Vec::new() }).await.unwrap();
    clock.advance(TimeDelta::days(30));
    log.tidy().await.unwrap();
    assert_eq!(offsets(&log, "in").await, (4..10).collect::<Vec<_>>());
    assert_eq!(log.groups().await.unwrap()[0].lag(), 6);
}

#[tokio::test]
async fn space_is_given_back_while_appends_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = EmbeddedLog::hold(directory.path(), clock.clone()).unwrap();
    log.create_topics(&[topic("aged", Keep::Until { age: Some(DAY), bytes: None }), topic("all", Keep::ALL)])
        .await
        .unwrap();
    for _ in 0..60 {
        log.append((0..20).map(|_| record("aged", "k", 50_000)).collect()).await.unwrap();
        log.append(vec![record("all", "k", 5_000)]).await.unwrap();
    }
    let full = bytes_on_disk(directory.path());
    assert!(full > 60_000_000, "{full}");
    clock.advance(TimeDelta::days(2));
    let appending = log.clone();
    let append = async {
        for _ in 0..20 {
            appending.append(vec![record("all", "k", 5_000)]).await.unwrap();
        }
    };
    let (tidied, ()) = tokio::join!(log.tidy(), append);
    assert_eq!(tidied.unwrap().records, 1_200);
    assert_eq!(offsets(&log, "all").await, (0..80).collect::<Vec<_>>());
    drop((log, appending));
    // What is spared for later, and what is kept.
    let left = bytes_on_disk(directory.path());
    assert!(left < 20_000_000, "{left} bytes of {full} are left");
    let connection = Connection::open(directory.path().join("log.db")).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// The schema as version 1 wrote it.
const VERSION_1: &str = "
    CREATE TABLE topics (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        partitions INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        retention_ms INTEGER
    ) STRICT;
    CREATE TABLE partitions (
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        first_offset INTEGER NOT NULL DEFAULT 0,
        end_offset INTEGER NOT NULL DEFAULT 0,
        last_timestamp INTEGER NOT NULL DEFAULT 0, -- Unix milliseconds
        PRIMARY KEY (topic, partition)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        timestamp INTEGER NOT NULL, -- Unix milliseconds
        key BLOB NOT NULL,
        value BLOB,
        headers TEXT, -- JSON [[name, value], …]; NULL for none
        UNIQUE (topic, partition, offset)
    ) STRICT;
    CREATE TABLE newest (
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        key BLOB NOT NULL,
        record INTEGER NOT NULL,
        PRIMARY KEY (topic, partition, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE group_offsets (
        name TEXT NOT NULL,
        topic INTEGER NOT NULL,
        partition INTEGER NOT NULL,
        committed INTEGER NOT NULL,
        PRIMARY KEY (name, topic, partition)
    ) STRICT, WITHOUT ROWID;
    PRAGMA application_id = 0x42726b44;
    PRAGMA user_version = 1;
    INSERT INTO topics VALUES (1, 'in', 2, 0, 7776000000), (2, 'state', 2, 1, NULL);
    INSERT INTO partitions VALUES (1, 0, 0, 3, 1700000000000), (1, 1, 0, 0, 0), (2, 0, 0, 5, 1700000000000), (2, 1, 0, 0, 0);
    INSERT INTO records VALUES (1, 1, 0, 0, 1700000000000, x'6b', x'7631', NULL), (2, 1, 0, 1, 1700000000000, x'6b', x'7632', '[]'),
        (3, 1, 0, 2, 1700000000000, x'6b', NULL, NULL), (4, 2, 0, 4, 1700000000000, x'6b', x'737461', NULL);
    INSERT INTO newest VALUES (2, 0, x'6b', 4);
    INSERT INTO group_offsets VALUES ('g', 1, 0, 2);
";

fn version_1() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(directory.path().join("log.db")).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    directory
}

fn pragma(directory: &Path, name: &str) -> i64 {
    let connection = Connection::open(directory.join("log.db")).unwrap();
    connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn an_older_directory_is_brought_up_to_date_by_whoever_holds_it() {
    let directory = version_1();
    for _ in 0..2 {
        let log = EmbeddedLog::hold(directory.path(), clock()).unwrap();
        assert_eq!(offsets(&log, "in").await, [0, 1, 2]);
        assert_eq!(offsets(&log, "state").await, [4]);
        assert_eq!(log.groups().await.unwrap()[0].committed, 2);
        log.tidy().await.unwrap();
        drop(log);
        assert_eq!(
            (pragma(directory.path(), "user_version"), pragma(directory.path(), "auto_vacuum")),
            (2, 2)
        );
        assert_eq!(counted(directory.path()), [(3 + 5 + 1, 9), (0, 0), (4, 4), (0, 0)]);
    }
    let log = EmbeddedLog::open(directory.path(), clock()).unwrap();
    assert_eq!(log.append(vec![record("in", "k", 1)]).await.unwrap()[0].offset, 3);
}

#[tokio::test]
async fn an_older_directory_is_left_alone_beside_its_holder() {
    let directory = version_1();
    let before = std::fs::read(directory.path().join("log.db")).unwrap();
    let Err(LogError::Refused(why)) = EmbeddedLog::open(directory.path(), clock()) else {
        panic!("not refused")
    };
    assert!(
        why.contains("written by an older breakdown (schema 1") && why.contains("breakdown serve"),
        "{why}"
    );
    assert_eq!(std::fs::read(directory.path().join("log.db")).unwrap(), before);
}

#[test]
fn a_new_directory_has_the_schema_of_a_migrated_one() {
    let schema = |directory: &Path| {
        let connection = Connection::open(directory.join("log.db")).unwrap();
        let mut columns = connection
            .prepare(
                "SELECT t.name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk
                 FROM sqlite_schema t, pragma_table_info(t.name) c ORDER BY t.name, c.name",
            )
            .unwrap();
        let rows = columns
            .query_map((), |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, i64>(3)?,
                    row.get::<_, Option<String>>(4)?,
                    row.get::<_, i64>(5)?,
                ))
            })
            .unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    let (old, new) = (version_1(), tempfile::tempdir().unwrap());
    for directory in [&old, &new] {
        drop(EmbeddedLog::hold(directory.path(), clock()).unwrap());
    }
    assert_eq!(schema(old.path()), schema(new.path()));
    assert_eq!(pragma(old.path(), "auto_vacuum"), pragma(new.path(), "auto_vacuum"));
}

#[tokio::test]
async fn what_a_group_has_yet_to_consume_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = EmbeddedLog::hold(directory.path(), clock.clone()).unwrap();
    let nothing = log.backlog("g", "in").await.unwrap();
    assert_eq!((nothing.records, nothing.bytes, nothing.oldest), (0, 0, None));
    let one = |name: &str, keep| TopicSpec { name: name.into(), partitions: 1, keep };
    // Whatever has been consumed may go.
    let spent = Keep::Until { age: None, bytes: Some(0) };
    log.create_topics(&[one("in", spent), one("state", Keep::Newest)]).await.unwrap();
    let mut member = log
        .subscribe(SubscriptionSpec {
            group: "g".into(),
            inputs: vec!["in".into()],
            changelog: "state".into(),
        })
        .await
        .unwrap();
    let appended = [clock.now(), clock.now() + TimeDelta::seconds(5)];
    log.append(vec![record("in", "k", 10), record("in", "k", 20)]).await.unwrap();
    clock.advance(TimeDelta::seconds(5));
    log.append(vec![record("in", "k", 30)]).await.unwrap();
    // Each has a byte of key and 18 of headers beside its value.
    let all = log.backlog("g", "in").await.unwrap();
    assert_eq!((all.records, all.bytes, all.oldest), (3, 3 * 19 + 60, Some(appended[0])));
    let mut polled = 0;
    while polled < 2 {
        if let Polled::Records(records) = member.poll(2, Duration::from_secs(5)).await.unwrap() {
            polled += records.len();
        }
    }
    member.commit(Step { partitions: vec![0], append: vec![] }).await.unwrap();
    let left = log.backlog("g", "in").await.unwrap();
    assert_eq!((left.records, left.bytes, left.oldest), (1, 19 + 30, Some(appended[1])));
    log.tidy().await.unwrap();
    assert_eq!(log.backlog("g", "in").await.unwrap(), left);
    assert_eq!(offsets(&log, "in").await, [2]);
    assert_eq!(log.backlog("another", "in").await.unwrap(), left);
}
