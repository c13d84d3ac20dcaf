//! The files that hold given bytes: those that are hit where bytes are lost or differ.

use klon_partition::device::{KnownBad, Window};
use klon_partition::filesystem::{self, Owners};
use klon_partition::table::Table;
use klon_partition::{Extent, ExtentMap, ReadAt};

/// Files that are named.
const FILES_MAX: usize = 1 << 16;

/// The files with bytes in `bad`, by the filesystem on `clone`, which has zeroes there. Of a disk
/// with a `table`, the number of the partition and a colon stand before each path.
pub fn files(clone: &dyn ReadAt, table: Option<&Table>, bad: &ExtentMap) -> Owners {
    owners(clone, table, (bad, bad))
}

/// The same of those with bytes in `wanted`, where the clone does not have what is `bad`.
pub fn owners(
    clone: &dyn ReadAt,
    table: Option<&Table>,
    (wanted, bad): (&ExtentMap, &ExtentMap),
) -> Owners {
    let known = KnownBad::new(clone, bad.clone());
    let partitions = table.map(partitions);
    owners_in(&known, partitions.as_deref(), wanted)
}

/// The partitions of a table: number, and where each lies.
pub fn partitions(table: &Table) -> Vec<(u32, Extent)> {
    let partitions = table.partitions.iter();
    partitions
        .map(|partition| (partition.number, partition.extent))
        .collect()
}

/// The files with bytes in `extents`. Of a disk with `partitions`, the number of the partition and
/// a colon stand before each path.
pub fn owners_in(
    device: &dyn ReadAt,
    partitions: Option<&[(u32, Extent)]>,
    extents: &ExtentMap,
) -> Owners {
    let Some(partitions) = partitions else {
        return filesystem::owners(device, extents, FILES_MAX);
    };
    let mut all = Owners::default();
    for &(number, partition) in partitions {
        let start_bytes = partition.offset_bytes();
        let within = extents.in_part(partition);
        let Ok(window) = Window::new(device, partition) else {
            continue;
        };
        if within.is_empty() {
            continue;
        }
        let found = filesystem::owners(&window, &within, FILES_MAX - all.files.len());
        for mut file in found.files {
            file.path = format!("{number}:{}", file.path);
            file.extent = file.extent.shifted(start_bytes).unwrap_or(file.extent);
            all.files.push(file);
        }
        let gaps = found
            .gaps
            .iter()
            .map(|gap| format!("partition {number}: {gap}"));
        all.gaps.extend(gaps);
    }
    all
}
