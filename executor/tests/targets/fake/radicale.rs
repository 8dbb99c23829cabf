//! No fake: Radicale, a real CalDAV server, one for all tests. It ends with them, when its standard input does.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use reqwest::{Client, Method};

/// Calendars of a test's own, on the server.
pub struct Radicale {
    pub base: String,
    home: String,
    client: Client,
}

static SERVER: OnceLock<(Child, String)> = OnceLock::new();

/// The server's address. Fails where there is none to start: without it nothing here is tested.
fn server() -> &'static str {
    let start = || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/radicale.sh");
        let mut command = Command::new(script);
        let mut child =
            command.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(script);
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "scripts/radicale.sh run says why it does not start");
        (child, url.trim().to_owned())
    };
    &SERVER.get_or_init(start).1
}

impl Radicale {
    /// Calendars of Alice, Bo and their team below `/HOME/`.
    pub async fn start(home: &str) -> Self {
        let base = tokio::task::spawn_blocking(server).await.unwrap().to_owned();
        let client = super::client();
        let radicale = Self { base, home: home.to_owned(), client };
        assert_eq!(radicale.ask("MKCOL", &format!("/{home}/"), "").await.0, 201);
        for calendar in ["alice", "bo", "team"] {
            assert_eq!(radicale.ask("MKCALENDAR", &format!("/{home}/{calendar}/"), "").await.0, 201);
        }
        radicale
    }

    pub fn calendars(&self) -> [String; 3] {
        ["alice", "bo", "team"].map(|calendar| format!("/{}/{calendar}/", self.home))
    }

    pub async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, format!("{}{path}", self.base));
        let answer =
            request.basic_auth("breakdown", Some("breakdown")).body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Somebody is busy from `start` to `end`, on 2 March 2026 in UTC; `more` are further lines of the event.
    pub async fn busy(&self, whose: &str, uid: &str, start: &str, end: &str, more: &str) {
        let event = format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260301T000000Z\r\n\
             DTSTART:20260302T{start}Z\r\nDTEND:20260302T{end}Z\r\nSUMMARY:private\r\n{more}END:VEVENT\r\nEND:VCALENDAR\r\n"
        );
        let (status, said) = self.ask("PUT", &format!("/{}/{whose}/{uid}.ics", self.home), &event).await;
        assert!([201, 204].contains(&status), "{status} {said}");
    }

    pub async fn free(&self, whose: &str, uid: &str) {
        assert_eq!(self.ask("DELETE", &format!("/{}/{whose}/{uid}.ics", self.home), "").await.0, 200);
    }

    /// All that stands in the team's calendar, lines put together again, each event by itself.
    pub async fn meetings(&self) -> Vec<Vec<String>> {
        let (status, text) = self.ask("GET", &format!("/{}/team/", self.home), "").await;
        assert_eq!(status, 200, "{text}");
        let text = text.replace("\r\n ", "");
        let events = text.split("BEGIN:VEVENT\r\n").skip(1);
        events
            .map(|event| {
                event.split("\r\n").take_while(|line| *line != "END:VEVENT").map(Into::into).collect()
            })
            .collect()
    }
}
