//! The record file, byte by byte. All integers are little-endian.
//!
//! ```text
//! header, 64 bytes
//!  0   8  magic "klonrec\n"
//!  8   4  version, 1
//! 12   4  header length, 64
//! 16   8  compatible feature bits: a reader may ignore those it does not know; 0
//! 24   8  incompatible feature bits: a reader must refuse those it does not know; 0
//! 32  28  zero
//! 60   4  CRC-32C of bytes 0 to 59
//!
//! sections, one after the other until "END "
//!  0   4  tag, four ASCII letters
//!  4   4  flags; bit 0: a reader that does not know the tag must refuse the file
//!  8   8  length of the payload
//! 16   n  payload
//!  +   4  CRC-32C of tag, flags, length and payload
//!
//! "DGST"  SHA-256 of each chunk (1 MiB of the volume) that holds a byte of DATA or ZERO, in
//!         order, 32 bytes each; bytes outside DATA count as zero
//! "DATA"  extents whose bytes are in use
//! "ZERO"  extents that are in use and zero
//! "CHNG"  the changed-block bitmap of the last run: extents of the blocks that differed
//! "MDEX"  extents of the filesystem's metadata, all of it in DATA or ZERO; a reader may skip it
//! "MDGS"  SHA-256 of what lies in MDEX of each chunk that holds a byte of it, in order, 32 bytes
//!         each; with MDEX only, and a reader may skip it; `metadata_digest` of META is the SHA-256
//!         of this payload
//! "BADS"  extents of DATA that could not be read from the source: they are zero in DGST. Left out
//!         when there are none
//! "FILL"  the text (UTF-8) that stands there instead of zeroes, repeated from the start of each
//!         sector of 512 bytes on; the filesystem's own structures are zero all the same. With BADS
//!         only; a reader may skip it
//! "LEFT"  extents of the source that no one proved free, and that were left out by the user's choice
//!         (`outside` of META) or because the source did not have them: outside of DATA and ZERO.
//!         Left out when there are none; a reader may skip it
//! "META"  JSON, the fields of `Manifest`
//! "END "  SHA-256 of everything before this section, 32 bytes
//!
//! extents: a zstd frame of pairs of LEB128 numbers: the gap to the end of the extent before
//! (to 0 for the first), the length. Sorted, disjoint, not touching, not empty.
//! ```

use klon_partition::{Extent, ExtentMap};
use std::io::{self, Read, Write};

/// First bytes of every record.
pub const MAGIC: &[u8; 8] = b"klonrec\n";
/// The version that this program writes and reads.
pub const VERSION: u32 = 1;
/// Length of the header.
pub const HEADER_LEN: usize = 64;
/// Length of what stands before a section's payload.
pub const SECTION_HEADER_LEN: usize = 16;
/// Section flag: a reader that does not know the tag must refuse the file.
pub const FLAG_CRITICAL: u32 = 1;
/// A META section is never longer than this.
pub const META_BYTES_MAX: u64 = 16 << 20;
/// A map in a record never has more extents than this.
pub const EXTENTS_MAX: usize = 1 << 23;

/// The header of a new record.
#[must_use]
pub fn header() -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&64_u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What is wrong with a header: what, where, expected, found.
pub type HeaderFault = (&'static str, u64, String, String);

/// Checks the header of a record.
///
/// # Errors
/// The first field that is wrong.
pub fn check_header(bytes: &[u8; HEADER_LEN]) -> Result<(), HeaderFault> {
    use klon_partition::bytes::{le32, le64};
    if &bytes[..8] != MAGIC {
        let found = String::from_utf8_lossy(&bytes[..8]).into_owned();
        return Err((
            "magic",
            0,
            "\"klonrec\\n\"".to_owned(),
            format!("{found:?}"),
        ));
    }
    let crc = crc32c::crc32c(&bytes[..60]);
    let fields: [(&'static str, u64, u64, u64); 4] = [
        (
            "CRC-32C of the header",
            60,
            crc.into(),
            le32(bytes, 60).into(),
        ),
        ("version", 8, VERSION.into(), le32(bytes, 8).into()),
        ("header length", 12, 64, le32(bytes, 12).into()),
        ("incompatible feature bits", 24, 0, le64(bytes, 24)),
    ];
    for (what, offset_bytes, expected, found) in fields {
        if expected != found {
            return Err((
                what,
                offset_bytes,
                format!("{expected:#x}"),
                format!("{found:#x}"),
            ));
        }
    }
    Ok(())
}

/// Tags of sections that a reader may skip.
const SKIPPABLE: [[u8; 4]; 4] = [*b"MDEX", *b"MDGS", *b"FILL", *b"LEFT"];

/// The bytes before a section's payload.
#[must_use]
pub fn section_header(tag: [u8; 4], payload_bytes: u64) -> [u8; SECTION_HEADER_LEN] {
    let flags = match SKIPPABLE.contains(&tag) {
        true => 0,
        false => FLAG_CRITICAL,
    };
    let mut bytes = [0; SECTION_HEADER_LEN];
    bytes[..4].copy_from_slice(&tag);
    bytes[4..8].copy_from_slice(&flags.to_le_bytes());
    bytes[8..].copy_from_slice(&payload_bytes.to_le_bytes());
    bytes
}

/// A map as the payload of a section.
///
/// # Errors
/// What zstd says; memory is all it can run out of.
pub fn encode_extents(map: &ExtentMap) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    let mut pairs = Vec::new();
    let mut end_bytes = 0;
    for extent in map.iter() {
        push_leb128(&mut pairs, extent.offset_bytes() - end_bytes);
        push_leb128(&mut pairs, extent.len_bytes());
        end_bytes = extent.end_bytes();
        if pairs.len() > 60_000 {
            encoder.write_all(&pairs)?;
            pairs.clear();
        }
    }
    encoder.write_all(&pairs)?;
    encoder.finish()
}

/// The map in the payload of a section; all of it below `size_bytes`.
///
/// # Errors
/// A sentence on what is wrong with it.
pub fn decode_extents(payload: &[u8], size_bytes: u64) -> Result<ExtentMap, String> {
    let decoder = zstd::Decoder::new(payload).map_err(|error| error.to_string())?;
    let mut reader = io::BufReader::new(decoder);
    let mut extents = Vec::new();
    let mut end_bytes = 0_u64;
    while let Some(gap_bytes) = read_leb128(&mut reader)? {
        let len_bytes = read_leb128(&mut reader)?.ok_or("the last extent has no length")?;
        let extent = end_bytes
            .checked_add(gap_bytes)
            .and_then(|offset_bytes| Extent::new(offset_bytes, len_bytes))
            .filter(|extent| extent.end_bytes() <= size_bytes)
            .ok_or_else(|| {
                format!(
                    "extent {}: gap {gap_bytes}, length {len_bytes}",
                    extents.len()
                )
            })?;
        if (gap_bytes == 0 && !extents.is_empty()) || extents.len() == EXTENTS_MAX {
            return Err(format!(
                "extent {} touches its neighbor or is one too many",
                extents.len()
            ));
        }
        end_bytes = extent.end_bytes();
        extents.push(extent);
    }
    Ok(extents.into_iter().collect())
}

fn push_leb128(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// The next number; `None` at the end of the stream.
fn read_leb128(reader: &mut impl Read) -> Result<Option<u64>, String> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        match reader.read_exact(&mut byte) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && shift == 0 => {
                return Ok(None);
            }
            Err(error) => return Err(error.to_string()),
        }
        let bits = u64::from(byte[0] & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(Some(value));
        }
    }
    Err("a number of more than 64 bits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{check_header, decode_extents, encode_extents, header};
    use klon_partition::{Extent, ExtentMap};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        assert!(check_header(&header()).is_ok());
        for bit in 0..512 {
            let mut bytes = header();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(check_header(&bytes).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn maps_round_trip(ranges in proptest::collection::vec((any::<u64>(), 1..1_u64 << 40), 0..50)) {
            let map: ExtentMap = ranges.into_iter().filter_map(|(o, l)| Extent::new(o, l)).collect();
            let payload = encode_extents(&map).unwrap();
            prop_assert_eq!(decode_extents(&payload, u64::MAX).unwrap(), map);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(mut payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_extents(&payload, 1 << 30);
            payload = zstd::encode_all(&payload[..], 1).unwrap();
            if let Ok(map) = decode_extents(&payload, 1 << 30) {
                assert!(map.end_bytes() <= 1 << 30);
            }
        }
    }
}
