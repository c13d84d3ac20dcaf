//! Images of partclone.

use klon_imaging::image::Forward;
use klon_imaging::image::import::partclone::{MAGIC, Partclone};
use klon_partition::Extent;
use std::io::Cursor;

/// Header of format 0002, without its checksum.
const CHECKED_LEN: usize = 106;
const BLOCK_BYTES: u32 = 512;
const BLOCKS: u64 = 20;

/// Reads `data` as an image, as it is and with right checksums of header and bitmap.
pub fn check(data: &[u8]) {
    read(data);
    let mut bytes = data.to_vec();
    let _ = seal(&mut bytes, 0, CHECKED_LEN);
    let blocks = bytes.get(60..68).and_then(|blocks| blocks.try_into().ok());
    let blocks = usize::try_from(blocks.map_or(0, u64::from_le_bytes)).unwrap_or(usize::MAX);
    let start = CHECKED_LEN + 4;
    let _ = seal(&mut bytes, start, start.saturating_add(blocks.div_ceil(8)));
    read(&bytes);
}

fn read(bytes: &[u8]) {
    let Ok(mut image) = Partclone::open(Cursor::new(bytes), "fuzz".to_owned()) else {
        return;
    };
    let used = image.used();
    let size_bytes = image.header().device_bytes;
    assert!(used.end_bytes() <= size_bytes);
    let mut buffer = vec![0; 1 << 16];
    for part in used.iter().flat_map(|extent: Extent| extent.split(1 << 16)) {
        let buffer = &mut buffer[..part.len_bytes() as usize];
        if image.read_at(buffer, part.offset_bytes()).is_err() {
            return;
        }
    }
    let _ = image.check_rest();
}

/// A small image; `bitmap` is 1 for bits and 8 for bytes.
#[must_use]
pub fn seed(bitmap: u8) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([0; 15]);
    bytes.extend(b"0002\xde\xc0EXTFS\0\0\0\0\0\0\0\0\0\0\0");
    bytes.extend((BLOCKS * u64::from(BLOCK_BYTES)).to_le_bytes());
    bytes.extend(BLOCKS.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(BLOCK_BYTES.to_le_bytes());
    bytes.extend([
        18, 0, 0, 0, 2, 0, 64, 0, 0x20, 0, 4, 0, 4, 0, 0, 0, 1, bitmap,
    ]);
    bytes.extend(crc(&bytes).to_le_bytes());
    match bitmap {
        1 => {
            let bits = [0b1010_0101, 0xff, 0x0f];
            bytes.extend(bits);
            bytes.extend(crc(&bits).to_le_bytes());
        }
        _ => {
            bytes.extend([1; BLOCKS as usize]);
            bytes.extend(b"BiTmAgIc");
        }
    }
    let used = if bitmap == 1 { 16 } else { BLOCKS };
    for strip in 0..used / 4 {
        let blocks = vec![strip as u8 + 1; 4 * BLOCK_BYTES as usize];
        bytes.extend(&blocks);
        bytes.extend(crc(&blocks).to_le_bytes());
    }
    bytes
}

/// Puts the checksum of a range behind it.
fn seal(bytes: &mut [u8], start: usize, end: usize) -> Option<()> {
    let sum = crc(bytes.get(start..end)?).to_le_bytes();
    let place = bytes.get_mut(end..end.checked_add(4)?)?;
    place.copy_from_slice(&sum);
    Some(())
}

/// CRC-32 without the final inversion.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| match crc & 1 {
            1 => (crc >> 1) ^ 0xedb8_8320,
            _ => crc >> 1,
        })
    })
}
