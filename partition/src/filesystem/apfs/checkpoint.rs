//! Checkpoints: finding the newest one, and the objects that it keeps in memory while mounted.
//!
//! Each transaction writes its ephemeral objects into the checkpoint data area, then maps of them
//! and at last a container superblock into the checkpoint descriptor area; both areas are rings
//! (Apple File System Reference, "Container", "Mounting an Apple File System Partition").

use super::address::{Oid, Paddr};
use super::object::{CHECKPOINT_MAP, Kind, Object, SPACEMAN};
use super::superblock::{self, Superblock};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;

/// `checkpoint_map_phys_t` and `spaceman_phys_t`
const MAP: Kind = Kind::new("APFS checkpoint map", CHECKPOINT_MAP);
const SPACE_MANAGER: Kind = Kind::new("APFS space manager", SPACEMAN);
/// `CHECKPOINT_MAP_LAST`.
const MAP_LAST: u32 = 1;
/// `checkpoint_map_phys_t` before its mappings, and `checkpoint_mapping_t`.
const MAP_BYTES: usize = 40;
const MAPPING_BYTES: usize = 40;
/// More than a space manager of any size in use.
const OBJECT_BYTES_MAX: u64 = 32 << 20;
/// How much of the descriptor area is read at once.
const PIECE_BLOCKS: u64 = 64;

/// The newest checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) superblock: Superblock,
    /// Which block of the descriptor area its superblock is.
    index: u64,
}

impl Checkpoint {
    /// Finds the superblock with the highest transaction identifier in the descriptor area that
    /// block 0, `zero`, names.
    ///
    /// Drivers pass over a torn superblock: all of the checkpoint before it is still there. klon
    /// does not, as the torn one may be a newer checkpoint in which bits have gone bad.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when any superblock there fails its checks or there is none, and
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn newest(zero: &Superblock, device: &dyn ReadAt) -> Result<Self> {
        let mut newest: Option<(Object, u64)> = None;
        let (all, block_len) = (zero.descriptors.count, zero.block_len());
        for first in (0..all).step_by(PIECE_BLOCKS as usize) {
            let indices = first..all.min(first + PIECE_BLOCKS);
            let start_bytes = zero.descriptor(first)?.offset_bytes();
            let len = (indices.end - first) as usize * block_len;
            let piece = read_vec(device, start_bytes, len)?;
            for (index, raw) in indices.zip(piece.chunks_exact(block_len)) {
                if superblock::has_magic(raw) {
                    let found = descriptor(zero, index, raw.to_vec())?;
                    let before = newest.as_ref().map(|(newest, _)| newest.xid());
                    let xid = found.xid();
                    let is_other = before != Some(xid);
                    found.check(is_other, "o_xid", "one of no other checkpoint", xid)?;
                    if before < Some(xid) {
                        newest = Some((found, index));
                    }
                }
            }
        }
        let expected = "a container superblock in the descriptor area";
        let field = zero.object.field("nx_xp_desc_base");
        let (object, index) = newest.ok_or_else(|| field.corrupt(expected, "none"))?;
        let superblock = Superblock::check(object, device.geometry().size_bytes)?;
        let is_same = zero.descriptors == superblock.descriptors;
        let (expected, found) = (zero.descriptors.start, superblock.descriptors.start);
        superblock
            .object
            .check(is_same, "nx_xp_desc_base", expected, found)?;
        Ok(Self { superblock, index })
    }

    /// The space manager, put together from the checkpoint data area.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when a map or the space manager fails its checks, and [`crate::Error::Io`] when
    /// the device fails.
    pub(super) fn spaceman(&self, device: &dyn ReadAt) -> Result<Object> {
        let superblock = &self.superblock;
        let nx_spaceman_oid = Oid(superblock.object.u64(152));
        let mut found = None;
        for (place, map) in (2..).zip(self.maps(device)?) {
            let (cpm_flags, cpm_count) = (map.u32(32), map.u32(36));
            let mappings = (map.raw.len() - MAP_BYTES) / MAPPING_BYTES;
            let is_inside = cpm_count as usize <= mappings;
            map.check(is_inside, "cpm_count", "mappings in a block", cpm_count)?;
            let is_last = cpm_flags & MAP_LAST != 0;
            let is_end = place == self.len();
            map.check(is_last == is_end, "cpm_flags", "last on the last", is_last)?;
            for index in 0..cpm_count as usize {
                let mapping = Mapping::read(&map, index);
                if mapping.cpm_oid == nx_spaceman_oid && mapping.is_of_container() {
                    map.check(found.is_none(), "cpm_oid", "one space manager", "another")?;
                    found = Some(self.ephemeral(&map, &mapping, device)?);
                }
            }
        }
        let field = superblock.object.field("nx_spaceman_oid");
        let missing = || field.corrupt("an object in the checkpoint", nx_spaceman_oid);
        let spaceman = found.ok_or_else(missing)?;
        let (expected, oid) = (nx_spaceman_oid, spaceman.oid());
        spaceman.check(oid == expected, "o_oid", expected, oid)?;
        let (expected, xid) = (superblock.xid(), spaceman.xid());
        spaceman.check(xid == expected, "o_xid", expected, xid)?;
        Ok(spaceman)
    }

    /// `nx_xp_desc_len`: how many maps, and one superblock.
    fn len(&self) -> u64 {
        let nx_xp_desc_len = self.superblock.object.u32(140);
        nx_xp_desc_len.into()
    }

    /// The maps, which lie before the superblock in the ring.
    fn maps(&self, device: &dyn ReadAt) -> Result<Vec<Object>> {
        let superblock = &self.superblock;
        let ring = superblock.descriptors.count;
        let len = self.len();
        let expected = format!("2 to {ring}");
        let is_len = (2..=ring).contains(&len);
        superblock
            .object
            .check(is_len, "nx_xp_desc_len", expected, len)?;
        let mut maps = Vec::new();
        for back in (1..len).rev() {
            // `back` is less than the ring's length, which is at most 2^14.
            let index = (self.index + ring - back) % ring;
            let map = Object::read_physical(MAP, superblock.descriptor(index)?, device)?;
            let (expected, xid) = (superblock.xid(), map.xid());
            map.check(xid == expected, "o_xid", expected, xid)?;
            maps.push(map);
        }
        Ok(maps)
    }

    /// The object that `mapping` of `map` is about; objects may go around in the ring.
    fn ephemeral(&self, map: &Object, mapping: &Mapping, device: &dyn ReadAt) -> Result<Object> {
        let (superblock, container) = (&self.superblock, self.superblock.container);
        let block_bytes = u64::from(container.block_size_bytes);
        let size_bytes = u64::from(mapping.cpm_size);
        let ring_bytes = container.len_bytes(superblock.data.count);
        let size_max = ring_bytes.map_or(0, |bytes| bytes.min(OBJECT_BYTES_MAX));
        let is_size = size_bytes.is_multiple_of(block_bytes)
            && (block_bytes..=size_max).contains(&size_bytes);
        let expected = format!("whole blocks, at most {size_max}");
        map.check(is_size, "cpm_size", expected, size_bytes)?;
        let field = map.field("cpm_paddr");
        let outside = || field.corrupt("in the checkpoint data area", mapping.cpm_paddr);
        let index = superblock.data.index(mapping.cpm_paddr);
        let ahead = superblock.data.count - index.ok_or_else(outside)?;
        // The area's bytes fit 64 bits, as it is part of the container.
        let ahead_bytes = (ahead * block_bytes).min(size_bytes);
        let start = superblock.block(mapping.cpm_paddr, field)?;
        let ring_start = superblock.block(superblock.data.start, field)?;
        let offset_bytes = start.offset_bytes();
        let mut raw = read_vec(device, offset_bytes, ahead_bytes as usize)?;
        let rest_bytes = size_bytes - ahead_bytes;
        let rest = read_vec(device, ring_start.offset_bytes(), rest_bytes as usize)?;
        raw.extend(rest);
        Ok(Object::parse(SPACE_MANAGER, offset_bytes, raw)?)
    }
}

/// `checkpoint_mapping_t`: where an ephemeral object is.
struct Mapping {
    cpm_size: u32,
    cpm_fs_oid: Oid,
    cpm_oid: Oid,
    cpm_paddr: Paddr,
}

impl Mapping {
    /// Mapping `index` of a map that has so many.
    fn read(map: &Object, index: usize) -> Self {
        let at = MAP_BYTES + index * MAPPING_BYTES;
        Self {
            cpm_size: map.u32(at + 8),
            cpm_fs_oid: Oid(map.u64(at + 16)),
            cpm_oid: Oid(map.u64(at + 24)),
            cpm_paddr: map.paddr(at + 32),
        }
    }

    /// Whether the object is the container's and not a volume's.
    fn is_of_container(&self) -> bool {
        self.cpm_fs_oid == Oid(0)
    }
}

/// A superblock in the descriptor area. It must be of the same container as block 0.
fn descriptor(zero: &Superblock, index: u64, raw: Vec<u8>) -> Result<Object> {
    let offset_bytes = zero.descriptor(index)?.offset_bytes();
    let object = Object::parse(superblock::KIND, offset_bytes, raw)?;
    let uuids = [&zero.object, &object].map(|object| superblock::uuid(&object.raw));
    let [expected, uuid] = uuids.map(Option::unwrap_or_default);
    object.check(expected == uuid, "nx_uuid", expected, &uuid)?;
    Ok(object)
}
