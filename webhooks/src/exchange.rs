//! Where one connection stands: between requests, in a request's head, being worked on, or being answered.
//!
//! The HTTP library has one timer for a head and for the idle time before it and none for an answer that nobody reads,
//! and it drops Content-Length when Transfer-Encoding is there too, so that nobody behind it can tell. All of that is
//! seen here, without judging what is HTTP: requests begin and end where the library says so, and of the bytes only
//! a head's end and two header names in it are looked at.
//!
//! Requests come one at a time. Until an answer was sent whole no byte after its request is taken, and where one was
//! read already, the answer is the connection's last. So a head always begins where an answer ended, and whatever does
//! not fit that picture is refused.

use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    SlowHead,
    SlowReader,
    Idle,
}

/// Where one connection stands.
#[derive(Debug)]
pub(crate) struct Exchange {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// Whether no request was answered yet.
    first: bool,
    head: HeadScanner,
    /// Bytes read since the last answer.
    read: u64,
    /// Bytes of the request, head and body; `None` where only its own end tells.
    length: Option<u64>,
    /// Whether the body was read to its end.
    body_ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Head,
    Working,
    Answering,
}

impl Exchange {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Waiting,
            since: now,
            first: true,
            head: HeadScanner::default(),
            read: 0,
            length: None,
            body_ended: false,
        }
    }

    /// Whether bytes may be read now.
    pub(crate) fn reads(&self) -> bool {
        self.phase != Phase::Answering
    }

    /// These bytes were read.
    pub(crate) fn read(&mut self, bytes: &[u8], now: Instant) {
        self.read += bytes.len() as u64;
        if matches!(self.phase, Phase::Waiting | Phase::Head) {
            self.head.scan(bytes);
        }
        if self.phase == Phase::Waiting && self.head.begun() {
            self.enter(Phase::Head, now);
        }
    }

    /// A request begins to be worked on, whose body has so many bytes, where that is known. False when its length is
    /// ambiguous, or its head was not seen whole.
    pub(crate) fn begin(&mut self, body: Option<u64>, now: Instant) -> bool {
        let whole = self.phase == Phase::Head;
        self.enter(Phase::Working, now);
        self.body_ended = false;
        self.length = self.head.end.zip(body).and_then(|(head, body)| head.checked_add(body));
        whole && self.head.end.is_some() && !(self.head.length && self.head.encoding)
    }

    /// The body of the request was read to its end.
    pub(crate) fn body_ended(&mut self) {
        self.body_ended = true;
    }

    /// Since when the peer owes us bytes; `None` while the next step is ours, or an answer is on its way.
    pub(crate) fn owing_since(&self) -> Option<Instant> {
        let owing = match self.phase {
            Phase::Waiting | Phase::Head => true,
            Phase::Working => self.request_open() && !self.body_ended,
            Phase::Answering => false,
        };
        owing.then_some(self.since)
    }

    /// A request was answered, though the answer was not sent yet. True when it is the connection's last: the request was
    /// not read to its end, more than it was read, or where it ends is not known.
    pub(crate) fn answer(&mut self, now: Instant) -> bool {
        self.enter(Phase::Answering, now);
        self.request_open()
    }

    /// All that was to be sent was handed to the system. True when reading goes on now.
    pub(crate) fn sent(&mut self, now: Instant) -> bool {
        let next = self.phase == Phase::Answering && !self.request_open();
        if next {
            *self = Self { first: false, ..Self::new(now) };
        }
        next
    }

    /// Whether the connection carried nothing yet.
    pub(crate) fn untouched(&self) -> bool {
        self.first && self.phase == Phase::Waiting
    }

    /// Whether the peer may still be sending what nobody will read.
    pub(crate) fn peer_may_be_sending(&self) -> bool {
        matches!(self.phase, Phase::Working | Phase::Answering) && self.request_open()
    }

    /// Until when the peer has to do something, and what it is then; `None` while the next step is ours.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<(Instant, Overdue)> {
        let within = |wait: Duration, overdue| Some((self.since + wait, overdue));
        match self.phase {
            Phase::Waiting if !self.first => within(limits.idle_timeout, Overdue::Idle),
            Phase::Waiting | Phase::Head => within(limits.head_timeout, Overdue::SlowHead),
            // Whoever reads a body bounds the time for it.
            Phase::Working => None,
            Phase::Answering => within(limits.answer_timeout, Overdue::SlowReader),
        }
    }

    fn request_open(&self) -> bool {
        self.length != Some(self.read)
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        // A first head's time counts from the connection's start.
        if !(self.first && phase == Phase::Head) {
            self.since = now;
        }
        self.phase = phase;
    }
}

const LENGTH: &[u8] = b"content-length:";
const ENCODING: &[u8] = b"transfer-encoding:";

/// Finds the end of one head, and which of two headers are in it. Looks at no value.
#[derive(Debug, Default)]
struct HeadScanner {
    /// The line being read, as much of it as can tell the two names.
    line: Vec<u8>,
    /// Whether the request line was read.
    request_line: bool,
    /// Whether there is a Content-Length.
    length: bool,
    /// Whether there is a Transfer-Encoding.
    encoding: bool,
    scanned: u64,
    /// How many bytes the head has.
    end: Option<u64>,
}

impl HeadScanner {
    /// Whether the head begins in what was read. Empty lines before it do not count (RFC 9112, section 2.2).
    fn begun(&self) -> bool {
        self.request_line || self.end.is_some() || self.line.iter().any(|byte| *byte != b'\r')
    }

    fn scan(&mut self, mut bytes: &[u8]) {
        while self.end.is_none() && !bytes.is_empty() {
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..newline.unwrap_or(bytes.len())];
            let room = ENCODING.len().saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let taken = newline.map_or(bytes.len(), |newline| newline + 1);
            self.scanned += taken as u64;
            bytes = &bytes[taken..];
            if newline.is_some() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let names = |name: &[u8]| self.line.get(..name.len()).is_some_and(|l| l.eq_ignore_ascii_case(name));
        let empty = matches!(self.line.as_slice(), b"" | b"\r");
        if !self.request_line {
            self.request_line = !empty;
        } else if empty {
            self.end = Some(self.scanned);
        } else {
            let (length, encoding) = (names(LENGTH), names(ENCODING));
            self.length |= length;
            self.encoding |= encoding;
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn scanned(text: &[u8]) -> HeadScanner {
        let mut scanner = HeadScanner::default();
        scanner.scan(text);
        scanner
    }

    /// An exchange that has read `bytes` and begun a request with a body of so many bytes.
    fn working(bytes: &[u8], body: Option<u64>) -> (Exchange, bool) {
        let mut exchange = Exchange::new(Instant::now());
        exchange.read(bytes, Instant::now());
        let clear = exchange.begin(body, Instant::now());
        (exchange, clear)
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    #[rstest]
    #[case("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")]
    #[case("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nx: y\r\nCONTENT-LENGTH:5\r\n\r\n")]
    #[case("\r\n\nPOST / HTTP/1.1\ntransfer-encoding:\nContent-Length: nonsense\n\n")]
    fn sees_both_lengths_in_either_order(#[case] head: &str) {
        assert!(!working(head.as_bytes(), None).1);
    }

    #[test]
    fn a_name_in_a_value_is_no_header() {
        let head = "POST /transfer-encoding: HTTP/1.1\r\nx: transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n.";
        assert!(working(head.as_bytes(), Some(1)).1);
    }

    #[test]
    fn a_request_whose_head_was_not_seen_whole_is_refused() {
        assert!(!working(b"", Some(0)).1);
        assert!(!working(b"GET / HTTP/1.1\r\n", Some(0)).1);
    }

    #[test]
    fn what_comes_before_the_answer_makes_it_the_last() {
        for (more, body, last) in
            [("", Some(0), false), ("G", Some(0), true), ("", Some(1), true), ("", None, true)]
        {
            let (mut exchange, _) = working(&[GET, more.as_bytes()].concat(), body);
            assert_eq!(exchange.answer(Instant::now()), last);
            assert!(!exchange.reads());
            assert_eq!(exchange.sent(Instant::now()), !last);
            assert_eq!((exchange.reads(), exchange.peer_may_be_sending()), (!last, last));
        }
    }

    #[test]
    fn a_peer_owes_us_a_request_until_it_was_read() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        for (body, ends) in [(Some(1), false), (None, true)] {
            let mut exchange = Exchange::new(start);
            assert_eq!(exchange.owing_since(), Some(start));
            exchange.read(GET, later(1));
            assert_eq!(
                exchange.owing_since(),
                Some(start),
                "a first head's time counts from the connection's start"
            );
            assert!(exchange.begin(body, later(2)));
            assert_eq!(exchange.owing_since(), Some(later(2)));
            exchange.read(b"x", later(3));
            if ends {
                assert_eq!(exchange.owing_since(), Some(later(2)), "a chunk is no end");
                exchange.body_ended();
            }
            assert_eq!(exchange.owing_since(), None);
            exchange.answer(later(4));
            assert_eq!(exchange.owing_since(), None);
        }
    }

    #[test]
    fn every_phase_but_our_own_has_its_time() {
        let limits = Limits::default();
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut exchange = Exchange::new(start);
        assert!(exchange.untouched());
        assert_eq!(exchange.deadline(&limits), Some((start + limits.head_timeout, Overdue::SlowHead)));
        exchange.read(&GET[..5], later(1));
        assert_eq!(exchange.deadline(&limits), Some((start + limits.head_timeout, Overdue::SlowHead)));
        exchange.read(&GET[5..], later(2));
        assert!(exchange.begin(Some(0), later(2)));
        assert_eq!(exchange.deadline(&limits), None);
        exchange.answer(later(3));
        assert_eq!(exchange.deadline(&limits), Some((later(3) + limits.answer_timeout, Overdue::SlowReader)));
        exchange.sent(later(4));
        assert_eq!(exchange.deadline(&limits), Some((later(4) + limits.idle_timeout, Overdue::Idle)));
        exchange.read(b"\r\n", later(5));
        assert_eq!(exchange.deadline(&limits), Some((later(4) + limits.idle_timeout, Overdue::Idle)));
        exchange.read(b"G", later(6));
        assert_eq!(exchange.deadline(&limits), Some((later(6) + limits.head_timeout, Overdue::SlowHead)));
    }

    /// Lines that are headers, nearly headers, or nearly the end of a head.
    fn line() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("Content-Length"),
            Just("transfer-encoding"),
            Just("content-length "),
            Just(" content-length"),
            Just("x-content-length"),
            Just("transfer-encodin"),
            Just("transfer-encodings"),
            Just("host"),
            Just(""),
        ];
        let value = prop_oneof![
            " {0,80}[0-9]{1,3}",
            "0{0,80}[0-9]",
            "\t*chunked *",
            "[ -~]{0,100}",
            "[\\r\\n:a]{0,4}",
            Just(String::new()),
        ];
        let end = prop_oneof![8 => Just("\r\n"), 4 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n")];
        let header = (name, prop_oneof![9 => Just(":"), 1 => Just("")], value, end)
            .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"));
        prop_oneof![10 => header, 1 => Just("\r\n".to_owned()), 1 => Just("\n".to_owned())]
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let before = "(\\r\\n|\\n){0,2}";
        let start = prop_oneof![
            Just("POST / HTTP/1.1\r\n"),
            Just("POST / HTTP/1.1\n"),
            Just("GET /content-length: HTTP/1.0\r\n"),
        ];
        let after = prop_oneof![Just("\r\n"), Just("\n")];
        let body = proptest::collection::vec(any::<u8>(), 0..40);
        (before, start, proptest::collection::vec(line(), 0..6), after, body).prop_map(
            |(before, start, lines, after, body)| {
                [before.as_bytes(), start.as_bytes(), lines.concat().as_bytes(), after.as_bytes(), &body]
                    .concat()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The HTTP library parses heads with httparse, so this is its reading.
        #[test]
        fn heads_end_where_the_library_ends_them_and_have_its_headers(
            bytes in request(), cuts in proptest::collection::vec(1usize..60, 0..10)
        ) {
            let mut scanner = HeadScanner::default();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (part, left) = rest.split_at(cut.min(rest.len()));
                scanner.scan(part);
                rest = left;
            }
            scanner.scan(rest);
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut parsed = httparse::Request::new(&mut headers);
            match parsed.parse(&bytes) {
                Ok(httparse::Status::Complete(end)) => {
                    let has = |name| parsed.headers.iter().any(|h| h.name.eq_ignore_ascii_case(name));
                    prop_assert_eq!(scanner.end, Some(end as u64));
                    prop_assert_eq!(scanner.length, has("content-length"));
                    prop_assert_eq!(scanner.encoding, has("transfer-encoding"));
                }
                Ok(httparse::Status::Partial) => prop_assert_eq!(scanner.end, None),
                // Never becomes a request.
                Err(_) => {}
            }
        }
    }

    #[test]
    fn the_line_kept_is_short() {
        let scanner = scanned(&[b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'y'; 100_000]].concat());
        assert_eq!(scanner.line.len(), ENCODING.len());
    }
}
