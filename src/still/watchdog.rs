//! The watchdog: a process of its own that lets volumes go when klon can't. It knows what klon holds, or is
//! about to hold, and lets go of it when the time is over, and when klon ends, however it does.
//!
//! It is klon's own program, started before anything is held. It has descriptors of its own, all of it is in
//! memory, it is in a session of its own, no signal but SIGKILL and SIGSTOP reaches it, and the kernel ends it
//! last when memory runs out, where it may ask for that. While something is held it opens nothing, allocates nothing that it has not, and
//! writes to nothing but the socket and the kernel's log.

use super::memory;
use super::protocol::Frame;
use super::volume::{How, Volume};
use crate::cli::WatchdogArgs;
use crate::error::usage;
use anyhow::{Context as _, Result, anyhow};
use klon_partition::Shown as _;
use klon_partition::text::printable;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, getppid, setsid};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it waits before it tries again to let go of what is just being frozen.
const RETRY: Duration = Duration::from_millis(100);

/// How often it tries, once klon is gone, to let go of a volume that the kernel does not let it.
const ATTEMPTS: u32 = 600;

/// Watches until klon is gone.
///
/// # Errors
/// When it can't take its place; klon then holds nothing.
pub fn run(args: &WatchdogArgs) -> Result<ExitCode> {
    let socket = io::stdin().as_fd().try_clone_to_owned();
    let socket = UnixStream::from(socket.context("standard input")?);
    if socket.peer_addr().is_err() {
        return Err(usage("klon starts its watchdog itself"));
    }
    // The terminal's Ctrl-C, Ctrl-Z and hang-up are for klon.
    setsid().context("a session of its own")?;
    SigSet::all().thread_block().context("blocking signals")?;
    prctl::set_name(c"klon-watchdog").context("its name")?;
    let volumes = open_volumes(args)?;
    std::env::set_current_dir("/").context("/")?;
    // Where that is not allowed (CAP_SYS_RESOURCE) the watchdog can be ended when memory runs out. klon thaws
    // at once then, and the kernel ends one process at a time.
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    memory::lock().context("locking its memory")?;
    let log = File::options().write(true).open("/dev/kmsg").ok();
    let mut watch = Watchdog {
        duty: Duty::new(volumes.len()),
        volumes,
        socket,
        log,
    };
    watch.tell(Frame::Ready);
    watch.watch();
    Ok(ExitCode::SUCCESS)
}

/// Opens what its parent has open, so that both mean the same filesystems, whatever is mounted where by now.
fn open_volumes(args: &WatchdogArgs) -> Result<Vec<Volume>> {
    let open = |text: &String| -> Result<Volume> {
        let (how, descriptor) = match text.split_once(':') {
            Some(("frozen", descriptor)) => (How::Frozen, descriptor),
            Some(("read-only", descriptor)) => (How::ReadOnly, descriptor),
            _ => return Err(usage("klon starts its watchdog itself")),
        };
        let path = PathBuf::from(format!("/proc/{}/fd/{descriptor}", args.parent));
        let at = fs::read_link(&path).with_context(|| path.shown())?;
        let file = File::open(&path).with_context(|| path.shown())?;
        Ok(Volume { at, how, file })
    };
    let volumes = args.volumes.iter().map(open).collect::<Result<Vec<_>>>()?;
    match getppid() == Pid::from_raw(args.parent) {
        true => Ok(volumes),
        false => Err(anyhow!("klon has ended meanwhile")),
    }
}

/// What is held, and until when.
#[derive(Debug)]
struct Duty {
    held: Vec<bool>,
    /// klon is holding one after the other: what it is about to hold may not be held yet.
    is_entering: bool,
    deadline: Option<Instant>,
}

impl Duty {
    fn new(count: usize) -> Self {
        Self {
            held: vec![false; count],
            is_entering: false,
            deadline: None,
        }
    }

    /// Takes a message of klon's.
    fn take(&mut self, frame: Frame, now: Instant) {
        let mut set = |index: u32, is_held| {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            if let Some(held) = self.held.get_mut(index) {
                *held = is_held;
            }
        };
        match frame {
            // A time beyond all clocks would be no limit.
            Frame::Arm { max, .. } => {
                self.deadline = Some(now.checked_add(max).unwrap_or(now));
                self.is_entering = true;
            }
            Frame::Entered => self.is_entering = false,
            Frame::Hold(index) => set(index, true),
            Frame::LetGo(index) => set(index, false),
            Frame::Disarm => self.deadline = None,
            Frame::Ready => {}
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn holds_any(&self) -> bool {
        self.held.iter().any(|held| *held)
    }

    /// How long there is nothing to do unless klon says something; `None` for ever.
    fn rest(&self, now: Instant) -> Option<Duration> {
        match self.deadline {
            Some(_) if self.is_over(now) => self.holds_any().then_some(RETRY),
            deadline => deadline.map(|deadline| deadline.saturating_duration_since(now)),
        }
    }
}

struct Watchdog {
    volumes: Vec<Volume>,
    duty: Duty,
    socket: UnixStream,
    log: Option<File>,
}

impl Watchdog {
    fn watch(&mut self) {
        loop {
            if !self.wait() {
                break;
            }
            if self.duty.is_over(Instant::now()) {
                self.let_go_of_all("the time limit was reached");
            }
        }
        // Whoever held has ended, so that nothing is on its way to be frozen any more.
        self.duty.is_entering = false;
        for _ in 0..ATTEMPTS {
            self.let_go_of_all("klon ended while it was at rest");
            if !self.duty.holds_any() {
                break;
            }
            sleep(RETRY);
        }
    }

    /// Waits for a message or the end of the time; `false` when klon is gone.
    fn wait(&mut self) -> bool {
        let timeout = self.duty.rest(Instant::now()).map(|rest| {
            // Rounded up, so that it does not wake just before the time is over.
            PollTimeout::try_from(rest + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut sockets, timeout.unwrap_or(PollTimeout::NONE)) {
            Ok(0) | Err(Errno::EINTR) => return true,
            // It can't be waited for, so nothing may be held.
            Err(_) => return false,
            Ok(_) => {}
        }
        match Frame::receive(&self.socket) {
            Ok(Some(frame)) => {
                self.duty.take(frame, Instant::now());
                if let Frame::Arm { .. } = frame {
                    self.tell(frame);
                }
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Lets go of what is held, the last first: what stands on another is written to when it is thawed.
    fn let_go_of_all(&mut self, why: &str) {
        for index in (0..self.volumes.len()).rev() {
            let (Some(volume), Some(held)) =
                (self.volumes.get(index), self.duty.held.get_mut(index))
            else {
                continue;
            };
            if !*held {
                continue;
            }
            match volume.let_go() {
                Ok(true) => {
                    *held = false;
                    note(self.log.as_ref(), volume, why);
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    self.tell(Frame::LetGo(index));
                }
                // It may be just on its way to be frozen.
                Ok(false) if self.duty.is_entering => {}
                // Someone else has let go of it, and who holds it next is not klon.
                Ok(false) => *held = false,
                Err(_) => {}
            }
        }
    }

    /// Tells klon; it may be stopped, and must not stop the watchdog.
    fn tell(&self, frame: Frame) {
        let sent = self.socket.set_nonblocking(true);
        let _ = sent.and_then(|()| frame.send(&self.socket));
        let _ = self.socket.set_nonblocking(false);
    }
}

/// A line in the kernel's log, as there may be nobody else to tell.
fn note(log: Option<&File>, volume: &Volume, why: &str) {
    let what = match volume.how {
        How::Frozen => "thawed",
        How::ReadOnly => "made writable again",
    };
    if let Some(mut log) = log {
        let at = printable(&volume.at.shown());
        let _ = log.write_all(format!("<4>klon-watchdog: {at} was {what}: {why}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{Duty, RETRY};
    use crate::still::protocol::Frame;
    use std::time::{Duration, Instant};

    #[test]
    fn it_knows_what_is_held_and_when_the_time_is_over() {
        let now = Instant::now();
        let max = Duration::from_secs(10);
        let mut duty = Duty::new(2);
        assert_eq!(duty.rest(now), None);
        duty.take(Frame::Arm { number: 1, max }, now);
        assert!(duty.is_entering && !duty.is_over(now) && !duty.holds_any());
        assert_eq!(duty.rest(now), Some(max));
        duty.take(Frame::Hold(1), now);
        duty.take(Frame::Entered, now);
        // An index that there is not is nobody's.
        duty.take(Frame::Hold(7), now);
        let late = now + max;
        assert!(duty.is_over(late) && duty.holds_any() && !duty.is_entering);
        assert_eq!(duty.rest(late), Some(RETRY));
        duty.take(Frame::LetGo(1), late);
        assert_eq!((duty.rest(late), duty.holds_any()), (None, false));
        duty.take(Frame::Disarm, late);
        assert!(!duty.is_over(late));
    }
}
