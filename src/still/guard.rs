//! The thread of klon that guards volumes at rest: it hears the watchdog, knows the time, and takes signals.

use super::held::{Held, Reason};
use super::protocol::Frame;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Starts it. It ends when the socket does.
///
/// # Errors
/// What the system says.
pub fn start(held: &Arc<Held>) -> io::Result<JoinHandle<()>> {
    let signals = Signals::take()?;
    let held = Arc::clone(held);
    Builder::new()
        .name("guard".to_owned())
        .stack_size(256 << 10)
        .spawn(move || watch(&held, &signals))
}

fn watch(held: &Held, signals: &Signals) {
    loop {
        let rest = held.rest().map(|rest| rest + Duration::from_millis(1));
        let timeout = rest.map_or(PollTimeout::NONE, |rest| {
            PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX)
        });
        let mut sockets = [held.as_fd(), signals.socket.as_fd()]
            .map(|socket| PollFd::new(socket, PollFlags::POLLIN));
        match poll(&mut sockets, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Without it nobody would hear the watchdog.
            Err(_) => {
                held.heard(None);
                return;
            }
        }
        let [watchdog, signal] = sockets.map(|socket| socket.any().unwrap_or(true));
        if signal && signals.has_come() {
            held.let_go_because(Reason::Signal);
        }
        if watchdog {
            let frame = Frame::receive(held.socket()).ok().flatten();
            held.heard(frame);
            if frame.is_none() {
                return;
            }
        }
        held.let_go_if_over();
    }
}

/// Signals that are to end klon, as bytes of a socket. What else klon does about them stays.
struct Signals {
    socket: UnixStream,
    ids: Vec<SigId>,
}

impl Signals {
    fn take() -> io::Result<Self> {
        let (socket, end) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let mut signals = Self {
            socket,
            ids: Vec::new(),
        };
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let id = pipe::register(signal, end.try_clone()?)?;
            signals.ids.push(id);
        }
        Ok(signals)
    }

    /// Takes what has come.
    fn has_come(&self) -> bool {
        matches!((&self.socket).read(&mut [0; 64]), Ok(1..))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            unregister(id);
        }
    }
}
