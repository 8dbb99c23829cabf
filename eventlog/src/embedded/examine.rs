//! Whether the file is whole and agrees with itself: what `breakdown doctor` asks of it.
//!
//! Each question is one pass of SQLite over an index or a table: nothing is kept in memory but what is found.

use rusqlite::{Connection, Row};

/// How many flaws are told of one question.
const MAX_TOLD: usize = 10;

/// The question whether the file itself is whole: where it is not, no other answer can be relied on.
const DATABASE: &str = "database";

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What was looked at, in a word.
    pub what: &'static str,
    /// How it is when nothing is wrong.
    pub sound: &'static str,
    /// What is wrong, each with its place; at most ten.
    pub flaws: Vec<String>,
}

impl Examined {
    /// Whether the file itself is damaged, so that what is read of it, or missing in it, may be wrong.
    pub fn is_damage(&self) -> bool {
        self.what == DATABASE && !self.flaws.is_empty()
    }
}

/// What to say of a row that a query found.
type Say = fn(&Row<'_>) -> rusqlite::Result<String>;

/// Queries that find flaws, a row each.
struct Question {
    what: &'static str,
    sound: &'static str,
    queries: &'static [(&'static str, Say)],
}

const QUESTIONS: [Question; 5] = [
    Question {
        what: "tables",
        sound: "topics, partitions, records and newest keys name each other",
        queries: &[
            (
                "SELECT t.name, t.partitions, count(p.partition) FROM topics t LEFT JOIN partitions p
                     ON p.topic = t.id AND p.partition < t.partitions
                 GROUP BY t.id HAVING count(p.partition) <> t.partitions",
                |row| {
                    let (topic, wanted, there): (String, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(format!("{topic} has {wanted} partitions, and {there} of them have ends"))
                },
            ),
            (
                // Number 0 is the place that proves that there is room.
                "SELECT r.topic, r.partition, count(*) FROM records r
                     LEFT JOIN partitions p ON p.topic = r.topic AND p.partition = r.partition
                 WHERE p.topic IS NULL AND r.topic <> 0 GROUP BY r.topic, r.partition",
                |row| {
                    let (topic, partition, count): (i64, u32, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(format!("{count} records are of topic number {topic} partition {partition}, which is none"))
                },
            ),
            (
                "SELECT coalesce(t.name, '?'), n.partition, n.record FROM newest n
                     LEFT JOIN topics t ON t.id = n.topic LEFT JOIN records r ON r.id = n.record
                 WHERE r.topic IS NOT n.topic OR r.partition IS NOT n.partition OR r.key IS NOT n.key",
                |row| {
                    let (topic, partition, id): (String, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(format!("{topic} partition {partition}: a key's newest record, row {id}, is not there or is another"))
                },
            ),
            (
                "SELECT t.name, r.partition, r.offset FROM records r JOIN topics t ON t.id = r.topic AND t.compacted
                     LEFT JOIN newest n ON n.topic = r.topic AND n.partition = r.partition AND n.key = r.key
                 WHERE n.record IS NOT r.id",
                |row| place(row).map(|place| format!("{place}: a record is kept that is not its key's newest")),
            ),
        ],
    },
    Question {
        what: "offsets",
        sound: "gapless from the first kept one to the end, in every topic that is not compacted",
        queries: &[
            (
                "SELECT t.name, p.partition, p.first_offset, p.end_offset, count(r.id),
                     coalesce(min(r.offset), p.end_offset), coalesce(max(r.offset) + 1, p.first_offset)
                 FROM topics t JOIN partitions p ON p.topic = t.id
                     LEFT JOIN records r ON r.topic = p.topic AND r.partition = p.partition
                 WHERE NOT t.compacted GROUP BY t.id, p.partition
                 HAVING count(r.id) <> p.end_offset - p.first_offset
                     OR coalesce(min(r.offset), p.first_offset) <> p.first_offset
                     OR coalesce(max(r.offset) + 1, p.end_offset) <> p.end_offset",
                |row| {
                    let (topic, partition): (String, u32) = (row.get(0)?, row.get(1)?);
                    let (first, end, count): (u64, u64, u64) = (row.get(2)?, row.get(3)?, row.get(4)?);
                    let (lowest, next): (u64, u64) = (row.get(5)?, row.get(6)?);
                    Ok(format!(
                        "{topic} partition {partition} should have offsets {first} to {end}, the end not included; {count} records are \
                         there, from {lowest} to {next}"
                    ))
                },
            ),
            (
                "SELECT name, partition, offset FROM (
                     SELECT t.name, r.partition, r.offset,
                         r.offset - lag(r.offset) OVER (PARTITION BY r.topic, r.partition ORDER BY r.offset) AS step
                     FROM records r JOIN topics t ON t.id = r.topic AND NOT t.compacted)
                 WHERE step > 1",
                |row| place(row).map(|place| format!("{place}: what should stand right before it is missing")),
            ),
            (
                "SELECT t.name, p.partition, max(r.offset), p.end_offset FROM topics t
                     JOIN partitions p ON p.topic = t.id
                     JOIN records r ON r.topic = p.topic AND r.partition = p.partition
                 WHERE t.compacted GROUP BY t.id, p.partition HAVING max(r.offset) >= p.end_offset",
                |row| {
                    let end: u64 = row.get(3)?;
                    place(row).map(|place| format!("{place} lies past the partition's end, {end}"))
                },
            ),
        ],
    },
    Question {
        what: "timestamps",
        sound: "never going back within a partition",
        queries: &[(
            "SELECT name, partition, offset FROM (
                 SELECT t.name, r.partition, r.offset, r.timestamp,
                     lag(r.timestamp) OVER (PARTITION BY r.topic, r.partition ORDER BY r.offset) AS before
                 FROM records r JOIN topics t ON t.id = r.topic)
             WHERE timestamp < before",
            |row| place(row).map(|place| format!("{place} is stamped earlier than the record before it")),
        )],
    },
    Question {
        what: "headers",
        sound: "those of every record can be read",
        queries: &[(
            "SELECT t.name, r.partition, r.offset FROM records r JOIN topics t ON t.id = r.topic
             WHERE r.headers IS NOT NULL AND NOT (json_valid(r.headers) AND json_type(r.headers) = 'array')",
            |row| place(row).map(|place| format!("{place}: its headers cannot be read")),
        )],
    },
    Question {
        what: "committed offsets",
        sound: "within what is kept of their partition",
        queries: &[(
            "SELECT g.name, coalesce(t.name, '?'), g.partition, g.committed, p.first_offset, p.end_offset
             FROM group_offsets g LEFT JOIN topics t ON t.id = g.topic
                 LEFT JOIN partitions p ON p.topic = g.topic AND p.partition = g.partition
             WHERE p.topic IS NULL OR g.committed > p.end_offset OR g.committed < p.first_offset",
            |row| {
                let (group, topic, partition, committed): (String, String, u32, u64) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                let (first, end): (Option<u64>, Option<u64>) = (row.get(4)?, row.get(5)?);
                Ok(match first.zip(end) {
                    None => format!("group {group} has an offset in {topic} partition {partition}, which is none"),
                    Some((_, end)) if committed > end => format!(
                        "group {group} has committed {committed} in {topic} partition {partition}, past its end, {end}: what is \
                         appended up to there would be passed over"
                    ),
                    Some((first, _)) => format!(
                        "group {group} has committed {committed} in {topic} partition {partition}, which is kept from {first} on: \
                         {} records were removed before it consumed them",
                        first - committed
                    ),
                })
            },
        )],
    },
];

/// Topic, partition and offset, which are the first three columns.
fn place(row: &Row<'_>) -> rusqlite::Result<String> {
    let (topic, partition, offset): (String, u32, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(format!("{topic} partition {partition} offset {offset}"))
}

/// Asks everything.
pub(super) fn all(connection: &Connection) -> Vec<Examined> {
    let said: Vec<String> =
        collect(connection, &format!("PRAGMA integrity_check({MAX_TOLD})"), |row| row.get(0));
    // One row may have many lines, with a headline that names the database.
    let lines = said.iter().flat_map(|said| said.lines()).map(str::trim);
    let flaws = lines.filter(|line| !line.is_empty() && *line != "ok" && !line.starts_with("***"));
    let database = Examined {
        what: DATABASE,
        sound: "SQLite's integrity check finds no damage",
        flaws: flaws.take(MAX_TOLD).map(str::to_owned).collect(),
    };
    let asked = QUESTIONS.iter().map(|Question { what, sound, queries }| {
        let mut flaws = Vec::new();
        for (query, say) in *queries {
            flaws.extend(collect(connection, query, say));
        }
        flaws.truncate(MAX_TOLD);
        Examined { what, sound, flaws }
    });
    std::iter::once(database).chain(asked).collect()
}

/// What a query finds. That it cannot be answered is a flaw, too: pages of it are damaged.
fn collect(
    connection: &Connection,
    query: &str,
    say: impl Fn(&Row<'_>) -> rusqlite::Result<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    let asked = connection.prepare(query).and_then(|mut statement| {
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            found.push(say(row)?);
            if found.len() == MAX_TOLD {
                break;
            }
        }
        Ok(())
    });
    if let Err(error) = asked {
        found.push(format!("cannot be looked at: {error}"));
    }
    found
}
