//! Staged updates: a drive whose bytes are hostile, and `klon finish` on it.

use super::seal;
use klon_imaging::mark::{MARK_LEN, Mark};
use klon_imaging::stage::{Space, finish};
use klon_imaging::{Digest, Error};
use klon_partition::Extent;
use klon_partition::bytes::{le32, le64};
use klon_partition::device::{MemoryDevice, Window};
use std::num::NonZeroUsize;

/// Where the volume begins on its drive.
pub const VOLUME_AT: usize = 64 << 10;
/// Size of the volume: a first chunk, and something behind it.
pub const VOLUME_BYTES: usize = (1 << 20) + (256 << 10);
/// Where on the volume the input goes, but for the mark at its start.
pub const ROOM_AT: usize = (1 << 20) + (128 << 10);
/// Room of the drive beside the volume.
const DRIVE_BYTES: usize = VOLUME_AT + VOLUME_BYTES + (64 << 10);
/// Blocks of an index that get right digests.
const DEPTH_MAX: usize = 100;

/// Finishes what `data` says to be staged, as it is and with right digests.
pub fn check(data: &[u8]) {
    let mut drive = vec![0; DRIVE_BYTES];
    let mark_len = data.len().min(MARK_LEN);
    drive[VOLUME_AT..][..mark_len].copy_from_slice(&data[..mark_len]);
    let rest = &data[mark_len..];
    let rest = &rest[..rest.len().min(VOLUME_BYTES - ROOM_AT)];
    drive[VOLUME_AT + ROOM_AT..][..rest.len()].copy_from_slice(rest);
    let mut with_digests = drive.clone();
    let _ = seal_all(&mut with_digests);
    if with_digests != drive {
        finish_on(drive);
    }
    finish_on(with_digests);
}

fn finish_on(image: Vec<u8>) {
    let drive = MemoryDevice::new(image.clone(), 512);
    let extent = Extent::new(VOLUME_AT as u64, VOLUME_BYTES as u64).expect("a constant");
    let volume = Window::new(&drive, extent).expect("it lies inside");
    let space = Space {
        volume: &volume,
        drive: Some(&drive),
    };
    let result = finish(space, NonZeroUsize::MIN);
    let after = drive.to_vec();
    let end = VOLUME_AT + VOLUME_BYTES;
    assert!(after[..VOLUME_AT] == image[..VOLUME_AT] && after[end..] == image[end..]);
    match result {
        Ok(Some(finished)) => {
            let most_bytes = 3 * VOLUME_BYTES as u64;
            assert!(finished.written_bytes <= most_bytes, "{finished:?}");
        }
        Ok(None) => assert!(after == image),
        // What it says of damage, it says before anything is written.
        Err(Error::Refused(_)) => assert!(after == image),
        Err(_) => {}
    }
    // Once more, whatever is there now.
    let _ = finish(space, NonZeroUsize::MIN);
}

/// Gives the drive's index right digests, or no input would ever get past them.
fn seal_all(drive: &mut [u8]) -> Option<()> {
    let run: [u8; 16] = drive[VOLUME_AT + 20..][..16].try_into().ok()?;
    let result = seal_block(drive, VOLUME_AT + 304, &run, 0);
    seal(drive, VOLUME_AT, VOLUME_AT + MARK_LEN - 4)?;
    result
}

/// Seals the block to which the reference at `at` refers, and those before it.
fn seal_block(drive: &mut [u8], at: usize, run: &[u8; 16], depth: usize) -> Option<()> {
    let reference = drive.get(at..at.checked_add(48)?)?;
    let (area, len) = (le32(reference, 0), le32(reference, 4) as usize);
    let start = place(area, le64(reference, 8))?;
    let end = start.checked_add(len)?;
    if len < 96 || drive.len() < end || depth == DEPTH_MAX {
        return None;
    }
    drive[start..][..8].copy_from_slice(b"klonstg\n");
    drive[start + 16..][..16].copy_from_slice(run);
    if le64(&drive[start..end], 32) != 0 {
        let _ = seal_block(drive, start + 48, run, depth + 1);
    }
    for entry in (start + 96..end.saturating_sub(63)).step_by(64) {
        let _ = seal_entry(drive, entry);
    }
    let digest = Digest::of(&drive[start..end]).0;
    drive.get_mut(at + 16..at + 48)?.copy_from_slice(&digest);
    Some(())
}

fn seal_entry(drive: &mut [u8], at: usize) -> Option<()> {
    let entry = drive.get(at..at.checked_add(64)?)?;
    let (len, area) = (le32(entry, 8) as usize, le32(entry, 12) & 3);
    let start = place(area, le64(entry, 16))?;
    let digest = Digest::of(drive.get(start..start.checked_add(len)?)?).0;
    drive[at + 24..at + 56].copy_from_slice(&digest);
    Some(())
}

/// Where on the drive something lies that is on the volume (0) or on the drive itself (1).
fn place(area: u32, offset_bytes: u64) -> Option<usize> {
    let offset = usize::try_from(offset_bytes).ok()?;
    match area {
        0 => offset.checked_add(VOLUME_AT),
        1 => Some(offset),
        _ => None,
    }
}

/// The input that makes [`check`] see the volume whose content is `volume`, when nothing but its
/// mark and its room from [`ROOM_AT`] on matters.
#[must_use]
pub fn input_of(volume: &[u8]) -> Vec<u8> {
    assert!(Mark::parse(volume).is_some_and(|mark| mark.staged.is_some()));
    let room = &volume[ROOM_AT..];
    let len = room
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1);
    [&volume[..MARK_LEN], &room[..len.next_multiple_of(64)]].concat()
}
