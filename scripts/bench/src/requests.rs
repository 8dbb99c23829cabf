//! Whole requests, signed beforehand.
//!
//! A request is one template in which three places are written over: the delivery id, the issue's number in the body,
//! and the signature over that body. Only the signatures (64 bytes each) are made beforehand, so as many distinct bodies as
//! a run needs fit into memory, the bytes sent stay in the cache, and signing costs the run nothing.

use http::Uri;

use crate::{
    Result,
    payload::{NUMBER_WIDTH, Payload},
    signature::Key,
};

/// `xxxxxxxx-0000-4000-8000-xxxxxxxxxxxx`
const DELIVERY_WIDTH: usize = 36;
/// Most bodies that one run can tell apart; numbers of two runs do not meet below it.
const MAX_DISTINCT: u64 = 10_000_000;

/// Where deliveries go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: String,
    path: String,
}

impl Target {
    /// Reads `http://host:port/path`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().map_err(|error| format!("--url {url}: {error}"))?;
        match (uri.scheme_str(), uri.host(), uri.port_u16()) {
            (Some("http"), Some(host), Some(port)) => {
                Ok(Self { address: format!("{host}:{port}"), path: uri.path().to_owned() })
            }
            _ => Err(format!("--url {url}: write http://host:port/path").into()),
        }
    }
}

/// The requests of one run, by number from 0.
pub(crate) struct Requests {
    template: Vec<u8>,
    delivery_at: usize,
    signature_at: usize,
    number_at: usize,
    /// Tells this run's deliveries and issues from those of others.
    run: u32,
    signatures: Vec<[u8; 64]>,
}

impl Requests {
    /// Signs `distinct` bodies. Request `n` has the body `n` modulo `distinct`, and always a delivery id of its own.
    pub(crate) fn new(
        target: &Target,
        secret: &str,
        payload: &Payload,
        distinct: u64,
        run: u32,
    ) -> Result<Self> {
        if !(1..=MAX_DISTINCT).contains(&distinct) {
            return Err(format!("{distinct} distinct bodies: ask for 1 to {MAX_DISTINCT}").into());
        }
        let Target { address, path } = target;
        let mut template = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: GitHub-Hookshot/bench\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nx-github-event: issues\r\n\
             x-github-hook-id: 292430182\r\nx-github-hook-installation-target-type: repository\r\n\
             x-github-delivery: ",
            payload.body.len()
        )
        .into_bytes();
        let delivery_at = template.len();
        template.resize(delivery_at + DELIVERY_WIDTH, b'-');
        template.extend(b"\r\nx-hub-signature-256: sha256=");
        let signature_at = template.len();
        template.resize(signature_at + 64, b'-');
        template.extend(b"\r\n\r\n");
        let number_at = template.len() + payload.number_at;
        template.extend(&payload.body);

        let key = Key::new(secret)?;
        let mut body = payload.body.clone();
        let sign = |n| {
            body[payload.number_at..][..NUMBER_WIDTH].copy_from_slice(number(run, n).as_bytes());
            key.sign(&body)
        };
        let signatures = (0..distinct).map(sign).collect::<Result<_>>()?;
        Ok(Self { template, delivery_at, signature_at, number_at, run, signatures })
    }

    /// A buffer for [`Requests::write`].
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.template.clone()
    }

    /// Makes `buffer` request `n`.
    pub(crate) fn write(&self, buffer: &mut [u8], n: u64) {
        let of_body = n % self.signatures.len() as u64;
        let mut put = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
        put(self.delivery_at, format!("{:08x}-0000-4000-8000-{n:012x}", self.run).as_bytes());
        put(self.signature_at, &self.signatures[of_body as usize]);
        put(self.number_at, number(self.run, of_body).as_bytes());
    }
}

fn number(run: u32, n: u64) -> String {
    let number = 100_000_000_000_000 + u64::from(run) % MAX_DISTINCT * MAX_DISTINCT + n;
    format!("{number:0NUMBER_WIDTH$}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_request_is_whole_signed_and_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("payload.json");
        std::fs::write(&file, r#"{"action":"opened","issue":{"number":3,"title":"é"}}"#).unwrap();
        let target = Target::parse("http://127.0.0.1:80/github/issues").unwrap();
        let requests = Requests::new(&target, "s", &Payload::read(&file).unwrap(), 2, u32::MAX).unwrap();
        let mut buffer = requests.buffer();
        let (mut deliveries, mut bodies) = (HashSet::new(), HashSet::new());
        for n in 0..4 {
            requests.write(&mut buffer, n);
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut head = httparse::Request::new(&mut headers);
            let length = head.parse(&buffer).unwrap().unwrap();
            assert_eq!((head.method, head.path), (Some("POST"), Some("/github/issues")));
            let body = &buffer[length..];
            let header = |name: &str| head.headers.iter().find(|header| header.name == name).unwrap().value;
            assert_eq!(header("content-length"), body.len().to_string().as_bytes());
            assert!(Key::new("s").unwrap().verify(header("x-hub-signature-256"), body));
            serde_json::from_slice::<serde_json::Value>(body).unwrap();
            deliveries.insert(header("x-github-delivery").to_vec());
            bodies.insert(body.to_vec());
        }
        assert_eq!((deliveries.len(), bodies.len()), (4, 2));
    }

    #[test]
    fn an_address_needs_its_port() {
        for url in ["http://localhost/x", "https://localhost:1/x", "localhost:1", ""] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
