//! B-trees: the catalog, the extents-overflow file and the attributes file (TN1150, "B-Trees").
//!
//! All nodes that the tree's own map calls used are read in the order of the file. That makes large
//! reads, and follows no links that could go in circles.

use super::fork::Fork;
use super::node::{HEADER_KIND, LEAF_KIND, MAP_KIND, Node};
use crate::bytes::{be16, be32};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::filesystem::bits::{Order, is_set};

const PIECE_BYTES: usize = 1 << 20;
const NODES_MAX: u64 = 1 << 28;
/// A header record and the node descriptor before it.
const HEAD_BYTES: usize = 512;
const BIG_KEYS: u32 = 2;

/// An open tree.
pub(super) struct Tree<'a> {
    pub(super) structure: &'static str,
    device: &'a dyn ReadAt,
    fork: &'a Fork,
    node_bytes: usize,
    nodes: u64,
    free_nodes: u64,
    leaf_records: u64,
    first_leaf: u64,
}

/// A field of a node, for errors.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    /// Number of the node.
    node: u64,
}

impl Field {
    /// One of the header record, which is in node 0.
    const fn of_header(name: &'static str) -> Self {
        Self { name, node: 0 }
    }
}

impl<'a> Tree<'a> {
    /// Reads the header record.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it does not fit the file.
    pub(super) fn open(
        structure: &'static str,
        device: &'a dyn ReadAt,
        fork: &'a Fork,
    ) -> Result<Self> {
        let mut raw = [0; HEAD_BYTES];
        fork.read(device, 0, &mut raw)?;
        let (kind, leaf_records, first_leaf_node) = (raw[8], be32(&raw, 20), be32(&raw, 24));
        let node_size = usize::from(be16(&raw, 32));
        let (total_nodes, free_nodes) = (be32(&raw, 36), be32(&raw, 40));
        let attributes = be32(&raw, 52);
        let tree = Self {
            structure,
            device,
            fork,
            node_bytes: node_size,
            nodes: total_nodes.into(),
            free_nodes: free_nodes.into(),
            leaf_records: leaf_records.into(),
            first_leaf: first_leaf_node.into(),
        };
        let field = Field::of_header;
        let is_header = kind == HEADER_KIND;
        tree.check(is_header, field("kind"), "a header node", kind)?;
        let is_size = (512..=32_768).contains(&node_size) && node_size.is_power_of_two();
        let expected = "a power of two from 512 to 32768";
        tree.check(is_size, field("nodeSize"), expected, node_size)?;
        let room = fork.logical_bytes / node_size as u64;
        let is_fit = (1..=room).contains(&tree.nodes);
        let expected = format!("nodes in {} bytes", fork.logical_bytes);
        tree.check(is_fit, field("totalNodes"), expected, total_nodes)?;
        let is_known = attributes & BIG_KEYS != 0;
        let expected = "kBTBigKeysMask";
        tree.check(is_known, field("attributes"), expected, attributes)?;
        if tree.nodes > NODES_MAX {
            return Err(Error::unsupported(
                format!("an HFS+ B-tree of more than {NODES_MAX} nodes"),
                "its map does not fit in memory",
            ));
        }
        Ok(tree)
    }

    /// Calls `visit` with every record of every leaf, and with where its node starts.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a node in use fails a check, or when there are more or fewer
    /// records or free nodes than the header record says.
    pub(super) fn records(&self, visit: &mut dyn FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        let map = self.map()?;
        let at_once = (PIECE_BYTES / self.node_bytes).max(1);
        let mut buffer = Vec::new();
        let (mut records, mut used_nodes) = (0_u64, 0_u64);
        let is_used = |number| is_set(&map, Order::MostFirst, number).unwrap_or(true);
        for first in (0..self.nodes).step_by(at_once) {
            let numbers = first..self.nodes.min(first + at_once as u64);
            // What was never used needs no reading.
            if !numbers.clone().any(is_used) {
                continue;
            }
            buffer.resize((numbers.end - first) as usize * self.node_bytes, 0);
            self.fork
                .read(self.device, self.position_bytes(first), &mut buffer)?;
            for (number, raw) in numbers.zip(buffer.chunks_exact(self.node_bytes)) {
                if is_used(number) {
                    used_nodes += 1;
                    let node = self.parse(number, raw)?;
                    // At most one for each two bytes that were read.
                    records += self.leaf(&node, visit)?;
                }
            }
        }
        let field = Field::of_header;
        let (free_nodes, found) = (self.nodes - used_nodes, self.free_nodes);
        self.check(free_nodes == found, field("freeNodes"), free_nodes, found)?;
        let found = self.leaf_records;
        self.check(records == found, field("leafRecords"), records, found)
    }

    /// The first record of the first leaf; `None` when the tree is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when that node fails a check.
    pub(super) fn first(&self) -> Result<Option<Vec<u8>>> {
        if self.leaf_records == 0 {
            return Ok(None);
        }
        let raw = self.read(self.first_leaf)?;
        let node = self.parse(self.first_leaf, &raw)?;
        let is_leaf = node.kind == LEAF_KIND;
        let field = Field {
            name: "kind",
            node: self.first_leaf,
        };
        self.check(is_leaf, field, "a leaf", node.kind)?;
        Ok(node.records().next().map(<[u8]>::to_vec))
    }

    fn leaf(
        &self,
        node: &Node<'_>,
        visit: &mut dyn FnMut(&[u8], u64) -> Result<()>,
    ) -> Result<u64> {
        if node.kind != LEAF_KIND {
            return Ok(0);
        }
        let place = self.place(node.number);
        let mut count = 0;
        for record in node.records() {
            visit(record, place)?;
            count += 1;
        }
        Ok(count)
    }

    /// Which nodes are in use: the third record of the header node, and the map nodes after it.
    fn map(&self) -> Result<Vec<u8>> {
        let needed = self.nodes.div_ceil(8) as usize;
        let raw = self.read(0)?;
        let node = self.parse(0, &raw)?;
        let mut map = node.records().nth(2).unwrap_or_default().to_vec();
        let mut next = node.next;
        while map.len() < needed {
            let expected = format!("a map of {} nodes", self.nodes);
            let is_there = next != 0 && next < self.nodes;
            let field = Field {
                name: "map",
                node: node.number,
            };
            self.check(is_there, field, expected, map.len() * 8)?;
            let raw = self.read(next)?;
            let more = self.parse(next, &raw)?;
            let bits = more.records().next().unwrap_or_default();
            // Each one must bring the end nearer, so that a circle of them ends.
            let is_map = more.kind == MAP_KIND && bits.len() >= self.node_bytes / 2;
            let field = Field {
                name: "kind",
                node: next,
            };
            self.check(is_map, field, "a map node", more.kind)?;
            map.extend_from_slice(bits);
            next = more.next;
        }
        let is_used = is_set(&map, Order::MostFirst, 0) == Some(true);
        let field = Field::of_header("map");
        self.check(is_used, field, "the header node in use", "free")?;
        Ok(map)
    }

    fn read(&self, number: u64) -> Result<Vec<u8>> {
        let expected = format!("a node below {}", self.nodes);
        let is_there = number < self.nodes;
        self.check(is_there, Field::of_header("links"), expected, number)?;
        let mut raw = vec![0; self.node_bytes];
        self.fork
            .read(self.device, self.position_bytes(number), &mut raw)?;
        Ok(raw)
    }

    fn parse<'b>(&self, number: u64, raw: &'b [u8]) -> Result<Node<'b>> {
        Node::parse(number, raw, self.nodes).map_err(|fault| {
            let (structure, place) = (self.structure, self.place(number));
            Corrupt::new(structure, fault.field, place, fault.expected, fault.found).into()
        })
    }

    /// Where a node starts in the file: a 32-bit number of nodes of at most 32 KiB.
    const fn position_bytes(&self, number: u64) -> u64 {
        number * self.node_bytes as u64
    }

    /// Where a node starts on the volume.
    fn place(&self, number: u64) -> u64 {
        let place = self.fork.place(self.position_bytes(number));
        place.map_or(0, Extent::offset_bytes)
    }

    fn check(
        &self,
        is_valid: bool,
        field: Field,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        if is_valid {
            return Ok(());
        }
        let place = self.place(field.node);
        Err(Corrupt::new(self.structure, field.name, place, expected, found).into())
    }
}
