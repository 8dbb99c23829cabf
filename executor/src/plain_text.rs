//! Text of strangers, made inert before it leaves: one line, bounded, nothing invisible.

use reqwest::Url;

/// `text` as one line of at most `max` characters: control, line-breaking, direction-changing and invisible
/// characters become spaces, runs of spaces one; what is cut ends in `…`.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    let spaced: String = text.chars().take(max * 4).map(|c| if is_inert(c) { c } else { ' ' }).collect();
    let line = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().nth(max).is_none() {
        return line;
    }
    line.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// False for whatever acts instead of being seen.
fn is_inert(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{180E}' | '\u{FEFF}' // invisible
            | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}'            // letters that show nothing
            | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}'            // zero width, direction isolates
            | '\u{2028}'..='\u{202E}'                                      // line ends, direction overrides
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}'))
}

/// `text` as a web address, when it is one of at most 2,048 bytes without credentials; written as the URL standard
/// writes it, so without spaces or control characters.
pub(crate) fn web_url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    (plain && url.as_str().len() <= 2048).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_becomes_one_plain_line() {
        for (text, line) in [
            ("plain", "plain"),
            ("a\r\nATTENDEE:mailto:x@y\r\n", "a ATTENDEE:mailto:x@y"),
            ("tab\tbell\u{7}nul\0esc\u{1b}[31m", "tab bell nul esc [31m"),
            ("bidi\u{202e}gnp.exe\u{2066}x\u{2069}", "bidi gnp.exe x"),
            ("zero\u{200b}width\u{feff}\u{2028}line", "zero width line"),
            ("tag\u{e0041}\u{e0100}fill\u{3164}er \u{2764}\u{fe0f}", "tag fill er \u{2764}\u{fe0f}"),
            ("   \n ", ""),
        ] {
            assert_eq!(one_line(text, 100), line);
        }
        assert_eq!(one_line("äöüß€", 5), "äöüß€");
        assert_eq!(one_line("äöüß€x", 5), "äöüß…");
        assert_eq!(one_line(&"x".repeat(1_000_000), 10).chars().count(), 10);
    }

    #[test]
    fn only_web_addresses_pass() {
        assert_eq!(web_url("https://x.test/a b\n").as_deref(), Some("https://x.test/a%20b"));
        for bad in
            ["javascript:alert(1)", "ftp://x", "https://user:pw@x.test/", "", "x", "file:///etc/passwd"]
        {
            assert_eq!(web_url(bad), None, "{bad}");
        }
        assert_eq!(web_url(&format!("https://x.test/{}", "a".repeat(3000))), None);
    }
}
