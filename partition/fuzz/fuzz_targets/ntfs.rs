//! Any bytes as an NTFS volume: recognition, used map, metadata, owners.
//!
//! File records get the marks of their update sequence, so that a change gets past them.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition::{Error, ExtentMap, ReadAt, filesystem};
use libfuzzer_sys::fuzz_target;

const SIZE_BYTES_MAX: usize = 4 << 20;

fuzz_target!(|input: &[u8]| {
    // The input is the start of a volume. Its last byte says how much longer that is, and whether
    // its blocks are mended. The smallest that mkntfs makes is longer than a mebibyte.
    let Some(&extra) = input.last() else {
        return;
    };
    let more = usize::from((extra >> 1) & 0x3f) << 15;
    let len_min = if extra & 0x80 == 0 { 2 << 20 } else { 0 };
    let mut bytes = input.to_vec();
    bytes.resize((input.len().max(len_min) + more).min(SIZE_BYTES_MAX), 0);
    if extra & 1 == 1 {
        mend(&mut bytes);
    }
    let volume = MemoryDevice::new(bytes, 512);
    let size_bytes = volume.geometry().size_bytes;
    if let Some(filesystem) = filesystem::probe(&volume).expect("memory reads") {
        assert!(filesystem.summary().size_bytes <= size_bytes);
        for found in [filesystem.used(&volume), filesystem.metadata(&volume)] {
            match found {
                Ok(map) => assert!(map.unwrap_or_default().end_bytes() <= size_bytes),
                Err(error) => assert!(!matches!(error, Error::Io { .. }), "{error}"),
            }
        }
        let all = ExtentMap::whole(size_bytes);
        for owner in filesystem.owners(&volume, &all, 1000).files {
            assert!(owner.extent.end_bytes() <= size_bytes);
        }
    }
    let usage = filesystem::usage(&volume).expect("memory reads");
    assert!(usage.extents.end_bytes() <= size_bytes);
});

/// Makes the sectors of each record and index block agree with its update sequence number.
fn mend(bytes: &mut [u8]) {
    let starts: Vec<usize> = (0..bytes.len() / 512)
        .map(|sector| sector * 512)
        .filter(|&at| matches!(&bytes[at..at + 4], b"FILE" | b"INDX" | b"RSTR"))
        .collect();
    for at in starts {
        let count = usize::from(bytes[at + 6]).min(9);
        let array = at + usize::from(bytes[at + 4]);
        let Some(number) = bytes.get(array..array + 2).map(<[u8]>::to_vec) else {
            continue;
        };
        for sector in 1..count {
            let end = at + sector * 512;
            if let Some(mark) = bytes.get_mut(end - 2..end) {
                mark.copy_from_slice(&number);
            }
        }
    }
}
