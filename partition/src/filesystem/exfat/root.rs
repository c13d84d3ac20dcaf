//! The entries of the root directory that describe the volume: allocation bitmaps, up-case table,
//! label, GUID.

use super::directory::{Directory, Runs};
use super::entry::{self, Allocation, EntrySet, Named};
use super::{Chains, Layout};
use crate::bytes::{le16, le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::text::sealed_utf16;

/// 2^32 clusters need no more, in clusters of at most 32 MiB.
const BITMAP_BYTES_MAX: u64 = (512 + 32) << 20;

/// 2^16 characters of 2 bytes need no more, not even if each were stored as a run of its own.
const UP_CASE_BYTES_MAX: u64 = 256 << 10;

/// An allocation bitmap and where it lies.
#[derive(Clone, Debug)]
pub(super) struct BitmapPlace {
    pub(super) runs: Vec<Extent>,
}

/// What the root directory says of the volume.
#[derive(Debug)]
pub(super) struct Root {
    /// The first bitmap, and on TexFAT the second.
    pub(super) bitmaps: Vec<BitmapPlace>,
    pub(super) label: Option<String>,
}

/// The entries as they are met.
#[derive(Default)]
struct Found {
    bitmaps: [Option<Named>; 2],
    up_case: Option<UpCase>,
    label: Option<String>,
}

/// The up-case table's entry.
#[derive(Clone, Copy)]
struct UpCase {
    named: Named,
    table_checksum: u32,
}

/// Reads the root directory up to its end.
///
/// # Errors
/// [`Error::Corrupt`] when an entry that must be there is not, is there twice or can't be, when a
/// set fails its checksum, or the up-case table does; [`Error::Unsupported`] for critical entries
/// that revision 1.00 does not have.
pub(super) fn read(device: &dyn ReadAt, layout: &Layout) -> Result<Root> {
    let mut chains = Chains::new(device, layout);
    let mut directory = Directory::open(&mut chains, Runs::root(layout))?;
    let mut found = Found::default();
    while let Some(set) = directory.next_set()? {
        match set.kind() {
            entry::ALLOCATION_BITMAP => found.bitmap(&set, layout)?,
            entry::UP_CASE_TABLE => found.up_case(&set)?,
            entry::VOLUME_LABEL => found.label(&set)?,
            _ => {}
        }
    }
    let root_bytes = directory.runs().first().map_or(0, |run| run.offset_bytes());
    let missing = |what: &str| {
        let (structure, field) = ("exFAT root directory", "EntryType");
        Error::from(Corrupt::new(structure, field, root_bytes, what, "none"))
    };
    let mut bitmaps = Vec::new();
    for place in found.bitmaps.iter().take(layout.fat_count.into()) {
        let named = place.ok_or_else(|| missing("an allocation bitmap (0x81) for each FAT"))?;
        let runs = Runs::new(layout, named)?;
        let runs = runs.collect(&mut chains, BITMAP_BYTES_MAX)?;
        bitmaps.push(BitmapPlace { runs });
    }
    let table = found
        .up_case
        .ok_or_else(|| missing("an up-case table (0x82)"))?;
    verify_up_case(&mut chains, table)?;
    Ok(Root {
        bitmaps,
        label: found.label,
    })
}

impl Found {
    fn bitmap(&mut self, set: &EntrySet, layout: &Layout) -> Result<()> {
        let bitmap_flags = u8_at(set.primary(), 1);
        let identifier = usize::from(bitmap_flags & 1);
        let place = self.bitmaps.get_mut(identifier);
        let place = place.filter(|_| identifier < usize::from(layout.fat_count));
        let Some(place) = place.filter(|place| place.is_none()) else {
            let expected = format!("each of {} bitmaps once", layout.fat_count);
            return Err(set.corrupt("BitmapIdentifier", &expected, identifier.to_string()));
        };
        let allocation = Allocation::of_primary(set.primary());
        let needed_bytes = layout.bitmap_bytes();
        if allocation.len_bytes < needed_bytes {
            let expected = format!("at least {needed_bytes} bytes");
            let found = allocation.len_bytes.to_string();
            return Err(set.corrupt("DataLength of the allocation bitmap", &expected, found));
        }
        *place = Some(Named {
            allocation,
            set_bytes: set.offset_bytes(),
        });
        Ok(())
    }

    fn up_case(&mut self, set: &EntrySet) -> Result<()> {
        if self.up_case.is_some() {
            return Err(set.corrupt("EntryType", "one up-case table", "two".to_owned()));
        }
        let allocation = Allocation::of_primary(set.primary());
        if !(1..=UP_CASE_BYTES_MAX).contains(&allocation.len_bytes) {
            let expected = format!("1 to {UP_CASE_BYTES_MAX} bytes");
            let found = allocation.len_bytes.to_string();
            return Err(set.corrupt("DataLength of the up-case table", &expected, found));
        }
        let named = Named {
            allocation,
            set_bytes: set.offset_bytes(),
        };
        self.up_case = Some(UpCase {
            named,
            table_checksum: le32(set.primary(), 4),
        });
        Ok(())
    }

    fn label(&mut self, set: &EntrySet) -> Result<()> {
        let entry = set.primary();
        let character_count = usize::from(u8_at(entry, 1));
        if character_count > 11 {
            let found = character_count.to_string();
            return Err(set.corrupt("CharacterCount", "at most 11", found));
        }
        let volume_label = (0..character_count).map(|index| le16(entry, 2 + index * 2));
        let units: Vec<u16> = volume_label.collect();
        let end = units.iter().position(|&unit| unit == 0);
        let label = sealed_utf16(units.into_iter().take(end.unwrap_or(usize::MAX)));
        // As blkid prints it.
        let label = label.trim_end();
        self.label = (!label.is_empty()).then(|| label.to_owned());
        Ok(())
    }
}

/// TableChecksum (section 7.2.2).
fn verify_up_case(chains: &mut Chains<'_>, table: UpCase) -> Result<()> {
    let mut runs = Runs::new(chains.layout(), table.named)?;
    let mut left_bytes = table.named.allocation.len_bytes;
    let mut sum = 0_u32;
    while let Some(run) = runs.next(chains)? {
        let len_bytes = run.len_bytes().min(left_bytes);
        left_bytes -= len_bytes;
        // At most UP_CASE_BYTES_MAX.
        let bytes = read_vec(chains.device(), run.offset_bytes(), len_bytes as usize)?;
        sum = bytes.iter().fold(sum, |sum, &byte| {
            sum.rotate_right(1).wrapping_add(u32::from(byte))
        });
    }
    if sum == table.table_checksum {
        return Ok(());
    }
    let (structure, field) = ("exFAT up-case table", "TableChecksum");
    let (expected, found) = (format!("{sum:#010x}"), table.table_checksum);
    let found = format!("{found:#010x}");
    let at = table.named.set_bytes;
    Err(Corrupt::new(structure, field, at, expected, found).into())
}
