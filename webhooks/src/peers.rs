//! Who keeps failing verification.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
};

use governor::{DefaultKeyedRateLimiter, Quota};

/// How many failures pass until peers that have been quiet are forgotten.
const SWEEP_EVERY: usize = 1024;

/// Counts failed verifications per peer. Only failures ask it, so it can never refuse a delivery that is signed right.
#[derive(Debug)]
pub(crate) struct FailingPeers {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    failures: AtomicUsize,
}

impl FailingPeers {
    /// Each peer may fail `per_minute` times a minute.
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        Self {
            limiter: DefaultKeyedRateLimiter::keyed(Quota::per_minute(per_minute)),
            failures: AtomicUsize::new(0),
        }
    }

    /// Counts one failure of `peer`; true when it has failed too often.
    pub(crate) fn failed_too_often(&self, peer: IpAddr) -> bool {
        if self.failures.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&network(peer)).is_err()
    }
}

/// One peer: an IPv4 address, or the /64 that one IPv6 customer holds.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_per_peer() {
        let peers = FailingPeers::new(NonZeroU32::new(2).unwrap());
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(!peers.failed_too_often(one));
        assert!(!peers.failed_too_often(one));
        assert!(peers.failed_too_often(one));
        assert!(!peers.failed_too_often(other));
    }

    #[test]
    fn an_ipv6_customer_is_one_peer() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
