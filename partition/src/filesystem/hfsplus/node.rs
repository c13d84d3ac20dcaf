//! Nodes of a B-tree: a descriptor, records, and their offsets from the end back (TN1150, "Node
//! Structure").

use crate::bytes::{be16, be32, u8_at};

pub(super) const HEADER_KIND: u8 = 1;
pub(super) const MAP_KIND: u8 = 2;
/// -1.
pub(super) const LEAF_KIND: u8 = 0xff;
const INDEX_KIND: u8 = 0;

const DESCRIPTOR_BYTES: usize = 14;

/// What is impossible in a node.
pub(super) struct Fault {
    pub(super) field: &'static str,
    pub(super) expected: String,
    pub(super) found: String,
}

/// A node whose descriptor and record offsets hold together.
pub(super) struct Node<'a> {
    pub(super) number: u64,
    pub(super) kind: u8,
    /// The next of its kind; 0 at the last.
    pub(super) next: u64,
    raw: &'a [u8],
    count: usize,
}

impl<'a> Node<'a> {
    /// Reads a node in a tree of `nodes` of them; `raw` is at least 512 bytes.
    ///
    /// # Errors
    /// The first field that can't be.
    pub(super) fn parse(number: u64, raw: &'a [u8], nodes: u64) -> Result<Self, Fault> {
        let (f_link, kind, num_records) = (be32(raw, 0), u8_at(raw, 8), be16(raw, 10));
        let node = Self {
            number,
            kind,
            next: f_link.into(),
            raw,
            count: num_records.into(),
        };
        node.check(nodes)?;
        Ok(node)
    }

    fn check(&self, nodes: u64) -> Result<(), Fault> {
        let fault = |field, expected: String, found: String| {
            Err(Fault {
                field,
                expected,
                found,
            })
        };
        let b_link = u64::from(be32(self.raw, 4));
        for (field, link) in [("fLink", self.next), ("bLink", b_link)] {
            if link >= nodes {
                return fault(field, format!("a node below {nodes}"), link.to_string());
            }
        }
        let height = u8_at(self.raw, 9);
        let is_sound = match self.kind {
            HEADER_KIND => height == 0 && self.number == 0 && self.count == 3,
            MAP_KIND => height == 0 && self.count == 1,
            LEAF_KIND => height == 1 && self.count > 0,
            INDEX_KIND => height > 1 && self.count > 0,
            _ => false,
        };
        if !is_sound {
            let found = format!(
                "kind {}, height {height}, {} records",
                self.kind, self.count
            );
            return fault("kind", "a node with records of its kind".to_owned(), found);
        }
        let table_bytes = 2 * (self.count + 1);
        let mut least = DESCRIPTOR_BYTES;
        for index in 0..=self.count {
            let offset = self.offset(index);
            let most = self.raw.len().saturating_sub(table_bytes);
            let is_first = index == 0 && offset != DESCRIPTOR_BYTES;
            if is_first || !(least..=most).contains(&offset) {
                let expected = format!("records from byte {least} to {most}");
                return fault("record offsets", expected, offset.to_string());
            }
            // No record is without a key.
            least = offset + 2;
        }
        Ok(())
    }

    fn offset(&self, index: usize) -> usize {
        let from_end = (index + 1) * 2;
        let at = self.raw.len().checked_sub(from_end);
        at.map_or(0, |at| usize::from(be16(self.raw, at)))
    }

    /// Its records, in order.
    pub(super) fn records(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        (0..self.count).map(|index| {
            let range = self.offset(index)..self.offset(index + 1);
            self.raw.get(range).unwrap_or_default()
        })
    }
}

/// Key and data of a leaf's record; `None` when the key is longer than the record.
pub(super) fn split(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let key_bytes = usize::from(u16::from_be_bytes([*record.first()?, *record.get(1)?]));
    // Data starts at an even offset.
    let end = key_bytes.checked_add(2)?.next_multiple_of(2);
    record.split_at_checked(end)
}
