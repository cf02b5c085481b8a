//! Readiness of descriptors: epoll, edge-triggered, with typed tokens.

use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// Whose descriptor is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A command waits, or the time set with [`Poller::wake_after`] has come.
    Wake,
    /// The device's end of a port.
    Port { port: u32, serial: u32 },
    /// The host's listener for a device.
    Listener { port: u32 },
    /// The host's end of a spliced connection.
    Splice { port: u32, serial: u32 },
}

const KIND_WAKE: u64 = 0;
const KIND_PORT: u64 = 1;
const KIND_LISTENER: u64 = 2;
const KIND_SPLICE: u64 = 3;
const KIND_SHIFT: u32 = 62;
const PORT_MASK: u64 = (1 << 30) - 1;

impl Token {
    fn encode(self) -> u64 {
        let (kind, port, serial) = match self {
            Self::Wake => (KIND_WAKE, 0, 0),
            Self::Port { port, serial } => (KIND_PORT, port, serial),
            Self::Listener { port } => (KIND_LISTENER, port, 0),
            Self::Splice { port, serial } => (KIND_SPLICE, port, serial),
        };
        kind << KIND_SHIFT | (u64::from(port) & PORT_MASK) << 32 | u64::from(serial)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the fields of a u64")]
    fn decode(bits: u64) -> Self {
        let port = (bits >> 32 & PORT_MASK) as u32;
        let serial = bits as u32;
        match bits >> KIND_SHIFT {
            KIND_PORT => Self::Port { port, serial },
            KIND_LISTENER => Self::Listener { port },
            KIND_SPLICE => Self::Splice { port, serial },
            _ => Self::Wake,
        }
    }
}

/// A descriptor's readiness has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) token: Token,
    /// There is something to read: data, an end, or an error.
    pub(crate) readable: bool,
    /// There is room to write, or an error to be told.
    pub(crate) writable: bool,
}

/// Waits for descriptors and for a time.
pub(crate) struct Poller {
    epoll: OwnedFd,
    /// Sub-millisecond waits: `epoll_wait` counts in milliseconds, and
    /// `epoll_pwait2` is missing from kernels before 5.11.
    timer: OwnedFd,
}

/// Room for what the kernel tells. Apart from the poller, because it cannot
/// move to another thread.
pub(crate) struct Events(Vec<epoll::Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(EVENTS_MAX))
    }
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Errno> {
        let poller = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer: timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?,
        };
        poller.add(&poller.timer, Token::Wake)?;
        Ok(poller)
    }

    /// Watches a descriptor until it is closed. Its readiness is told once,
    /// whenever it changes, and once now if it is ready.
    pub(crate) fn add(&self, source: impl AsFd, token: Token) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            source,
            epoll::EventData::new_u64(token.encode()),
            epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET,
        )
    }

    /// A handle with which another thread ends the wait.
    pub(crate) fn waker(&self) -> Result<Waker, Errno> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        self.add(&event, Token::Wake)?;
        Ok(Waker(event))
    }

    /// Ends a later wait after this long, in place of what was set before.
    pub(crate) fn wake_after(&self, delay: Duration) -> Result<(), Errno> {
        // A zero would disarm the timer.
        let delay = delay.max(Duration::from_nanos(1));
        let value = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(delay.subsec_nanos()),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value).map(drop)
    }

    /// Waits for something to happen; with `block` unset only looks.
    pub(crate) fn wait<'e>(
        &self,
        events: &'e mut Events,
        block: bool,
    ) -> Result<impl Iterator<Item = Readiness> + use<'e>, Errno> {
        let zero = Timespec::default();
        events.0.clear();
        let timeout = (!block).then_some(&zero);
        match epoll::wait(&self.epoll, spare_capacity(&mut events.0), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(events.0.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            let error = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
            let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | error;
            let write = epoll::EventFlags::OUT | error;
            Readiness {
                token: Token::decode(data.u64()),
                readable: flags.intersects(read),
                writable: flags.intersects(write),
            }
        }))
    }
}

/// Ends a [`Poller`]'s wait from another thread.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn wake(&self) {
        // It can only fail when the counter is about to overflow, and then the
        // poller is awake. Nobody reads the counter: each write is an edge.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        for token in [
            Token::Wake,
            Token::Port {
                port: 129_539,
                serial: u32::MAX,
            },
            Token::Listener { port: 7 },
            Token::Splice { port: 0, serial: 3 },
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }

    #[test]
    fn every_wake_is_an_edge() {
        let poller = Poller::new().unwrap();
        let waker = poller.waker().unwrap();
        let mut events = Events::new();
        let mut woken = |block| {
            let mut events = poller.wait(&mut events, block).unwrap();
            events.any(|event| event.token == Token::Wake && event.readable)
        };
        // A new event descriptor is writable; that edge comes first.
        assert!(!woken(false));
        for _ in 0..3 {
            waker.wake();
            assert!(woken(false));
            assert!(!woken(false));
        }
        poller.wake_after(Duration::from_millis(1)).unwrap();
        assert!(woken(true));
    }
}
