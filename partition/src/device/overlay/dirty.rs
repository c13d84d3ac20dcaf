//! The changes of an overlay: disjoint ranges with their new bytes, by position.

use crate::error::{Error, Operation};
use crate::extent::Extent;
use std::collections::BTreeMap;
use std::io;

/// The changes would not fit the memory allowed for them.
#[derive(Debug)]
pub(super) struct Full {
    limit_bytes: usize,
}

impl Full {
    pub(super) fn into_error(self, operation: Operation, extent: Extent) -> Error {
        let message = format!("more than {} bytes of changes in memory", self.limit_bytes);
        let source = io::Error::new(io::ErrorKind::OutOfMemory, message);
        Error::io(operation, extent.offset_bytes(), extent.len_bytes(), source)
    }
}

/// What a range was changed to.
#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    Zeroes(u64),
}

impl Content {
    fn len_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeroes(len_bytes) => *len_bytes,
        }
    }

    /// Cuts off and returns what is from `at_bytes` on.
    fn split_off(&mut self, at_bytes: u64) -> Self {
        match self {
            Self::Bytes(bytes) => {
                let rest = bytes.split_off(at_bytes as usize);
                bytes.shrink_to_fit();
                Self::Bytes(rest)
            }
            Self::Zeroes(len_bytes) => {
                let rest = *len_bytes - at_bytes;
                *len_bytes = at_bytes;
                Self::Zeroes(rest)
            }
        }
    }
}

/// Disjoint changed ranges.
#[derive(Debug)]
pub(super) struct Dirty {
    /// Keyed by where they start.
    changes: BTreeMap<u64, Content>,
    held_bytes: usize,
    limit_bytes: usize,
}

/// What one change costs besides its bytes, roughly.
const CHANGE_BYTES: usize = 64;

impl Dirty {
    pub(super) const fn new(limit_bytes: usize) -> Self {
        Self {
            changes: BTreeMap::new(),
            held_bytes: 0,
            limit_bytes,
        }
    }

    /// Changes `extent` to `data`, which is as long.
    pub(super) fn write(&mut self, extent: Extent, data: &[u8]) -> Result<(), Full> {
        self.replace(extent, data.len(), || Content::Bytes(data.to_vec()))
    }

    /// Changes `extent` to zeroes, which costs next to no memory.
    pub(super) fn zero(&mut self, extent: Extent) -> Result<(), Full> {
        self.replace(extent, 0, || Content::Zeroes(extent.len_bytes()))
    }

    fn replace(
        &mut self,
        extent: Extent,
        len: usize,
        content: impl FnOnce() -> Content,
    ) -> Result<(), Full> {
        let kept = self.held_bytes - self.held_within(extent);
        if kept.saturating_add(len).saturating_add(CHANGE_BYTES) > self.limit_bytes {
            return Err(Full {
                limit_bytes: self.limit_bytes,
            });
        }
        self.remove(extent);
        self.insert(extent.offset_bytes(), content());
        Ok(())
    }

    /// The changes in order, neighbors of one kind joined.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Extent, Option<Vec<u8>>)> + '_ {
        let mut changes = self.changes.iter().peekable();
        std::iter::from_fn(move || {
            let (&start_bytes, first) = changes.next()?;
            let mut end_bytes = start_bytes + first.len_bytes();
            let mut joined = match first {
                Content::Bytes(bytes) => Some(bytes.clone()),
                Content::Zeroes(_) => None,
            };
            while let Some((_, next)) = changes.next_if(|(start, next)| {
                **start == end_bytes && matches!(next, Content::Bytes(_)) == joined.is_some()
            }) {
                end_bytes += next.len_bytes();
                if let (Some(joined), Content::Bytes(bytes)) = (&mut joined, next) {
                    joined.extend_from_slice(bytes);
                }
            }
            Some((Extent::between(start_bytes, end_bytes)?, joined))
        })
    }

    /// Whether every byte of `wanted` was changed.
    pub(super) fn covers(&self, wanted: Extent) -> bool {
        let mut position_bytes = wanted.offset_bytes();
        for (extent, _) in self.overlapping(wanted) {
            if extent.offset_bytes() > position_bytes {
                return false;
            }
            position_bytes = extent.end_bytes();
        }
        position_bytes >= wanted.end_bytes()
    }

    /// Whether any byte of `wanted` was changed.
    pub(super) fn touches(&self, wanted: Extent) -> bool {
        self.overlapping(wanted).next().is_some()
    }

    /// Lays the changes over `buffer`, which was read at `offset_bytes`.
    pub(super) fn apply(&self, buffer: &mut [u8], offset_bytes: u64) {
        let Some(wanted) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return;
        };
        for (extent, content) in self.overlapping(wanted) {
            let Some(common) = extent.intersection(wanted) else {
                continue;
            };
            let len = common.len_bytes() as usize;
            let into = &mut buffer[(common.offset_bytes() - offset_bytes) as usize..][..len];
            match content {
                Content::Zeroes(_) => into.fill(0),
                Content::Bytes(bytes) => {
                    let start = (common.offset_bytes() - extent.offset_bytes()) as usize;
                    into.copy_from_slice(&bytes[start..][..len]);
                }
            }
        }
    }

    /// The changes that share a byte with `wanted`, in order.
    fn overlapping(&self, wanted: Extent) -> impl Iterator<Item = (Extent, &Content)> {
        // Changes are disjoint, so at most one that starts earlier reaches into the range.
        let before = self.changes.range(..wanted.offset_bytes()).next_back();
        before
            .into_iter()
            .chain(
                self.changes
                    .range(wanted.offset_bytes()..wanted.end_bytes()),
            )
            .filter_map(|(&start_bytes, content)| {
                Some((Extent::new(start_bytes, content.len_bytes())?, content))
            })
            .filter(move |(extent, _)| extent.overlaps(wanted))
    }

    /// How much memory goes when `extent` is changed to something else.
    fn held_within(&self, extent: Extent) -> usize {
        self.overlapping(extent)
            .filter(|(_, content)| matches!(content, Content::Bytes(_)))
            .filter_map(|(found, _)| found.intersection(extent))
            .map(|common| common.len_bytes() as usize)
            .sum()
    }

    fn remove(&mut self, extent: Extent) {
        let overlapping: Vec<u64> = self
            .overlapping(extent)
            .map(|(found, _)| found.offset_bytes())
            .collect();
        for start_bytes in overlapping {
            let Some(mut content) = self.take(start_bytes) else {
                continue;
            };
            let end_bytes = start_bytes + content.len_bytes();
            if end_bytes > extent.end_bytes() {
                let rest = content.split_off(extent.end_bytes() - start_bytes);
                self.insert(extent.end_bytes(), rest);
            }
            if start_bytes < extent.offset_bytes() {
                content.split_off(extent.offset_bytes() - start_bytes);
                self.insert(start_bytes, content);
            }
        }
    }

    fn take(&mut self, start_bytes: u64) -> Option<Content> {
        let content = self.changes.remove(&start_bytes)?;
        self.held_bytes -= cost(&content);
        Some(content)
    }

    fn insert(&mut self, start_bytes: u64, content: Content) {
        self.held_bytes += cost(&content);
        self.changes.insert(start_bytes, content);
    }
}

fn cost(content: &Content) -> usize {
    match content {
        Content::Bytes(bytes) => bytes.len() + CHANGE_BYTES,
        Content::Zeroes(_) => CHANGE_BYTES,
    }
}
