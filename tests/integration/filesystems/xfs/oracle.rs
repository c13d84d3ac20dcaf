//! What other tools say is in use.

use crate::support::run;
use klon_partition::{Extent, ExtentMap};
use std::collections::HashMap;
use std::path::Path;

/// The answers of `xfs_db` by group: what is free, and what the group holds in reserve.
pub(super) struct Oracle {
    pub(super) size_bytes: u64,
    pub(super) used: ExtentMap,
    pub(super) reserve: ExtentMap,
}

/// A number of `xfs_db`'s `name = value` lines.
fn number(fields: &HashMap<&str, &str>, name: &str) -> u64 {
    let found = fields.get(name).unwrap_or_else(|| panic!("no {name}"));
    found.parse().unwrap()
}

fn fields(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.split_once(" = "))
        .collect()
}

impl Oracle {
    /// Asks `xfs_db`. Its `freesp` counts the blocks in reserve (AGFL) as free.
    pub(super) fn ask(image: &Path) -> Self {
        let image = image.to_str().unwrap();
        let text = run("xfs_db", &["-r", "-c", "sb 0", "-c", "p", image]);
        let superblock = fields(&text);
        let block_bytes = number(&superblock, "blocksize");
        let group_blocks = number(&superblock, "agblocks");
        let groups = number(&superblock, "agcount");
        let size_bytes = number(&superblock, "dblocks") * block_bytes;
        let extent = |group: u64, block: u64, blocks: u64| {
            let start = (group * group_blocks + block) * block_bytes;
            Extent::new(start, blocks * block_bytes).unwrap()
        };
        let text = run("xfs_db", &["-r", "-c", "freesp -d", image]);
        let free: ExtentMap = text
            .lines()
            .filter_map(|line| {
                let fields = line.split_whitespace().map(str::parse);
                let fields: Vec<u64> = fields.collect::<Result<_, _>>().ok()?;
                let [group, block, blocks] = fields[..] else {
                    return None;
                };
                Some(extent(group, block, blocks))
            })
            .collect();
        let reserve: ExtentMap = (0..groups)
            .flat_map(|group| {
                list(image, group)
                    .into_iter()
                    .map(move |block| (group, block))
            })
            .map(|(group, block)| extent(group, block, 1))
            .collect();
        Self {
            size_bytes,
            used: free.complement(size_bytes).union(&reserve),
            reserve,
        }
    }
}

/// The blocks that are in use of a group's AGFL.
fn list(image: &str, group: u64) -> Vec<u64> {
    let (agf, agfl) = (format!("agf {group}"), format!("agfl {group}"));
    let arguments = [
        "-r",
        "-c",
        &agf,
        "-c",
        "p flfirst fllast flcount",
        "-c",
        &agfl,
        "-c",
        "p bno",
        image,
    ];
    let text = run("xfs_db", &arguments);
    let counters = fields(&text);
    let (first, count) = (number(&counters, "flfirst"), number(&counters, "flcount"));
    let entries = text.lines().find(|line| line.starts_with("bno[")).unwrap();
    let (_, entries) = entries.split_once(" = ").unwrap();
    let entries: Vec<&str> = entries
        .split_whitespace()
        .map(|entry| entry.split_once(':').unwrap().1)
        .collect();
    let size = u64::try_from(entries.len()).unwrap();
    (first..first + count)
        .map(|index| {
            let index = usize::try_from(index % size).unwrap();
            entries[index].parse().unwrap()
        })
        .collect()
}
