//! Maps of extents, as sections of records, images and logs hold them.
//!
//! A zstd frame of pairs of LEB128 numbers: the gap to the end of the extent before (to 0 for the
//! first), and the length. The extents are sorted and not empty, and no two of them touch.

use klon_partition::{Extent, ExtentMap};
use std::io::{self, Read, Write};

/// A map never has more extents than this.
pub(crate) const EXTENTS_MAX: usize = 1 << 23;

/// A map as the payload of a section.
///
/// # Errors
/// What zstd says; memory is all it can run out of.
pub(crate) fn encode_extents(map: &ExtentMap) -> io::Result<Vec<u8>> {
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
pub(crate) fn decode_extents(payload: &[u8], size_bytes: u64) -> Result<ExtentMap, String> {
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
    use super::{decode_extents, encode_extents};
    use klon_partition::{Extent, ExtentMap};
    use proptest::prelude::{any, prop_assert_eq, proptest};

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
