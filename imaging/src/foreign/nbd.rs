//! A disk that a server of the network block device protocol shows, read through connections that are
//! there already: `doc/proto.md` of <https://github.com/NetworkBlockDevice/nbd>.
//!
//! The server is one of this machine that was started for this. What it says is bounded all the same.

mod negotiate;
mod wire;

use crate::pieces::fill;
use klon_partition::error::Operation;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::locks::lock;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt, Result};
use negotiate::Session;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;
use wire::Reply;

/// What is asked for at once: servers take as much.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// How much a question about what is zero is about.
const STATUS_BYTES_MAX: u64 = 1 << 30;
/// How long a server may take to say what it shows.
const PATIENCE: Duration = Duration::from_secs(60);

/// A disk that a server shows.
pub struct NbdDisk {
    /// `None` after an error of which nobody knows where in the stream it ended.
    connections: Vec<Mutex<Option<UnixStream>>>,
    session: Session,
}

impl NbdDisk {
    /// Agrees with the server on reading its default export through all of `connections`, of which
    /// there is one at least.
    ///
    /// # Errors
    /// What the system says of a connection; [`io::ErrorKind::InvalidData`] when the server does not
    /// speak the protocol, or shows different things.
    pub fn open(connections: Vec<UnixStream>) -> io::Result<Self> {
        let mut session = None;
        for connection in &connections {
            connection.set_read_timeout(Some(PATIENCE))?;
            let found = negotiate::negotiate(&mut &*connection)?;
            if *session.get_or_insert(found) != found {
                return Err(wire::violation("each connection shows another disk"));
            }
            // A failing disk takes its time.
            connection.set_read_timeout(None)?;
        }
        let session = session.ok_or_else(|| wire::violation("no connection"))?;
        let connections = connections.into_iter().map(|one| Mutex::new(Some(one)));
        Ok(Self {
            connections: connections.collect(),
            session,
        })
    }

    /// A connection that nobody uses, else one that is waited for.
    fn connection(&self, offset_bytes: u64) -> MutexGuard<'_, Option<UnixStream>> {
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
            Some(stream) => wire::ask(&mut &*stream, command, extent, take),
            None => Err(io::Error::other("the connection was lost before")),
        };
        let failure = match asked {
            Ok(None) => return Ok(()),
            Ok(Some(refusal)) => io::Error::other(refusal),
            Err(error) => {
                *connection = None;
                error
            }
        };
        let (offset_bytes, len_bytes) = (extent.offset_bytes(), extent.len_bytes());
        Err(Error::io(Operation::Read, offset_bytes, len_bytes, failure))
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

impl ReadAt for NbdDisk {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.session.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let unit_bytes = REQUEST_BYTES_MAX;
        fill(
            self.geometry(),
            unit_bytes,
            buffer,
            offset_bytes,
            |piece, out| self.read_piece(piece, out),
        )
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        if self.session.allocation.is_none() {
            return Ok(within.into());
        }
        let mut data = ExtentMapBuilder::new();
        let mut position = within.offset_bytes();
        while let Some(rest) = Extent::between(position, within.end_bytes()) {
            let Some(asked) = rest.split(STATUS_BYTES_MAX).next() else {
                break;
            };
            self.ask(wire::BLOCK_STATUS, asked, &mut |reply| {
                let Reply::Status(context, extents) = reply else {
                    return Err(wire::violation("bytes for a status"));
                };
                if Some(context) != self.session.allocation {
                    return Ok(());
                }
                for (len_bytes, is_zero) in extents {
                    // The last may say more than was asked for.
                    let end = position.saturating_add(len_bytes).min(asked.end_bytes());
                    if let Some(part) = Extent::between(position, end).filter(|_| !is_zero) {
                        data.push(part);
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
        Ok(data.finish())
    }
}

#[cfg(test)]
mod tests;
