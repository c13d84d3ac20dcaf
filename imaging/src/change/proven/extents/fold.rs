//! The fold over a walk's extents: each is compared with what was kept of it when all of its sectors
//! are known.

use super::{ExtentCount, ExtentVerdict, ExtentWriter, KeptExtent, KeptExtents, UNIT_BYTES};
use crate::change::proven::areas::{Area, Excess};
use crate::change::proven::rule::{Guard, Rule};
use crate::change::proven::verdict::WalkError;
use klon_partition::ExtentMap;
use klon_partition::filesystem::extents::{DataExtent, ExtentVisitor, Sectors};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::ControlFlow;

/// A walk under way.
pub(super) struct Fold<'a, R, W> {
    rule: &'a Rule,
    is_cancelled: &'a dyn Fn() -> bool,
    previous: Option<KeptExtents<R>>,
    keep: ExtentWriter<W>,
    current: Option<Current>,
    /// The first and the second copy of unchanged extents: apart, as pieces of one copy follow each
    /// other.
    unchanged: [Area; 2],
    extents: BTreeMap<ExtentVerdict, ExtentCount>,
    stopped: Option<WalkError>,
}

/// What a walk came to.
pub(super) struct Folded<W> {
    pub(super) keep: ExtentWriter<W>,
    /// Where unchanged extents lie.
    pub(super) unchanged: ExtentMap,
    pub(super) extents: BTreeMap<ExtentVerdict, ExtentCount>,
}

/// An extent, as far as its sectors were told.
struct Current {
    extent: DataExtent,
    digest: Sha256,
    is_summed: bool,
}

impl<'a, R: Read, W: Write> Fold<'a, R, W> {
    pub(super) fn new(
        previous: Option<KeptExtents<R>>,
        keep: ExtentWriter<W>,
        rule: &'a Rule,
        is_cancelled: &'a dyn Fn() -> bool,
    ) -> Self {
        Self {
            rule,
            is_cancelled,
            previous,
            keep,
            current: None,
            unchanged: [(); 2].map(|()| Area::new(Excess::Dropped)),
            extents: BTreeMap::new(),
            stopped: None,
        }
    }

    /// Ends it, after the last extent.
    pub(super) fn finish(mut self) -> Result<Folded<W>, WalkError> {
        self.end_extent();
        if let Some(error) = self.stopped {
            return Err(error);
        }
        if let Some(previous) = self.previous {
            previous.read_to_end()?;
        }
        let [first, second] = self.unchanged;
        Ok(Folded {
            keep: self.keep,
            unchanged: first.finish().union(&second.finish()),
            extents: self.extents,
        })
    }

    fn end_extent(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        let extent = current.extent;
        let verdict = match self.judge(current) {
            Ok(verdict) => verdict,
            Err(error) => {
                self.stopped = Some(error);
                return;
            }
        };
        let count = self.extents.entry(verdict).or_default();
        count.extents = count.extents.saturating_add(1);
        count.bytes = count.bytes.saturating_add(extent.len_bytes);
        if verdict == ExtentVerdict::Unchanged {
            for (area, copy) in self.unchanged.iter_mut().zip(extent.copies.iter()) {
                area.push(copy);
            }
        }
    }

    /// Compares an extent with what was kept of it, and keeps what it is now.
    fn judge(&mut self, current: Current) -> Result<ExtentVerdict, WalkError> {
        if !current.is_summed && self.rule.has(Guard::Summed) {
            return Ok(ExtentVerdict::Unsummed);
        }
        let digest = current.digest.finalize();
        let now = KeptExtent {
            number: current.extent.logical_bytes / UNIT_BYTES,
            digest: digest.first_chunk().copied().unwrap_or_default(),
        };
        self.keep.push(&now).map_err(WalkError::Keep)?;
        let then = match &mut self.previous {
            Some(previous) => previous.find(now.number)?,
            None => None,
        };
        Ok(match then {
            None => ExtentVerdict::New,
            Some(then) if then == now => ExtentVerdict::Unchanged,
            Some(_) => ExtentVerdict::Changed,
        })
    }

    /// Begins the digest: the first half of a SHA-256 over what is said of an extent, then over the
    /// checksums of its sectors in order.
    fn begin(&self, extent: &DataExtent) -> Sha256 {
        let mut digest = Sha256::new();
        let mut add = |number: u64| digest.update(number.to_le_bytes());
        add(extent.len_bytes);
        add(extent.flags);
        if self.rule.has(Guard::Generation) {
            add(extent.generation);
        }
        if self.rule.has(Guard::Places) {
            extent
                .copies
                .iter()
                .for_each(|copy| add(copy.offset_bytes()));
        }
        digest
    }
}

impl<R: Read, W: Write> ExtentVisitor for Fold<'_, R, W> {
    fn extent(&mut self, extent: &DataExtent) -> ControlFlow<()> {
        self.end_extent();
        if self.stopped.is_none() && (self.is_cancelled)() {
            self.stopped = Some(WalkError::Interrupted);
        }
        if self.stopped.is_some() {
            return ControlFlow::Break(());
        }
        self.current = Some(Current {
            extent: *extent,
            digest: self.begin(extent),
            is_summed: true,
        });
        ControlFlow::Continue(())
    }

    fn sectors(&mut self, _extent: &DataExtent, sectors: &Sectors<'_>) -> ControlFlow<()> {
        let heeds_checksums = self.rule.has(Guard::Checksums);
        if let Some(current) = &mut self.current {
            match sectors.checksums {
                Some(checksums) if heeds_checksums => current.digest.update(checksums.as_bytes()),
                Some(_) => {}
                None => current.is_summed = false,
            }
        }
        ControlFlow::Continue(())
    }
}
