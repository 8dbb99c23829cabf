//! The body of a delivery, with a hole for the issue's number.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::Result;

/// Digits of the numbers that go into the hole; below 2^53.
pub(crate) const NUMBER_WIDTH: usize = 15;

/// A GitHub payload, compact as GitHub sends it, whose issue number can be written over in place.
#[derive(Debug)]
pub(crate) struct Payload {
    /// The JSON.
    pub(crate) body: Vec<u8>,
    /// Where the [`NUMBER_WIDTH`] digits of `issue.number` begin.
    pub(crate) number_at: usize,
}

impl Payload {
    /// Reads a payload of an `issues` event.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let before: Value = serde_json::from_slice(text)?;
        let mut body = compact(text);
        let number = member(&body, 0..body.len(), "issue")
            .and_then(|issue| member(&body, issue, "number"))
            .filter(|number| body[number.clone()].iter().all(u8::is_ascii_digit))
            .ok_or("the payload has no issue.number: take one of an issues event")?;
        let number_at = number.start;
        body.splice(number, std::iter::repeat_n(b'7', NUMBER_WIDTH));
        // The hole was found by a scan; the parser has the last word on what it is.
        let mut after: Value = serde_json::from_slice(&body)?;
        if after["issue"]["number"].as_u64() != "7".repeat(NUMBER_WIDTH).parse().ok() {
            return Err("issue.number was not found where it was looked for".into());
        }
        after["issue"]["number"] = before["issue"]["number"].clone();
        if after != before {
            return Err("more than issue.number would be changed".into());
        }
        Ok(Self { body, number_at })
    }
}

/// JSON without the white space between its tokens.
fn compact(text: &[u8]) -> Vec<u8> {
    let mut strings = Strings::default();
    text.iter().copied().filter(|byte| strings.holds(*byte) || !byte.is_ascii_whitespace()).collect()
}

/// Tells strings from what is between them.
#[derive(Default)]
struct Strings {
    inside: bool,
    escaped: bool,
}

impl Strings {
    /// Whether this byte, the next one, belongs to a string; its quotes do.
    fn holds(&mut self, byte: u8) -> bool {
        let was = self.inside;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'"' => self.inside = !self.inside,
            b'\\' => self.escaped = self.inside,
            _ => {}
        }
        was || self.inside
    }
}

/// The elements of an array, or the members of an object, at `whole` in compact JSON.
fn elements(json: &[u8], whole: Range<usize>) -> Vec<Range<usize>> {
    let (mut strings, mut depth, mut begin, mut found) = (Strings::default(), 0, whole.start + 1, Vec::new());
    for at in whole {
        if strings.holds(json[at]) {
            continue;
        }
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        let ends = (json[at] == b',' && depth == 1) || depth == 0;
        if ends && begin < at {
            found.push(begin..at);
            begin = at + 1;
        }
    }
    found
}

/// The value of an object's member.
fn member(json: &[u8], object: Range<usize>, name: &str) -> Option<Range<usize>> {
    let key = format!("\"{name}\":");
    let found =
        elements(json, object).into_iter().find(|found| json[found.clone()].starts_with(key.as_bytes()))?;
    Some(found.start + key.len()..found.end)
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A payload of an issues event, which is lengthened; or the index.json of @octokit/webhooks-examples, of whose
    /// opened issues the one of the nearest length is taken as it is
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// How long it shall be
    #[arg(long, default_value_t = 12_250)]
    bytes: usize,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Makes a payload.
pub(crate) fn run(args: Args) -> Result<()> {
    let text =
        std::fs::read(&args.from).map_err(|error| format!("cannot read {}: {error}", args.from.display()))?;
    let text = compact(&text);
    let payload = match text.first() {
        Some(b'[') => nearest(&text, args.bytes)?,
        _ => lengthened(&text, args.bytes)?,
    };
    std::fs::write(&args.out, payload)?;
    println!("{} bytes in {}", std::fs::metadata(&args.out)?.len(), args.out.display());
    Ok(())
}

/// The example of an opened issue whose length is nearest to `bytes`; its own text.
fn nearest(index: &[u8], bytes: usize) -> Result<Vec<u8>> {
    serde_json::from_slice::<serde::de::IgnoredAny>(index)?;
    let issues = elements(index, 0..index.len())
        .into_iter()
        .find(|event| member(index, event.clone(), "name").is_some_and(|name| &index[name] == b"\"issues\""));
    let examples =
        issues.and_then(|event| member(index, event, "examples")).ok_or("no examples of issues")?;
    let opened = elements(index, examples).into_iter().filter(|example| {
        let is = |name: Option<Range<usize>>, value: &[u8]| name.is_some_and(|at| &index[at] == value);
        let issue = member(index, example.clone(), "issue");
        is(member(index, example.clone(), "action"), b"\"opened\"")
            && issue.is_some_and(|issue| member(index, issue, "pull_request").is_none())
    });
    let nearest =
        opened.min_by_key(|example| example.len().abs_diff(bytes)).ok_or("no example of an opened issue")?;
    Ok(index[nearest].to_vec())
}

/// Lengthens the issue's text.
fn lengthened(text: &[u8], bytes: usize) -> Result<Vec<u8>> {
    let mut payload: Value = serde_json::from_slice(text)?;
    let issue = payload.get_mut("issue").and_then(Value::as_object_mut).ok_or("the payload has no issue")?;
    let begin = issue.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
    issue.insert("body".into(), begin.clone().into());
    let missing =
        bytes.checked_sub(serde_json::to_vec(&payload)?.len()).ok_or("the payload is longer than that")?;
    let filler = "The quick brown fox jumps over the lazy dog. ".chars().cycle().take(missing);
    payload["issue"]["body"] = begin.chars().chain(filler).collect::<String>().into();
    Ok(serde_json::to_vec(&payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{ "action": "opened",
        "issue": {"title": "the \"number\": 4 \\", "milestone": {"number": 1}, "labels": [{"number": 2}],
                  "number": 12, "body": null },
        "repository": {"number": 9} }"#;

    #[test]
    fn the_hole_is_the_issues_own_number() {
        let payload = Payload::parse(SAMPLE.as_bytes()).unwrap();
        let text = std::str::from_utf8(&payload.body).unwrap();
        assert!(text[..payload.number_at].ends_with(r#""labels":[{"number":2}],"number":"#));
        assert_eq!(&text[payload.number_at..][..NUMBER_WIDTH], "7".repeat(NUMBER_WIDTH));
        assert!(text.contains(r#""title":"the \"number\": 4 \\""#), "strings stay as they are: {text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_payload_without_an_issue_is_refused() {
        for text in [r#"{"action":"opened","number":1}"#, r#"{"issue":{"number":"1"}}"#, "[]", "{"] {
            assert!(Payload::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_payload_grows_to_the_wanted_length() {
        let dir = tempfile::tempdir().unwrap();
        let (from, out) = (dir.path().join("from"), dir.path().join("out"));
        std::fs::write(&from, SAMPLE).unwrap();
        run(Args { from, bytes: 2_000, out: out.clone() }).unwrap();
        assert_eq!(std::fs::read(&out).unwrap().len(), 2_000);
        Payload::read(&out).unwrap();
    }

    #[test]
    fn of_an_index_the_nearest_opened_issue_is_taken_as_it_is() {
        let index = format!(
            r#"[{{"name": "ping", "examples": [{SAMPLE}]}},
                {{"name": "issues", "examples": [{{"action": "closed", "issue": {{"number": 1}}}},
                    {{"action": "opened", "issue": {{"z": ",]}}", "number": 1, "a": []}}}},
                    {{"action": "opened", "issue": {{"number": 1, "pull_request": {{}}, "pad": "....."}}}}, {SAMPLE}]}}]"#
        );
        let taken = |bytes| String::from_utf8(nearest(&compact(index.as_bytes()), bytes).unwrap()).unwrap();
        assert_eq!(taken(10), r#"{"action":"opened","issue":{"z":",]}","number":1,"a":[]}}"#);
        assert_eq!(taken(10_000).as_bytes(), compact(SAMPLE.as_bytes()));
    }
}
