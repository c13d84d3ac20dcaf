//! What is written anew of a FAT that is laid out anew: reserved sectors, FATs, and directories.

use super::super::layout::Layout;
use super::boot_sector;
use super::shape::Shape;
use super::tree::{Chain, Tree};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::Kind;
use crate::filesystem::cluster::Cluster;
use std::sync::Arc;

/// Fields of the boot sector (fatgen103, "Boot Sector and BPB").
const BYTES_PER_SECTOR: usize = 0x0b;
const SECTORS_PER_CLUSTER: usize = 0x0d;
const RESERVED_SECTORS: usize = 0x0e;
const ROOT_ENTRIES: usize = 0x11;
const TOTAL_SECTORS_16: usize = 0x13;
const FAT_SECTORS_16: usize = 0x16;
const HIDDEN_SECTORS: usize = 0x1c;
const TOTAL_SECTORS_32: usize = 0x20;
/// Of FAT32.
const FAT_SECTORS_32: usize = 0x24;
const EXT_FLAGS: usize = 0x28;
const ROOT_CLUSTER: usize = 0x2c;
const BACKUP_SECTOR: usize = 0x32;
const FSINFO_FREE: usize = 488;
const FSINFO_NEXT: usize = 492;
/// `BS_FilSysType` of FAT12 and FAT16.
const TYPE_16: usize = 0x36;
const HEAD_BYTES: usize = 512;
/// Where an entry of a directory has its cluster (fatgen103, "FAT Directory Structure").
const CLUSTER_HIGH: usize = 20;
const CLUSTER_LOW: usize = 26;
const ATTRIBUTES: usize = 11;
const ENTRY_BYTES: usize = 32;
const DELETED: u8 = 0xe5;

/// A part, and where it lies.
type Part = (u64, Arc<[u8]>);

/// The parts before the clusters.
pub(super) fn head(
    device: &dyn ReadAt,
    layout: &Layout,
    shape: &Shape,
    tree: &Tree,
) -> Result<Vec<Part>> {
    let table = fat(shape, layout, tree);
    let mut parts: Vec<Part> = vec![(0, Arc::from(reserved(device, layout, shape, tree)?))];
    let table: Arc<[u8]> = Arc::from(table);
    for copy in 0..shape.fat_count {
        parts.push((shape.fat_offset_bytes(copy), table.clone()));
    }
    if let Some(root) = &tree.root {
        let mut root = root.clone();
        rename(&mut root, tree, layout, |_| None);
        parts.push((shape.root_offset_bytes(), Arc::from(root)));
    }
    Ok(parts)
}

/// The reserved sectors: each keeps what it had, as far as it has room.
fn reserved(device: &dyn ReadAt, layout: &Layout, shape: &Shape, tree: &Tree) -> Result<Vec<u8>> {
    // At most 65535 sectors of each.
    let old = read_vec(device, 0, layout.fat_offset_bytes as usize)?;
    let mut new = vec![0; shape.fat_offset_bytes(0) as usize];
    let (old_bytes, new_bytes) = (layout.sector_bytes as usize, shape.sector_bytes as usize);
    for (from, to) in old.chunks(old_bytes).zip(new.chunks_mut(new_bytes)) {
        let len = from.len().min(to.len());
        to[..len].copy_from_slice(&from[..len]);
    }
    let boot = boot_record(boot_sector(device)?, layout, shape, tree);
    new[..HEAD_BYTES].copy_from_slice(&boot);
    if shape.kind == Kind::Fat32 {
        let backup = usize::from(le16(&boot, BACKUP_SECTOR));
        let fsinfo = layout
            .fsinfo_offset_bytes
            .map(|at| at / layout.sector_bytes);
        let fsinfo = fsinfo.and_then(|sector| usize::try_from(sector).ok());
        let free = free_clusters(shape, tree);
        for first in [Some(0), Some(backup).filter(|&at| at != 0 && at != 0xffff)] {
            let Some(first) = first else { continue };
            let copy = new.get_mut(first * new_bytes..first * new_bytes + HEAD_BYTES);
            if let Some(copy) = copy {
                copy.copy_from_slice(&boot);
            }
            let info = fsinfo.map(|sector| (first + sector) * new_bytes);
            if let Some(info) = info.and_then(|at| new.get_mut(at..at + HEAD_BYTES)) {
                note_free(info, free);
            }
        }
    }
    Ok(new)
}

fn free_clusters(shape: &Shape, tree: &Tree) -> u32 {
    let used: usize = tree.chains.iter().map(|chain| chain.to.len()).sum();
    shape
        .clusters
        .count()
        .saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
}

/// FSInfo, where it is one.
fn note_free(info: &mut [u8], free: u32) {
    if le32(info, 0) != 0x4161_5252 || le32(info, 484) != 0x6141_7272 {
        return;
    }
    info[FSINFO_FREE..FSINFO_FREE + 4].copy_from_slice(&free.to_le_bytes());
    info[FSINFO_NEXT..FSINFO_NEXT + 4].copy_from_slice(&Cluster::FIRST.0.to_le_bytes());
}

fn boot_record(mut boot: Vec<u8>, layout: &Layout, shape: &Shape, tree: &Tree) -> Vec<u8> {
    let hidden_bytes = u64::from(le32(&boot, HIDDEN_SECTORS)) * layout.sector_bytes;
    // Each was checked to fit its field.
    let mut put16 = |at: usize, value: u64| {
        boot[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
    };
    let is_short = shape.total_sectors < 0x1_0000 && shape.kind != Kind::Fat32;
    put16(BYTES_PER_SECTOR, shape.sector_bytes);
    put16(RESERVED_SECTORS, shape.reserved_sectors);
    put16(ROOT_ENTRIES, shape.root_entries);
    put16(
        TOTAL_SECTORS_16,
        if is_short { shape.total_sectors } else { 0 },
    );
    let is_fat32 = shape.kind == Kind::Fat32;
    put16(FAT_SECTORS_16, if is_fat32 { 0 } else { shape.fat_sectors });
    boot[SECTORS_PER_CLUSTER] = shape.cluster_sectors as u8;
    let mut put32 = |at: usize, value: u64| {
        boot[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
    };
    put32(
        TOTAL_SECTORS_32,
        if is_short { 0 } else { shape.total_sectors },
    );
    if hidden_bytes.is_multiple_of(shape.sector_bytes) {
        put32(HIDDEN_SECTORS, hidden_bytes / shape.sector_bytes);
    }
    if is_fat32 {
        put32(FAT_SECTORS_32, shape.fat_sectors);
        let root = tree.moved(layout.root_cluster).unwrap_or(Cluster::FIRST);
        put32(ROOT_CLUSTER, root.0.into());
        // All copies of the FAT are the same now.
        boot[EXT_FLAGS..EXT_FLAGS + 2].fill(0);
    } else if matches!(&boot[TYPE_16..TYPE_16 + 8], b"FAT12   " | b"FAT16   ") {
        let name = match shape.kind {
            Kind::Fat12 => b"FAT12   ",
            _ => b"FAT16   ",
        };
        boot[TYPE_16..TYPE_16 + 8].copy_from_slice(name);
    }
    boot
}

/// One copy of the FAT.
fn fat(shape: &Shape, layout: &Layout, tree: &Tree) -> Vec<u8> {
    let mut bytes = vec![0; (shape.fat_sectors * shape.sector_bytes) as usize];
    let mut set = |cluster: u32, value: u32| match shape.kind {
        Kind::Fat12 => {
            let at = cluster as usize * 3 / 2;
            let before = le16(&bytes, at);
            let value = value as u16 & 0xfff;
            let entry = match cluster.is_multiple_of(2) {
                true => before & 0xf000 | value,
                false => before & 0x000f | value << 4,
            };
            put(&mut bytes, at, &entry.to_le_bytes());
        }
        Kind::Fat16 => put(
            &mut bytes,
            cluster as usize * 2,
            &(value as u16).to_le_bytes(),
        ),
        _ => put(&mut bytes, cluster as usize * 4, &value.to_le_bytes()),
    };
    let all = match shape.kind {
        Kind::Fat12 => 0xfff,
        Kind::Fat16 => 0xffff,
        _ => 0x0fff_ffff,
    };
    set(0, all & !0xff | u32::from(layout.media));
    set(1, all);
    // As mkfs.fat writes it.
    let end = all & !7;
    for chain in &tree.chains {
        let next = chain.to.iter().skip(1).map(|next| next.0).chain([end]);
        for (cluster, next) in chain.to.iter().zip(next) {
            set(cluster.0, next);
        }
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(entry) = bytes.get_mut(at..at + value.len()) {
        entry.copy_from_slice(value);
    }
}

/// A directory with the new numbers of clusters.
pub(super) fn directory(bytes: &[u8], tree: &Tree, chain: &Chain, layout: &Layout) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let own = chain.to.first().copied().unwrap_or(Cluster::NONE);
    // The root directory is 0 there, whatever its cluster.
    let is_in_root = chain.parent == Cluster::NONE || chain.parent == layout.root_cluster;
    let parent = match is_in_root {
        true => Cluster::NONE,
        false => tree.moved(chain.parent).unwrap_or(Cluster::NONE),
    };
    rename(&mut bytes, tree, layout, |name| match name {
        b".          " => Some(own),
        b"..         " => Some(parent),
        _ => None,
    });
    bytes
}

/// Gives each entry its new cluster: `fixed` tells that of some names.
fn rename(
    bytes: &mut [u8],
    tree: &Tree,
    layout: &Layout,
    fixed: impl Fn(&[u8]) -> Option<Cluster>,
) {
    let live = bytes
        .chunks_exact_mut(ENTRY_BYTES)
        .take_while(|entry| entry[0] != 0);
    for entry in live {
        let attributes = entry[ATTRIBUTES];
        let is_name_alone = attributes & 0x3f == 0x0f || attributes & 0x08 != 0;
        if entry[0] == DELETED || is_name_alone {
            continue;
        }
        let low = u32::from(le16(entry, CLUSTER_LOW));
        let high = match layout.root {
            None => u32::from(le16(entry, CLUSTER_HIGH)) << 16,
            Some(_) => 0,
        };
        let cluster = match fixed(&entry[..11]) {
            Some(cluster) => cluster,
            None => match tree.moved(Cluster(high | low)) {
                Some(cluster) => cluster,
                None => continue,
            },
        };
        let [first, second, third, fourth] = cluster.0.to_le_bytes();
        entry[CLUSTER_LOW..CLUSTER_LOW + 2].copy_from_slice(&[first, second]);
        if layout.root.is_none() {
            entry[CLUSTER_HIGH..CLUSTER_HIGH + 2].copy_from_slice(&[third, fourth]);
        }
    }
}
