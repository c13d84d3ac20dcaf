//! Any bytes as the log of an ext4 that awaits recovery: no panic, no endless loop, and what is shown is a
//! clean volume whose map lies on it.
//!
//! The input is put into the golden volume `ext4-plain`: its first byte chooses the features of the journal,
//! the second where the log starts, and the rest is the log, whose checksums are set right where bit 7
//! of the first byte is set.
//!
//! Seeds are not needed: the headers of blocks are written where the input has their types.

#![no_main]

use klon_partition::ReadAt;
use klon_partition::device::{MemoryDevice, Redirected};
use klon_partition::filesystem::{Basis, Replay, probe, replay, usage};
use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

const BLOCK: usize = 1024;
/// Where the journal of the volume lies, and how many blocks it has.
const JOURNAL: usize = 8195 * BLOCK;
const JOURNAL_BLOCKS: usize = 1024;
const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

static GOLDEN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/ext4-plain.img.zst");
    let mut bytes = zstd::decode_all(File::open(path).unwrap()).unwrap();
    // s_feature_incompat: RECOVER
    bytes[1024 + 0x60] |= 4;
    bytes
});

fuzz_target!(|data: &[u8]| {
    let [choice, start, log @ ..] = data else {
        return;
    };
    let mut bytes = GOLDEN.clone();
    let (compat, incompat) = [
        (0, 0_u32),
        (1, 3),
        (0, 0x9),
        (0, 0xb),
        (0, 0x11),
        (0, 0x13),
        (0, 0x17),
        (1, 1),
    ][usize::from(choice & 7)];
    let start = 1 + usize::from(*start) * 4 % (JOURNAL_BLOCKS - 1);
    let superblock = &mut bytes[JOURNAL..][..BLOCK];
    put(superblock, 0x18, 1);
    put(superblock, 0x1c, start as u32);
    put(superblock, 0x24, compat);
    put(superblock, 0x28, incompat);
    superblock[0x50] = 4;
    put(superblock, 0xfc, 0);
    let crc = crc(!0, superblock);
    put(superblock, 0xfc, crc);
    let seed = self::crc(!0, &superblock[0x30..0x40]);
    let (mut next, mut sequence) = (start, 1);
    // Small pieces, so that a small input has many blocks: one byte of type, 63 of what follows.
    for piece in log.chunks(64).take(JOURNAL_BLOCKS) {
        let block = &mut bytes[JOURNAL + next * BLOCK..][..BLOCK];
        block.fill(0);
        let (kind, rest) = (piece[0], &piece[1..]);
        block[12..12 + rest.len()].copy_from_slice(rest);
        if matches!(kind, 1 | 2 | 5) {
            block[..4].copy_from_slice(&MAGIC);
            put(block, 4, kind.into());
            put(block, 8, sequence);
            if choice & 0x80 != 0 && incompat & 0x18 != 0 {
                let place = if kind == 2 { 16 } else { BLOCK - 4 };
                put(block, place, 0);
                let crc = self::crc(seed, block);
                put(block, place, crc);
            }
            sequence += u32::from(kind == 2);
        }
        next = if next + 1 == JOURNAL_BLOCKS {
            1
        } else {
            next + 1
        };
    }
    check(&MemoryDevice::new(bytes, 512));
});

fn check(device: &MemoryDevice) {
    let filesystem = probe(device).unwrap().unwrap();
    let Replay::Done(done) = replay(device, &*filesystem).unwrap() else {
        return;
    };
    let whole = device.geometry().extent().unwrap();
    let shown = Redirected::new(device, vec![(whole, done.redirection)]).unwrap();
    let found = usage(&shown).unwrap();
    assert_eq!(found.basis, Basis::Map);
    assert!(found.extents.end_bytes() <= whole.end_bytes());
}

fn put(raw: &mut [u8], at: usize, field: u32) {
    raw[at..at + 4].copy_from_slice(&field.to_be_bytes());
}

fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}
