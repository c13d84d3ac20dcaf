//! Transmission: requests and their answers.

use super::reply::{Errno, Replies};
use super::request::{Command, Request};
use super::status::{DESCRIPTORS_MAX, Flags, describe};
use super::{Connection, PATIENCE, PAYLOAD_BYTES_MAX, violation};
use crate::serve::export::{Context, Export};
use klon_partition::Extent;
use std::io::{self, Read as _};
use std::sync::Arc;

/// Most that is read of the device at once.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// `NBD_STATE_HOLE` and `NBD_STATE_ZERO`.
const HOLE_AND_ZERO: u32 = 3;

/// What a client reads, and how.
pub(super) struct Session {
    pub(super) export: Arc<Export>,
    pub(super) is_structured: bool,
    pub(super) selected: Vec<Selected>,
}

/// Something that is told of extents, and the number that the client knows it by.
pub(super) struct Selected {
    pub(super) number: u32,
    pub(super) told: Told,
}

/// The kind of information that the client asks for about extents.
pub(super) enum Told {
    /// Where data is.
    Allocation,
    /// Something of the export's own.
    Context(Arc<dyn Context>),
}

/// The next request, with what a client wants to write read over; `None` when the client is gone.
pub(super) fn next(client: &mut impl Connection) -> io::Result<Option<Request>> {
    let mut bytes = [0; Request::LEN];
    let len = loop {
        match client.read(&mut bytes) {
            Ok(0) => return Ok(None),
            Ok(len) => break len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if len < Request::LEN {
        // It may be idle for days, but not in the middle of a request.
        client.limit(Some(PATIENCE))?;
        client.read_exact(&mut bytes[len..])?;
        client.limit(None)?;
    }
    let request = Request::parse(&bytes).ok_or_else(|| violation("no request"))?;
    if request.command == Command::Write {
        skip(client, request.len_bytes)?;
    }
    Ok(Some(request))
}

/// Reads what a client wants to write, to find the next request.
fn skip(client: &mut impl Connection, len_bytes: u32) -> io::Result<()> {
    if len_bytes > PAYLOAD_BYTES_MAX {
        return Err(violation("a write that is too long"));
    }
    client.limit(Some(PATIENCE))?;
    let mut data = io::Read::by_ref(client).take(len_bytes.into());
    let found = io::copy(&mut data, &mut io::sink())?;
    client.limit(None)?;
    match found == u64::from(len_bytes) {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The answer to one request.
pub(super) struct Answer<'a> {
    /// Sends what is there already; says whether it did.
    pub(super) send: &'a mut dyn FnMut(&[u8]) -> io::Result<bool>,
    pub(super) session: &'a Session,
    pub(super) request: Request,
    pub(super) out: &'a mut Vec<u8>,
}

impl Answer<'_> {
    fn replies(&mut self) -> Replies<'_> {
        Replies {
            out: self.out,
            cookie: self.request.cookie,
            is_structured: self.session.is_structured,
        }
    }

    fn fail(&mut self, errno: Errno, message: &str) -> io::Result<()> {
        self.replies().fail(errno, message);
        Ok(())
    }

    /// Makes all of it; what is in `out` then is still to be sent.
    pub(super) fn all(&mut self) -> io::Result<()> {
        let known_flags = match self.request.command {
            Command::Read if self.session.is_structured => Request::FLAG_DF,
            Command::BlockStatus => Request::FLAG_REQ_ONE,
            Command::Write | Command::Change => u16::MAX,
            _ => 0,
        };
        if self.request.flags & !known_flags != 0 {
            return self.fail(Errno::Invalid, "a flag that is not known");
        }
        match self.request.command {
            Command::Write | Command::Change => {
                self.fail(Errno::Permission, "the export is read-only")
            }
            Command::Flush => {
                self.replies().done();
                Ok(())
            }
            Command::Read => self.read(),
            Command::BlockStatus => self.status(),
            Command::Disconnect | Command::Other => {
                self.fail(Errno::Invalid, "a request that is not known")
            }
        }
    }

    /// What the request is about, if that lies on the export.
    fn extent(&self) -> Option<Extent> {
        let size_bytes = self.session.export.size_bytes();
        let extent = self.request.extent();
        extent.filter(|extent| extent.end_bytes() <= size_bytes)
    }

    fn read(&mut self) -> io::Result<()> {
        if self.request.len_bytes == 0 {
            self.replies().done();
            return Ok(());
        }
        let Some(extent) = self.extent() else {
            return self.fail(Errno::Invalid, "a read beyond the end");
        };
        let is_whole = self.request.flags & Request::FLAG_DF != 0;
        let max = match is_whole {
            true => PIECE_BYTES,
            false => PAYLOAD_BYTES_MAX.into(),
        };
        match (extent.len_bytes() > max, self.session.is_structured) {
            (true, true) => self.fail(Errno::Overflow, "a read that is too long"),
            (true, false) => self.fail(Errno::Invalid, "a read that is too long"),
            (false, true) if is_whole => self.read_whole(extent),
            (false, true) => self.read_pieces(extent),
            (false, false) => self.read_simple(extent),
        }
    }

    /// One piece of data, or an error.
    fn read_whole(&mut self, extent: Extent) -> io::Result<()> {
        let start = self.out.len();
        let device = &self.session.export.device;
        let mut replies = self.replies();
        let room = replies.data(extent.offset_bytes(), len(extent));
        match device.read_exact_at(room, extent.offset_bytes()) {
            Ok(()) => replies.done(),
            Err(error) => {
                self.out.truncate(start);
                self.fail(Errno::Io, &error.to_string())?;
            }
        }
        Ok(())
    }

    /// Data and holes; what can't be read costs nothing but itself.
    fn read_pieces(&mut self, extent: Extent) -> io::Result<()> {
        let data = self.session.export.device.data(extent);
        let mut at = extent.offset_bytes();
        for found in data.unwrap_or_else(|_| extent.into()).iter() {
            let Some(found) = found.intersection(extent) else {
                continue;
            };
            self.hole(at, found.offset_bytes());
            for piece in self.pieces(found) {
                self.read_piece(piece)?;
            }
            at = found.end_bytes();
        }
        self.hole(at, extent.end_bytes());
        self.replies().done();
        Ok(())
    }

    fn hole(&mut self, start_bytes: u64, end_bytes: u64) {
        let len = u32::try_from(end_bytes.saturating_sub(start_bytes)).unwrap_or(0);
        if len > 0 {
            self.replies().hole(start_bytes, len);
        }
    }

    fn read_piece(&mut self, piece: Extent) -> io::Result<()> {
        let start = self.out.len();
        let device = &self.session.export.device;
        let mut replies = self.replies();
        let room = replies.data(piece.offset_bytes(), len(piece));
        let result = device.read_exact_at(room, piece.offset_bytes());
        let is_zero = room.iter().all(|&byte| byte == 0);
        match result {
            Ok(()) if !is_zero => {}
            Ok(()) => {
                self.out.truncate(start);
                self.hole(piece.offset_bytes(), piece.end_bytes());
            }
            Err(error) => {
                self.out.truncate(start);
                let text = error.to_string();
                self.replies()
                    .fail_at(Errno::Io, piece.offset_bytes(), &text);
            }
        }
        self.send()
    }

    /// Cuts an extent so that damage stays within its piece.
    fn pieces(&self, extent: Extent) -> Vec<Extent> {
        let Export {
            unit_bytes,
            unit_start_bytes: start,
            ..
        } = *self.session.export;
        let shifted = extent.shifted(start).into_iter();
        shifted
            .flat_map(|shifted| shifted.split(unit_bytes.clamp(512, PIECE_BYTES)))
            .filter_map(|piece| Extent::new(piece.offset_bytes() - start, piece.len_bytes()))
            .collect()
    }

    /// All of it behind one head, which must not promise what can't be read.
    fn read_simple(&mut self, extent: Extent) -> io::Result<()> {
        let device = &self.session.export.device;
        let mut scratch = Vec::new();
        if extent.len_bytes() > PIECE_BYTES {
            for piece in extent.split(PIECE_BYTES) {
                scratch.resize(len(piece), 0);
                let result = device.read_exact_at(&mut scratch, piece.offset_bytes());
                if let Err(error) = result {
                    return self.fail(Errno::Io, &error.to_string());
                }
            }
        }
        let start = self.out.len();
        self.replies().simple(None);
        for piece in extent.split(PIECE_BYTES) {
            let mut replies = self.replies();
            let room = replies.plain(len(piece));
            let result = device.read_exact_at(room, piece.offset_bytes());
            match (result, extent.len_bytes() > PIECE_BYTES) {
                (Ok(()), _) => self.send()?,
                (Err(error), false) => {
                    self.out.truncate(start);
                    return self.fail(Errno::Io, &error.to_string());
                }
                // It could be read a moment ago. The client only understands that nobody is there.
                (Err(error), true) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    }

    fn status(&mut self) -> io::Result<()> {
        if self.session.selected.is_empty() {
            return self.fail(Errno::Invalid, "no context was selected");
        }
        let Some(extent) = self.extent() else {
            return self.fail(Errno::Invalid, "a request beyond the end");
        };
        let max = match self.request.flags & Request::FLAG_REQ_ONE {
            0 => DESCRIPTORS_MAX,
            _ => 1,
        };
        let device = &self.session.export.device;
        for Selected { number, told } in &self.session.selected {
            let descriptors = match told {
                Told::Allocation => {
                    let flags = Flags {
                        inside: 0,
                        outside: HOLE_AND_ZERO,
                    };
                    describe(extent, flags, max, |step| {
                        device.data(step).unwrap_or_else(|_| step.into())
                    })
                }
                Told::Context(context) => {
                    let flags = Flags {
                        inside: 1,
                        outside: 0,
                    };
                    describe(extent, flags, max, |step| context.extents(step))
                }
            };
            self.replies().status(*number, &descriptors);
            self.send()?;
        }
        self.replies().done();
        Ok(())
    }

    /// Sends what is there, once it is much.
    fn send(&mut self) -> io::Result<()> {
        if self.out.len() as u64 >= PIECE_BYTES && (self.send)(self.out)? {
            self.out.clear();
        }
        Ok(())
    }
}

/// The length of a piece, which fits memory.
fn len(extent: Extent) -> usize {
    usize::try_from(extent.len_bytes()).unwrap_or(0)
}
