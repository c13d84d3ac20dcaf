//! Holds volumes at rest together. A thread of klon lets them go when the watchdog has died, when the time is
//! over, and at a signal. The watchdog lets them go when klon can't.

use super::guard;
use super::held::{Held, Reason};
use super::memory::Locked;
use super::protocol::Frame;
use super::volume::{How, Volume, refusal};
use crate::error::{Failure, INTERRUPTED, message, refused};
use crate::messages;
use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use nix::unistd::syncfs;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant, SystemTime};

/// How long the watchdog may take to be in place, and to answer.
const START_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Volumes with everything that is needed to hold them.
#[derive(Debug)]
pub struct Keeper {
    held: Arc<Held>,
    max: Duration,
    watchdog: Child,
    guard: Option<JoinHandle<()>>,
    /// Whether a volume could not be held, as a file on it is open for writing.
    is_open_for_writing: AtomicBool,
    _memory: Locked,
}

/// Since when volumes are held.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// By the wall clock.
    pub wall: SystemTime,
    /// By the clock that nobody sets.
    pub clock: Instant,
}

impl Since {
    /// This moment.
    pub fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            clock: Instant::now(),
        }
    }
}

impl Keeper {
    /// Makes everything ready; nothing is held yet. The volumes are in the order in which they will be held.
    ///
    /// # Errors
    /// A refusal when memory can't be locked or the watchdog can't be started.
    pub fn begin(volumes: Vec<Volume>, max: Duration) -> Result<Self> {
        let memory = Locked::all()?;
        let (ours, theirs) = UnixStream::pair().context("the watchdog's socket")?;
        let mut watchdog = start_watchdog(&volumes, theirs)?;
        if let Err(error) = await_ready(&ours, &mut watchdog) {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
            return Err(error);
        }
        let held = Arc::new(Held::new(volumes, ours));
        let guard = guard::start(&held).context("the thread that watches over frozen volumes")?;
        Ok(Self {
            held,
            max,
            watchdog,
            guard: Some(guard),
            is_open_for_writing: AtomicBool::new(false),
            _memory: memory,
        })
    }

    /// Holds all, one after the other.
    ///
    /// # Errors
    /// A refusal when the watchdog does not answer or a volume can't be held; then none is held.
    pub fn hold(&self) -> Result<Since> {
        // What is written now need not be written while everybody waits.
        for volume in self.held.volumes() {
            if volume.how == How::Frozen {
                syncfs(&volume.file).with_context(|| volume.at.shown())?;
            }
        }
        if !self.held.arm(self.max, ANSWER_MAX) {
            return Err(refused(
                "klon's watchdog does not answer, and without it nothing may be frozen. Nothing was. Run \
                 this again",
            ));
        }
        let since = Since::now();
        match self.held.hold_all() {
            Ok(()) => Ok(since),
            Err(failed) => {
                let let_go = self.let_go();
                let why = match failed {
                    Some((index, error)) => {
                        let volume = self.held.volumes().get(index);
                        let is_open = volume.is_some_and(|it| it.is_open_for_writing(&error));
                        self.is_open_for_writing.store(is_open, Ordering::Relaxed);
                        volume.map_or_else(|| error.to_string(), |volume| refusal(volume, &error))
                    }
                    // That the volumes were let go of is the reason, and `let_go` knows why.
                    None => {
                        return let_go.and_then(|()| Err(refused("the volumes were let go of")));
                    }
                };
                // A volume that stays frozen is worse than what kept klon from freezing all.
                let_go.and_then(|()| Err(refused(why)))
            }
        }
    }

    /// Lets go of all, the last first.
    ///
    /// # Errors
    /// When one was let go of before, by whomever: a refusal, as what was read meanwhile does not count. When one
    /// can't be let go of.
    pub fn let_go(&self) -> Result<()> {
        self.let_go_of_all()?;
        match self.held.reason() {
            None => Ok(()),
            Some(reason) => Err(self.explained(reason)),
        }
    }

    /// Lets go of all that is held, and says so when that fails.
    pub fn let_go_or_say(&self) {
        if let Err(error) = self.let_go_of_all() {
            messages::say(&format!("klon: {}", message(&error)));
        }
    }

    /// Lets go of all that is held, and tells only when that fails.
    fn let_go_of_all(&self) -> Result<()> {
        let Some((volume, error)) = self.held.let_go_patiently() else {
            return Ok(());
        };
        let at = volume.at.shown();
        let how = match volume.how {
            How::Frozen => format!("can't be thawed: {error}. Try it again: klon thaw {at}"),
            How::ReadOnly => format!(
                "can't be made writable again: {error}. Try it again: mount -o remount,rw {at}"
            ),
        };
        Err(std::io::Error::other(format!("{at} {how}")).into())
    }

    /// Whether the last [`hold`](Self::hold) failed only because a file is open for writing on a volume that was to be
    /// made read-only.
    pub fn is_open_for_writing(&self) -> bool {
        self.is_open_for_writing.load(Ordering::Relaxed)
    }

    /// Time that is left; none when the volumes were let go of already.
    pub fn left(&self) -> Duration {
        self.held.left()
    }

    fn explained(&self, reason: Reason) -> anyhow::Error {
        let max = humantime::format_duration(self.max);
        let what = match reason {
            Reason::TimeIsOver => format!(
                "the volumes were at rest for the longest time allowed ({max}), so klon let them go. \
                 --freeze-max allows more"
            ),
            Reason::WatchdogDied => {
                "klon's watchdog ended, so klon let go of the volumes at once".to_owned()
            }
            Reason::Signal => {
                "klon was told to end, so it let go of the volumes at once".to_owned()
            }
            Reason::SomeoneElse(index) => {
                let volume = self.held.volumes().get(index);
                let at = volume.map_or_else(String::new, |volume| volume.at.shown());
                format!("someone else let go of {at} while klon needed it to be at rest")
            }
        };
        let said = format!("{what}. What was read meanwhile does not count");
        match reason {
            Reason::Signal => Failure {
                message: said,
                code: INTERRUPTED,
            }
            .into(),
            _ => refused(said),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.let_go_or_say();
        // Both the thread and the watchdog end when the socket does.
        self.held.close();
        if let Some(guard) = self.guard.take() {
            let _ = guard.join();
        }
        // A watchdog that holds on to something goes on without klon.
        let ended = (0..200).any(|_| {
            matches!(self.watchdog.try_wait(), Ok(Some(_)) | Err(_)) || {
                sleep(Duration::from_millis(10));
                false
            }
        });
        if !ended && !self.held.holds_any() {
            let _ = self.watchdog.kill();
            let _ = self.watchdog.wait();
        }
    }
}

/// Runs klon itself as the watchdog of this process.
fn start_watchdog(volumes: &[Volume], socket: UnixStream) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("watchdog").arg(std::process::id().to_string());
    for volume in volumes {
        let how = match volume.how {
            How::Frozen => "frozen",
            How::ReadOnly => "read-only",
        };
        command.arg(format!("{how}:{}", volume.file.as_raw_fd()));
    }
    command
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting klon's watchdog")
}

fn await_ready(socket: &UnixStream, watchdog: &mut Child) -> Result<()> {
    socket
        .set_read_timeout(Some(START_MAX))
        .context("the watchdog's socket")?;
    match Frame::receive(socket) {
        Ok(Some(Frame::Ready)) => {
            socket
                .set_read_timeout(None)
                .context("the watchdog's socket")?;
            return Ok(());
        }
        // It has ended, and said why.
        Ok(None) => {}
        _ => {
            let _ = watchdog.kill();
        }
    }
    let mut said = Vec::new();
    if let Some(stderr) = watchdog.stderr.take() {
        let _ = stderr.take(4096).read_to_end(&mut said);
    }
    let said = klon_partition::text::sealed_bytes(said.trim_ascii());
    Err(refused(format!(
        "klon's watchdog can't be started, and without it nothing may be frozen: {said}"
    )))
}
