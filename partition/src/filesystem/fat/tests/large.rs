//! FATs that are read in several pieces.

use crate::device::{Geometry, ReadAt};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::fat::probe;

const CLUSTERS: u64 = 1_500_000;
const FAT_SECTORS: u64 = (CLUSTERS + 2) * 4 / 512 + 1;
const DATA_SECTOR: u64 = 32 + 2 * FAT_SECTORS;

/// A FAT32 volume of 512-byte clusters with these clusters in use, made up as it is read.
struct Large {
    boot: Vec<u8>,
    used: Vec<u64>,
}

impl Large {
    fn new(used: &[u64]) -> Self {
        let mut boot = vec![0; 512];
        boot[..3].copy_from_slice(&[0xeb, 0x58, 0x90]);
        boot[11..17].copy_from_slice(&[0, 2, 1, 32, 0, 2]);
        boot[21] = 0xf8;
        boot[32..36].copy_from_slice(&((DATA_SECTOR + CLUSTERS) as u32).to_le_bytes());
        boot[36..40].copy_from_slice(&(FAT_SECTORS as u32).to_le_bytes());
        boot[44] = 2;
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        Self {
            boot,
            used: [0, 1, 2].iter().chain(used).copied().collect(),
        }
    }
}

impl ReadAt for Large {
    fn geometry(&self) -> Geometry {
        Geometry::new((DATA_SECTOR + CLUSTERS) * 512, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        assert!(buffer.len() <= 1 << 20, "{} bytes at once", buffer.len());
        buffer.fill(0);
        let mut put = |at: u64, bytes: &[u8]| {
            for (index, byte) in (at..).zip(bytes) {
                let inside = index.checked_sub(offset_bytes).map(|index| index as usize);
                if let Some(place) = inside.and_then(|inside| buffer.get_mut(inside)) {
                    *place = *byte;
                }
            }
        };
        put(0, &self.boot);
        for fat in [32 * 512, (32 + FAT_SECTORS) * 512] {
            for cluster in &self.used {
                put(fat + cluster * 4, &[0xf8, 0xff, 0xff, 0x0f]);
            }
        }
        Ok(())
    }
}

#[test]
fn clusters_around_the_ends_of_pieces_are_found() {
    let piece = 3 * (1 << 18) / 4;
    let clusters = [
        piece - 1,
        piece,
        2 * piece - 1,
        2 * piece + 1,
        CLUSTERS - 1,
        CLUSTERS + 1,
    ];
    let volume = Large::new(&clusters);
    let filesystem = probe(&volume).unwrap().unwrap();
    assert_eq!(filesystem.summary().hazards, []);
    // The FAT is too large to be counted for a summary, and there is no FSInfo.
    assert_eq!(filesystem.summary().used_bytes, None);
    let expected: ExtentMap = [2]
        .iter()
        .chain(&clusters)
        .map(|cluster| (DATA_SECTOR + cluster - 2) * 512)
        .filter_map(|offset| Extent::new(offset, 512))
        .chain(Extent::new(0, DATA_SECTOR * 512))
        .collect();
    assert_eq!(filesystem.used(&volume).unwrap().unwrap(), expected);
}
