//! The journal: where it is, and whether it has anything to replay (TN1150, "Journal").

use super::address::{Block, Run};
use super::header::Header;
use crate::bytes::{be32, be64, le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;
use crate::filesystem::Hazard;

/// `JournalInfoBlock` up to `size`.
const INFO_BYTES: usize = 52;
const IN_FS: u32 = 1;
const ON_OTHER_DEVICE: u32 = 2;
const NEED_INIT: u32 = 4;

/// `journal_header` without `sequence_num`, as far as its checksum goes.
const HEADER_BYTES: usize = 44;
const MAGIC: u32 = 0x4a4e_4c78;
const ENDIAN: u32 = 0x1234_5678;

/// What the journal info block says.
pub(super) struct Journal {
    flags: u32,
    info: Extent,
    /// On this volume; `None` when the journal is elsewhere.
    place: Option<Extent>,
}

impl Journal {
    /// Reads the journal info block of a volume that has `kHFSVolumeJournaledBit`.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the block or the journal do not lie on the volume.
    pub(super) fn open(header: &Header, device: &dyn ReadAt) -> Result<Self> {
        let block = header.journal_info_block;
        let run = Run {
            first: block,
            blocks: 1,
        };
        let info = header.blocks.extent(run).filter(|_| block != Block(0));
        let Some(info) = info else {
            // A volume has 4 KiB or more in its blocks.
            let expected = format!("a block from 1 to {}", header.blocks.count - 1);
            let field = "journalInfoBlock";
            let at = header.offset_bytes;
            return Err(Corrupt::new("HFS+ volume header", field, at, expected, block).into());
        };
        let raw = read_vec(device, info.offset_bytes(), INFO_BYTES)?;
        let flags = be32(&raw, 0);
        // offset, size
        let (offset_bytes, len_bytes) = (be64(&raw, 36), be64(&raw, 44));
        let is_here = flags & IN_FS != 0 && flags & ON_OTHER_DEVICE == 0;
        let place = Extent::new(offset_bytes, len_bytes)
            .filter(|place| place.end_bytes() <= header.size_bytes() && len_bytes >= 512);
        if is_here && place.is_none() {
            let expected = format!("a journal on {} bytes", header.size_bytes());
            let found = format!("{len_bytes} bytes from byte {offset_bytes:#x} on");
            let structure = "HFS+ journal info block";
            let at = info.offset_bytes();
            return Err(Corrupt::new(structure, "offset, size", at, expected, found).into());
        }
        Ok(Self {
            flags,
            info,
            place: place.filter(|_| is_here),
        })
    }

    /// The journal info block, and the journal if it is on this volume.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        [Some(self.info), self.place].into_iter().flatten()
    }

    /// What it says against copying by the allocation file.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the journal's header fails a check.
    pub(super) fn hazard(&self, device: &dyn ReadAt) -> Result<Option<Hazard>> {
        let unknown = self.flags & !(IN_FS | ON_OTHER_DEVICE | NEED_INIT);
        if unknown != 0 {
            let which = format!("journal info block flags {unknown:#x}");
            return Ok(Some(Hazard::UnknownFeature(which)));
        }
        let Some(place) = self.place else {
            let which = format!("journal info block flags {:#x}", self.flags);
            return Ok(Some(Hazard::ExternalJournal(which)));
        };
        // It was never written to; the next mount makes it.
        if self.flags & NEED_INIT != 0 {
            return Ok(None);
        }
        let raw = read_vec(device, place.offset_bytes(), HEADER_BYTES)?;
        let state = State::parse(&raw, place)?;
        // The end of the journal is its start, after the header.
        let wrapped = |at: u64| if at == state.size_bytes { 0 } else { at };
        let is_empty = wrapped(state.start_bytes) == wrapped(state.end_bytes);
        Ok((!is_empty).then(|| {
            let (start, end) = (state.start_bytes, state.end_bytes);
            Hazard::NeedsRecovery(format!("journal from {start:#x} to {end:#x}"))
        }))
    }
}

/// `journal_header`, in the byte order of the machine that wrote it.
struct State {
    start_bytes: u64,
    end_bytes: u64,
    size_bytes: u64,
}

impl State {
    fn parse(raw: &[u8], place: Extent) -> Result<Self> {
        let check = |is_valid, field, expected: String, found: String| -> Result<()> {
            if is_valid {
                return Ok(());
            }
            let at = place.offset_bytes();
            Err(Corrupt::new("HFS+ journal header", field, at, expected, found).into())
        };
        let is_little = le32(raw, 0) == MAGIC;
        let word = |at| {
            if is_little {
                le32(raw, at)
            } else {
                be32(raw, at)
            }
        };
        let long = |at| {
            if is_little {
                le64(raw, at)
            } else {
                be64(raw, at)
            }
        };
        let hex = |value: u32| format!("{value:#x}");
        let (magic, endian, stored) = (word(0), word(4), word(36));
        let (start, end, size) = (long(8), long(16), long(24));
        check(magic == MAGIC, "magic", hex(MAGIC), hex(magic))?;
        check(endian == ENDIAN, "endian", hex(ENDIAN), hex(endian))?;
        let sum = checksum(raw);
        check(stored == sum, "checksum", hex(sum), hex(stored))?;
        let len_bytes = place.len_bytes();
        let expected = format!("{len_bytes} as in the journal info block");
        check(size == len_bytes, "size", expected, size.to_string())?;
        for (field, value) in [("start", start), ("end", end)] {
            let is_inside = (1..=size).contains(&value) && value.is_multiple_of(512);
            let expected = format!("a multiple of 512 up to {size}");
            check(is_inside, field, expected, value.to_string())?;
        }
        Ok(Self {
            start_bytes: start,
            end_bytes: end,
            size_bytes: size,
        })
    }
}

/// Over the header with zeroes in place of the checksum.
fn checksum(raw: &[u8]) -> u32 {
    let sum = raw.iter().enumerate().fold(0_u32, |sum, (at, &byte)| {
        let byte = if (36..40).contains(&at) { 0 } else { byte };
        (sum << 8) ^ sum.wrapping_add(byte.into())
    });
    !sum
}
