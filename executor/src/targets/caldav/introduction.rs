//! Who we are on a CalDAV server: `PROPFIND` of the meetings' calendar (RFC 5397, RFC 3744).

use events::ActionKind;
use quick_xml::{
    events::Event,
    name::{Namespace, ResolveResult},
    reader::NsReader,
};
use reqwest::{Method, header::CONTENT_TYPE};

use super::{Caldav, response};
use crate::{Introduction, Verdict, http::ONE};

const ASKED: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/>\
                     <D:current-user-principal/><D:current-user-privilege-set/></D:prop></D:propfind>\n";
/// How deep an answer may be.
const DEPTH_MAX: usize = 32;
/// How many privileges are looked at.
const PRIVILEGES_MAX: usize = 64;

/// What the answer says of the calendar.
#[derive(Debug, Default, PartialEq, Eq)]
struct Properties {
    is_calendar: bool,
    /// Our principal's path.
    principal: Option<String>,
    /// `None`: the server does not say.
    privileges: Option<Vec<String>>,
}

impl Caldav {
    pub(super) async fn properties(&self, kinds: &[ActionKind]) -> Result<Introduction, Verdict> {
        let propfind = Method::from_bytes(b"PROPFIND").unwrap_or(Method::OPTIONS);
        let request = self.api.request(propfind, self.calendar.clone()).header("depth", "0");
        let request = request.header(CONTENT_TYPE, "application/xml; charset=utf-8").body(ASKED);
        let reply = self.call(request).await?;
        if !reply.status().is_success() {
            return Err(response::refused(&reply, "calendar for the meetings"));
        }
        let unclear = reply.retry(None, "in a form that cannot be read: is this a CalDAV server?");
        let found = reply.bytes(ONE).await.and_then(|bytes| Properties::read(&bytes)).ok_or(unclear)?;

        let who = match &found.principal {
            Some(principal) => format!("{}, {principal}", self.user),
            None => self.user.clone(),
        };
        let known = Introduction::of(&who).need(
            found.is_calendar,
            "what stands at this path is no calendar: write the path of one under calendar",
        );
        let Some(privileges) = found.privileges else {
            return Ok(known.note("the server does not say which privileges we have in the calendar"));
        };
        let has = |any: &[&str]| privileges.iter().any(|has| has == "all" || any.contains(&has.as_str()));
        let books = kinds.contains(&ActionKind::ScheduleUnblocker);
        let cancels = kinds.contains(&ActionKind::Resolve);
        let share = "share the calendar with this user so that they may write in it";
        Ok(known
            .may(&privileges)
            .need(!books || has(&["write", "bind"]), format!("bind, to put meetings there: {share}"))
            .need(
                !cancels || has(&["write", "write-content"]),
                format!("write-content, to cancel them: {share}"),
            )
            .need(
                has(&["read", "read-free-busy"]),
                "read-free-busy, to see when it is free: share the calendar",
            ))
    }
}

impl Properties {
    /// Of a multistatus; `None` where it is none. Entities are not expanded beyond those of XML itself.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = NsReader::from_reader(bytes);
        reader.config_mut().trim_text(true);
        reader.config_mut().expand_empty_elements = true;
        // The local names of DAV and CalDAV elements that are open, others as nothing.
        let (mut open, mut found, mut pending) = (Vec::<String>::new(), Self::default(), Self::default());
        let (mut buffer, mut status, mut is_multistatus) = (Vec::new(), String::new(), false);
        loop {
            let (space, event) = reader.read_resolved_event_into(&mut buffer).ok()?;
            match event {
                Event::Start(element) => {
                    let known = matches!(
                        space,
                        ResolveResult::Bound(Namespace(b"DAV:" | b"urn:ietf:params:xml:ns:caldav"))
                    );
                    let name = element.local_name();
                    let name = if known { std::str::from_utf8(name.as_ref()).ok()? } else { "" };
                    if open.len() >= DEPTH_MAX {
                        return None;
                    }
                    match (open.last().map(String::as_str), name) {
                        (None, "multistatus") => is_multistatus = true,
                        (Some("resourcetype"), "calendar") => pending.is_calendar = true,
                        (_, "current-user-privilege-set") => pending.privileges = Some(Vec::new()),
                        (Some("privilege"), name) if !name.is_empty() => {
                            let privileges = pending.privileges.get_or_insert_default();
                            if privileges.len() < PRIVILEGES_MAX && !privileges.iter().any(|has| has == name)
                            {
                                privileges.push(name.to_owned());
                            }
                        }
                        _ => {}
                    }
                    open.push(name.to_owned());
                }
                Event::Text(text) => {
                    let mut last = open.iter().rev().map(String::as_str);
                    match (last.next(), last.next()) {
                        (Some("href"), Some("current-user-principal")) => {
                            pending.principal = Some(text.decode().ok()?.into_owned());
                        }
                        (Some("status"), Some("propstat")) => status = text.decode().ok()?.into_owned(),
                        _ => {}
                    }
                }
                Event::End(_) => {
                    // What stands under another status than success is not known.
                    let closed = open.pop();
                    if closed.as_deref() == Some("propstat") {
                        let said = std::mem::take(&mut pending);
                        if std::mem::take(&mut status).split(' ').nth(1) == Some("200") {
                            found.is_calendar |= said.is_calendar;
                            found.principal = found.principal.or(said.principal);
                            found.privileges = found.privileges.or(said.privileges);
                        }
                    }
                }
                Event::DocType(_) => return None,
                Event::Eof => return (is_multistatus && open.is_empty()).then_some(found),
                _ => {}
            }
            buffer.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_a_calendar_is_read_by_status() {
        let answer = "<?xml version='1.0'?><multistatus xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><response><href>/t/</href>\
            <propstat><prop><resourcetype><C:calendar/><collection/></resourcetype><current-user-principal><href>/bot/</href>\
            </current-user-principal></prop><status>HTTP/1.1 200 OK</status></propstat>\
            <propstat><prop><current-user-privilege-set/></prop><status>HTTP/1.1 404 Not Found</status></propstat></response></multistatus>";
        let found = Properties::read(answer.as_bytes()).expect("a multistatus");
        assert_eq!(
            found,
            Properties { is_calendar: true, principal: Some("/bot/".into()), privileges: None }
        );
        let told = answer.replacen(
            "<current-user-principal>",
            "<current-user-privilege-set><privilege><read/></privilege><privilege><x xmlns='y'/></privilege>\
             <privilege><write/></privilege></current-user-privilege-set><current-user-principal>",
            1,
        );
        let privileges = Properties::read(told.as_bytes()).expect("a multistatus").privileges;
        assert_eq!(privileges, Some(vec!["read".to_owned(), "write".to_owned()]));
    }

    #[test]
    fn what_is_no_such_answer_is_none() {
        let deep = "<a>".repeat(100);
        let bomb = "<!DOCTYPE m [<!ENTITY a 'aaaa'>]><multistatus xmlns='DAV:'>&a;</multistatus>";
        for bad in
            ["", "<html></html>", "<multistatus xmlns='DAV:'>", "{}", "\0", "<multistatus/>", &deep, bomb]
        {
            assert_eq!(Properties::read(bad.as_bytes()), None, "{bad}");
        }
    }
}
