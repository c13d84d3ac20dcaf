//! `$LogFile`: whether changes wait there that the bitmap does not show yet.
//!
//! `RESTART_PAGE_HEADER`, `RESTART_AREA`: Linux-NTFS documentation, "$LogFile":
//! <https://flatcap.github.io/linux-ntfs/ntfs/files/logfile.html>.

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
/// Restart pages and the first log records are within these. Tools that empty a log start there.
const EMPTY_BYTES: u64 = 4 << 20;

/// What either of the two restart pages says against copying by the bitmap.
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
        let found = log.written_bytes();
        return Err(record.corrupt("$DATA", expected, found).into());
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
    let system_page_size = le32(&start, 0x10);
    let is_sound =
        (512..=PAGE_BYTES_MAX).contains(&system_page_size) && system_page_size.is_power_of_two();
    if !start.starts_with(b"RSTR") || !is_sound {
        let magic = String::from_utf8_lossy(start.get(..4).unwrap_or_default()).into_owned();
        let how = format!("$LogFile starts with {magic:?}; {ADVICE}");
        return Ok(Some(Hazard::NeedsRecovery(how)));
    }
    let first = log.restart_page(0, system_page_size)?;
    // The two are written in turn. When one is torn, nothing shows which is newer, and the error
    // stands.
    let second = log.restart_page(system_page_size.into(), system_page_size)?;
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
        let mut bytes = vec![0; len_bytes as usize];
        let geometry = &self.mft.geometry;
        self.log
            .read(self.device, geometry, offset_bytes, &mut bytes)?;
        Ok(bytes)
    }

    /// A log that has been emptied is all ones.
    fn empty(&self) -> Result<Option<Hazard>> {
        let end_bytes = self.log.written_bytes().min(EMPTY_BYTES);
        for at in (0..end_bytes).step_by(PAGE_BYTES_MAX as usize) {
            let len = (end_bytes - at).min(PAGE_BYTES_MAX.into());
            let bytes = self.read(at, len as u32)?;
            if bytes.iter().any(|&byte| byte != 0xff) {
                let how = format!("$LogFile is empty at its start and not at {at:#x}; {ADVICE}");
                return Ok(Some(Hazard::NeedsRecovery(how)));
            }
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
        let restart_area_offset = usize::from(le16(&page, 0x18));
        let minor_ver = le16(&page, 0x1a);
        let major_ver = le16(&page, 0x1c);
        let area = page
            .get(restart_area_offset..)
            .filter(|area| area.len() >= 0x30 && restart_area_offset >= 0x1e);
        let Some(area) = area else {
            let expected = format!("an area within {page_bytes} bytes");
            let found = format!("{restart_area_offset:#x}");
            return Err(bad("restart_area_offset", expected, found).into());
        };
        let current_lsn = le64(area, 0x00);
        let client_in_use_list = le16(area, 0x0c);
        let flags = le16(area, 0x0e);
        Ok(Restart {
            major: major_ver,
            minor: minor_ver,
            clients: client_in_use_list,
            flags,
            current_lsn,
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
        // Windows makes a log of version 2 one of 1.1 again when it lets go of the volume.
        if major != 1 {
            let how = format!("$LogFile has version {major}.{minor}; {ADVICE}");
            return Some(Hazard::NeedsRecovery(how));
        }
        let is_closed = self.clients == NO_CLIENT || self.flags & IS_CLEAN != 0;
        let how = format!("$LogFile is open at LSN {:#x}; {ADVICE}", self.current_lsn);
        (!is_closed).then_some(Hazard::NeedsRecovery(how))
    }
}
