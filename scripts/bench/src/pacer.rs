//! Ticks at a fixed rate. The runtime's own timers count milliseconds, too coarse for latencies of a tenth of one, and
//! spinning would take the core from the broker; the kernel's timer does neither.

use std::{
    io,
    time::{Duration, Instant},
};

/// The instants at which a fixed rate has something to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start: Instant,
    every: Duration,
}

impl Schedule {
    /// When number `n` (from 0) is due.
    pub(crate) fn due(&self, n: u64) -> Instant {
        self.start + Duration::from_nanos(self.every.as_nanos() as u64 * (n + 1))
    }
}

/// Wakes at the instants of a [`Schedule`].
pub(crate) struct Pacer {
    schedule: Schedule,
    timer: timer::Timer,
}

impl Pacer {
    /// Begins now, `per_second` times a second.
    pub(crate) fn start(per_second: u32) -> io::Result<Self> {
        let every = Duration::from_secs(1) / per_second.max(1);
        Ok(Self { schedule: Schedule { start: Instant::now(), every }, timer: timer::Timer::every(every)? })
    }

    pub(crate) fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Waits for the next instant; says how many have passed since the last call (more than one where the caller was late).
    pub(crate) async fn ticks(&mut self) -> io::Result<u64> {
        self.timer.ticks().await
    }
}

#[cfg(target_os = "linux")]
mod timer {
    use std::{io, os::fd::OwnedFd, time::Duration};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::{Interest, unix::AsyncFd};

    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn every(every: Duration) -> io::Result<Self> {
            let fd =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            let every = Timespec::try_from(every).map_err(io::Error::other)?;
            timerfd_settime(
                &fd,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: every, it_value: every },
            )?;
            // What its replacement, unsafe and so forbidden here, wants promised, an OwnedFd keeps: it stays open while it lives.
            #[expect(deprecated, reason = "sound for an OwnedFd")]
            let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
            Ok(Self(fd))
        }

        pub(super) async fn ticks(&mut self) -> io::Result<u64> {
            let read = |fd: &OwnedFd| {
                let mut count = [0; 8];
                rustix::io::read(fd, &mut count)?;
                Ok(u64::from_ne_bytes(count))
            };
            self.0.async_io(Interest::READABLE, read).await
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use std::{io, time::Duration};

    /// A coarser stand-in: latencies at a fixed rate are up to a millisecond too long with it.
    pub(super) struct Timer(tokio::time::Interval);

    impl Timer {
        pub(super) fn every(every: Duration) -> io::Result<Self> {
            Ok(Self(tokio::time::interval_at(tokio::time::Instant::now() + every, every)))
        }

        pub(super) async fn ticks(&mut self) -> io::Result<u64> {
            self.0.tick().await;
            Ok(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_tick_is_early_and_none_is_lost() {
        let mut pacer = Pacer::start(1_000).unwrap();
        let mut passed = 0;
        while passed < 50 {
            passed += pacer.ticks().await.unwrap();
            assert!(Instant::now() >= pacer.schedule().due(passed - 1));
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(pacer.ticks().await.unwrap() >= 1);
    }
}
