//! Filesystems that are made smaller by their own programs.

use super::tool::{Program, failed, output, run};
use crate::human;
use anyhow::{Context as _, Result, anyhow};
use klon_partition::device::{look_at, read_vec};
use std::ffi::OsStr;
use std::path::Path;

const E2FSCK: Program = Program::new("e2fsck", "e2fsprogs");
const RESIZE2FS: Program = Program::new("resize2fs", "e2fsprogs");
const NTFSRESIZE: Program = Program::new("ntfsresize", "ntfs-3g");
const NTFSFIX: Program = Program::new("ntfsfix", "ntfs-3g");
const BTRFS: Program = Program::new("btrfs", "btrfs-progs");
/// The unit `s` of resize2fs.
const SECTOR_BYTES: u64 = 512;
/// Block groups that are fuller than that are not gathered before another try.
const BALANCE: [&str; 2] = ["-dusage=70", "-musage=70"];

/// An ext2, ext3 or ext4. It is checked before, as resize2fs demands, and again afterwards.
///
/// # Errors
/// What the programs say.
pub(super) fn ext(volume: &Path, size_bytes: u64) -> Result<()> {
    let option = OsStr::new;
    let checked = output(E2FSCK, [option("-f"), option("-p"), volume.as_os_str()])?;
    // 1: something was put right, in the overlay.
    if !matches!(checked.status.code(), Some(0 | 1)) {
        return Err(failed("e2fsck", &checked));
    }
    let size = format!("{}s", size_bytes / SECTOR_BYTES);
    let done = run(RESIZE2FS, [volume.as_os_str(), option(&size)]);
    done.map_err(|error| with_least(error, "resize2fs", ext_least_bytes(volume).ok()))?;
    let arguments = [option("-f"), option("-n"), volume.as_os_str()];
    run(E2FSCK, arguments).context("the shrunken filesystem")
}

/// An NTFS. ntfsresize looks at all of it before, and marks it to be checked by Windows.
///
/// # Errors
/// What the program says.
pub(super) fn ntfs(volume: &Path, size_bytes: u64) -> Result<()> {
    let size = size_bytes.to_string();
    let options = ["--force", "--no-progress-bar", "--size", &size];
    let arguments = options.map(OsStr::new).into_iter();
    let done = run(NTFSRESIZE, arguments.chain([volume.as_os_str()]));
    done.map_err(|error| with_least(error, "ntfsresize", ntfs_least_bytes(volume).ok()))
}

/// What a program can't do, with the least size that it knows of.
fn with_least(error: anyhow::Error, program: &str, least_bytes: Option<u64>) -> anyhow::Error {
    match least_bytes {
        Some(bytes) => anyhow!(
            "{error:#}. By {program} it needs at least {}",
            human::size(bytes)
        ),
        None => error,
    }
}

/// The number that a program said right behind `words`.
pub fn number_behind(said: &str, words: &str) -> Option<u64> {
    let (_, behind) = said.split_once(words)?;
    let behind = behind.trim_start();
    let end = behind.find(|c: char| !c.is_ascii_digit());
    behind.get(..end.unwrap_or(behind.len()))?.parse().ok()
}

/// What follows `words` in what a program prints.
fn number_after(program: Program, arguments: &[&OsStr], words: &str) -> Result<u64> {
    let ended = output(program, arguments)?;
    let said = String::from_utf8_lossy(&ended.stdout);
    number_behind(&said, words).ok_or_else(|| failed(program.name, &ended))
}

/// How small an ext2, ext3 or ext4 can be made.
///
/// # Errors
/// What the program says.
pub(super) fn ext_least_bytes(volume: &Path) -> Result<u64> {
    let arguments = [OsStr::new("-P"), volume.as_os_str()];
    let blocks = number_after(RESIZE2FS, &arguments, "minimum size of the filesystem:")?;
    // `s_log_block_size`: how many times 1024 bytes are doubled.
    let field = read_vec(&look_at(volume)?, 1024 + 24, 4)?;
    let doubled = field.try_into().map_or(0, u32::from_le_bytes);
    let block_bytes = 1024_u64.checked_shl(doubled);
    block_bytes
        .and_then(|bytes| blocks.checked_mul(bytes))
        .context("resize2fs names too many blocks")
}

/// How small a Btrfs that is mounted there can be made.
///
/// # Errors
/// What the program says.
pub(super) fn btrfs_least_bytes(mounted: &Path) -> Result<u64> {
    let arguments = ["inspect-internal", "min-dev-size"].map(OsStr::new);
    let arguments = [&arguments[..], &[mounted.as_os_str()]].concat();
    number_after(BTRFS, &arguments, "")
}

/// How small an NTFS can be made.
///
/// # Errors
/// What the program says.
pub(super) fn ntfs_least_bytes(volume: &Path) -> Result<u64> {
    let options = ["--info", "--force", "--no-progress-bar"].map(OsStr::new);
    let arguments = [&options[..], &[volume.as_os_str()]].concat();
    number_after(NTFSRESIZE, &arguments, "You might resize at")
}

/// An NTFS that was marked so.
///
/// # Errors
/// What the program says.
pub(super) fn unmark_ntfs(volume: &Path) -> Result<()> {
    let arguments = [OsStr::new("--clear-dirty"), volume.as_os_str()];
    run(NTFSFIX, arguments)
}

/// A Btrfs that is mounted there. Where there is no room to move what lies behind the new end, block groups
/// that are not full are gathered first.
///
/// # Errors
/// What the program says.
pub(super) fn btrfs(mounted: &Path, size_bytes: u64) -> Result<()> {
    let size = size_bytes.to_string();
    let resize = || {
        let arguments = ["filesystem", "resize", &size].map(OsStr::new);
        run(BTRFS, arguments.into_iter().chain([mounted.as_os_str()]))
    };
    if resize().is_ok() {
        return Ok(());
    }
    let arguments = ["balance", "start"].into_iter().chain(BALANCE);
    let arguments = arguments.map(OsStr::new);
    let balanced = output(BTRFS, arguments.chain([mounted.as_os_str()]))?;
    resize().map_err(|error| match balanced.status.success() {
        true => error,
        false => anyhow!("{}; {error:#}", failed("btrfs balance", &balanced)),
    })
}

#[cfg(test)]
mod tests {
    use super::number_behind;

    #[test]
    fn what_tools_say_is_read() {
        let ext = "resize2fs 1.47.0 (5-Feb-2023); Estimated minimum size of the filesystem: 1234";
        assert_eq!(
            number_behind(ext, "minimum size of the filesystem:"),
            Some(1234)
        );
        let ntfs =
            "Cluster size : 4096 bytes; You might resize at 2433024 bytes or 3 MB (freeing 39 MB).";
        assert_eq!(number_behind(ntfs, "You might resize at "), Some(2_433_024));
        assert_eq!(
            number_behind("112197632 bytes (107.00MiB)", ""),
            Some(112_197_632)
        );
        assert_eq!(number_behind("nothing", "You might"), None);
        assert_eq!(number_behind("at 99999999999999999999999", "at "), None);
    }
}
