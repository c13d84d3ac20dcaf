//! The record file, byte by byte. All integers are little-endian.
//!
//! ```text
//! header, 64 bytes
//!  0   8  magic "klonrec\n"
//!  8   4  version, 1
//! 12   4  header length, 64
//! 16   8  compatible feature bits: a reader may ignore those it does not know; 0
//! 24   8  incompatible feature bits: a reader must refuse those it does not know; bit 0: the digests
//!         of DGST are of pieces
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
//!         order, 32 bytes each; bytes outside DATA count as zero. Where the digests are of pieces: SHA-256
//!         of the digests of the chunk's 8 pieces, as PIEC has them
//! "PIEC"  of each chunk of DGST, in order, the SHA-256 of its 8 pieces (128 KiB), 32 bytes each. A piece behind
//!         the end of the volume has a digest of zeroes, and so has each piece of a chunk where none is
//!         known. Only where the digests are of pieces; a reader may skip it
//! "DATA"  extents whose bytes are in use
//! "ZERO"  extents that are in use and zero
//! "CHNG"  the changed-block bitmap of the last run: extents of the blocks that differed
//! "MDEX"  extents of the filesystem's metadata, all of it in DATA or ZERO; a reader may skip it
//! "MDGS"  SHA-256 of what lies in MDEX of each chunk that holds a byte of it, in order, 32 bytes
//!         each; with MDEX only, and a reader may skip it; `metadata_digest` of META is the SHA-256
//!         of this payload
//! "BADS"  extents of DATA that could not be read from the source, or that it lacked itself: they are
//!         zero in DGST, or the text of FILL. Left out when there are none
//! "FILL"  the text (UTF-8) that stands there instead of zeroes, repeated from the start of each
//!         sector of 512 bytes on; the filesystem's own structures are zero all the same. Several
//!         texts, one of them in each sector, have a zero byte between them. With BADS only;
//!         a reader may skip it
//! "LEFT"  extents of the source that no one proved free, and that were left out by the user's choice
//!         (`outside` of META) or because the source did not have them: outside of DATA and ZERO.
//!         Left out when there are none; a reader may skip it
//! "IDNT"  JSON, the fields of `OwnIdentity`: the clone has an identity of its own, so its digests are of other
//!         bytes than its source has. Left out when it has its source's
//! "IDEX"  extents of DATA in which the two differ for that reason. With IDNT only
//! "META"  JSON, the fields of `Manifest`
//! "END "  SHA-256 of everything before this section, 32 bytes
//!
//! extents: a zstd frame of pairs of LEB128 numbers: the gap to the end of the extent before
//! (to 0 for the first), the length. Sorted, disjoint, not touching, not empty.
//! ```

use crate::chunk::Digested;
use klon_partition::bytes::{le32, le64};
use klon_partition::error::Corrupt;

/// First bytes of every record.
pub const MAGIC: &[u8; 8] = b"klonrec\n";
/// The version that this program writes and reads.
pub const VERSION: u32 = 1;
/// Length of the header.
pub const HEADER_LEN: usize = 64;
/// A META section is never longer than this.
pub const META_BYTES_MAX: u64 = 16 << 20;

/// Incompatible feature: the digests of chunks are of pieces.
const IN_PIECES: u64 = 1;

/// The header of a new record, whose digests come about so.
#[must_use]
pub fn header(digested: Digested) -> [u8; HEADER_LEN] {
    let features = match digested {
        Digested::Whole => 0,
        Digested::InPieces => IN_PIECES,
    };
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&64_u32.to_le_bytes());
    bytes[24..32].copy_from_slice(&features.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What a record is called in messages.
pub(super) const NAME: &str = "record";

/// Checks the header of a record, and says how its digests come about.
///
/// # Errors
/// The first field that is wrong.
pub fn check_header(bytes: &[u8; HEADER_LEN]) -> Result<Digested, Corrupt> {
    if &bytes[..8] != MAGIC {
        let found = String::from_utf8_lossy(&bytes[..8]).into_owned();
        let (expected, found) = ("\"klonrec\\n\"", format!("{found:?}"));
        return Err(Corrupt::new(NAME, "magic", 0, expected, found));
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
        (
            "incompatible feature bits",
            24,
            0,
            le64(bytes, 24) & !IN_PIECES,
        ),
    ];
    for (field, offset_bytes, expected, found) in fields {
        if expected != found {
            let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
            return Err(Corrupt::new(NAME, field, offset_bytes, expected, found));
        }
    }
    Ok(match le64(bytes, 24) {
        0 => Digested::Whole,
        _ => Digested::InPieces,
    })
}

#[cfg(test)]
mod tests {
    use super::{check_header, header};
    use crate::chunk::Digested;

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        for digested in [Digested::Whole, Digested::InPieces] {
            assert_eq!(check_header(&header(digested)).unwrap(), digested);
            for bit in 0..512 {
                let mut bytes = header(digested);
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(check_header(&bytes).is_err(), "bit {bit}");
            }
        }
    }
}
