//! Reading one frame of an image.

use super::frame::{self, FRAME_HEADER_LEN, FrameHeader, FrameType};
use super::header::Header;
use super::reference::Reference;
use crate::buffer::Pool;
use bytes::Bytes;
use klon_partition::device::{AlignedBuffer, aligned};
use klon_partition::error::Corrupt;
use klon_partition::{ReadAt, Result};

/// Where frames come from.
pub(super) trait LoadFrames {
    /// Reads the plain bytes of the frame that `reference` names into `plain`, which is as long as
    /// they are.
    fn read_into(
        &self,
        reference: &Reference,
        frame_type: FrameType,
        plain: &mut [u8],
    ) -> Result<()>;

    /// The header and the payload of a frame; only the header is checked.
    fn load(&self, reference: &Reference, frame_type: FrameType) -> Result<(FrameHeader, Bytes)>;
}

/// A file of frames: its bytes, and the header that its frames go by.
#[derive(Clone, Copy)]
pub(super) struct FrameFile<'a> {
    pub(super) device: &'a dyn ReadAt,
    pub(super) header: &'a Header,
}

impl FrameFile<'_> {
    /// Reads and checks the frame that `reference` names.
    pub(super) fn read(
        self,
        reference: &Reference,
        frame_type: FrameType,
        plain: &mut [u8],
    ) -> Result<()> {
        let (header, payload) = self.load(reference, frame_type, plain.len(), None)?;
        frame::decode(&header, reference.position, &payload, plain)
    }

    /// The header and the payload of the frame that `reference` names; only the header is checked.
    pub(super) fn load(
        self,
        reference: &Reference,
        frame_type: FrameType,
        plain_len: usize,
        pool: Option<&Pool>,
    ) -> Result<(FrameHeader, Bytes)> {
        let Self {
            device,
            header: file,
        } = self;
        let position = reference.position;
        let wrong = |field, expected: String, found: String| {
            Err(Corrupt::new(frame_type.name(), field, position, expected, found).into())
        };
        let max = frame_type.plain_bytes_max();
        if reference.stored_bytes > max || plain_len != reference.plain_bytes as usize {
            let found = format!(
                "{} stored, {} plain",
                reference.stored_bytes, reference.plain_bytes
            );
            return wrong("lengths", format!("{plain_len} plain"), found);
        }
        let len = FRAME_HEADER_LEN + reference.stored_bytes as usize;
        let end = position.checked_add(len as u64);
        let size_bytes = device.geometry().size_bytes;
        if end.is_none_or(|end| end > size_bytes) {
            return wrong(
                "end",
                format!("within {size_bytes} bytes"),
                format!("{end:?}"),
            );
        }
        // Whole blocks, so that the device need not read more around them.
        let align = aligned::ALIGNMENT_BYTES as u64;
        let start = position / align * align;
        let skip = usize::try_from(position - start).unwrap_or(0);
        let room = (skip + len).next_multiple_of(aligned::ALIGNMENT_BYTES);
        let rest = usize::try_from(size_bytes - start).unwrap_or(usize::MAX);
        let pooled = pool.map(Pool::take).filter(|buffer| buffer.len() >= room);
        let bytes = match pooled {
            Some(mut buffer) => {
                device.read_exact_at(&mut buffer[..room.min(rest)], start)?;
                buffer.freeze()
            }
            None => {
                let mut buffer = AlignedBuffer::zeroed(room);
                device.read_exact_at(&mut buffer[..room.min(rest)], start)?;
                Bytes::from_owner(buffer)
            }
        };
        let bytes = bytes.slice(skip..skip + len);
        let header = FrameHeader::parse(&bytes, file.uuid, position)?;
        if header.frame_type != frame_type || header.reference(position) != *reference {
            return wrong("header", format!("{reference:?}"), format!("{header:?}"));
        }
        Ok((header, bytes.slice(FRAME_HEADER_LEN..)))
    }
}
