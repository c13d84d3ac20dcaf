//! Any bytes as a volume and as a disk: recognition, used map, owners, inspection.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition::{Error, ExtentMap, ReadAt, filesystem, inspect};
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
    let size_bytes = volume.geometry().size_bytes;
    if let Some(filesystem) = filesystem::probe(&volume).expect("memory reads") {
        assert!(filesystem.summary().size_bytes <= size_bytes);
        match filesystem.used(&volume) {
            Ok(used) => assert!(used.unwrap_or_default().end_bytes() <= size_bytes),
            Err(error) => assert!(!matches!(error, Error::Io { .. }), "{error}"),
        }
        if let Ok(Some(metadata)) = filesystem.metadata(&volume) {
            assert!(metadata.end_bytes() <= size_bytes);
        }
        let everything = ExtentMap::whole(size_bytes);
        for owner in filesystem.owners(&volume, &everything, 50).files {
            assert!(owner.extent.end_bytes() <= size_bytes);
        }
    }
    let usage = filesystem::usage(&volume).expect("memory reads");
    assert!(usage.extents.end_bytes() <= size_bytes);
    let _ = inspect::inspect(&volume);
    if let Ok(disk) = inspect::disk_usage(&volume) {
        assert!(disk.extents.end_bytes() <= size_bytes);
    }
});
