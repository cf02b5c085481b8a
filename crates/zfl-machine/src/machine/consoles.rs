//! People at the consoles of running machines.
//!
//! They see every line that a device prints and type commands of their own.
//! The supervisor types one command at a time, whoever it is from, and waits
//! for its answer: what a person types never gets between a command of the
//! machine's owner and its answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::{MachineError, Moments};
use crate::usage::Usage;

/// So many people can be at one console.
pub(super) const WATCHERS_MAX: usize = 4;

/// So many lines wait for somebody who reads slowly; further ones are left out.
const SHOWN_LINES_MAX: usize = 512;

/// So many typed lines wait for the answers to those before.
const TYPED_LINES_MAX: usize = 16;

/// What a machine's supervisor is asked for.
#[derive(Debug)]
pub(super) enum Request {
    Command {
        line: String,
        reply: oneshot::Sender<Result<Vec<String>, MachineError>>,
    },
    Run {
        line: String,
        reply: oneshot::Sender<Result<Vec<String>, MachineError>>,
    },
    Sample {
        with_memory: bool,
        reply: oneshot::Sender<Usage>,
    },
    Attach {
        /// So many of the last lines are shown first.
        lines: usize,
        attached: Attached,
    },
    Moments {
        reply: oneshot::Sender<Moments>,
    },
    Stop,
}

/// The supervisor's end of an [`Attachment`].
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) shown: mpsc::Sender<String>,
    pub(super) reply: oneshot::Sender<Option<(u64, mpsc::Sender<Typed>)>>,
}

/// What somebody does at a console, by their number.
#[derive(Debug)]
pub(super) enum Typed {
    Line(u64, String),
    /// They type no more, and go when they have seen the answers.
    End(u64),
}

/// Somebody's place at a console.
#[derive(Debug)]
pub struct Attachment {
    number: u64,
    typed: mpsc::Sender<Typed>,
    shown: mpsc::Receiver<String>,
}

impl Attachment {
    /// The two halves: what is shown, and what types.
    pub fn split(self) -> (mpsc::Receiver<String>, Keyboard) {
        let keyboard = Keyboard {
            number: self.number,
            typed: self.typed,
        };
        (self.shown, keyboard)
    }
}

/// Types at a console.
#[derive(Debug)]
pub struct Keyboard {
    number: u64,
    typed: mpsc::Sender<Typed>,
}

impl Keyboard {
    /// Types a line; waits while too many are not answered. `false` once the
    /// machine has ended.
    pub async fn line(&self, line: String) -> bool {
        self.typed
            .send(Typed::Line(self.number, line))
            .await
            .is_ok()
    }

    /// Types no more: nothing is shown any more once all lines are answered.
    pub async fn end(self) {
        // A machine that has ended shows nothing anyway.
        let _ = self.typed.send(Typed::End(self.number)).await;
    }
}

/// Why nobody can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// There is no such device.
    #[error("there is no device {device}: the fleet has devices 0 to {last}")]
    Unknown {
        /// Which.
        device: u32,
        /// The last that there is.
        last: u32,
    },
    /// Its emulator was not started yet.
    #[error("device {device} has not started yet")]
    NotStarted {
        /// Which.
        device: u32,
    },
    /// It has ended.
    #[error("device {device} has ended; its console is in console/device-{device:03}.log")]
    Ended {
        /// Which.
        device: u32,
    },
    /// There are enough people.
    #[error("{WATCHERS_MAX} are attached to device {device} already")]
    Full {
        /// Which.
        device: u32,
    },
}

/// Where the consoles of a fleet are found. A machine that starts again is
/// found again.
#[derive(Clone, Debug)]
pub struct Consoles {
    count: u32,
    // Weak: a machine ends with its owner, whoever watches.
    machines: Arc<Mutex<BTreeMap<u32, mpsc::WeakSender<Request>>>>,
}

impl Consoles {
    /// For a fleet of so many devices.
    pub fn new(count: u32) -> Self {
        Self {
            count,
            machines: Arc::default(),
        }
    }

    pub(super) fn register(&self, device: u32, requests: &mpsc::Sender<Request>) {
        // Whoever panicked with the lock has left a map as good as any.
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.insert(device, requests.downgrade());
    }

    /// Takes a place at a device's console, and first shows so many of its last
    /// lines ([`LAST_LINES_MAX`](super::LAST_LINES_MAX) at most).
    ///
    /// # Errors
    /// When there is no such device, it does not run, or has no place left.
    pub async fn attach(&self, device: u32, lines: usize) -> Result<Attachment, AttachError> {
        if device >= self.count {
            let last = self.count.saturating_sub(1);
            return Err(AttachError::Unknown { device, last });
        }
        let requests = {
            let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
            machines.get(&device).cloned()
        };
        let requests = requests.ok_or(AttachError::NotStarted { device })?;
        let ended = AttachError::Ended { device };
        let (sender, shown) = mpsc::channel(SHOWN_LINES_MAX);
        let (reply, answer) = oneshot::channel();
        let attached = Attached {
            shown: sender,
            reply,
        };
        let requests = requests.upgrade().ok_or(ended)?;
        let sent = requests.send(Request::Attach { lines, attached }).await;
        drop(requests);
        sent.map_err(|_| ended)?;
        let place = answer.await.map_err(|_| ended)?;
        let (number, typed) = place.ok_or(AttachError::Full { device })?;
        Ok(Attachment {
            number,
            typed,
            shown,
        })
    }
}

/// Who watches one machine.
#[derive(Debug)]
pub(super) struct Watchers {
    places: BTreeMap<u64, Place>,
    next_number: u64,
    sender: mpsc::Sender<Typed>,
    receiver: mpsc::Receiver<Typed>,
}

#[derive(Debug)]
struct Place {
    shown: mpsc::Sender<String>,
    /// Lines that were left out since the last.
    missed: u64,
}

impl Watchers {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(TYPED_LINES_MAX);
        Self {
            places: BTreeMap::new(),
            next_number: 0,
            sender,
            receiver,
        }
    }

    /// A place for one more, with their number; `None` where there is none.
    pub(super) fn add<'l>(
        &mut self,
        shown: mpsc::Sender<String>,
        lines: impl Iterator<Item = &'l String>,
    ) -> Option<(u64, mpsc::Sender<Typed>)> {
        self.places.retain(|_, place| !place.shown.is_closed());
        if self.places.len() >= WATCHERS_MAX {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.places.insert(number, Place { shown, missed: 0 });
        for line in lines {
            self.tell(number, line);
        }
        Some((number, self.sender.clone()))
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.places.remove(&number);
    }

    /// The next that somebody does. Never ends: a sender is kept here.
    pub(super) async fn typed(&mut self) -> Typed {
        match self.receiver.recv().await {
            Some(typed) => typed,
            None => std::future::pending().await,
        }
    }

    /// Shows a line to all but one.
    pub(super) fn show(&mut self, except: Option<u64>, line: &str) {
        for (number, place) in &mut self.places {
            if Some(*number) != except {
                place.show(line);
            }
        }
        self.places.retain(|_, place| !place.shown.is_closed());
    }

    /// Shows a line to one.
    pub(super) fn tell(&mut self, number: u64, line: &str) {
        if let Some(place) = self.places.get_mut(&number) {
            place.show(line);
        }
    }
}

impl Place {
    fn show(&mut self, line: &str) {
        if self.missed > 0 {
            let note = format!("zfl: {} lines are left out here", self.missed);
            match self.shown.try_send(note) {
                Ok(()) => self.missed = 0,
                Err(_) => {
                    self.missed += 1;
                    return;
                }
            }
        }
        if let Err(TrySendError::Full(_)) = self.shown.try_send(line.to_owned()) {
            self.missed += 1;
        }
    }
}
