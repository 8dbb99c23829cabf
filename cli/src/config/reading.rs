//! Reading the file. What is wrong in it is told with its line and its path, and without what stands there, which may be a secret.

use std::{collections::BTreeMap, fmt, io::ErrorKind, path::Path};

use executor::TargetConfig;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_path_to_error::{Path as Keys, Segment, Track};
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error, ValueDeserializer},
};

use super::{DEFAULT_FILE, File};
use crate::error::Failure;

/// How many mistakes are told at once.
const TOLD_MAX: usize = 10;
/// The longest key of a path that is told, in characters.
const KEY_MAX: usize = 64;

/// The file of this name; without one [`DEFAULT_FILE`], where there is such a file.
pub(super) fn read(named: Option<&Path>) -> Result<File, Failure> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => {
            return Err(Failure::usage(format!(
                "the configuration {} cannot be read: {error}",
                path.display()
            )));
        }
    };
    parse(&text).map_err(|mistakes| {
        let (file, more) = (path.display(), mistakes.len().saturating_sub(TOLD_MAX));
        let told = mistakes.iter().take(TOLD_MAX);
        Failure::usage(match mistakes.as_slice() {
            [Mistake { line: Some(line), what }] => {
                format!(
                    "the configuration {file}, line {line}: {what}; breakdown.example.toml shows every key"
                )
            }
            [mistake] => {
                format!("the configuration {file}: {mistake}; breakdown.example.toml shows every key")
            }
            all => {
                let mut text = format!(
                    "the configuration {file} has {} mistakes; breakdown.example.toml shows every key",
                    all.len()
                );
                told.for_each(|mistake| text.push_str(&format!("\n  {mistake}")));
                if more > 0 {
                    text.push_str(&format!("\n  and {more} more"));
                }
                text
            }
        })
    })
}

/// Something in the file that is not as it has to be.
struct Mistake {
    /// Counted from 1.
    line: Option<usize>,
    /// Where else and what, in one line.
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl Mistake {
    fn new(text: &str, at: Option<usize>, keys: &[&str], what: &str) -> Self {
        let line = at.map(|at| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1);
        let key = |key: &&str| key.chars().take(KEY_MAX).collect::<String>();
        let keys: Vec<String> = keys.iter().map(key).collect();
        let what = if keys.is_empty() { what.to_owned() } else { format!("{}: {what}", keys.join(".")) };
        Self { line, what }
    }

    /// toml's own text quotes the line, which may hold a secret: only its reason is told. Where that is a value of the wrong type, the value
    /// may be the secret.
    fn of(text: &str, keys: &[&str], error: &Error) -> Self {
        let what = match error.message().split_once(", expected ") {
            Some((what, expected)) if what.starts_with("invalid ") => {
                format!("what stands here is not {}", in_words(expected))
            }
            _ => error.message().to_owned(),
        };
        Self::new(text, error.span().map(|span| span.start), keys, &what)
    }
}

fn parse(text: &str) -> Result<File, Vec<Mistake>> {
    let document = DeTable::parse(text).map_err(|error| vec![Mistake::of(text, &[], &error)])?;
    let tables = document.get_ref().get("targets").cloned();
    let mut mistakes = Vec::new();
    let file = serde_path_to_error::deserialize(toml::Deserializer::from(document));
    let file: Option<File> = file
        .map_err(|error: serde_path_to_error::Error<Error>| {
            mistakes.push(Mistake::of(text, &names(error.path()), error.inner()));
        })
        .ok();
    let targets = targets(text, tables, &mut mistakes);
    match file.filter(|_| mistakes.is_empty()) {
        Some(file) => Ok(File { targets, ..file }),
        None => Err(mistakes),
    }
}

/// The tables `[targets.NAME]`, each by its `kind`, which says what else may stand there.
fn targets(
    text: &str,
    tables: Option<Spanned<DeValue<'_>>>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, TargetConfig> {
    let mut targets = BTreeMap::new();
    // What is no table is told of where the file is read.
    let Some(DeValue::Table(tables)) = tables.map(Spanned::into_inner) else { return targets };
    for (name, table) in tables {
        let (name, span) = (name.into_inner().into_owned(), table.span());
        let DeValue::Table(mut table) = table.into_inner() else { continue };
        let kinds = TargetConfig::KINDS.join(", ");
        let Some(kind) = table.remove("kind") else {
            let what = format!("it has no kind; write one of {kinds}");
            mistakes.push(Mistake::new(text, Some(span.start), &["targets", &name], &what));
            continue;
        };
        let word = if let DeValue::String(word) = kind.get_ref() { word.as_ref() } else { "" };
        let (mut track, rest) = (Track::new(), Spanned::new(span, DeValue::Table(table)));
        let rest = serde_path_to_error::Deserializer::new(ValueDeserializer::from(rest), &mut track);
        match TargetConfig::read(word, rest) {
            Some(Ok(target)) => _ = targets.insert(name, target),
            Some(Err(error)) => {
                let path = track.path();
                let keys: Vec<&str> = ["targets", name.as_str()].into_iter().chain(names(&path)).collect();
                mistakes.push(Mistake::of(text, &keys, &error));
            }
            None => {
                let what = format!("there is no such kind of target; write one of {kinds}");
                let at = Some(kind.span().start);
                mistakes.push(Mistake::new(text, at, &["targets", &name, "kind"], &what));
            }
        }
    }
    targets
}

/// The tables of targets, whatever is in them, while the rest of the file is read.
pub(super) fn later<'de, D: Deserializer<'de>>(
    tables: D,
) -> Result<BTreeMap<String, TargetConfig>, D::Error> {
    BTreeMap::<String, BTreeMap<String, IgnoredAny>>::deserialize(tables).map(|_| BTreeMap::new())
}

/// The keys of a path. Which of a list it is, the line tells.
fn names(path: &Keys) -> Vec<&str> {
    let names = path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        _ => None,
    });
    names.collect()
}

/// What was expected, for people: serde names Rust's types.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "a nonzero u64" => "a whole number from 1 on",
        "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        struct_name if struct_name.starts_with("struct ") => "a table",
        other => other,
    }
}
