//! An exFAT volume made by hand: 512-byte sectors, 100 clusters of 1024 bytes.
//!
//! Boot regions in sectors 0 to 23, FATs of a sector from 24 on, the heap at sector 26, a sector
//! of excess space after it, and three sectors more that are not of the volume.

use super::super::entry::{Entry, checksum};

pub(super) const HEAP: usize = 26 * 512;
pub(super) const HEAP_END: usize = HEAP + 100 * 1024;
pub(super) const VOLUME_END: usize = HEAP_END + 512;
pub(super) const DEVICE_END: usize = VOLUME_END + 3 * 512;

pub(super) const END: u32 = 0xffff_ffff;

/// Clusters: 2 the bitmap, 3 the up-case table, 4 the root directory.
pub(super) const ROOT: u32 = 4;

pub(super) struct Handmade {
    pub(super) bytes: Vec<u8>,
}

impl Handmade {
    pub(super) fn new() -> Self {
        let mut volume = Self {
            bytes: vec![0; DEVICE_END],
        };
        let bytes = &mut volume.bytes;
        bytes[..11].copy_from_slice(b"\xeb\x76\x90EXFAT   ");
        bytes[72..80].copy_from_slice(&227_u64.to_le_bytes());
        for (at, value) in [(80, 24_u32), (84, 1), (88, 26), (92, 100), (96, ROOT)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes[100..104].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
        bytes[104..113].copy_from_slice(&[0, 1, 0, 0, 9, 1, 1, 0x80, 0]);
        for sector in 0..9 {
            bytes[sector * 512 + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
        }
        volume.seal();
        volume.set_fat(0, 0xffff_fff8);
        volume.set_fat(1, END);
        for cluster in 2..=4 {
            volume.set_fat(cluster, END);
            volume.set_used(cluster, true);
        }
        let table: Vec<u8> = (0..128_u16).flat_map(u16::to_le_bytes).collect();
        volume.cluster(3)[..256].copy_from_slice(&table);
        let sum = table.iter().fold(0_u32, |sum, &byte| {
            sum.rotate_right(1).wrapping_add(u32::from(byte))
        });
        volume.set_entry(ROOT, 0, &primary(0x81, 2, 13));
        let mut up_case = primary(0x82, 3, 256);
        up_case[4..8].copy_from_slice(&sum.to_le_bytes());
        volume.set_entry(ROOT, 1, &up_case);
        let mut label = [0; 32];
        label[..8].copy_from_slice(&[0x83, 3, b'S', 0, 0xe9, 0, b'!', 0]);
        volume.set_entry(ROOT, 2, &label);
        volume
    }

    /// Makes the boot checksum right.
    pub(super) fn seal(&mut self) {
        let sum = self.bytes[..11 * 512]
            .iter()
            .enumerate()
            .filter(|(at, _)| ![106, 107, 112].contains(at))
            .fold(0_u32, |sum, (_, &byte)| {
                (sum >> 1)
                    .wrapping_add(sum << 31)
                    .wrapping_add(u32::from(byte))
            });
        for at in (11 * 512..12 * 512).step_by(4) {
            self.bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        }
    }

    pub(super) fn set_fat(&mut self, cluster: u32, entry: u32) {
        self.set_nth_fat(0, cluster, entry);
    }

    pub(super) fn set_nth_fat(&mut self, number: usize, cluster: u32, entry: u32) {
        let at = (24 + number) * 512 + cluster as usize * 4;
        self.bytes[at..at + 4].copy_from_slice(&entry.to_le_bytes());
    }

    /// A bit of the bitmap in cluster 2.
    pub(super) fn set_used(&mut self, cluster: u32, is_used: bool) {
        let index = cluster as usize - 2;
        let byte = &mut self.cluster(2)[index / 8];
        let mask = 1 << (index % 8);
        *byte = if is_used { *byte | mask } else { *byte & !mask };
    }

    pub(super) fn cluster(&mut self, cluster: u32) -> &mut [u8] {
        let at = HEAP + (cluster as usize - 2) * 1024;
        &mut self.bytes[at..at + 1024]
    }

    pub(super) fn set_entry(&mut self, cluster: u32, index: usize, entry: &Entry) {
        self.cluster(cluster)[index * 32..][..32].copy_from_slice(entry);
    }

    /// Writes a set from entry `index` of a directory's cluster on.
    pub(super) fn set_entries(&mut self, cluster: u32, index: usize, set: &[Entry]) {
        for (number, entry) in set.iter().enumerate() {
            self.set_entry(cluster, index + number, entry);
        }
    }
}

/// A critical primary entry with clusters.
pub(super) fn primary(kind: u8, first_cluster: u32, len_bytes: u64) -> Entry {
    let mut entry = [0; 32];
    entry[0] = kind;
    entry[20..24].copy_from_slice(&first_cluster.to_le_bytes());
    entry[24..32].copy_from_slice(&len_bytes.to_le_bytes());
    entry
}

/// GeneralSecondaryFlags
pub(super) const CHAIN: u8 = 1;
pub(super) const CONTIGUOUS: u8 = 3;

/// A file's set; `flags` 0x10 in the attributes makes it a directory's.
pub(super) fn file(name: &str, attributes: u8, clusters: (u8, u32, u64)) -> Vec<Entry> {
    let (flags, first_cluster, len_bytes) = clusters;
    let mut stream = primary(0xc0, first_cluster, len_bytes);
    let units: Vec<u16> = name.encode_utf16().collect();
    stream[1] = flags;
    stream[3] = units.len() as u8;
    let mut set = vec![[0; 32], stream];
    for part in units.chunks(15) {
        let mut entry = [0; 32];
        entry[0] = 0xc1;
        for (to, unit) in entry[2..].chunks_exact_mut(2).zip(part) {
            to.copy_from_slice(&unit.to_le_bytes());
        }
        set.push(entry);
    }
    set[0][0] = 0x85;
    set[0][4] = attributes;
    finish(set)
}

/// Sets SecondaryCount and SetChecksum.
pub(super) fn finish(mut set: Vec<Entry>) -> Vec<Entry> {
    set[0][1] = set.len() as u8 - 1;
    let sum = checksum(&set);
    set[0][2..4].copy_from_slice(&sum.to_le_bytes());
    set
}
