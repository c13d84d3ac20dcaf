//! B-trees: the catalog, the extents-overflow file and the attributes file (TN1150, "B-Trees").
//!
//! All nodes that the tree's own map has in use are read in the order of the file: large reads,
//! and no links that could lead around in circles.

use super::fork::Fork;
use super::header::Header;
use super::node::{HEADER_KIND, LEAF_KIND, MAP_KIND, Node};
use crate::bytes::{be16, be32};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::bits::{Order, is_set};

const PIECE_BYTES: u64 = 1 << 20;
const NODES_MAX: u64 = 1 << 28;
/// A header record and the node descriptor before it.
const HEAD_BYTES: usize = 512;
const BIG_KEYS: u32 = 2;

/// An open tree.
pub(super) struct Tree<'a> {
    pub(super) structure: &'static str,
    device: &'a dyn ReadAt,
    header: &'a Header,
    fork: &'a Fork,
    node_bytes: usize,
    nodes: u64,
    free_nodes: u64,
    leaf_records: u64,
    first_leaf: u64,
}

impl<'a> Tree<'a> {
    /// Reads the header record.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it does not fit the file.
    pub(super) fn open(
        structure: &'static str,
        device: &'a dyn ReadAt,
        header: &'a Header,
        fork: &'a Fork,
    ) -> Result<Self> {
        let mut raw = [0; HEAD_BYTES];
        fork.read(device, header, (0, &mut raw))?;
        let node_bytes = usize::from(be16(&raw, 32));
        let tree = Self {
            structure,
            device,
            header,
            fork,
            node_bytes,
            nodes: be32(&raw, 36).into(),
            free_nodes: be32(&raw, 40).into(),
            leaf_records: be32(&raw, 20).into(),
            first_leaf: be32(&raw, 24).into(),
        };
        let is_header = raw[8] == HEADER_KIND;
        tree.check(is_header, ("kind", 0), "a header node", raw[8])?;
        let is_size = (512..=32_768).contains(&node_bytes) && node_bytes.is_power_of_two();
        let expected = "a power of two from 512 to 32768";
        tree.check(is_size, ("nodeSize", 0), expected, node_bytes)?;
        let room = fork.logical_bytes / node_bytes as u64;
        let is_fit = (1..=room).contains(&tree.nodes);
        let expected = format!("nodes in {} bytes", fork.logical_bytes);
        tree.check(is_fit, ("totalNodes", 0), expected, tree.nodes)?;
        let attributes = be32(&raw, 52);
        let is_known = attributes & BIG_KEYS != 0;
        tree.check(is_known, ("attributes", 0), "kBTBigKeysMask", attributes)?;
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
        let mut buffer = vec![0; self.piece_bytes()];
        let (mut number, mut records, mut used_nodes) = (0_u64, 0_u64, 0_u64);
        while number < self.nodes {
            let left = self.nodes.saturating_sub(number);
            let count = left.min((buffer.len() / self.node_bytes) as u64);
            let is_used = |number| is_set(&map, Order::MostFirst, number).unwrap_or(true);
            // What was never used needs no reading.
            if (number..number.saturating_add(count)).any(is_used) {
                let len = usize::try_from(count).unwrap_or(0) * self.node_bytes;
                let piece = buffer.get_mut(..len).unwrap_or_default();
                let at = number.saturating_mul(self.node_bytes as u64);
                self.fork.read(self.device, self.header, (at, piece))?;
                for (number, raw) in (number..).zip(piece.chunks_exact(self.node_bytes)) {
                    if is_used(number) {
                        used_nodes = used_nodes.saturating_add(1);
                        let node = self.parse(number, raw)?;
                        records = records.saturating_add(self.leaf(&node, visit)?);
                    }
                }
            }
            number = number.saturating_add(count);
        }
        let free_nodes = self.nodes.saturating_sub(used_nodes);
        let found = self.free_nodes;
        self.check(free_nodes == found, ("freeNodes", 0), free_nodes, found)?;
        let found = self.leaf_records;
        self.check(records == found, ("leafRecords", 0), records, found)
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
        let place = ("kind", self.first_leaf);
        self.check(is_leaf, place, "a leaf", node.kind)?;
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
        let needed = usize::try_from(self.nodes.div_ceil(8)).unwrap_or(usize::MAX);
        let raw = self.read(0)?;
        let node = self.parse(0, &raw)?;
        let mut map = node.records().nth(2).unwrap_or_default().to_vec();
        let mut next = node.next;
        while map.len() < needed {
            let expected = format!("a map of {} nodes", self.nodes);
            let is_there = next != 0 && next < self.nodes;
            self.check(is_there, ("map", node.number), expected, map.len() * 8)?;
            let raw = self.read(next)?;
            let more = self.parse(next, &raw)?;
            let bits = more.records().next().unwrap_or_default();
            // Each one must bring the end nearer, so that a circle of them ends.
            let is_map = more.kind == MAP_KIND && bits.len() >= self.node_bytes / 2;
            self.check(is_map, ("kind", next), "a map node", more.kind)?;
            map.extend_from_slice(bits);
            next = more.next;
        }
        let is_used = is_set(&map, Order::MostFirst, 0) == Some(true);
        self.check(is_used, ("map", 0), "the header node in use", "free")?;
        Ok(map)
    }

    fn read(&self, number: u64) -> Result<Vec<u8>> {
        let expected = format!("a node below {}", self.nodes);
        self.check(number < self.nodes, ("links", 0), expected, number)?;
        let mut raw = vec![0; self.node_bytes];
        let at = number.saturating_mul(self.node_bytes as u64);
        self.fork.read(self.device, self.header, (at, &mut raw))?;
        Ok(raw)
    }

    fn parse<'b>(&self, number: u64, raw: &'b [u8]) -> Result<Node<'b>> {
        Node::parse(number, raw, self.nodes).map_err(|fault| {
            let place = self.place(number);
            Corrupt::new(
                self.structure,
                fault.field,
                place,
                fault.expected,
                fault.found,
            )
            .into()
        })
    }

    /// Where a node starts on the volume.
    fn place(&self, number: u64) -> u64 {
        let at = number.saturating_mul(self.node_bytes as u64);
        let place = self.fork.place(self.header, at);
        place.map_or(0, |place| place.offset_bytes())
    }

    /// A whole number of nodes, no more than the tree has.
    fn piece_bytes(&self) -> usize {
        let node_bytes = self.node_bytes as u64;
        let all_bytes = self.nodes.saturating_mul(node_bytes);
        usize::try_from(all_bytes.min(PIECE_BYTES)).unwrap_or(0)
    }

    fn check(
        &self,
        is_valid: bool,
        (field, number): (&'static str, u64),
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        if is_valid {
            return Ok(());
        }
        let place = self.place(number);
        Err(Corrupt::new(self.structure, field, place, expected, found).into())
    }
}
