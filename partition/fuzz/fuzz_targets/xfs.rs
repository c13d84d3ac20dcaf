//! Any bytes as the start of an XFS volume: no panic, and nothing outside of the volume is said to
//! be in use.
//!
//! XFS volumes are too large to be fuzzed whole, so zeroes follow the input. Checksums are set
//! right first where the input has structures that carry them: few mutations would get past them
//! otherwise.
//!
//! Seeds: `mkdir -p partition/fuzz/corpus/xfs`, then the first MiB of each `images/xfs*.zst`.

#![no_main]

use klon_partition_fuzz::{Padded, check};
use libfuzzer_sys::fuzz_target;

const VOLUME_BYTES: u64 = 160 << 20;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    seal_all(&mut bytes);
    check(&Padded {
        bytes,
        size_bytes: VOLUME_BYTES,
    });
});

/// Sets the checksums of all structures whose magic number stands at a multiple of 512 bytes.
fn seal_all(data: &mut [u8]) {
    let field = |data: &[u8], at: usize| data.get(at..at + 4).and_then(|f| f.try_into().ok());
    let sector = field(data, 100).map_or(512, |f: [u8; 4]| {
        usize::from(u16::from_be_bytes([f[2], f[3]]))
    });
    let block = field(data, 4).map_or(4096, u32::from_be_bytes) as usize;
    for at in (0..data.len()).step_by(512) {
        let (crc, len) = match field(data, at).as_ref() {
            Some(b"XFSB") => (224, sector),
            Some(b"XAGF") => (216, sector),
            Some(b"XAGI") => (312, sector),
            Some(b"XAFL") => (32, sector),
            Some(b"AB3B" | b"IAB3") => (52, block),
            Some(b"BMA3") => (64, block),
            Some(b"XDB3" | b"XDD3") => (4, block),
            Some([b'I', b'N', ..]) => (100, 512),
            _ => continue,
        };
        let end = at.saturating_add(len);
        if let Some(raw) = data.get_mut(at..end).filter(|raw| raw.len() >= 512) {
            raw[crc..crc + 4].fill(0);
            let sum = crc32c::crc32c(raw).to_le_bytes();
            raw[crc..crc + 4].copy_from_slice(&sum);
        }
    }
}
