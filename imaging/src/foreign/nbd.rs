//! A disk that a server of the network block device protocol shows, read through several connections:
//! `doc/proto.md` of <https://github.com/NetworkBlockDevice/nbd>.
//!
//! The server may be one of this machine that was started for this, or anyone's: what it says is bounded. A
//! connection that is lost is an error, and none is made anew: what is behind the name may be another disk
//! then.

mod negotiate;
mod socket;
mod uri;
mod wire;

pub use uri::NbdUri;

use crate::pieces::Units;
use klon_partition::error::Operation;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::locks::lock;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt, Result};
use negotiate::Session;
use socket::Socket;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;
use wire::Reply;

/// What is asked for at once: servers take as much.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// How much a question about what is zero is about.
const STATUS_BYTES_MAX: u64 = 1 << 30;
/// How long a server may take to say what it shows, and one that is not klon's own to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections to a server that allows several.
const CONNECTIONS: usize = 4;

/// A disk that a server shows.
pub struct NbdDisk {
    /// `None` after an error that may have ended anywhere in the stream.
    connections: Vec<Mutex<Option<Socket>>>,
    session: Session,
}

impl NbdDisk {
    /// Agrees with klon's own server on reading its default export through all of `connections`. There must
    /// be at least one.
    ///
    /// # Errors
    /// What the system says of a connection; [`io::ErrorKind::InvalidData`] when the server does not
    /// speak the protocol, or shows different things.
    pub fn open(connections: Vec<UnixStream>) -> io::Result<Self> {
        let mut session = None;
        let sockets: Vec<Socket> = connections.into_iter().map(Socket::Unix).collect();
        for socket in &sockets {
            let found = agreed(socket, "", None)?;
            if *session.get_or_insert(found) != found {
                return Err(another());
            }
            // A failing disk takes its time.
            socket.set_patience(None)?;
        }
        let session = session.ok_or_else(|| wire::violation("no connection"))?;
        Ok(Self::new(sockets, session))
    }

    /// Connects to a server, several times when it says that its connections see the same.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`io::ErrorKind::Unsupported`] when the server refuses the export, with what
    /// it says.
    pub fn connect(uri: &NbdUri) -> io::Result<Self> {
        Self::connect_for(uri, None)
    }

    /// Connects in the same way, to ask later what changed. The server answers by the bitmap `name`, which
    /// QEMU keeps for a virtual machine.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`io::ErrorKind::NotFound`] when the server shows no such bitmap.
    pub fn connect_with_bitmap(uri: &NbdUri, name: &str) -> io::Result<Self> {
        let disk = Self::connect_for(uri, Some(name))?;
        match disk.session.bitmap {
            Some(_) => Ok(disk),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("the server shows no bitmap {name:?} of this export"),
            )),
        }
    }

    fn connect_for(uri: &NbdUri, bitmap: Option<&str>) -> io::Result<Self> {
        let first = uri.connect()?;
        let session = agreed(&first, &uri.export, bitmap)?;
        let mut sockets = vec![first];
        while session.allows_several && sockets.len() < CONNECTIONS {
            let socket = uri.connect()?;
            if agreed(&socket, &uri.export, bitmap)? != session {
                return Err(another());
            }
            sockets.push(socket);
        }
        Ok(Self::new(sockets, session))
    }

    fn new(sockets: Vec<Socket>, session: Session) -> Self {
        let connections = sockets.into_iter().map(|one| Mutex::new(Some(one)));
        Self {
            connections: connections.collect(),
            session,
        }
    }

    /// The parts of `within` that were written to since the bitmap began; `None` if no bitmap was asked for.
    ///
    /// # Errors
    /// As reading has them.
    pub fn changed(&self, within: Extent) -> Result<Option<ExtentMap>> {
        let is_dirty = |flags| flags & wire::STATE_DIRTY != 0;
        let bitmap = self.session.bitmap;
        let changed = bitmap.map(|context| self.where_it_holds(context, within, is_dirty));
        changed.transpose()
    }

    /// Whether the server says that nobody writes through it.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.session.is_read_only
    }

    /// A connection that nobody uses, else one that is waited for.
    fn connection(&self, offset_bytes: u64) -> MutexGuard<'_, Option<Socket>> {
        for connection in &self.connections {
            match connection.try_lock() {
                Ok(free) => return free,
                Err(TryLockError::Poisoned(free)) => return free.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let count = self.connections.len() as u64;
        let index = usize::try_from(offset_bytes / REQUEST_BYTES_MAX % count.max(1)).unwrap_or(0);
        let connection = &self.connections[index];
        lock(connection)
    }

    /// Asks for `extent`, and hands each piece of the answer to `take`.
    fn ask(
        &self,
        command: u16,
        extent: Extent,
        take: &mut dyn FnMut(Reply<'_>) -> io::Result<()>,
    ) -> Result<()> {
        let mut connection = self.connection(extent.offset_bytes());
        let asked = match &*connection {
            Some(socket) => wire::ask(&mut &*socket, command, extent, take),
            None => Err(io::Error::other("the connection was lost before")),
        };
        let failure = match asked {
            Ok(None) => return Ok(()),
            Ok(Some(refusal)) => io::Error::other(refusal),
            Err(error) => {
                *connection = None;
                in_time(error)
            }
        };
        let (offset_bytes, len_bytes) = (extent.offset_bytes(), extent.len_bytes());
        Err(Error::io(Operation::Read, offset_bytes, len_bytes, failure))
    }

    /// What may be asked for to have `piece`: servers may answer for whole blocks only.
    fn aligned(&self, piece: Extent) -> Extent {
        let block_bytes = self.session.block_bytes;
        let start = piece.offset_bytes() - piece.offset_bytes() % block_bytes;
        let end = piece.end_bytes().next_multiple_of(block_bytes);
        let end = end.min(self.session.size_bytes);
        Extent::between(start, end).unwrap_or(piece)
    }

    /// Reads what is in one request, also where its ends are in the middle of blocks.
    fn read_part(&self, piece: Extent, out: &mut [u8]) -> Result<()> {
        let whole = self.aligned(piece);
        if whole == piece {
            return self.read_piece(piece, out);
        }
        let mut bytes = vec![0; usize::try_from(whole.len_bytes()).unwrap_or(0)];
        self.read_piece(whole, &mut bytes)?;
        let start = usize::try_from(piece.offset_bytes() - whole.offset_bytes()).unwrap_or(0);
        let part = bytes.get(start..start.saturating_add(out.len()));
        out.copy_from_slice(part.unwrap_or_default());
        Ok(())
    }

    /// The blocks in `within` where the context with this number has flags that are `wanted`.
    fn where_it_holds(
        &self,
        context: u32,
        within: Extent,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<ExtentMap> {
        let mut found = ExtentMapBuilder::new();
        let aligned = self.aligned(within);
        let mut position = aligned.offset_bytes();
        while let Some(rest) = Extent::between(position, aligned.end_bytes()) {
            let Some(asked) = rest.split(STATUS_BYTES_MAX).next() else {
                break;
            };
            self.ask(wire::BLOCK_STATUS, asked, &mut |reply| {
                let Reply::Status(number, extents) = reply else {
                    return Err(wire::violation("bytes for a status"));
                };
                if number != context {
                    return Ok(());
                }
                for (len_bytes, flags) in extents {
                    // The last may say more than was asked for.
                    let end = position.saturating_add(len_bytes).min(asked.end_bytes());
                    let part = Extent::between(position, end).filter(|_| wanted(flags));
                    if let Some(part) = part.and_then(|part| part.intersection(within)) {
                        found.push(part);
                    }
                    position = end;
                }
                Ok(())
            })?;
            if position <= asked.offset_bytes() {
                let failure = wire::violation("a status of nothing");
                let (offset_bytes, len_bytes) = (asked.offset_bytes(), asked.len_bytes());
                return Err(Error::io(Operation::Read, offset_bytes, len_bytes, failure));
            }
        }
        Ok(found.finish())
    }

    fn read_piece(&self, piece: Extent, out: &mut [u8]) -> Result<()> {
        let mut covered = ExtentMap::new();
        self.ask(wire::READ, piece, &mut |reply| {
            let (here, bytes) = match reply {
                Reply::Data(here, bytes) => (here, Some(bytes)),
                Reply::Hole(here) => (here, None),
                Reply::Status(..) => return Err(wire::violation("a status for a read")),
            };
            if !piece.contains(here) || covered.overlaps(here) {
                return Err(wire::violation("bytes that nobody asked for"));
            }
            covered = covered.union(&here.into());
            let start = usize::try_from(here.offset_bytes() - piece.offset_bytes()).unwrap_or(0);
            let len = usize::try_from(here.len_bytes()).unwrap_or(0);
            match bytes {
                Some(bytes) => out[start..start + len].copy_from_slice(bytes),
                None => out[start..start + len].fill(0),
            }
            Ok(())
        })?;
        match covered.contains(piece) {
            true => Ok(()),
            false => {
                let failure = wire::violation("less than was asked for");
                let (offset_bytes, len_bytes) = (piece.offset_bytes(), piece.len_bytes());
                Err(Error::io(Operation::Read, offset_bytes, len_bytes, failure))
            }
        }
    }
}

/// Agrees with the server on reading an export, in good time.
fn agreed(socket: &Socket, export: &str, bitmap: Option<&str>) -> io::Result<Session> {
    socket.set_patience(Some(PATIENCE))?;
    negotiate::negotiate(&mut &*socket, export, bitmap).map_err(in_time)
}

fn another() -> io::Error {
    wire::violation("each connection shows another disk")
}

/// Says so when it took too long.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the server has not answered for {} s", PATIENCE.as_secs()),
        ),
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the server has left"),
        _ => error,
    }
}

impl Drop for NbdDisk {
    /// Takes leave, so that no server takes it for a lost client.
    fn drop(&mut self) {
        for connection in &self.connections {
            if let Some(socket) = &*lock(connection) {
                let _ = wire::leave(&mut &*socket);
            }
        }
    }
}

impl ReadAt for NbdDisk {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.session.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let units = Units {
            geometry: self.geometry(),
            unit_bytes: REQUEST_BYTES_MAX.min(self.session.request_bytes_max),
        };
        units.fill(buffer, offset_bytes, |piece, out| {
            self.read_part(piece, out)
        })
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        match self.session.allocation {
            Some(context) => {
                self.where_it_holds(context, within, |flags| flags & wire::STATE_ZERO == 0)
            }
            None => Ok(within.into()),
        }
    }
}

#[cfg(test)]
mod tests;
