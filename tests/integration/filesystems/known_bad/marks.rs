//! Volumes with marks of bad blocks: by tools where there are any, else put there byte by byte.

use crate::support::image::sparse;
use crate::support::run;
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::path::Path;

/// A volume of 60 MiB whose bad blocks inode has `blocks`.
pub(super) fn ext_with_bad(path: &Path, kind: &str, block_bytes: u32, blocks: &[u64]) {
    let list = path.with_extension("bad");
    let lines: String = blocks.iter().map(|block| format!("{block}\n")).collect();
    fs::write(&list, lines).unwrap();
    let _ = fs::remove_file(path);
    sparse(path, 60 << 20);
    let (size, list) = (block_bytes.to_string(), list.to_str().unwrap());
    let options = ["-q", "-F", "-t", kind, "-b", &size, "-l", list];
    run(
        "mke2fs",
        &[&options[..], &[path.to_str().unwrap()]].concat(),
    );
}

/// What dumpe2fs lists as bad.
pub(super) fn ext_listed(path: &Path) -> ExtentMap {
    let text = path.to_str().unwrap();
    let header = run("dumpe2fs", &["-h", text]);
    let size = header
        .lines()
        .find_map(|line| line.strip_prefix("Block size:"));
    let block_bytes: u64 = size.unwrap().trim().parse().unwrap();
    let blocks = run("dumpe2fs", &["-b", text]);
    let extent = |line: &str| {
        Extent::new(
            line.trim().parse::<u64>().unwrap() * block_bytes,
            block_bytes,
        )
    };
    blocks.lines().filter_map(extent).collect()
}

fn le16(bytes: &[u8], at: usize) -> u64 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn le32(bytes: &[u8], at: usize) -> u64 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()).into()
}

/// Marks clusters in every copy of the FAT.
pub(super) fn mark_fat(path: &Path, bits: u64, clusters: &[u64]) -> ExtentMap {
    let mut volume = fs::read(path).unwrap();
    let sector = le16(&volume, 11);
    let (fats, root) = (u64::from(volume[16]), le16(&volume, 17) * 32);
    let fat_sectors = match le16(&volume, 22) {
        0 => le32(&volume, 36),
        sectors => sectors,
    };
    let fat = le16(&volume, 14) * sector;
    let data = fat + fats * fat_sectors * sector + root;
    let cluster_bytes = u64::from(volume[13]) * sector;
    let mut set = |at: u64, value: u8, mask: u8| {
        for copy in 0..fats {
            let byte = &mut volume[(fat + copy * fat_sectors * sector + at) as usize];
            *byte = *byte & !mask | value & mask;
        }
    };
    for &cluster in clusters {
        let at = cluster * bits / 8;
        let bytes: &[(u64, u8, u8)] = match (bits, cluster % 2) {
            (12, 0) => &[(0, 0xf7, 0xff), (1, 0x0f, 0x0f)],
            (12, _) => &[(0, 0x70, 0xf0), (1, 0xff, 0xff)],
            (16, _) => &[(0, 0xf7, 0xff), (1, 0xff, 0xff)],
            _ => &[
                (0, 0xf7, 0xff),
                (1, 0xff, 0xff),
                (2, 0xff, 0xff),
                (3, 0x0f, 0x0f),
            ],
        };
        bytes
            .iter()
            .for_each(|&(index, value, mask)| set(at + index, value, mask));
    }
    fs::write(path, &volume).unwrap();
    let place = |cluster: &u64| Extent::new(data + (cluster - 2) * cluster_bytes, cluster_bytes);
    clusters.iter().filter_map(place).collect()
}

/// Where the attribute of that type and length of name starts in record `number`.
fn ntfs_attribute(volume: &[u8], number: u64, code: u64, name_len: u8) -> (usize, usize) {
    let cluster_bytes = le16(volume, 11) * u64::from(volume[13]);
    let record = (le32(volume, 0x30) * cluster_bytes + number * 1024) as usize;
    let mut at = record + le16(volume, record + 20) as usize;
    while le32(volume, at) != code || volume[at + 9] != name_len {
        at += le32(volume, at + 4) as usize;
    }
    (record, at)
}

/// Puts `count` free clusters from `first` on into `$BadClus`, and marks them as used.
pub(super) fn mark_ntfs(path: &Path, first: u64, count: u64) -> ExtentMap {
    let mut volume = fs::read(path).unwrap();
    let cluster_bytes = le16(&volume, 11) * u64::from(volume[13]);
    let clusters = le32(&volume, 0x28) * le16(&volume, 11) / cluster_bytes;
    let (record, at) = ntfs_attribute(&volume, 8, 0x80, 4);
    let pairs = at + le16(&volume, at + 0x20) as usize;
    let part = |value: u64| u32::try_from(value).unwrap().to_le_bytes();
    let mut list = vec![0x04];
    list.extend(part(first));
    list.push(0x44);
    list.extend(part(count));
    list.extend(part(first));
    list.push(0x04);
    list.extend(part(clusters - first - count));
    list.push(0);
    let end = at + le32(&volume, at + 4) as usize;
    let new_end = (pairs + list.len()).next_multiple_of(8);
    assert!(new_end + 8 < record + 510, "the fix-up is behind it");
    volume.copy_within(end..end + 8, new_end);
    volume[pairs..pairs + list.len()].copy_from_slice(&list);
    let set = |volume: &mut [u8], at: usize, value: usize| {
        volume[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
    };
    set(&mut volume, at + 4, new_end - at);
    set(&mut volume, record + 24, new_end + 8 - record);
    let (_, bitmap) = ntfs_attribute(&volume, 6, 0x80, 0);
    let run = bitmap + le16(&volume, bitmap + 0x20) as usize;
    let (len_size, lcn_size) = (volume[run] & 15, volume[run] >> 4);
    let lcn = run + 1 + usize::from(len_size);
    let lcn = (0..usize::from(lcn_size)).map(|i| u64::from(volume[lcn + i]) << (8 * i));
    let bits = lcn.sum::<u64>() * cluster_bytes;
    for cluster in first..first + count {
        let byte = &mut volume[(bits + cluster / 8) as usize];
        assert_eq!(*byte >> (cluster % 8) & 1, 0, "free");
        *byte |= 1 << (cluster % 8);
    }
    fs::write(path, &volume).unwrap();
    let bad = Extent::new(first * cluster_bytes, count * cluster_bytes);
    bad.into_iter().collect()
}

/// Marks free clusters in the FAT and in the allocation bitmap.
pub(super) fn mark_exfat(path: &Path, clusters: &[u64]) -> ExtentMap {
    let mut volume = fs::read(path).unwrap();
    let sector = 1_u64 << volume[108];
    let cluster_bytes = sector << volume[109];
    let (fat, heap) = (le32(&volume, 80) * sector, le32(&volume, 88) * sector);
    let place = |cluster: u64| heap + (cluster - 2) * cluster_bytes;
    let root = place(le32(&volume, 96)) as usize;
    let bitmap = (0..)
        .map(|index| root + index * 32)
        .find(|&at| volume[at] == 0x81);
    let bitmap = place(le32(&volume, bitmap.unwrap() + 20));
    for &cluster in clusters {
        let entry = (fat + cluster * 4) as usize;
        volume[entry..entry + 4].copy_from_slice(&0xffff_fff7_u32.to_le_bytes());
        let byte = &mut volume[(bitmap + (cluster - 2) / 8) as usize];
        assert_eq!(*byte >> ((cluster - 2) % 8) & 1, 0, "free");
        *byte |= 1 << ((cluster - 2) % 8);
    }
    fs::write(path, &volume).unwrap();
    let extents = clusters
        .iter()
        .map(|&cluster| Extent::new(place(cluster), cluster_bytes));
    extents.flatten().collect()
}
