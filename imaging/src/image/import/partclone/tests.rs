//! Images made by hand, whole and damaged.

use super::checksum::Running;
use super::{Checksum, MAGIC, Partclone};
use crate::image::Forward;
use klon_partition::Error;
use std::io::Cursor;
use twox_hash::{XxHash3_128, XxHash64};

const BLOCK: usize = 512;
const BLOCKS: usize = 13;
const USED: [usize; 6] = [0, 1, 4, 5, 6, 12];

fn block(number: usize) -> Vec<u8> {
    (0..BLOCK)
        .map(|at| (at * 7 + number * 31 + 1) as u8)
        .collect()
}

/// What must come out.
fn volume() -> Vec<u8> {
    let mut volume = vec![0; BLOCK * BLOCKS + 100];
    for number in USED {
        volume[number * BLOCK..][..BLOCK].copy_from_slice(&block(number));
    }
    volume
}

fn slow_crc(mut crc: u32, bytes: impl IntoIterator<Item = u8>) -> u32 {
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    crc
}

/// Format 0001; `extra` bytes behind each checksum.
fn v1(extra: usize, used: &[usize]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(b"EXTFS\0\0\0\0\0\0\0\0\0\0");
    bytes.extend(b"0001\0\0");
    bytes.extend((BLOCK as u32).to_le_bytes());
    bytes.extend((BLOCK as u64 * BLOCKS as u64 + 100).to_le_bytes());
    bytes.extend((BLOCKS as u64).to_le_bytes());
    bytes.extend((used.len() as u64).to_le_bytes());
    bytes.resize(4160, 0);
    bytes.extend((0..BLOCKS).map(|at| u8::from(used.contains(&at))));
    bytes.extend(b"BiTmAgIc");
    let mut crc = u32::MAX;
    for &number in used {
        let block = block(number);
        crc = slow_crc(crc, std::iter::repeat_n(block[0], BLOCK));
        bytes.extend(block);
        bytes.extend(crc.to_le_bytes());
        bytes.extend(vec![0xee; extra]);
    }
    bytes
}

/// Format 0002 with a CRC of every `strip` blocks.
fn v2(mode: u16, strip: u32, reseeds: bool, bitmap: u8) -> Vec<u8> {
    let used: Vec<usize> = match bitmap {
        0 => (0..BLOCKS).collect(),
        _ => USED.to_vec(),
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend([0; 15]);
    bytes.extend(b"0002\xde\xc0");
    bytes.extend(b"EXTFS\0\0\0\0\0\0\0\0\0\0\0");
    bytes.extend((BLOCK as u64 * BLOCKS as u64 + 100).to_le_bytes());
    bytes.extend((BLOCKS as u64).to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend((BLOCK as u32).to_le_bytes());
    bytes.extend(18_u32.to_le_bytes());
    bytes.extend([2, 0, 64, 0]);
    bytes.extend(mode.to_le_bytes());
    let size: u16 = match mode {
        0 => 0,
        0x30 => 8,
        0x31 => 16,
        _ => 4,
    };
    bytes.extend(size.to_le_bytes());
    bytes.extend(strip.to_le_bytes());
    bytes.extend([u8::from(reseeds), bitmap]);
    let crc = slow_crc(u32::MAX, bytes.clone());
    bytes.extend(crc.to_le_bytes());
    match bitmap {
        1 => {
            let mut bits = vec![0_u8; BLOCKS.div_ceil(8)];
            used.iter().for_each(|at| bits[at / 8] |= 1 << (at % 8));
            let crc = slow_crc(u32::MAX, bits.clone());
            bytes.extend(bits);
            bytes.extend(crc.to_le_bytes());
        }
        8 => {
            bytes.extend((0..BLOCKS).map(|at| u8::from(used.contains(&at))));
            bytes.extend(b"BiTmAgIc");
        }
        _ => {}
    }
    let mut strip_bytes = Vec::new();
    for (at, &number) in used.iter().enumerate() {
        bytes.extend(block(number));
        strip_bytes.extend(block(number));
        let is_end = (at + 1) % strip as usize == 0 || at + 1 == used.len();
        if mode != 0 && is_end {
            match mode {
                0x30 => bytes.extend(XxHash64::oneshot(0, &strip_bytes).to_le_bytes()),
                0x31 => bytes.extend(XxHash3_128::oneshot(&strip_bytes).to_le_bytes()),
                _ => bytes.extend(slow_crc(u32::MAX, strip_bytes.clone()).to_le_bytes()),
            }
            if reseeds {
                strip_bytes.clear();
            }
        }
    }
    bytes
}

fn read(image: &[u8], step: usize) -> klon_partition::Result<Vec<u8>> {
    let mut image = Partclone::open(Cursor::new(image.to_vec()), "test".to_owned())?;
    let size = usize::try_from(image.header().device_bytes).unwrap();
    let mut volume = vec![0xaa; size];
    for (at, piece) in volume.chunks_mut(step).enumerate() {
        image.read_at(piece, (at * step) as u64)?;
    }
    image.check_rest()?;
    Ok(volume)
}

#[test]
fn both_formats_with_every_kind_of_bitmap_give_the_volume() {
    for extra in [0, 4] {
        assert_eq!(read(&v1(extra, &USED), 700).unwrap(), volume(), "{extra}");
        assert!(read(&v1(extra, &[0]), 700).is_ok(), "{extra}");
    }
    for (strip, reseeds) in [(1, true), (4, true), (4, false), (256, true)] {
        for bitmap in [1, 8] {
            for mode in [0, 1, 0x20, 0x30, 0x31] {
                let image = v2(mode, strip, reseeds, bitmap);
                for step in [100, 512, 5000] {
                    assert_eq!(read(&image, step).unwrap(), volume(), "{mode} {strip}");
                }
            }
        }
        let all = read(&v2(0x20, strip, reseeds, 0), 512).unwrap();
        assert_eq!(all[BLOCK * 2..][..BLOCK], block(2));
    }
}

#[test]
fn checksums_are_those_of_their_specifications() {
    let of = |checksum, bytes: &[u8]| {
        let mut running = Running::new(checksum);
        running.update(bytes);
        running.value()
    };
    let crc = 0x340b_c6d9_u32;
    assert_eq!(of(Checksum::Crc32, b"123456789"), crc.to_le_bytes());
    let sum = 0xef46_db37_51d8_e999_u64;
    assert_eq!(of(Checksum::Xxh64, b""), sum.to_le_bytes());
    let sum = 0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128;
    assert_eq!(of(Checksum::Xxh128, b""), sum.to_le_bytes());
}

#[test]
fn what_is_used_is_known_before_the_blocks_are_read() {
    let image = Partclone::open(Cursor::new(v2(0x20, 4, true, 1)), String::new()).unwrap();
    let used: Vec<(u64, u64)> = image
        .used()
        .iter()
        .map(|e| (e.offset_bytes() / 512, e.len_bytes() / 512))
        .collect();
    assert_eq!(used, [(0, 2), (4, 3), (12, 1)]);
}

#[test]
fn any_flipped_bit_and_any_cut_is_found() {
    let image = v2(0x20, 4, true, 1);
    for at in 0..image.len() {
        let mut damaged = image.clone();
        damaged[at] ^= 4;
        assert!(read(&damaged, 512).is_err(), "{at}");
    }
    for len in (0..image.len()).step_by(97) {
        assert!(read(&image[..len], 512).is_err(), "{len}");
    }
}

#[test]
fn a_damaged_block_is_named() {
    let mut image = v2(0x20, 2, true, 1);
    let end = image.len() - 600;
    image[end] ^= 1;
    let error = read(&image, 512).unwrap_err().to_string();
    assert!(error.contains("blocks from 6 to 12 of test"), "{error}");
}

#[test]
fn claims_that_are_not_met_allocate_nothing() {
    let mut image = v2(0, 1, true, 1);
    for (at, value) in [(52, u64::MAX), (60, 1 << 33)] {
        image[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
    }
    let crc = slow_crc(u32::MAX, image[..106].to_vec());
    image[106..110].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(read(&image, 512), Err(Error::Corrupt(_))));
}
