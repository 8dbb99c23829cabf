//! Whom a request comes from, and whether they may send.
//!
//! The sender is the connection's peer. Only where that peer is a proxy of ours does X-Forwarded-For say more, read from its end: each
//! proxy appends whom it was called by, so the last address that is no proxy of ours was seen by one of ours, and what stands
//! before it may be anybody's invention.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::Provider;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Networks that requests may come from, or through.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    /// Proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may send GitHub's deliveries; `None`: anybody.
    pub github: Option<Vec<IpNet>>,
    /// Who may send Jira's deliveries; `None`: anybody.
    pub jira: Option<Vec<IpNet>>,
    /// Who may send PagerDuty's deliveries; `None`: anybody.
    pub pagerduty: Option<Vec<IpNet>>,
}

impl Senders {
    /// Who sent a request that came over a connection of `peer`.
    pub(crate) fn sender(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut sender = peer.ip().to_canonical();
        let named = headers
            .get_all(FORWARDED_FOR)
            .into_iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut named: Vec<&[u8]> = named.collect();
        while contains(&self.trusted_proxies, sender) {
            // Whatever is no address ends what can be known.
            let Some(before) = named.pop().and_then(address) else { break };
            sender = before;
        }
        sender
    }

    /// Whether `sender` may send deliveries of `provider`. Where the sender is not known, only if anybody may.
    pub(crate) fn allows(&self, provider: Provider, sender: Option<IpAddr>) -> bool {
        let networks = match provider {
            Provider::Github => &self.github,
            Provider::Jira => &self.jira,
            Provider::Pagerduty => &self.pagerduty,
        };
        networks.as_ref().is_none_or(|networks| sender.is_some_and(|sender| contains(networks, sender)))
    }
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// An address as proxies write it: alone, or with a port, which some add.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn networks(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[rstest]
    #[case::nobody_said("10.0.0.1", &[], "10.0.0.1")]
    #[case::not_our_proxy("192.0.2.1", &["198.51.100.1"], "192.0.2.1")]
    #[case::through_ours("10.0.0.1", &["198.51.100.1"], "198.51.100.1")]
    #[case::the_last_that_is_not_ours("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1")]
    #[case::over_several_headers("10.0.0.1", &["203.0.113.9", "198.51.100.1", "10.0.0.2"], "198.51.100.1")]
    #[case::all_are_ours("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3")]
    #[case::what_is_no_address_ends_it("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1")]
    #[case::nor_is_nothing("10.0.0.1", &["198.51.100.1,"], "10.0.0.1")]
    #[case::with_ports("10.0.0.1", &["[2001:db8::7]:4711, 10.0.0.2:80"], "2001:db8::7")]
    #[case::in_brackets("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7")]
    #[case::v4_in_v6("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1")]
    #[case::of_v6("fd00::1", &["2001:db8::7"], "2001:db8::7")]
    fn the_sender_is_who_called_the_outermost_proxy_of_ours(
        #[case] peer: &str,
        #[case] forwarded: &[&str],
        #[case] sender: &str,
    ) {
        let senders =
            Senders { trusted_proxies: networks(&["10.0.0.0/8", "fd00::/8"]), ..Senders::default() };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        assert_eq!(senders.sender(peer, &headers), sender.parse::<IpAddr>().unwrap());
        let alone = Senders::default().sender(peer, &headers);
        assert_eq!(alone, peer.ip().to_canonical(), "no proxy is trusted by itself");
    }

    #[test]
    fn only_who_is_listed_may_send() {
        let senders =
            Senders { github: Some(networks(&["192.0.2.0/24", "2001:db8::/32"])), ..Senders::default() };
        let allows = |provider, sender: Option<&str>| {
            senders.allows(provider, sender.map(|text| text.parse().unwrap()))
        };
        assert!(
            allows(Provider::Github, Some("192.0.2.77")) && allows(Provider::Github, Some("2001:db8::1"))
        );
        assert!(!allows(Provider::Github, Some("192.0.3.1")) && !allows(Provider::Github, None));
        assert!(allows(Provider::Jira, Some("192.0.3.1")) && allows(Provider::Jira, None));
        let nobody = Senders { jira: Some(vec![]), ..Senders::default() };
        assert!(!nobody.allows(Provider::Jira, Some("192.0.2.77".parse().unwrap())));
    }
}
