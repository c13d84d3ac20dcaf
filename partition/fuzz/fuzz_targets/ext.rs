//! Any bytes as an ext volume: no panic, and nothing outside of the volume is said to be in use.
//!
//! Seeds: `mkdir -p partition/fuzz/corpus/ext`, then
//! `zstd -d images/ext*-seed*.zst --output-dir-flat partition/fuzz/corpus/ext`.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::probe;
use klon_partition::{Extent, ExtentMap, ReadAt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let device = MemoryDevice::new(data.to_vec(), 512);
    let size_bytes = device.geometry().size_bytes;
    let Ok(Some(filesystem)) = probe(&device) else {
        return;
    };
    if let Ok(Some(used)) = filesystem.used(&device) {
        assert!(used.end_bytes() <= size_bytes);
        let superblock = Extent::new(1024, 1024).expect("a constant");
        assert!(used.contains(superblock));
    }
    if let Ok(Some(metadata)) = filesystem.metadata(&device) {
        assert!(metadata.end_bytes() <= size_bytes);
    }
    let _ = filesystem.change_token(&device);
    let all = ExtentMap::whole(size_bytes);
    for owner in filesystem.owners(&device, &all, 1000).files {
        assert!(owner.extent.end_bytes() <= size_bytes);
    }
});
