//! Places in the file: bytes, lines and columns.

use std::ops::Range;

/// A part of the file, in bytes. The file is far shorter than 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let short = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: short(start), end: short(end.max(start)) }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// The lines of a text. They end as in YAML: with LF, CR LF or CR; a byte order mark at the beginning is no column.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    pub(crate) text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut starts = vec![if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 }];
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                starts.push(at + 1);
            }
        }
        Self { text, starts }
    }

    /// Line and column, from 1, of a byte.
    pub(crate) fn place(&self, offset: usize) -> (usize, usize) {
        let offset = self.clamp(offset);
        let line = self.number(offset);
        let before = self.text.get(self.starts[line - 1]..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The number, from 1, of the line in which a byte stands.
    pub(crate) fn number(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    /// A line and column as a byte; what lies outside is brought to the line's or the text's end.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        if line > self.starts.len() {
            return self.text.len();
        }
        let (line, text) = (line.max(1), self.line(line.max(1)));
        let within = text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
        self.starts[line - 1] + within
    }

    /// A line's text, without its end. Lines outside are empty.
    pub(crate) fn line(&self, number: usize) -> &'t str {
        let Some(&start) = number.checked_sub(1).and_then(|index| self.starts.get(index)) else { return "" };
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    /// Where a line begins.
    pub(crate) fn start(&self, number: usize) -> usize {
        self.starts.get(number.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    /// Brought to the beginning of a character, within the text.
    fn clamp(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_three_ways() {
        let lines = Lines::new("\u{FEFF}aü\r\nb\rc\n\nd");
        assert_eq!((1..=6).map(|n| lines.line(n)).collect::<Vec<_>>(), ["aü", "b", "c", "", "d", ""]);
        for (offset, place) in
            [(3, (1, 1)), (4, (1, 2)), (5, (1, 2)), (6, (1, 3)), (8, (2, 1)), (10, (3, 1)), (13, (5, 1))]
        {
            assert_eq!(lines.place(offset), place, "{offset}");
        }
        assert_eq!(lines.place(999), (5, 2));
        assert_eq!(lines.offset(1, 3), 6);
        assert_eq!(lines.offset(5, 99), 14);
        assert_eq!(lines.offset(99, 1), 14);
        assert_eq!(Lines::new("").place(0), (1, 1));
    }
}
