//! Where one connection stands: between requests, in a request's head, or being worked on.
//!
//! The HTTP library has one timer for a head and for the idle time before it, and drops Content-Length when
//! Transfer-Encoding is there too, so that nobody behind it can tell. Both are seen here, in the bytes as they are read:
//! heads are found by the same framing (no body, Content-Length, or Transfer-Encoding, after which the connection is
//! closed, so nothing after it matters). The library stays the only judge of what is HTTP.

use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;

/// Longest part of a header line that is looked at: both names, and any length that fits in 64 bits.
const LINE_BYTES: usize = 64;

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    SlowHead,
    Idle,
}

/// Where one connection stands.
#[derive(Debug)]
pub(crate) struct Exchange {
    heads: HeadScanner,
    begun: u64,
    answered: u64,
    since: Instant,
}

/// What a request needs to know of its own head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// It has both Content-Length and Transfer-Encoding.
    pub(crate) ambiguous: bool,
    /// Nothing may follow it on this connection.
    pub(crate) last: bool,
}

impl Exchange {
    pub(crate) fn new(now: Instant) -> Self {
        Self { heads: HeadScanner::default(), begun: 0, answered: 0, since: now }
    }

    /// These bytes were read.
    pub(crate) fn read(&mut self, bytes: &[u8], now: Instant) {
        let was_inside = self.heads.inside_head();
        self.heads.scan(bytes);
        if !was_inside && self.heads.inside_head() {
            self.since = now;
        }
    }

    /// A request begins to be worked on.
    pub(crate) fn begin(&mut self) -> Head {
        self.begun += 1;
        Head { ambiguous: self.heads.ambiguous == Some(self.begun), last: self.heads.rest_unknown() }
    }

    /// A request was answered.
    pub(crate) fn answer(&mut self, now: Instant) {
        self.answered += 1;
        self.since = now;
    }

    /// Whether the connection carried nothing yet.
    pub(crate) fn untouched(&self) -> bool {
        self.heads.seen == 0 && !self.heads.inside_head()
    }

    /// Whether the peer may still be sending a body.
    pub(crate) fn inside_body(&self) -> bool {
        self.heads.framing != Framing::Head
    }

    /// Until when the peer has to do something, and what it is then; `None` while the next step is ours.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<(Instant, Overdue)> {
        let within = |wait: Duration, overdue| Some((self.since + wait, overdue));
        if self.heads.seen > self.answered {
            None
        } else if self.heads.inside_head() || self.answered == 0 {
            within(limits.head_timeout, Overdue::SlowHead)
        } else {
            within(limits.idle_timeout, Overdue::Idle)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Before or in a head.
    Head,
    /// In a body of which so many bytes are to come.
    Body(u64),
    /// After a head with Transfer-Encoding or an unreadable length: the connection ends with this request.
    Unknown,
}

/// Finds the ends of heads in a stream of bytes.
#[derive(Debug)]
struct HeadScanner {
    framing: Framing,
    /// The line being read, at most its first bytes.
    line: Vec<u8>,
    /// Whether the request line was read.
    request_line: bool,
    length: Option<Option<u64>>,
    encoded: bool,
    /// How many heads were read.
    seen: u64,
    /// Which head, from 1, was the first with both Content-Length and Transfer-Encoding.
    ambiguous: Option<u64>,
}

impl Default for HeadScanner {
    fn default() -> Self {
        Self {
            framing: Framing::Head,
            line: Vec::with_capacity(LINE_BYTES),
            request_line: false,
            length: None,
            encoded: false,
            seen: 0,
            ambiguous: None,
        }
    }
}

impl HeadScanner {
    fn inside_head(&self) -> bool {
        self.framing == Framing::Head && (self.request_line || !self.line.is_empty())
    }

    fn rest_unknown(&self) -> bool {
        self.framing == Framing::Unknown
    }

    fn scan(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.framing {
                Framing::Unknown => return,
                Framing::Body(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[skipped..];
                    let left = left - skipped as u64;
                    self.framing = if left == 0 { Framing::Head } else { Framing::Body(left) };
                }
                Framing::Head => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let part = &bytes[..end.unwrap_or(bytes.len())];
                    let room = LINE_BYTES.saturating_sub(self.line.len());
                    self.line.extend_from_slice(&part[..part.len().min(room)]);
                    bytes = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
                    if end.is_some() {
                        self.end_line();
                    }
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match (line.is_empty(), self.request_line) {
            // Empty lines before a request are ignored (RFC 9112, section 2.2).
            (true, false) => {}
            (true, true) => self.end_head(),
            (false, false) => self.request_line = true,
            (false, true) => {
                if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                    let (name, value) = (&line[..colon], &line[colon + 1..]);
                    if name.eq_ignore_ascii_case(b"transfer-encoding") {
                        self.encoded = true;
                    } else if name.eq_ignore_ascii_case(b"content-length") && self.length.is_none() {
                        let digits = std::str::from_utf8(value.trim_ascii()).ok();
                        self.length = Some(digits.and_then(|digits| digits.parse().ok()));
                    }
                }
            }
        }
        self.line.clear();
    }

    fn end_head(&mut self) {
        self.seen += 1;
        if self.encoded && self.length.is_some() {
            self.ambiguous.get_or_insert(self.seen);
        }
        self.framing = match self.length {
            _ if self.encoded => Framing::Unknown,
            Some(None) => Framing::Unknown,
            None | Some(Some(0)) => Framing::Head,
            Some(Some(length)) => Framing::Body(length),
        };
        self.request_line = false;
        self.length = None;
        self.encoded = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scanned(text: &[u8]) -> HeadScanner {
        let mut scanner = HeadScanner::default();
        scanner.scan(text);
        scanner
    }

    #[test]
    fn finds_heads_between_bodies() {
        let one = b"POST / HTTP/1.1\r\nhost: x\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n..";
        assert_eq!(scanned(one).seen, 1);
        let two = [one.as_slice(), b"\r\n\nGET / HTTP/1.1\nhost: y\n\n"].concat();
        let scanner = scanned(&two);
        assert_eq!((scanner.seen, scanner.ambiguous, scanner.inside_head()), (2, None, false));
        assert!(scanned(b"POST / HTTP/1.1\r\ncon").inside_head());
    }

    #[test]
    fn sees_both_lengths_in_either_order() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nx: y\r\nCONTENT-LENGTH:5\r\n\r\n",
            "POST / HTTP/1.1\ntransfer-encoding:\nContent-Length: nonsense\n\n",
        ] {
            let scanner = scanned(head.as_bytes());
            assert_eq!((scanner.ambiguous, scanner.rest_unknown()), (Some(1), true), "{head}");
        }
        let second = "GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(scanned(second.as_bytes()).ambiguous, Some(2));
    }

    #[test]
    fn a_name_in_a_value_is_no_header() {
        let head = "POST /transfer-encoding: HTTP/1.1\r\nx: transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n.";
        assert_eq!(scanned(head.as_bytes()).ambiguous, None);
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_makes_no_difference(cuts in proptest::collection::vec(1usize..40, 0..40)) {
            let text = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
            let mut scanner = HeadScanner::default();
            let mut rest = text.as_slice();
            for cut in cuts {
                let (part, left) = rest.split_at(cut.min(rest.len()));
                scanner.scan(part);
                rest = left;
            }
            scanner.scan(rest);
            prop_assert_eq!((scanner.seen, scanner.ambiguous), (2, Some(2)));
        }
    }
}
