//! YAML as a tree in which every node knows its place.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Error, MergeKeyPolicy, Spanned};

use crate::{Diagnostic, diagnostic::quoted};

/// How deep collections may nest; a policy needs six levels.
const MAX_DEPTH: usize = 24;
/// How many scalars and collections there may be; 10,000 rules have some 200,000.
const MAX_NODES: usize = 500_000;
const MAX_ALIASES: usize = 20_000;
/// How many events of the parser may be repeated by aliases.
const MAX_REPEATED: usize = 200_000;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Line and column of a node, both from 1.
pub(crate) fn place<T>(node: &Spanned<T>) -> (usize, usize) {
    let at = node.referenced;
    (at.line() as usize, at.column() as usize)
}

/// Parses a document. A syntax error is one diagnostic: what follows it cannot be told apart.
pub(crate) fn parse(text: &str) -> Result<Spanned<Node>, Diagnostic> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 3 * MAX_NODES,
            max_documents: 1,
            max_anchors: MAX_ALIASES,
            max_aliases: MAX_ALIASES,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPEATED,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map_or((1, 1), |at| (at.line() as usize, at.column() as usize));
        let (message, hint) = said(&error);
        let diagnostic = Diagnostic::error(at, message);
        match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    })
}

/// What the parser says, in our words where a limit of ours is meant, else in one line of bounded length: it may repeat a
/// piece of the text.
fn said(error: &Error) -> (String, Option<&'static str>) {
    use serde_saphyr::budget::BudgetBreach as Breach;
    match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or("a key".to_owned(), |key| format!("the key {}", quoted(key)));
            (format!("{key} stands in this map twice"), None)
        }
        Error::MergeKeyNotAllowed { .. } => (
            "`<<` is not part of the format".to_owned(),
            Some("write the keys out, or repeat a value with `&a` and `*a`"),
        ),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            (format!("aliases repeat too much: more than {MAX_REPEATED} parts"), Some("write less with `*`"))
        }
        Error::Budget { breach: Breach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            ("a policy is one document".to_owned(), Some("take away everything from `---` on"))
        }
        Error::Budget { breach: Breach::Depth { .. }, .. } => {
            (format!("lists and maps nest more than {MAX_DEPTH} times"), None)
        }
        Error::Budget { breach: Breach::Nodes { .. } | Breach::Events { .. }, .. } => {
            (format!("a policy may have at most {MAX_NODES} values"), Some("split it by project"))
        }
        Error::Budget { breach: Breach::Aliases { .. } | Breach::Anchors { .. }, .. } => {
            (format!("there may be at most {MAX_ALIASES} anchors and aliases"), None)
        }
        Error::Budget { .. } => {
            ("the file is larger than a policy may be".to_owned(), Some("split it by project"))
        }
        // Within an alias the limit comes wrapped in where it was met.
        error if error.to_string().starts_with("alias replay limit exceeded") => {
            (format!("aliases repeat too much: more than {MAX_REPEATED} parts"), Some("write less with `*`"))
        }
        error => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            // The place is said apart.
            let line = line.find(" at line ").map_or(line, |end| &line[..end]).trim();
            let line: String =
                line.chars().take(200).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
            (if line.is_empty() { "this is not YAML".to_owned() } else { line }, None)
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
