//! `breakdown dead-letters redrive`.
//!
//! For each letter its original is put on its topic again, and then a note on `dead-letters` that it was. Stopped between the two, the letter
//! stays open: redriven again, its record says the same round and the same letter, and whoever reads it knows it for the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, IsTerminal, Write},
    ops::ControlFlow,
    process::ExitCode,
};

use clap::Args;
use eventlog::{Clock, Log, LogError, NewRecord, Position, Record};
use events::{
    Action, DeadLetter, IssueEvent, Message, Origin, Outcome, Recorded, Redone, Redriven, id, topic,
};
use serde_json::json;
use webhooks::{Config, Provider, Reread, reread};

use super::{
    Filter,
    kept::{self, Kept, Way},
    originals::{self, Place},
    show, unfit,
};
use crate::{
    clock::SystemClock,
    commands::{heard, inert, inert_json, scan, starts},
    config::Settings,
    error::Failure,
    logs::{self, Access},
    serve::reading,
};

/// Letters whose originals are held at a time.
const BATCH: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Redrive {
    /// These letters, d-… or its first digits [default: all that are open]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// One JSON object a letter
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, args: Redrive) -> Result<ExitCode, Failure> {
    let config = reading(settings)?;
    let log = logs::open(settings, Access::Read).await?;
    let letters = kept::read(&*log).await?;
    let named = args.ids.iter().map(|id| show::find(&letters, id).map(|kept| &kept.letter.event_id));
    let named = named.collect::<Result<BTreeSet<_>, _>>()?;
    let meant =
        |kept: &&Kept| (named.is_empty() || named.contains(&kept.letter.event_id)) && args.filter.takes(kept);
    let meant: Vec<&Kept> = letters.iter().filter(meant).collect();
    let (done, open): (Vec<&Kept>, Vec<&Kept>) = meant.into_iter().partition(|kept| kept.redriven.is_some());
    if !named.is_empty() {
        done.iter().for_each(|kept| eprintln!("{} was redriven already", inert(&kept.letter.event_id)));
    }
    let (ready, barred): (Vec<_>, Vec<_>) =
        open.into_iter().map(|kept| (kept, kept.way())).partition(|(_, way)| way.is_ok());
    let ready: Vec<_> = ready.into_iter().filter_map(|(kept, way)| Some((kept, way.ok()?))).collect();
    let barred: Vec<_> = barred.into_iter().filter_map(|(kept, way)| Some((kept, way.err()?))).collect();
    let told = Told { as_json: args.json };
    let none_fits = ready.is_empty() && barred.is_empty() && done.is_empty();
    if let (true, Some(instead)) =
        (none_fits, unfit(letters.iter().filter(|kept| kept.redriven.is_none()), "open"))
    {
        return Err(Failure::failed(format!("nothing was redriven: {instead}")));
    }
    eprint!("{}", counts(&ready, &barred));
    if ready.is_empty() {
        barred.iter().for_each(|(kept, why)| told.left(kept, why));
        return Ok(ExitCode::from(u8::from(!barred.is_empty())));
    }
    if !args.yes && !agreed(ready.len())? {
        return Err(Failure::failed("nothing was redriven"));
    }
    let (mut redriven, mut left) = (0, barred.len());
    let mut appended = Appended::default();
    let before = starts(&*log, topic::OUTCOMES, |bounds| bounds.end).await?;
    for batch in ready.chunks(BATCH) {
        let batch_of = Batch { log: &*log, config: &config, told: &told };
        let refused = batch_of.redrive(batch, &mut appended).await?;
        (redriven, left) = (redriven + batch.len() - refused, left + refused);
    }
    barred.iter().for_each(|(kept, why)| told.left(kept, why));
    eprintln!("{redriven} redriven, {left} left");
    await_roles(&*log, &appended.last).await?;
    tell_withdrawn(&*log, &before, &appended.replaced).await?;
    Ok(ExitCode::from(u8::from(left > 0)))
}

/// What was put on the log.
#[derive(Default)]
struct Appended {
    /// Of each topic and partition the last offset.
    last: BTreeMap<(String, u32), u64>,
    /// The outcomes that are to be replaced, and the letters of what failed then.
    replaced: BTreeMap<String, String>,
}

/// Says of which letters nothing is done any more. An executor says so as soon as it takes them up.
async fn tell_withdrawn(
    log: &dyn Log,
    before: &[(u32, u64)],
    replaced: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    if replaced.is_empty() {
        return Ok(());
    }
    let mut withdrawn = Vec::new();
    scan(log, topic::OUTCOMES, before, |record| {
        let value = record.value.as_deref().unwrap_or_default();
        if let Ok(outcome) = serde_json::from_slice::<Outcome>(value)
            && outcome.error.as_deref() == Some(Outcome::WITHDRAWN)
            && let Some(letter) = outcome.supersedes.as_ref().and_then(|before| replaced.get(before))
        {
            withdrawn.push(letter.as_str());
        }
        ControlFlow::Continue(())
    })
    .await?;
    for letter in withdrawn {
        eprintln!("{}", inert(&format!("{letter} ended: {}", Outcome::WITHDRAWN)));
    }
    Ok(())
}

/// Waits until what stands there anew was taken up, and says where it was not.
async fn await_roles(log: &dyn Log, appended: &BTreeMap<(String, u32), u64>) -> Result<(), Failure> {
    for (role, group) in [("executor", executor::GROUP), ("gateway", gateway::GROUP)] {
        let of_role = |topic: &str| (topic == topic::ACTIONS) == (group == executor::GROUP);
        let said: heard::Said<'_> = appended
            .iter()
            .filter(|((topic, _), _)| of_role(topic))
            .map(|((topic, partition), offset)| ((topic.as_str(), *partition), *offset))
            .collect();
        if !heard::by(log, group, &said).await? {
            eprintln!(
                "no {role} has taken all of it up yet: it is done once one runs (breakdown serve) and comes to it"
            );
        }
    }
    Ok(())
}

/// What there is to redrive, by reason and topic, and what cannot be.
fn counts(ready: &[(&Kept, Way)], barred: &[(&Kept, String)]) -> String {
    let mut rows: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for (kept, _) in ready {
        *rows.entry((&kept.letter.reason, kept.letter.origin.topic(), "")).or_default() += 1;
    }
    for (kept, why) in barred {
        *rows.entry((&kept.letter.reason, kept.letter.origin.topic(), why)).or_default() += 1;
    }
    if rows.is_empty() {
        return "no open dead letter is meant\n".to_owned();
    }
    let head = format!("{:<14} {:<10} {:>7}\n", "REASON", "TOPIC", "LETTERS");
    rows.into_iter().fold(head, |table, ((reason, topic, why), count)| {
        let why = if why.is_empty() { String::new() } else { format!("  left: {why}") };
        table + &inert(&format!("{reason:<14} {topic:<10} {count:>7}{why}")) + "\n"
    })
}

fn agreed(count: usize) -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage("nobody can be asked here whether to redrive these: say --yes"));
    }
    ask(count, stdin.lock(), std::io::stderr())
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))
}

fn ask(count: usize, mut from: impl BufRead, mut to: impl Write) -> std::io::Result<bool> {
    write!(to, "Redrive {count}? [y/N] ")?;
    to.flush()?;
    let mut answer = String::new();
    from.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What is printed of each letter.
struct Told {
    as_json: bool,
}

impl Told {
    fn redriven(&self, note: &Redriven) {
        let id = &note.letter_id;
        match (&note.became, self.as_json) {
            (became, true) => {
                say!("{}", inert_json(&json!({"letter_id": id, "round": note.round, "became": became})))
            }
            (Redone::Appended { topic, partition, offset }, false) => {
                say!("{}", inert(&format!("{id} {topic}/{partition}@{offset}")));
            }
            (Redone::Ignored { why }, false) => say!("{}", inert(&format!("{id} ignored: {why}"))),
        }
    }

    fn left(&self, kept: &Kept, why: &str) {
        let id = &kept.letter.event_id;
        match self.as_json {
            true => say!("{}", inert_json(&json!({"letter_id": id, "left": why}))),
            false => say!("{}", inert(&format!("{id} left: {why}"))),
        }
    }
}

/// What a letter comes to.
enum Ready {
    /// An event may have the acknowledgement that lies in it with it.
    Append(Vec<NewRecord>),
    Ignore(&'static str),
}

/// What is known of one letter's original.
struct Found<'f> {
    /// The letter with what it holds of it.
    letter: Option<&'f DeadLetter>,
    /// Its record, where it still stands.
    record: Option<&'f Record>,
}

struct Batch<'b> {
    log: &'b dyn Log,
    config: &'b Config,
    told: &'b Told,
}

impl Batch<'_> {
    /// Redrives these; how many could not be.
    async fn redrive(&self, letters: &[(&Kept, Way)], all: &mut Appended) -> Result<usize, Failure> {
        let mut places: BTreeMap<&str, BTreeSet<Place>> = BTreeMap::new();
        for (kept, _) in letters {
            if let Origin::Record { topic, partition, offset } = &kept.letter.origin {
                places.entry(topic).or_default().insert((*partition, *offset));
            }
        }
        let mut records = BTreeMap::new();
        for (topic, places) in &places {
            records.insert(*topic, originals::records(self.log, topic, places).await?);
        }
        let whole =
            originals::letters(self.log, &letters.iter().map(|(kept, _)| kept.place).collect()).await?;

        let mut refused = Vec::new();
        let (mut appended, mut ignored) = (Vec::new(), Vec::new());
        for &(kept, way) in letters {
            let record = match &kept.letter.origin {
                Origin::Record { topic, partition, offset } => {
                    records.get(topic.as_str()).and_then(|found| found.get(&(*partition, *offset)))
                }
                _ => None,
            };
            let found = Found { letter: whole.get(&kept.place), record };
            match self.ready(&kept.letter, way, &found) {
                Ok(Ready::Append(records)) => {
                    let replaced = records.iter().filter_map(replaced_by);
                    all.replaced.extend(replaced.map(|outcome| (outcome, kept.letter.event_id.clone())));
                    appended.push((kept, records));
                }
                Ok(Ready::Ignore(why)) => ignored.push((kept, why)),
                Err(why) => refused.push((kept, why)),
            }
        }
        let mut notes = Vec::new();
        let now = SystemClock.now();
        for (kept, at) in self.append(appended, &mut refused).await? {
            let (topic, Position { partition, offset }) = (kept.letter.origin.topic().to_owned(), at);
            all.last
                .entry((topic.clone(), partition))
                .and_modify(|last| *last = offset.max(*last))
                .or_insert(offset);
            notes.push(Redriven::of(&kept.letter, Redone::Appended { topic, partition, offset }, now));
        }
        for (kept, why) in ignored {
            notes.push(Redriven::of(&kept.letter, Redone::Ignored { why: why.to_owned() }, now));
        }
        let written = notes.iter().map(|note| note.to_message().map(new_record)).collect::<Result<_, _>>();
        let written =
            written.map_err(|error| Failure::failed(format!("a note cannot be written: {error}")))?;
        self.log.append(written).await?;
        notes.iter().for_each(|note| self.told.redriven(note));
        refused.iter().for_each(|(kept, why)| self.told.left(kept, why));
        Ok(refused.len())
    }

    /// Appends these, and says where the first of each letter stands. Where one is not taken, its letter alone is left.
    async fn append<'k>(
        &self,
        letters: Vec<(&'k Kept, Vec<NewRecord>)>,
        refused: &mut Vec<(&'k Kept, String)>,
    ) -> Result<Vec<(&'k Kept, Position)>, Failure> {
        let all = letters.iter().flat_map(|(_, records)| records.clone()).collect();
        match self.log.append(all).await {
            Ok(positions) => {
                let mut rest = positions.into_iter();
                let first = |(kept, records): (&'k Kept, Vec<NewRecord>)| {
                    let own: Vec<_> = rest.by_ref().take(records.len()).collect();
                    own.first().map(|position| (kept, *position))
                };
                return Ok(letters.into_iter().filter_map(first).collect());
            }
            Err(LogError::Unfit(_) | LogError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let mut appended = Vec::new();
        for (kept, records) in letters {
            match self.log.append(records).await {
                Ok(positions) => appended.extend(positions.first().map(|position| (kept, *position))),
                Err(LogError::Unfit(why) | LogError::Refused(why)) => refused.push((kept, why)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(appended)
    }

    fn ready(&self, letter: &DeadLetter, way: Way, found: &Found<'_>) -> Result<Ready, String> {
        let held = found.letter.and_then(DeadLetter::whole_original);
        let held = held.ok_or_else(|| "the letter does not hold its whole original".to_owned());
        match (&letter.origin, way) {
            (Origin::Record { topic, partition, .. }, Way::Again) => {
                let there = found.record.filter(|record| {
                    id::sha256(record.value.as_deref().unwrap_or_default()) == letter.original_sha256
                });
                let record = match there {
                    Some(record) => NewRecord {
                        topic: topic.clone(),
                        partition: Some(*partition),
                        key: record.key.clone(),
                        value: record.value.clone(),
                        headers: events::Redrive::of(letter, record.value.as_deref())
                            .headers(record.headers.iter()),
                    },
                    // Gone by its age.
                    None => {
                        let gone = |why| format!("its record is no more on {topic}, and {why}");
                        let message = written_anew(topic, &held.map_err(gone)?).ok_or_else(|| {
                            gone(
                                "what the letter holds of it cannot be read by this version either"
                                    .to_owned(),
                            )
                        })?;
                        let headers = message.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
                        let headers = events::Redrive::of(letter, Some(&message.value)).headers(headers);
                        // Only a record that is there proves what a letter says of its place; a project has one by its name.
                        NewRecord { headers, ..new_record(message.clone()) }
                    }
                };
                Ok(Ready::Append(vec![record]))
            }
            (Origin::Delivery { provider, delivery_id, event }, Way::Delivery) => {
                let provider: Provider = provider.parse()?;
                match reread(provider, event.as_deref(), delivery_id.as_deref(), &held?, self.config) {
                    Ok(Reread::Events(messages)) => {
                        Ok(Ready::Append(messages.into_iter().map(new_record).collect()))
                    }
                    Ok(Reread::Ignored(why)) => Ok(Ready::Ignore(why)),
                    Err(why) => Err(format!("it still cannot be read: {why}")),
                }
            }
            (Origin::Spooled { payload_hash, .. }, Way::Event) => {
                let message = serde_json::from_slice::<IssueEvent>(&held?)
                    .and_then(|event| event.to_message(payload_hash.as_deref()));
                message
                    .map(|message| Ready::Append(vec![new_record(message)]))
                    .map_err(|_| "it is no event that this version reads".to_owned())
            }
            _ => Err("it is no letter that this version redrives".to_owned()),
        }
    }
}

/// The message that says what `value` says: a record without its key and headers.
fn written_anew(topic: &str, value: &[u8]) -> Option<Message> {
    match topic {
        topic::ACTIONS => serde_json::from_slice::<Action>(value).ok()?.to_message().ok(),
        topic::ISSUES => {
            let event: IssueEvent = serde_json::from_slice(value).ok()?;
            event.check_ids().ok()?;
            event.to_message(None).ok()
        }
        topic::OUTCOMES => {
            let outcome: Outcome = serde_json::from_slice(value).ok()?;
            outcome.check_ids().ok()?;
            outcome.to_message(None).ok()
        }
        _ => None,
    }
}

/// The outcome that a redriven record's will replace.
fn replaced_by(record: &NewRecord) -> Option<String> {
    let header = |name: &str| record.headers.iter().find(|(known, _)| known == name);
    events::Redrive::from_headers(|name| Some(header(name)?.1.as_str()))?.supersedes
}

fn new_record(message: Message) -> NewRecord {
    NewRecord {
        topic: message.topic.to_owned(),
        partition: None,
        key: message.key.into(),
        value: Some(message.value.into()),
        headers: message.headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, agreed) in [
            ("y\n", true),
            ("Yes\n", true),
            (" YES ", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
            ("yep", false),
        ] {
            let mut asked = Vec::new();
            assert_eq!(ask(7, answer.as_bytes(), &mut asked).unwrap(), agreed, "{answer:?}");
            assert_eq!(asked, b"Redrive 7? [y/N] ");
        }
    }
}
