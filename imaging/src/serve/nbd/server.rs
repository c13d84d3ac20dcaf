//! The server: clients come and go, each in a thread of its own, and none can hold up another.

use super::{Connection, PATIENCE, converse};
use crate::serve::export::Exports;
use klon_partition::locks::lock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How long clients may take for what is under way when the server ends.
const GRACE: Duration = Duration::from_secs(3);

/// Where clients come in.
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

/// A server of exports, to be read only.
pub struct Server<'a> {
    /// Where clients come in.
    pub listener: Listener,
    /// What they read.
    pub exports: &'a dyn Exports,
    /// How many there may be at once; further ones are turned away.
    pub clients_max: usize,
}

impl Server<'_> {
    /// Serves until something can be read from `stop`. Then what is under way is answered, and all
    /// clients are let go.
    ///
    /// # Errors
    /// What the system says of the listener. What clients do is no error.
    pub fn run(&self, stop: &impl AsFd) -> io::Result<()> {
        self.listener.set_nonblocking()?;
        let clients = Clients::default();
        thread::scope(|scope| {
            let result = loop {
                match self.next(stop.as_fd()) {
                    Ok(Came::Nobody) => {}
                    Ok(Came::Stop) => break Ok(()),
                    Ok(Came::Client(stream)) => {
                        if let Some(number) = clients.admit(&stream, self.clients_max) {
                            let leaving = Leaving(&clients, number);
                            let serve = move || {
                                let _leaving = leaving;
                                // It is told what was wrong, and nobody else needs to know.
                                let _ = converse(&mut Client::new(stream), self.exports);
                            };
                            let name = format!("nbd-{number}");
                            // What can't be started is dropped, and the client with it.
                            let _ = thread::Builder::new().name(name).spawn_scoped(scope, serve);
                        }
                    }
                    Err(error) => break Err(error),
                }
            };
            clients.dismiss();
            result
        })
    }

    fn next(&self, stop: BorrowedFd<'_>) -> io::Result<Came> {
        let mut fds = [
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop, PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Came::Nobody),
            Err(error) => return Err(error.into()),
        }
        if fds[1].any().unwrap_or(true) {
            return Ok(Came::Stop);
        }
        match self.listener.accept() {
            Ok(stream) => Ok(Came::Client(stream)),
            Err(error) => {
                // Gone already, or no descriptors left: others may leave.
                if error.kind() != io::ErrorKind::WouldBlock {
                    thread::sleep(Duration::from_millis(20));
                }
                Ok(Came::Nobody)
            }
        }
    }
}

/// What a wait was for.
enum Came {
    Nobody,
    Stop,
    Client(Stream),
}

impl Listener {
    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Stream::Tcp(stream)
            }
            Self::Unix(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(false)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Stream::Unix(stream)
            }
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A connection of either kind.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    fn shutdown(&self, how: Shutdown) {
        // It may be gone.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(time),
            Self::Unix(stream) => stream.set_read_timeout(time),
        }
    }
}

/// A client of the server, whose reads may have to be done by some time.
struct Client {
    stream: Stream,
    deadline: Option<Instant>,
}

impl Client {
    const fn new(stream: Stream) -> Self {
        Self {
            stream,
            deadline: None,
        }
    }
}

impl Connection for Client {
    fn limit(&mut self, time: Option<Duration>) -> io::Result<()> {
        self.deadline = time.map(|time| Instant::now() + time);
        match time {
            Some(_) => Ok(()),
            None => self.stream.set_read_timeout(None),
        }
    }

    fn is_ready(&mut self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        }
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Who is there.
#[derive(Default)]
struct Clients(Mutex<(u64, HashMap<u64, Stream>)>);

impl Clients {
    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Stream>)> {
        lock(&self.0)
    }

    /// Gives a client a number, if there is room.
    fn admit(&self, stream: &Stream, max: usize) -> Option<u64> {
        let mut inner = self.lock();
        if inner.1.len() >= max {
            return None;
        }
        let handle = stream.try_clone().ok()?;
        inner.0 += 1;
        let number = inner.0;
        inner.1.insert(number, handle);
        Some(number)
    }

    /// Lets all go: first when they have their answers, then at once.
    fn dismiss(&self) {
        for (how, time) in [
            (Shutdown::Read, GRACE),
            (Shutdown::Both, Duration::from_millis(0)),
        ] {
            self.lock()
                .1
                .values()
                .for_each(|stream| stream.shutdown(how));
            let until = Instant::now() + time;
            while !self.lock().1.is_empty() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Takes a client off the list when its thread ends, however that ends.
struct Leaving<'c>(&'c Clients, u64);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.lock().1.remove(&self.1);
    }
}
