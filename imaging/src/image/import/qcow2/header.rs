//! The header of a qcow2 image, and what klon does not read.

use super::MAGIC;
use klon_partition::bytes::{be32, be64};
use klon_partition::error::Corrupt;
use klon_partition::{Error, ReadAt, Result};

/// What every reader must take: 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// What QEMU takes.
const L1_BYTES_MAX: u64 = 32 << 20;
const V2_LEN: usize = 72;
const V3_LEN: usize = 112;

/// How compressed clusters are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Zlib,
    Zstd,
}

/// What a reader needs of the header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) cluster_bits: u32,
    pub(super) size_bytes: u64,
    pub(super) l1_entries: usize,
    pub(super) l1_offset: u64,
    pub(super) compression: Compression,
    pub(super) is_v3: bool,
    /// How many internal snapshots there are, and where their table is.
    pub(super) snapshots: (u32, u64),
}

impl Header {
    pub(super) const fn cluster_bytes(&self) -> u64 {
        1 << self.cluster_bits
    }

    pub(super) fn read(file: &dyn ReadAt) -> Result<Self> {
        let file_bytes = file.geometry().size_bytes;
        let mut bytes = [0; V3_LEN];
        let len = usize::try_from(file_bytes).map_or(V3_LEN, |len| len.min(V3_LEN));
        file.read_exact_at(&mut bytes[..len], 0)?;
        if len < V2_LEN || &bytes[..4] != MAGIC {
            return Err(wrong(
                0,
                "magic",
                "QFI\\xfb",
                format!("{:02x?}", &bytes[..4]),
            ));
        }
        let version = be32(&bytes, 4);
        if !(2..=3).contains(&version) {
            return Err(convert(&format!("qcow2 version {version}")));
        }
        let is_v3 = version == 3;
        if be64(&bytes, 8) != 0 {
            return Err(convert("a qcow2 image with a backing file"));
        }
        if be32(&bytes, 32) != 0 {
            return Err(convert("an encrypted qcow2 image"));
        }
        let compression = match is_v3 {
            true => features(&bytes)?,
            false => Compression::Zlib,
        };
        let cluster_bits = be32(&bytes, 20);
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(wrong(20, "cluster_bits", "9 to 21", cluster_bits));
        }
        let header = Self {
            cluster_bits,
            size_bytes: be64(&bytes, 24),
            l1_entries: be32(&bytes, 36) as usize,
            l1_offset: be64(&bytes, 40),
            compression,
            is_v3,
            snapshots: (be32(&bytes, 60), be64(&bytes, 64)),
        };
        header.check(file_bytes)?;
        Ok(header)
    }

    fn check(&self, file_bytes: u64) -> Result<()> {
        let table_bytes = self.cluster_bytes() * (self.cluster_bytes() / 8);
        let needed = self.size_bytes.div_ceil(table_bytes);
        let entries = self.l1_entries as u64;
        if entries < needed || entries * 8 > L1_BYTES_MAX {
            let expected = format!("{needed} to {}", L1_BYTES_MAX / 8);
            return Err(wrong(36, "entries of the L1 table", expected, entries));
        }
        let end = self.l1_offset.checked_add(entries * 8);
        if end.is_none_or(|end| end > file_bytes) {
            let expected = format!("within {file_bytes} bytes");
            return Err(wrong(40, "place of the L1 table", expected, self.l1_offset));
        }
        Ok(())
    }
}

/// Incompatible features of version 3: 0 dirty refcounts, 1 corrupt, 2 external data, 3 compression
/// type, 4 extended L2 entries.
fn features(bytes: &[u8]) -> Result<Compression> {
    let incompatible = be64(bytes, 72);
    if incompatible & 0b10 != 0 {
        let expected = "a whole image; `qemu-img check -r all` may repair a copy of it";
        return Err(wrong(72, "mark", expected, "marked as corrupt"));
    }
    if incompatible & 0b100 != 0 {
        return Err(convert("a qcow2 image with an external data file"));
    }
    if incompatible & 0b1_0000 != 0 {
        return Err(convert("a qcow2 image with subclusters"));
    }
    if incompatible >> 5 != 0 {
        let what = format!("a qcow2 image with incompatible features {incompatible:#x}");
        return Err(convert(&what));
    }
    let kind = if be32(bytes, 100) > 104 {
        bytes[104]
    } else {
        0
    };
    match (incompatible & 0b1000, kind) {
        (0, _) | (_, 0) => Ok(Compression::Zlib),
        (_, 1) => Ok(Compression::Zstd),
        (_, other) => Err(convert(&format!("qcow2 compression type {other}"))),
    }
}

fn convert(what: &str) -> Error {
    Error::unsupported(
        what,
        "`qemu-img convert -O raw` makes it a raw file that klon can import",
    )
}

fn wrong(
    offset_bytes: u64,
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Corrupt::new("qcow2 header", field, offset_bytes, expected, found).into()
}
