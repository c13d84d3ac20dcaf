//! Any bytes as a physical volume of LVM2: no panic, and nothing outside of the volume is said to
//! be in use, nor the label and metadata to be free.
//!
//! Checksums of the label, the areas' headers and texts are set right first: few mutations would
//! get past them otherwise.

#![no_main]

use klon_partition_fuzz::{Padded, check};
use libfuzzer_sys::fuzz_target;

/// Label, area and text of the golden images are within this.
const INPUT_BYTES_MAX: usize = 72 << 10;
/// The golden images have 4 MiB, most of them nothing.
const VOLUME_BYTES: u64 = 4 << 20;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.get(..INPUT_BYTES_MAX).unwrap_or(input).to_vec();
    seal_all(&mut bytes);
    check(&Padded {
        bytes,
        size_bytes: VOLUME_BYTES,
    });
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
