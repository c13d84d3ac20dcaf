//! What is held right now, shared by the thread that works while volumes are at rest and the one that guards
//! them.

use super::protocol::Frame;
use super::volume::Volume;
use klon_partition::locks::{lock, wait_while};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long klon's own thread waits behind the time limit: the watchdog is first, unless it is stopped.
const GRACE: Duration = Duration::from_millis(700);

/// Why volumes were let go of before klon was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They were held for as long as they may be.
    TimeIsOver,
    /// Nobody would let go of them if klon died.
    WatchdogDied,
    /// Someone wants klon to end.
    Signal,
    /// The volume with this index was no longer held.
    SomeoneElse(usize),
}

/// Volumes, and which of them are held.
#[derive(Debug)]
pub struct Held {
    volumes: Vec<Volume>,
    socket: UnixStream,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Which are held, or just on their way to be.
    is_held: Vec<bool>,
    /// They are being held one after the other.
    is_entering: bool,
    deadline: Option<Instant>,
    /// The armings that were sent, and the last one that the watchdog confirmed.
    sent: u32,
    confirmed: u32,
    is_watchdog_dead: bool,
    reason: Option<Reason>,
}

impl Held {
    /// Volumes that are not held yet, and the socket to the watchdog.
    pub fn new(volumes: Vec<Volume>, socket: UnixStream) -> Self {
        let state = State {
            is_held: vec![false; volumes.len()],
            is_entering: false,
            deadline: None,
            sent: 0,
            confirmed: 0,
            is_watchdog_dead: false,
            reason: None,
        };
        Self {
            volumes,
            socket,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// All, in the order in which they are held.
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets the time begin, and waits until the watchdog confirms it; `false` when it does not.
    pub fn arm(&self, max: Duration, answer_max: Duration) -> bool {
        let mut state = self.state();
        state.sent = state.sent.wrapping_add(1);
        let number = state.sent;
        let now = Instant::now();
        state.deadline = Some(now.checked_add(max).unwrap_or(now));
        let arm = Frame::Arm { number, max };
        let is_sent = !state.is_watchdog_dead && arm.send(&self.socket).is_ok();
        let waits =
            |state: &mut State| is_sent && !state.is_watchdog_dead && state.confirmed != number;
        let mut state = wait_while(&self.changed, state, answer_max, waits);
        let is_armed = is_sent && !state.is_watchdog_dead && state.confirmed == number;
        // What is heard of the time before comes ahead of the answer, and is over with it.
        state.reason = None;
        if !is_armed {
            state.deadline = None;
            self.tell(Frame::Disarm);
        }
        is_armed
    }

    /// Holds one after the other.
    ///
    /// # Errors
    /// With the index of the one that can't be held, or none when they were let go of meanwhile.
    pub fn hold_all(&self) -> Result<(), Option<(usize, io::Error)>> {
        self.state().is_entering = true;
        let mut held = Ok(());
        for (index, volume) in self.volumes.iter().enumerate() {
            // The watchdog knows of it first: klon can be killed before the call returns.
            let mut state = self.state();
            set(&mut state.is_held, index, true);
            self.tell(Frame::Hold(number(index)));
            drop(state);
            let one = volume.hold();
            let mut state = self.state();
            if let Err(error) = one {
                set(&mut state.is_held, index, false);
                self.tell(Frame::LetGo(number(index)));
                held = Err(Some((index, error)));
                break;
            }
            if state.reason.is_some() {
                held = Err(None);
                break;
            }
        }
        let mut state = self.state();
        state.is_entering = false;
        self.tell(Frame::Entered);
        match state.reason {
            Some(_) if held.is_ok() => Err(None),
            _ => held,
        }
    }

    /// Lets go of all volumes, the last one first, and retries those that the kernel keeps. Returns one that can't be
    /// let go of. The deadline stays until nothing is held.
    pub fn let_go_patiently(&self) -> Option<(&Volume, io::Error)> {
        let mut stuck = None;
        for _ in 0..10 {
            stuck = self.let_go_once(&mut self.state());
            if stuck.is_none() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
        let mut state = self.state();
        if stuck.is_none() && state.deadline.take().is_some() {
            self.tell(Frame::Disarm);
        }
        stuck
    }

    /// Lets go of all because of `reason`, if anything is held.
    pub fn let_go_because(&self, reason: Reason) {
        let mut state = self.state();
        if state.is_entering || state.is_held.contains(&true) {
            state.reason.get_or_insert(reason);
            self.let_go_once(&mut state);
        }
    }

    fn let_go_once(&self, state: &mut State) -> Option<(&Volume, io::Error)> {
        let mut stuck = None;
        for (index, volume) in self.volumes.iter().enumerate().rev() {
            if state.is_held.get(index) != Some(&true) {
                continue;
            }
            match volume.let_go() {
                // It may be just on its way to be frozen: who does that sees the reason when it is.
                Ok(false) if state.is_entering => continue,
                Ok(false) => {
                    // The watchdog may not have said so yet.
                    let is_over = state.deadline.is_some_and(|it| Instant::now() >= it);
                    let reason = match is_over {
                        true => Reason::TimeIsOver,
                        false => Reason::SomeoneElse(index),
                    };
                    state.reason.get_or_insert(reason);
                }
                Ok(true) => {}
                Err(error) => {
                    stuck = Some((volume, error));
                    continue;
                }
            }
            set(&mut state.is_held, index, false);
            self.tell(Frame::LetGo(number(index)));
        }
        stuck
    }

    /// What the watchdog says. Its end is `None`.
    pub fn heard(&self, frame: Option<Frame>) {
        match frame {
            Some(Frame::Arm { number, .. }) => self.state().confirmed = number,
            // It has let go of one, so that the others need not be held.
            Some(Frame::LetGo(index)) => {
                let mut state = self.state();
                state.reason.get_or_insert(Reason::TimeIsOver);
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                set(&mut state.is_held, index, false);
                drop(state);
                self.let_go_because(Reason::TimeIsOver);
            }
            Some(_) => {}
            None => {
                self.state().is_watchdog_dead = true;
                self.let_go_because(Reason::WatchdogDied);
            }
        }
        self.changed.notify_all();
    }

    /// How long the thread that guards may sleep; `None` as long as nothing is held.
    pub fn rest(&self) -> Option<Duration> {
        let state = self.state();
        let deadline = state.deadline?;
        if !state.is_held.contains(&true) {
            return None;
        }
        let rest = (deadline + GRACE).saturating_duration_since(Instant::now());
        // What is just on its way to be frozen is looked at again and again.
        Some(rest.max(Duration::from_millis(100)))
    }

    /// Lets go of all if the time is over, and the watchdog has not done it.
    pub fn let_go_if_over(&self) {
        let deadline = self.state().deadline;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline + GRACE) {
            self.let_go_because(Reason::TimeIsOver);
        }
    }

    /// Time that is left; none when the volumes were let go of already.
    pub fn left(&self) -> Duration {
        let state = self.state();
        let deadline = state.deadline.filter(|_| state.reason.is_none());
        deadline.map_or(Duration::ZERO, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }

    /// Why the volumes were let go of before klon was done.
    pub fn reason(&self) -> Option<Reason> {
        self.state().reason
    }

    /// Whether anything is held.
    pub fn holds_any(&self) -> bool {
        self.state().is_held.contains(&true)
    }

    /// Ends the connection to the watchdog, and with it both who wait for messages.
    pub fn close(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// The socket to the watchdog.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// A watchdog that can't be told is dead, and the thread that guards notices.
    fn tell(&self, frame: Frame) {
        let _ = frame.send(&self.socket);
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn set(is_held: &mut [bool], index: usize, value: bool) {
    if let Some(held) = is_held.get_mut(index) {
        *held = value;
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
