//! Any bytes as a volume whose filesystem klon knows by name, or by where it ends: no panic, and
//! nothing outside of the volume is said to be in use.
//!
//! Zeroes follow the input, as many as its last byte says, so that the filesystem ends before its
//! volume. The checksum of EROFS is set right first: few mutations would get past it otherwise.
//!
//! Seeds: the golden images of the read-only filesystems and swap (see scripts/fuzz).

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition::{ReadAt, inspect};
use klon_partition_fuzz::check;
use libfuzzer_sys::fuzz_target;

const SIZE_BYTES_MAX: usize = 2 << 20;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    let more = usize::from(input.last().copied().unwrap_or(0)) << 11;
    bytes.resize((bytes.len() + more).min(SIZE_BYTES_MAX), 0);
    seal_erofs(&mut bytes);
    let volume = MemoryDevice::new(bytes, 512);
    check(&volume);
    let _ = inspect::inspect(&volume);
    if let Ok(disk) = inspect::disk_usage(&volume) {
        assert!(disk.extents.end_bytes() <= volume.geometry().size_bytes);
    }
});

fn seal_erofs(bytes: &mut [u8]) {
    let Some(&shift) = bytes.get(1024 + 12) else {
        return;
    };
    if bytes[1024..1028] != [0xe2, 0xe1, 0xf5, 0xe0] || !(9..=16).contains(&shift) {
        return;
    }
    let block = 1usize << shift;
    let end = if block > 1024 { block } else { 1024 + block };
    if let Some(covered) = bytes.get_mut(1024..end) {
        covered[4..8].fill(0);
        let sum = !crc32c::crc32c(covered);
        covered[4..8].copy_from_slice(&sum.to_le_bytes());
    }
}
