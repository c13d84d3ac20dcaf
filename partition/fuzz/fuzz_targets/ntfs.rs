//! Any bytes as an NTFS volume: recognition, used map, metadata, owners.
//!
//! File records get the marks of their update sequence, so that a change gets past them.

#![no_main]

use klon_partition::device::MemoryDevice;
use klon_partition_fuzz::{check, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((mut bytes, is_mended)) = start(input, 2 << 20) else {
        return;
    };
    if is_mended {
        mend(&mut bytes);
    }
    check(&MemoryDevice::new(bytes, 512));
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
