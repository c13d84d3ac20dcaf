//! Any bytes as a volume and as a disk: recognition, used map, owners, inspection.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition::{ReadAt, inspect};
use klon_partition_fuzz::check;
use libfuzzer_sys::fuzz_target;

const SIZE_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    // The input is the start of a volume; its first byte says how much longer that is.
    let Some((&extra, start)) = input.split_first() else {
        return;
    };
    let len = start.len().saturating_add(usize::from(extra) << 12);
    let mut bytes = start.to_vec();
    bytes.resize(len.min(SIZE_BYTES_MAX), 0);
    let volume = MemoryDevice::new(bytes, 512);
    check(&volume);
    let _ = inspect::inspect(&volume);
    if let Ok(disk) = inspect::disk_usage(&volume) {
        assert!(disk.extents.end_bytes() <= volume.geometry().size_bytes);
    }
});
