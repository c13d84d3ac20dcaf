//! What earlier attempts at an update staged, as far as it is still intact.

use super::blocks::each;
use super::index::{Chain, Entry};
use super::room::{Areas, Space};
use crate::chunk::Digest;
use crate::error::{Error, Result};
use crate::spot::{Area, Spot, StagedPart};
use bytes::Bytes;
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;

/// How many entries are remembered; the bytes of further ones are staged again.
const ENTRIES_MAX: usize = 1 << 20;

/// Staged bytes whose digests are right, by their place on the volume.
#[derive(Default)]
pub(super) struct Earlier {
    entries: BTreeMap<u64, Entry>,
    /// The index blocks, kept until they are replaced: the log refers to them.
    blocks: Vec<Spot>,
    volume: ExtentMap,
    drive: ExtentMap,
}

impl Earlier {
    /// Looks at what `parts` staged in `room` that is still room.
    ///
    /// # Errors
    /// [`Error::Target`]; what is damaged or gone is no error.
    pub(super) fn look(space: Space<'_>, parts: &[StagedPart], room: Areas<'_>) -> Result<Self> {
        let mut earlier = Self::default();
        for part in parts {
            match earlier.add(space, *part, room) {
                // The room was used for something else since.
                Ok(())
                | Err(
                    Error::StageCorrupt { .. } | Error::Refused(_) | Error::RefusedUnless { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(earlier)
    }

    fn add(&mut self, space: Space<'_>, part: StagedPart, room: Areas<'_>) -> Result<()> {
        let is_room = |spot: &Spot| room.of(spot.area).contains(spot.extent);
        let mut spot = Some(part.index.spot);
        for block in Chain::new(space, part.run, part.index) {
            let mut block = block?;
            // A partition that was made there since is nobody's room to give back.
            self.blocks.extend(spot.filter(is_room));
            spot = block.before.map(|before| before.spot);
            block.entries.retain(|entry| {
                // A later attempt may have taken it over.
                let is_known = self.entries.get(&entry.to.offset_bytes()) == Some(entry);
                !entry.is_old && !is_known && entry.from.is_some_and(|(spot, _)| is_room(&spot))
            });
            let mut found = Vec::new();
            each(space, &block.entries, |entry, _| {
                found.push(*entry);
                Ok(())
            })?;
            for entry in found {
                if self.entries.len() < ENTRIES_MAX {
                    self.entries.insert(entry.to.offset_bytes(), entry);
                }
            }
        }
        Ok(())
    }

    /// The room that is in use, so that it is not handed out.
    pub(super) fn occupied(&mut self) -> Areas<'_> {
        let of = |area| -> ExtentMap {
            let entries = self.entries.values().filter_map(|entry| entry.from);
            let spots = entries
                .map(|(spot, _)| spot)
                .chain(self.blocks.iter().copied());
            spots
                .filter(|spot| spot.area == area)
                .map(|spot| spot.extent)
                .collect()
        };
        (self.volume, self.drive) = (of(Area::Volume), of(Area::Drive));
        Areas {
            volume: &self.volume,
            drive: &self.drive,
        }
    }

    /// The bytes of `area` that are in use, as [`occupied`](Self::occupied) found it.
    pub(super) const fn taken(&self, area: Area) -> &ExtentMap {
        match area {
            Area::Volume => &self.volume,
            Area::Drive => &self.drive,
        }
    }

    /// The entries that hold exactly `data` for `offset_bytes`, if all of it is staged.
    pub(super) fn find(&self, offset_bytes: u64, data: &Bytes) -> Option<Vec<Entry>> {
        let mut found = Vec::new();
        let mut rest = data.clone();
        let mut at = offset_bytes;
        while !rest.is_empty() {
            let entry = self.entries.get(&at)?;
            let len = usize::try_from(entry.to.len_bytes()).ok()?;
            if len > rest.len() {
                return None;
            }
            let piece = rest.split_to(len);
            let (_, digest) = entry.from?;
            if Digest::of(&piece).0 != digest {
                return None;
            }
            at = Extent::end_bytes(entry.to);
            found.push(*entry);
        }
        Some(found)
    }
}
