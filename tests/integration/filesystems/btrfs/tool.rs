//! What btrfs-progs say is in use.

use crate::support::{MIB, run};
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;
use std::path::Path;

/// A chunk by `dump-tree`: logical range, type, and where its copies start.
pub(super) struct Chunk {
    pub(super) logical: Extent,
    pub(super) copies: Vec<u64>,
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

/// The number after `word` in `line`.
fn after(line: &str, word: &str) -> u64 {
    let mut words = line.split_whitespace();
    words.find(|&found| found == word).unwrap();
    number(words.next().unwrap())
}

fn dump(file: &Path, tree: &str) -> String {
    let arguments = [
        "inspect-internal",
        "dump-tree",
        "--csum-items",
        "-t",
        tree,
        file.to_str().unwrap(),
    ];
    run("btrfs", &arguments)
}

/// A data extent by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataExtent {
    pub(super) logical_bytes: u64,
    pub(super) len_bytes: u64,
    pub(super) generation: u64,
}

/// All data extents, in order.
pub(super) fn data_extents(file: &Path) -> Vec<DataExtent> {
    let dump = dump(file, "extent");
    let lines = dump.lines().zip(dump.lines().skip(1));
    let extents = lines.filter_map(|(line, flags)| {
        let [start, "EXTENT_ITEM", len] = key(line)? else {
            return None;
        };
        flags.contains("flags DATA").then(|| DataExtent {
            logical_bytes: number(start),
            len_bytes: number(len),
            generation: after(flags, "gen"),
        })
    });
    extents.collect()
}

/// The checksums of data by the addresses of their sectors, as they are printed.
pub(super) fn checksums(file: &Path) -> BTreeMap<u64, String> {
    let mut checksums = BTreeMap::new();
    let dump = dump(file, "csum");
    for line in dump.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        while line.starts_with('[')
            && let (Some(address), Some(checksum)) = (words.next(), words.next())
        {
            let address = number(address.trim_matches(['[', ']']));
            checksums.insert(address, checksum.to_owned());
        }
    }
    checksums
}

/// All trees.
pub(super) fn dump_all(file: &Path) -> String {
    let file = file.to_str().unwrap();
    run("btrfs", &["inspect-internal", "dump-tree", file])
}

/// The three parts of an item's key.
pub(super) fn key(line: &str) -> Option<[&str; 3]> {
    let (_, rest) = line.trim().strip_prefix("item ")?.split_once(" key (")?;
    let mut parts = rest.split_once(')')?.0.split(' ');
    Some([parts.next()?, parts.next()?, parts.next()?])
}

pub(super) fn chunks(file: &Path) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut start = None;
    for line in dump(file, "chunk").lines() {
        if let Some([_, kind, offset]) = key(line) {
            start = (kind == "CHUNK_ITEM").then(|| number(offset));
        }
        let Some(start) = start else { continue };
        let line = line.trim();
        if line.starts_with("length ") {
            let logical = Extent::new(start, after(line, "length")).unwrap();
            let copies = Vec::new();
            chunks.push(Chunk { logical, copies });
        } else if line.starts_with("stripe ") {
            let copy = after(line, "offset");
            chunks.last_mut().unwrap().copies.push(copy);
        }
    }
    chunks
}

/// Every copy of every extent, and what is reserved.
pub(crate) fn used(file: &Path) -> ExtentMap {
    extents(file, |_| true)
}

/// Every copy of every tree block, and what is reserved.
pub(super) fn tree_blocks(file: &Path) -> ExtentMap {
    extents(file, |flags| flags.contains("TREE_BLOCK"))
}

/// Copies of the extents with such a line of flags.
fn extents(file: &Path, is_wanted: impl Fn(&str) -> bool) -> ExtentMap {
    let path = file.to_str().unwrap();
    let superblock = run("btrfs", &["inspect-internal", "dump-super", path]);
    let line = superblock.lines().find(|line| line.starts_with("nodesize"));
    let node_bytes = after(line.unwrap(), "nodesize");
    let chunks = chunks(file);
    let mut used = reserved(std::fs::metadata(file).unwrap().len());
    let dump = dump(file, "extent");
    for (line, flags) in dump.lines().zip(dump.lines().skip(1)) {
        let (start, len_bytes) = match key(line) {
            Some([start, "EXTENT_ITEM", len]) => (number(start), number(len)),
            Some([start, "METADATA_ITEM", _]) => (number(start), node_bytes),
            _ => continue,
        };
        if !is_wanted(flags) {
            continue;
        }
        let chunk = chunks
            .iter()
            .find(|chunk| {
                chunk
                    .logical
                    .contains(Extent::new(start, len_bytes).unwrap())
            })
            .unwrap();
        for copy in &chunk.copies {
            let place = copy + start - chunk.logical.offset_bytes();
            used.push(Extent::new(place, len_bytes).unwrap());
        }
    }
    used.into_iter().collect()
}

/// The first mebibyte and the copies of the superblock.
pub(super) fn reserved(size_bytes: u64) -> Vec<Extent> {
    [(0, MIB), (64 * MIB, 4096), (256 << 30, 4096)]
        .into_iter()
        .filter(|(start, len)| start + len <= size_bytes)
        .filter_map(|(start, len)| Extent::new(start, len))
        .collect()
}
