//! What the fuzz targets do with their inputs, and the files of real runs that they begin with.
//! The integration tests do the same for a moment.

pub mod evidence;
pub mod foreign;
pub mod identities;
pub mod image;
pub mod intent;
pub mod map;
pub mod mark;
pub mod nbd;
pub mod partclone;
pub mod plan;
pub mod qcow2;
pub mod record;
pub mod seeds;
pub mod stage;

use klon_partition::Identity;
use std::path::Path;
use tempfile::TempDir;

thread_local! {
    static SCRATCH: TempDir = scratch();
}

/// A directory, in memory where that is possible.
#[must_use]
pub fn scratch() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    let made = match in_memory.is_dir() {
        true => tempfile::tempdir_in(in_memory),
        false => tempfile::tempdir(),
    };
    made.expect("a directory for scratch files")
}

/// The target that all of the files are about.
fn target() -> Identity {
    Identity::Serial("GOLDEN".to_owned())
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let mut number = [0; 8];
    let field = bytes.get(at..at.checked_add(len)?)?;
    number.get_mut(..len)?.copy_from_slice(field);
    usize::try_from(u64::from_le_bytes(number)).ok()
}

/// Puts the CRC-32C of a range behind it.
fn seal(bytes: &mut [u8], start: usize, end: usize) -> Option<()> {
    let sum = crc32c::crc32c(bytes.get(start..end)?).to_le_bytes();
    let place = bytes.get_mut(end..end.checked_add(4)?)?;
    place.copy_from_slice(&sum);
    Some(())
}
