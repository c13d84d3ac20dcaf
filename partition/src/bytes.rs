//! Bounds-checked reads of little- and big-endian fields at the offsets a specification gives.
//!
//! The caller reads a structure of known size first, so an offset outside of it is a mistake of
//! ours and not of the disk: such a field reads as zero rather than panicking, and debug builds
//! assert.

use crate::text::sealed_bytes;

macro_rules! reader {
    ($name:ident, $integer:ty, $from:ident, $doc:literal) => {
        #[doc = $doc]
        #[must_use]
        pub fn $name(bytes: &[u8], offset: usize) -> $integer {
            const LEN: usize = size_of::<$integer>();
            let field = offset
                .checked_add(LEN)
                .and_then(|end| bytes.get(offset..end));
            debug_assert!(
                field.is_some(),
                "field at {offset:#x} outside {} bytes",
                bytes.len()
            );
            field
                .and_then(|field| <[u8; LEN]>::try_from(field).ok())
                .map_or(0, <$integer>::$from)
        }
    };
}

reader!(u8_at, u8, from_le_bytes, "The byte at `offset`.");
reader!(
    le16,
    u16,
    from_le_bytes,
    "The little-endian 16-bit field at `offset`."
);
reader!(
    le32,
    u32,
    from_le_bytes,
    "The little-endian 32-bit field at `offset`."
);
reader!(
    le64,
    u64,
    from_le_bytes,
    "The little-endian 64-bit field at `offset`."
);
reader!(
    be16,
    u16,
    from_be_bytes,
    "The big-endian 16-bit field at `offset`."
);
reader!(
    be32,
    u32,
    from_be_bytes,
    "The big-endian 32-bit field at `offset`."
);
reader!(
    be64,
    u64,
    from_be_bytes,
    "The big-endian 64-bit field at `offset`."
);

/// The text before the first NUL of a fixed-length field, sealed ([`crate::text`]).
///
/// `None` when nothing but white space is there.
#[must_use]
pub fn text(field: &[u8]) -> Option<String> {
    let end = field
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(field.len());
    let text = sealed_bytes(field.get(..end)?.trim_ascii());
    let text = text.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Whether every byte is zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Blocks of 64 bytes without an early exit inside compile to wide ORs.
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks
        .iter()
        .all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::{be32, is_zero, le16, le64, text};

    #[test]
    fn fields_are_read_at_their_offset() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(le16(&bytes, 1), 0x0201);
        assert_eq!(be32(&bytes, 4), 0x0405_0607);
        assert_eq!(le64(&bytes, 8), 0x0f0e_0d0c_0b0a_0908);
    }

    #[test]
    fn text_ends_at_nul_and_drops_padding() {
        assert_eq!(text(b"ROOT\0junk").as_deref(), Some("ROOT"));
        assert_eq!(text(b"EFI        ").as_deref(), Some("EFI"));
        assert_eq!(text(b"   \0"), None);
    }

    #[test]
    fn one_set_bit_anywhere_is_not_zero() {
        let mut bytes = vec![0; 200];
        assert!(is_zero(&bytes) && is_zero(&[]));
        for index in 0..bytes.len() {
            bytes[index] = 0x80;
            assert!(!is_zero(&bytes), "{index}");
            bytes[index] = 0;
        }
    }
}
