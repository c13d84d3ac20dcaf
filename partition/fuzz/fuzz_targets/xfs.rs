//! Any bytes as the start of an XFS volume: no panic, and nothing outside of the volume is said to
//! be in use.
//!
//! XFS volumes are too large to be fuzzed whole, so zeroes follow the input. Checksums are set
//! right first where the input has structures that carry them: few mutations would get past them
//! otherwise.
//!
//! Seeds: `mkdir -p partition/fuzz/corpus/xfs`, then the first MiB of each `images/xfs*.zst`.

#![no_main]

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::filesystem::probe;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};
use libfuzzer_sys::fuzz_target;

const VOLUME_BYTES: u64 = 160 << 20;

/// A volume that starts with some bytes and is zero from there on.
struct Padded(Vec<u8>);

impl ReadAt for Padded {
    fn geometry(&self) -> Geometry {
        Geometry::new(VOLUME_BYTES, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        buffer.fill(0);
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
        let data = self.0.get(start..).unwrap_or_default();
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    seal_all(&mut data);
    let device = Padded(data);
    let Ok(Some(filesystem)) = probe(&device) else {
        return;
    };
    if let Ok(Some(used)) = filesystem.used(&device) {
        assert!(used.end_bytes() <= VOLUME_BYTES);
        let superblock = Extent::new(0, 512).expect("a constant");
        assert!(used.contains(superblock));
    }
    let _ = filesystem.metadata(&device);
    let _ = filesystem.change_token(&device);
    let all = ExtentMap::whole(VOLUME_BYTES);
    for owner in filesystem.owners(&device, &all, 1000).files {
        assert!(owner.extent.end_bytes() <= VOLUME_BYTES);
    }
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
