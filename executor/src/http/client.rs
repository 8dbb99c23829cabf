//! The client: no redirects, no proxy but a configured one, bounded connections and times, and a guard.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, ClientBuilder, Proxy, Url};

use super::guard::{self, Allowed, Guard, Lookup, Reach};
use crate::ExecutorError;

/// A client for one outside API at `base`, which whoever calls it has chosen: any address will do. No redirects, no proxy
/// from the environment, bounded connections and times.
///
/// TLS is rustls with ring and the system's certificates, read only when `base` is https: a machine without any can
/// still speak http. A request takes at most four fifths of `attempt_timeout`, from connecting to the last byte: it ends
/// before the attempt's own timeout, so that whoever has the head of the answer can judge by it. Fails when there are none to read, or `base` is neither.
pub fn http_client(base: &Url, attempt_timeout: Duration) -> Result<Client, ExecutorError> {
    build(builder(base, attempt_timeout)?, base)
}

/// Where an API is, and what may be reached there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Whose it is, in errors, as the configuration says it: `targets.slack.base`.
    pub(crate) key: String,
    /// http or https.
    pub(crate) base: Url,
    /// Also at addresses of private networks and of this machine.
    pub(crate) allow_private: bool,
    /// What stands between; the addresses behind it are its own affair.
    pub(crate) proxy: Option<Url>,
}

impl Place {
    /// Host and port, and the key, for people.
    pub(super) fn told(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().map_or(String::new(), |port| format!(":{port}"));
        let through = if self.proxied().is_some() { ", through executor.proxy" } else { "" };
        format!("{host}{port}, {}{through}", self.key)
    }

    /// The proxy, where it is used: what http may reach stands on no other side of one.
    pub(super) fn proxied(&self) -> Option<&Url> {
        self.proxy.as_ref().filter(|_| self.base.scheme() == "https")
    }

    /// What may be reached: https anywhere on the internet; http on this machine only, and on private networks where
    /// those are allowed.
    fn allowed(&self) -> Result<Allowed, ExecutorError> {
        let (loopback, private) = (guard::is_loopback(&self.base) || self.allow_private, self.allow_private);
        let refuse = |what: &str| Err(ExecutorError::Config(format!("{}: {what}", self.key)));
        let public = match self.base.scheme() {
            "https" => true,
            "http" if loopback => false,
            "http" => {
                return refuse(
                    "write an https address; http is for this machine, and for private networks with allow_private = true",
                );
            }
            _ => return refuse("write an https address"),
        };
        let allowed = Allowed { public, private, loopback };
        match guard::literal(&self.base) {
            Some(address) if !allowed.has(address) => refuse(match (guard::reach(address), public) {
                (Reach::Never, _) => {
                    "this address is link-local, multicast or reserved: nothing is sent there"
                }
                (Reach::Public, false) => "http to a public address would tell everybody: write https",
                _ => "this address is private; if that is meant, set allow_private = true beside it",
            }),
            _ => Ok(allowed),
        }
    }
}

/// A client that reaches `place` and nothing else.
pub(super) fn guarded(
    place: &Place,
    attempt_timeout: Duration,
) -> Result<(Client, Arc<Guard>), ExecutorError> {
    guarded_by(place, attempt_timeout, guard::system())
}

fn guarded_by(
    place: &Place,
    attempt_timeout: Duration,
    lookup: Lookup,
) -> Result<(Client, Arc<Guard>), ExecutorError> {
    let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
    let mut hosts = vec![(host(&place.base), place.allowed()?)];
    let mut builder = builder(&place.base, attempt_timeout)?;
    if let Some(proxy) = place.proxied() {
        hosts.push((host(proxy), Allowed { public: true, private: true, loopback: true }));
        let proxy = Proxy::https(proxy.clone())
            .map_err(|_| ExecutorError::Config("executor.proxy is no address of a proxy".into()))?;
        builder = builder.proxy(proxy);
    }
    let guard = Arc::new(Guard::new(hosts, lookup));
    Ok((build(builder.dns_resolver(guard.clone()), &place.base)?, guard))
}

fn builder(base: &Url, attempt_timeout: Duration) -> Result<ClientBuilder, ExecutorError> {
    // The one process-wide provider that reqwest takes; an error means that somebody installed theirs already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("breakdown/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(attempt_timeout * 4 / 5)
        .connect_timeout(attempt_timeout.min(Duration::from_secs(5)))
        .pool_max_idle_per_host(32)
        .pool_idle_timeout(Duration::from_secs(30));
    match base.scheme() {
        "http" => Ok(builder.tls_certs_only([])),
        "https" => Ok(builder.https_only(true)),
        _ => Err(ExecutorError::Config("CALENDAR_API_BASE must be an http or https address".into())),
    }
}

fn build(builder: ClientBuilder, base: &Url) -> Result<Client, ExecutorError> {
    builder.build().map_err(|error| {
        ExecutorError::Config(format!(
            "the HTTP client for {} cannot be made: {error}; are the system's CA certificates installed?",
            base.host_str().unwrap_or("the target"),
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{super::guard::Barred, *};

    fn place(base: &str, allow_private: bool) -> Place {
        let base = base.parse().expect("a url");
        Place { key: "targets.x.base".into(), base, allow_private, proxy: None }
    }

    #[test]
    fn a_base_is_https_or_near() {
        for (base, allow_private) in [
            ("https://api.github.com/", false),
            ("https://140.82.112.5/", false),
            ("https://127.0.0.1:8443/", false),
            ("http://127.0.0.1:7300/api", false),
            ("http://[::1]:7300/", false),
            ("http://localhost:7300/", false),
            ("http://calendar-mock:7300/api", true),
            ("http://10.1.2.3/", true),
            ("https://[fd12::1]/", true),
        ] {
            assert!(place(base, allow_private).allowed().is_ok(), "{base}");
        }
        for (base, allow_private, hint) in [
            ("http://api.github.com/", false, "write an https address"),
            ("http://calendar-mock:7300/api", false, "allow_private"),
            ("ftp://127.0.0.1/", true, "https"),
            ("https://10.1.2.3/", false, "allow_private"),
            ("https://[::ffff:10.1.2.3]/", false, "allow_private"),
            ("https://0x7f.1.2.3.4/", false, ""),
            ("https://169.254.169.254/latest/meta-data/", true, "link-local"),
            ("https://2852039166/", true, "link-local"), // the same, as a number
            ("http://140.82.112.5/", true, "everybody"),
        ] {
            let Ok(base) = base.parse() else { continue };
            let error = Place { base, ..place("https://x/", allow_private) }.allowed().expect_err("barred");
            assert!(error.to_string().contains(hint), "{error}");
            assert!(error.to_string().starts_with("targets.x.base: "), "{error}");
        }
    }

    /// What became of a request to `base`, whose name resolves to `addresses`.
    async fn asked(
        base: &str,
        allow_private: bool,
        addresses: Vec<SocketAddr>,
    ) -> Result<u16, Option<Barred>> {
        let lookup: Lookup = Arc::new(move |_| {
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        });
        let place = place(base, allow_private);
        let (client, _) = guarded_by(&place, Duration::from_secs(5), lookup).expect("a client");
        match client.get(place.base).send().await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(super::super::barred(&error)),
        }
    }

    #[tokio::test]
    async fn what_a_name_resolves_to_is_looked_at_when_connecting() {
        let server = wiremock::MockServer::start().await;
        let at = *server.address();
        let port = at.port();
        let base = |scheme: &str, host: &str| format!("{scheme}://{host}:{port}/");
        let metadata: SocketAddr = "169.254.169.254:0".parse().expect("an address");
        // The name is in order; what it points to is this machine, or worse.
        assert_eq!(asked(&base("https", "rebound.test"), false, vec![at]).await, Err(Some(Barred::Address)));
        assert_eq!(
            asked(&base("https", "rebound.test"), true, vec![metadata]).await,
            Err(Some(Barred::Address))
        );
        assert_eq!(
            asked(&base("http", "localhost"), false, vec![metadata]).await,
            Err(Some(Barred::Address))
        );
        assert!(server.received_requests().await.is_some_and(|requests| requests.is_empty()));
        // Of several addresses the allowed ones are used.
        assert_eq!(asked(&base("http", "localhost"), false, vec![metadata, at]).await, Ok(404));
        assert_eq!(asked(&base("http", "inside.test"), true, vec![at]).await, Ok(404));
    }

    #[tokio::test]
    async fn a_client_reaches_its_own_host_only_and_follows_nobody_elsewhere() {
        let server = wiremock::MockServer::start().await;
        let elsewhere = wiremock::ResponseTemplate::new(302).insert_header("location", "http://other.test/");
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(elsewhere).mount(&server).await;
        let place = place(&server.uri(), false);
        let (client, _) = guarded(&place, Duration::from_secs(5)).expect("a client");
        let answer = client.get(place.base).send().await.expect("an answer");
        assert_eq!(answer.status(), 302);
        let other = client.get("http://other.test/").send().await.expect_err("barred");
        assert_eq!(super::super::barred(&other), Some(Barred::Host));
    }

    #[tokio::test]
    async fn a_proxy_is_used_where_it_is_configured() {
        let proxy = wiremock::MockServer::start().await;
        let place = Place { proxy: proxy.uri().parse().ok(), ..place("https://api.test/", false) };
        let (client, _) = guarded(&place, Duration::from_secs(5)).expect("a client");
        // It answers the CONNECT with 404: nothing was reached, but it was asked.
        let error = client.get(place.base).send().await.expect_err("no tunnel");
        assert!(error.is_connect() && super::super::barred(&error).is_none(), "{error:?}");
    }
}
