//! Any bytes as a physical volume of LVM2: no panic, and nothing outside of the volume is said to
//! be in use, nor the label and metadata to be free.
//!
//! Checksums of the label, the areas' headers and texts are set right first: few mutations would
//! get past them otherwise.

#![no_main]

use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::filesystem::{Kind, probe, usage};
use klon_partition::{Error, Extent, Geometry, ReadAt, Result};
use libfuzzer_sys::fuzz_target;

/// Label, area and text of the golden images are within this.
const INPUT_BYTES_MAX: usize = 72 << 10;
/// The golden images have 4 MiB, most of them nothing.
const VOLUME_BYTES: u64 = 4 << 20;

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

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.get(..INPUT_BYTES_MAX).unwrap_or(input).to_vec();
    seal_all(&mut bytes);
    let volume = Padded(bytes);
    let size_bytes = volume.geometry().size_bytes;
    let Some(filesystem) = probe(&volume).expect("memory reads") else {
        return;
    };
    let summary = filesystem.summary();
    assert!(summary.size_bytes <= size_bytes);
    match filesystem.used(&volume) {
        Ok(Some(used)) if summary.kind == Kind::Lvm2 => {
            assert!(used.end_bytes() <= size_bytes);
            assert!(used.contains(Extent::new(0, 1024).expect("a constant")));
        }
        Ok(_) => (),
        Err(error) => assert!(!matches!(error, Error::Io { .. }), "{error}"),
    }
    let usage = usage(&volume).expect("memory reads");
    assert!(usage.extents.end_bytes() <= size_bytes);
});

/// LVM's checksum, bit by bit: apart from klon's.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(field)).ok()
}

fn seal_all(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(512) {
        let Some(sector) = bytes.get(at..at + 512) else {
            return;
        };
        if sector.starts_with(b"LABELONE") {
            let sum = sum(&sector[20..]).to_le_bytes();
            bytes[at + 16..at + 20].copy_from_slice(&sum);
        } else if sector[4..].starts_with(b" LVM2 x[5A%r0N*>") {
            seal_text(bytes, at);
            let sum = sum(&bytes[at + 4..at + 512]).to_le_bytes();
            bytes[at..at + 4].copy_from_slice(&sum);
        }
    }
}

/// Sets the checksum of the text of the area at `at`, unless that goes around.
fn seal_text(bytes: &mut [u8], at: usize) -> Option<()> {
    let start = at.checked_add(number(bytes, at + 40)?)?;
    let len = number(bytes, at + 48)?.min(64 << 10);
    let sum = sum(bytes.get(start..start.checked_add(len)?)?).to_le_bytes();
    bytes[at + 56..at + 60].copy_from_slice(&sum);
    Some(())
}
