//! What is sent: where, a free/busy query, a meeting.

use chrono::{DateTime, Utc};
use reqwest::Url;
use sha2::{Digest, Sha256};

use super::ical::{Lines, utc};
use crate::targets::meeting::Wanted;

/// The longest path, in bytes.
const PATH_MAX: usize = 512;

/// The collection at `path` below `base`; `None` where that leads elsewhere.
pub(super) fn collection(base: &Url, path: &str) -> Option<Url> {
    let lower = path.to_ascii_lowercase();
    let plain = path.len() <= PATH_MAX
        && path.starts_with('/')
        && !path.chars().any(|c| c.is_control() || matches!(c, '\\' | '?' | '#'))
        && !["//", "%2f", "%5c"].iter().any(|odd| lower.contains(odd))
        && !lower.split('/').any(|segment| matches!(segment.replace("%2e", ".").as_str(), "." | ".."));
    let mut url = base.clone();
    url.set_query(None);
    let below = format!("{}{}/", base.path().trim_end_matches('/'), path.trim_end_matches('/'));
    url.set_path(&below);
    (plain && path.len() > 1).then_some(url)
}

/// The object of a meeting in its collection.
pub(super) fn object(collection: &Url, id: &str) -> Url {
    let mut url = collection.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(&format!("{id}.ics"));
    }
    url
}

/// The name of an action's meeting, always the same.
pub(super) fn id(action_id: &str) -> String {
    hex::encode(Sha256::digest(action_id))
}

/// The UID of an action's meeting.
pub(super) fn uid(action_id: &str) -> String {
    format!("{}@breakdown", id(action_id))
}

/// When a calendar is busy (RFC 4791, 7.10).
pub(super) fn query(wanted: &Wanted) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<C:free-busy-query xmlns:C=\"urn:ietf:params:xml:ns:caldav\">\
         <C:time-range start=\"{}\" end=\"{}\"/></C:free-busy-query>\n",
        utc(wanted.from),
        utc(wanted.until),
    )
}

/// A meeting, as it is put.
pub(super) fn meeting(
    wanted: &Wanted,
    action_id: &str,
    asked_at: DateTime<Utc>,
    start: DateTime<Utc>,
    organizer: Option<&str>,
) -> String {
    let mut lines = Lines::default();
    lines.plain("BEGIN", "VCALENDAR");
    lines.plain("VERSION", "2.0");
    lines.plain("PRODID", "-//Breakdown//Breakdown//EN");
    lines.plain("BEGIN", "VEVENT");
    lines.plain("UID", &uid(action_id));
    lines.plain("DTSTAMP", &utc(asked_at));
    lines.plain("DTSTART", &utc(start));
    lines.plain("DTEND", &utc(wanted.end(start)));
    lines.text("SUMMARY", &wanted.title);
    lines.text("DESCRIPTION", &wanted.about.join("\n"));
    if let Some(url) = &wanted.url {
        lines.plain("URL", url);
    }
    if let Some(organizer) = organizer {
        lines.plain("ORGANIZER", &format!("mailto:{organizer}"));
        let mut invited: Vec<&str> = Vec::new();
        for email in wanted.guests.iter().filter_map(|guest| guest.email.as_deref()) {
            if !invited.contains(&email) {
                let name = "ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE";
                lines.plain(name, &format!("mailto:{email}"));
                invited.push(email);
            }
        }
    }
    lines.plain("END", "VEVENT");
    lines.plain("END", "VCALENDAR");
    lines.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_base() {
        let base: Url = "https://dav.test/remote.php/dav/".parse().expect("a url");
        let path = |path: &str| collection(&base, path).map(|url| url.to_string());
        for (said, url) in [
            ("/alice/calendar", "https://dav.test/remote.php/dav/alice/calendar/"),
            ("/alice/calendar/", "https://dav.test/remote.php/dav/alice/calendar/"),
            ("/a%40x.test/ü b/", "https://dav.test/remote.php/dav/a%40x.test/%C3%BC%20b/"),
        ] {
            assert_eq!(path(said).as_deref(), Some(url));
        }
        for bad in [
            "",
            "/",
            "//",
            "//evil.test/x",
            "alice/calendar",
            "https://evil.test/",
            "/a/../b",
            "/a/%2E%2e/b",
            "/.",
            "/a?b",
            "/a#b",
            "/a\\..\\b",
            "/a%2fb",
            "/a\r\nb",
            "/..",
            "/%2e",
        ] {
            assert_eq!(path(bad), None, "{bad}");
        }
        let calendar = collection(&base, "/a/b").expect("a url");
        assert_eq!(object(&calendar, "x").as_str(), "https://dav.test/remote.php/dav/a/b/x.ics");
    }
}
