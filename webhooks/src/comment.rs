//! Where a comment says one of the agreed words, as whoever writes it means it.
//!
//! A line that begins with a word is an answer, in whatever case. After a command, a word that begins with `/`, white space and any text
//! may follow; any other word must be all of the line, since a sentence can begin with it. Lines that are code, quoted or hidden do not
//! count, in GitHub's Markdown and in Jira's marks, which are both looked for wherever a comment is from: whoever writes one of them means
//! it. So a line under a quote is none, though GitHub draws it within. What only looks like an answer is told from a comment that has nothing of it, and why.
//!
//! The text is a stranger's: it is walked through once, up to a bound, and nothing of it is kept.

use events::NoAnswer;

/// How much of a comment is looked at, in bytes: GitHub takes 65,536 characters, Jira 32,767.
const MAX_BYTES: usize = 256 << 10;
/// After a command it means the opposite, as elsewhere.
const CANCEL: &str = "cancel";
/// Jira's marks of what is code or quoted: how they begin, and how they end.
static MARKS: [(&str, &str, NoAnswer); 3] = [
    ("{code", "{code}", NoAnswer::InCode),
    ("{noformat", "{noformat}", NoAnswer::InCode),
    ("{quote", "{quote}", NoAnswer::Quoted),
];

/// Whether a comment is an answer, by one of `words`; why not, where it looks like one; `None` where it does not.
pub(crate) fn says(words: &[String], comment: &str) -> Option<Result<(), NoAnswer>> {
    let comment = bounded(comment);
    let mut blocks = Blocks::of(comment);
    let (mut nearly, mut offset) = (None, 0);
    for line in comment.split_inclusive('\n') {
        let (outside, text) = blocks.line(line, offset);
        offset += line.len();
        let why = match (of_line(words, text), outside) {
            (Some(Ok(())), None) => return Some(Ok(())),
            (Some(Ok(())), Some(outside)) => outside,
            (Some(Err(why)), None) => why,
            _ => continue,
        };
        nearly.get_or_insert(why);
    }
    nearly.map(Err)
}

fn bounded(comment: &str) -> &str {
    let mut end = comment.len().min(MAX_BYTES);
    while !comment.is_char_boundary(end) {
        end -= 1;
    }
    &comment[..end]
}

/// What a line by itself says.
fn of_line(words: &[String], line: &str) -> Option<Result<(), NoAnswer>> {
    let line = line.trim();
    let mut nearly = None;
    for word in words {
        let is_command = word.starts_with('/');
        let why = match after(line, word) {
            Some("") => return Some(Ok(())),
            Some(rest) if is_command && rest.starts_with(char::is_whitespace) => {
                if !rest.split_whitespace().next().is_some_and(|next| next.eq_ignore_ascii_case(CANCEL)) {
                    return Some(Ok(()));
                }
                NoAnswer::Cancelled
            }
            Some(rest) if is_command || ends_word(rest) => NoAnswer::RunsOn,
            _ if mentions(line, word) => NoAnswer::WithinLine,
            _ => continue,
        };
        nearly.get_or_insert(why);
    }
    nearly.map(Err)
}

/// What follows `word` in a text that begins with it, in whatever case.
fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let mut rest = text.chars();
    let same = |wanted: char| rest.next().is_some_and(|said| said.to_lowercase().eq(wanted.to_lowercase()));
    word.chars().all(same).then_some(rest.as_str())
}

fn ends_word(rest: &str) -> bool {
    !rest.starts_with(char::is_alphanumeric)
}

/// Whether a word stands by itself somewhere behind the beginning.
fn mentions(line: &str, word: &str) -> bool {
    let mut before: Option<char> = None;
    line.char_indices().any(|(at, c)| {
        let begins = before.replace(c).is_some_and(|before| !before.is_alphanumeric());
        begins && after(&line[at..], word).is_some_and(ends_word)
    })
}

/// What the lines of a comment stand in.
struct Blocks {
    open: Option<Block>,
    /// Where each of the marks ends for the last time: one that nobody ends is text.
    last: [Option<usize>; 3],
}

/// Lines that belong together.
enum Block {
    /// A fence of at least so many of these.
    Fence {
        mark: char,
        length: usize,
    },
    Marked {
        place: usize,
    },
    Hidden,
}

impl Block {
    fn place(&self) -> NoAnswer {
        match self {
            Self::Fence { .. } => NoAnswer::InCode,
            Self::Marked { place } => MARKS[*place].2.clone(),
            Self::Hidden => NoAnswer::Hidden,
        }
    }

    /// Whether it ends with this line, or with what follows its own mark.
    fn ends_in(&self, text: &str) -> bool {
        match self {
            Self::Fence { mark, length } => text.chars().all(|c| c == *mark) && text.len() >= *length,
            Self::Marked { place } => text.contains(MARKS[*place].1),
            Self::Hidden => text.contains("-->"),
        }
    }
}

/// What a list's item says in its first line: a fence can begin there.
fn in_item(text: &str) -> &str {
    let numbered = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let bullet = match text.len() - numbered.len() {
        0 => text.strip_prefix(['-', '*', '+']),
        _ => numbered.strip_prefix(['.', ')']),
    };
    bullet.filter(|rest| rest.starts_with([' ', '\t'])).map_or(text, str::trim_start)
}

impl Blocks {
    fn of(comment: &str) -> Self {
        Self { open: None, last: std::array::from_fn(|place| comment.rfind(MARKS[place].1)) }
    }

    /// Why a line, which begins at `offset`, does not count; and what it says where that is left aside.
    fn line<'t>(&mut self, line: &'t str, offset: usize) -> (Option<NoAnswer>, &'t str) {
        let text = line.trim();
        if let Some(open) = &self.open {
            let place = open.place();
            if open.ends_in(text) {
                self.open = None;
            }
            return (Some(place), text);
        }
        let is_indented = line.starts_with('\t') || line.starts_with("    ");
        if is_indented && !text.is_empty() {
            return (Some(NoAnswer::InCode), text);
        }
        if let Some((block, rest)) = self.begun(text, offset) {
            let place = block.place();
            if !block.ends_in(rest) {
                self.open = Some(block);
            }
            return (Some(place), text);
        }
        if let Some(quoted) = text.strip_prefix('>').or_else(|| text.strip_prefix("bq. ")) {
            return (Some(NoAnswer::Quoted), quoted.trim_start_matches(['>', ' ', '\t']));
        }
        (None, text)
    }

    /// The block that begins with a line, and what of the line could end it again.
    fn begun<'t>(&self, text: &'t str, offset: usize) -> Option<(Block, &'t str)> {
        let item = in_item(text);
        for mark in ['`', '~'] {
            let rest = item.trim_start_matches(mark);
            let length = item.len() - rest.len();
            // What has such signs behind it as well is code within a line.
            if length >= 3 && !(mark == '`' && rest.contains(mark)) {
                // No text is as long as this asks for, so it does not end here.
                return Some((Block::Fence { mark, length }, " "));
            }
        }
        if let Some(rest) = text.strip_prefix("<!--") {
            return Some((Block::Hidden, rest));
        }
        let begins = |(place, (begin, ..)): (usize, &(&str, &str, NoAnswer))| {
            let rest = text.strip_prefix(begin)?;
            let rest = rest.strip_prefix('}').or_else(|| rest.strip_prefix(':'))?;
            // Its own `{code}` ends nothing.
            let is_ended = self.last[place]? > offset + text.len() || rest.contains(MARKS[place].1);
            is_ended.then_some((Block::Marked { place }, rest))
        };
        MARKS.iter().enumerate().find_map(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(comment: &str) -> Option<Result<(), NoAnswer>> {
        says(&["/ack".to_owned(), "👍".to_owned(), "on it".to_owned()], comment)
    }

    #[test]
    fn a_line_that_begins_with_a_word_is_an_answer() {
        for given in [
            "/ack",
            " /ack \r\nI am on it now",
            "\n\n👍",
            "/ack\n/nack",
            "/ACK",
            "/Ack I will look into it",
            "/ack\tlooking",
            "Thanks.\r\n\r\n/ack\r\n",
            "On It",
            "> what happened?\n/ack",
            "> ```\n/ack",
            "```\ncode\n```\n/ack",
            "~~~~\n~~~\n~~~~\n/ack",
            "```/ack```\n/ack",
            "{code:java}\nx\n{code}\n/ack",
            "- ```\n  x\n  ```\n\n/ack",
            "2. ~~~\n   x\n   ~~~\n/ack",
            "{quote}all of it{quote}\n/ack",
            "<!-- a template -->\n/ack",
            "{quote} that nobody ends\n/ack",
            "see /ack\n/ack",
            "/ack cancelled the deploy",
        ] {
            assert_eq!(said(given), Some(Ok(())), "{given:?}");
        }
    }

    #[test]
    fn what_only_looks_like_one_says_why() {
        for (comment, why) in [
            ("see /ack", NoAnswer::WithinLine),
            ("please write `/ack`", NoAnswer::WithinLine),
            ("- /ack", NoAnswer::WithinLine),
            ("I'm on it!", NoAnswer::WithinLine),
            ("/ackno", NoAnswer::RunsOn),
            ("/acknowledge", NoAnswer::RunsOn),
            ("/ack!", NoAnswer::RunsOn),
            ("on it, but later", NoAnswer::RunsOn),
            ("👍👍", NoAnswer::RunsOn),
            ("/ack cancel", NoAnswer::Cancelled),
            ("/ack CANCEL please", NoAnswer::Cancelled),
            ("> /ack", NoAnswer::Quoted),
            (">> /ack I am on it\n\nreally?", NoAnswer::Quoted),
            ("bq. /ack", NoAnswer::Quoted),
            ("{quote}\n/ack\n{quote}", NoAnswer::Quoted),
            ("```\n/ack\n```", NoAnswer::InCode),
            ("````md\n```\n/ack\n```\n````", NoAnswer::InCode),
            ("~~~\n/ack", NoAnswer::InCode),
            ("- ```\n  /ack\n  ```", NoAnswer::InCode),
            ("{noformat}\n/ack\n{noformat}", NoAnswer::InCode),
            ("    /ack", NoAnswer::InCode),
            ("\t/ack now", NoAnswer::InCode),
            ("<!--\n/ack\n-->", NoAnswer::Hidden),
            // The first of them.
            ("> /ack\n\nsee /ack", NoAnswer::Quoted),
        ] {
            assert_eq!(said(comment), Some(Err(why)), "{comment:?}");
        }
    }

    #[test]
    fn what_has_nothing_of_it_says_nothing() {
        for nothing in [
            "",
            "\n \n",
            "and?",
            "https://x.test/ack",
            "path/to/ack",
            "slack",
            "on items",
            "```\nsee /ack\n```",
            "> see /ack",
        ] {
            assert_eq!(said(nothing), None, "{nothing:?}");
        }
        assert_eq!(says(&[], "/ack"), None);
    }

    /// One walk through it, whatever is begun and not ended.
    #[test]
    fn a_long_comment_is_read_up_to_a_bound() {
        let late = |filler: &str, times: usize| said(&(filler.repeat(times) + "\n/ack"));
        assert_eq!(late("ä\n", 1000), Some(Ok(())));
        assert_eq!(late("ä\n", MAX_BYTES), None);
        assert_eq!(late("{code\n", 40_000), Some(Ok(())));
        assert_eq!(late("{code}\n", 20_001), Some(Ok(())));
        assert_eq!(late("\u{1F600}", MAX_BYTES), None);
    }
}
