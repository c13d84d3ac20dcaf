//! `$LogFile`: whether changes wait there that the bitmap does not show yet.

use super::mft::{self, Mft};
use super::record::{DATA, Key, fix_up};
use super::stream::Stream;
use crate::bytes::{le16, le32, le64};
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::filesystem::Hazard;

/// `LFS_NO_CLIENT`: nobody has the log open.
const NO_CLIENT: u16 = 0xffff;
/// `RESTART_VOLUME_IS_CLEAN`
const IS_CLEAN: u16 = 0x0002;
const PAGE_BYTES_MAX: u32 = 64 << 10;
/// Restart pages and the first log records are within these; what empties a log starts there.
const EMPTY_BYTES: u64 = 4 << 20;

/// What either of the two restart pages says against it (LFS_RESTART_PAGE_HEADER, LFS_RESTART_AREA).
///
/// # Errors
/// [`crate::Error::Corrupt`] when one can't be read.
pub(super) fn hazard(mft: &Mft, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let record = mft.record(device, mft::LOG_FILE)?;
    let Some(log) = mft.stream(device, &record, Key::unnamed(DATA))? else {
        return Err(record.corrupt("$DATA", "the log", "nothing").into());
    };
    if !log.is_plain() || log.written_bytes() < u64::from(PAGE_BYTES_MAX) {
        let expected = format!("at least {PAGE_BYTES_MAX} bytes without holes");
        return Err(record
            .corrupt("$DATA", expected, log.written_bytes())
            .into());
    }
    let log = Log {
        mft,
        device,
        log: &log,
    };
    let start = log.read(0, PAGE_BYTES_MAX)?;
    if start.iter().all(|&byte| byte == 0xff) {
        return log.empty();
    }
    let page_bytes = le32(&start, 0x10);
    let is_sound = (512..=PAGE_BYTES_MAX).contains(&page_bytes) && page_bytes.is_power_of_two();
    if !start.starts_with(b"RSTR") || !is_sound {
        let magic = String::from_utf8_lossy(start.get(..4).unwrap_or_default()).into_owned();
        let how = format!("$LogFile starts with {magic:?}; {ADVICE}");
        return Ok(Some(Hazard::NeedsRecovery(how)));
    }
    let first = log.restart_page(0, page_bytes)?;
    // They are written in turn. With one of them torn nothing shows which is newer, and the error
    // stands.
    let second = log.restart_page(page_bytes.into(), page_bytes)?;
    Ok(first.unclean().or_else(|| second.unclean()))
}

const ADVICE: &str = "shut Windows down fully (shutdown /s /f /t 0), or mount and unmount it once";

struct Log<'a> {
    mft: &'a Mft,
    device: &'a dyn ReadAt,
    log: &'a Stream,
}

impl Log<'_> {
    fn read(&self, offset_bytes: u64, len_bytes: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len_bytes).unwrap_or(0)];
        let geometry = &self.mft.geometry;
        self.log
            .read(self.device, geometry, (offset_bytes, &mut bytes))?;
        Ok(bytes)
    }

    /// A log that has been emptied is all ones.
    fn empty(&self) -> Result<Option<Hazard>> {
        let end_bytes = self.log.written_bytes().min(EMPTY_BYTES);
        let mut at = 0;
        while at < end_bytes {
            let len = end_bytes.saturating_sub(at).min(PAGE_BYTES_MAX.into());
            let bytes = self.read(at, u32::try_from(len).unwrap_or(0))?;
            if bytes.iter().any(|&byte| byte != 0xff) {
                let how = format!("$LogFile is empty at its start and not at {at:#x}; {ADVICE}");
                return Ok(Some(Hazard::NeedsRecovery(how)));
            }
            at = at.saturating_add(len);
        }
        Ok(None)
    }

    fn restart_page(&self, offset_bytes: u64, page_bytes: u32) -> Result<Restart> {
        let place_bytes = self.log.place_bytes(&self.mft.geometry, offset_bytes);
        let mut page = self.read(offset_bytes, page_bytes)?;
        let bad = |field, expected: String, found: String| {
            Corrupt::new("NTFS restart page", field, place_bytes, expected, found)
        };
        if !page.starts_with(b"RSTR") {
            let found = format!("{:02x?}", page.get(..4).unwrap_or_default());
            return Err(bad("magic", "\"RSTR\"".to_owned(), found).into());
        }
        fix_up(&mut page, "NTFS restart page", place_bytes)?;
        let start = usize::from(le16(&page, 0x18));
        let area = page
            .get(start..)
            .filter(|area| area.len() >= 0x30 && start >= 0x1e);
        let Some(area) = area else {
            let expected = format!("an area within {page_bytes} bytes");
            return Err(bad("restart_area_offset", expected, format!("{start:#x}")).into());
        };
        Ok(Restart {
            major: le16(&page, 0x1c),
            minor: le16(&page, 0x1a),
            clients: le16(area, 0x0c),
            flags: le16(area, 0x0e),
            current_lsn: le64(area, 0),
        })
    }
}

/// What a restart page says.
struct Restart {
    major: u16,
    minor: u16,
    /// `client_in_use_list`: the first client, or none.
    clients: u16,
    flags: u16,
    current_lsn: u64,
}

impl Restart {
    fn unclean(&self) -> Option<Hazard> {
        let (major, minor) = (self.major, self.minor);
        // A log of version 2 is made 1.1 again when Windows lets go of the volume.
        if major != 1 {
            let how = format!("$LogFile has version {major}.{minor}; {ADVICE}");
            return Some(Hazard::NeedsRecovery(how));
        }
        let is_closed = self.clients == NO_CLIENT || self.flags & IS_CLEAN != 0;
        let how = format!("$LogFile is open at LSN {:#x}; {ADVICE}", self.current_lsn);
        (!is_closed).then_some(Hazard::NeedsRecovery(how))
    }
}
