//! A plain decode of a whole FAT volume in memory, sharing nothing with klon's parser.

use klon_partition::{Extent, ExtentMap};

pub(super) struct Naive {
    pub(super) used: ExtentMap,
    pub(super) free_bytes: u64,
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len]
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | usize::from(byte))
}

fn either(bytes: &[u8], short: usize, long: usize) -> usize {
    match number(bytes, short, 2) {
        0 => number(bytes, long, 4),
        value => value,
    }
}

/// Where the copies of the FAT start.
pub(super) fn fat_offsets(bytes: &[u8]) -> Vec<usize> {
    let sector = number(bytes, 11, 2);
    let fat = either(bytes, 22, 36) * sector;
    let first = number(bytes, 14, 2) * sector;
    (0..usize::from(bytes[16]))
        .map(|copy| first + copy * fat)
        .collect()
}

/// Where cluster 2 starts, and the length of one.
fn data(bytes: &[u8]) -> (usize, usize) {
    let sector = number(bytes, 11, 2);
    let fats = fat_offsets(bytes);
    let fat_len = either(bytes, 22, 36) * sector;
    let root_len = (number(bytes, 17, 2) * 32).div_ceil(sector) * sector;
    let cluster = sector * usize::from(bytes[13]);
    (fats[0] + fats.len() * fat_len + root_len, cluster)
}

/// Where the clusters from `first` to `last` are.
pub(super) fn clusters(bytes: &[u8], first: usize, last: usize) -> Extent {
    let (data, cluster) = data(bytes);
    let start = data + (first - 2) * cluster;
    Extent::new(start as u64, ((last + 1 - first) * cluster) as u64).unwrap()
}

/// Everything but clusters whose entry is 0.
pub(super) fn used(bytes: &[u8]) -> Naive {
    let sector = number(bytes, 11, 2);
    let total = either(bytes, 19, 32) * sector;
    let fats = fat_offsets(bytes);
    let (data, cluster) = data(bytes);
    let clusters = (total - data) / cluster;
    let is_fat32 = number(bytes, 22, 2) == 0;
    let is_free = |index: usize| {
        let fat = &bytes[fats[0]..];
        match clusters {
            _ if is_fat32 => number(fat, index * 4, 4) & 0x0fff_ffff == 0,
            0..4085 if index.is_multiple_of(2) => number(fat, index * 3 / 2, 2) & 0xfff == 0,
            0..4085 => number(fat, index * 3 / 2, 2) >> 4 == 0,
            _ => number(fat, index * 2, 2) == 0,
        }
    };
    let free: ExtentMap = (0..clusters)
        .filter(|&index| is_free(index + 2))
        .filter_map(|index| Extent::new((data + index * cluster) as u64, cluster as u64))
        .collect();
    Naive {
        used: free.complement(total as u64),
        free_bytes: free.total_bytes(),
    }
}

/// Whether this is FAT32 with fewer clusters than Microsoft allows it.
pub(super) fn has_few_clusters(bytes: &[u8]) -> bool {
    let cluster = number(bytes, 11, 2) * usize::from(bytes[13]);
    number(bytes, 22, 2) == 0 && bytes.len() / cluster < 65_525
}

/// Adds a file in these clusters to the empty root directory of a FAT32 volume.
pub(super) fn add_file(bytes: &mut [u8], clusters: &[u32]) -> ExtentMap {
    let sector = number(bytes, 11, 2);
    let cluster = sector * usize::from(bytes[13]);
    let fats = fat_offsets(bytes);
    let data = fats[0] + fats.len() * number(bytes, 36, 4) * sector;
    let next = clusters.iter().skip(1).copied().chain([0x0fff_ffff]);
    for (&from, to) in clusters.iter().zip(next) {
        for fat in &fats {
            bytes[fat + 4 * from as usize..][..4].copy_from_slice(&to.to_le_bytes());
        }
    }
    let mut entry = [0; 32];
    entry[..12].copy_from_slice(b"FILE    BIN ");
    entry[26..28].copy_from_slice(&(clusters[0] as u16).to_le_bytes());
    entry[28..].copy_from_slice(&((clusters.len() * cluster) as u32).to_le_bytes());
    bytes[data..data + 32].copy_from_slice(&entry);
    // FSI_Free_Count
    let free_count = number(bytes, 48, 2) * sector + 488;
    let left = number(bytes, free_count, 4) as u32 - clusters.len() as u32;
    bytes[free_count..free_count + 4].copy_from_slice(&left.to_le_bytes());
    clusters
        .iter()
        .map(|&index| (data + (index as usize - 2) * cluster) as u64)
        .filter_map(|offset| Extent::new(offset, cluster as u64))
        .collect()
}
