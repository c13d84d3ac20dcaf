//! What becomes a file: a snapshot, a partition of it, or a range of either.

use crate::error::usage;
use anyhow::Result;
use klon_imaging::image::{Damage, SalvageDevice, Snapshot, SnapshotDevice, Unreadable};
use klon_partition::device::Window;
use klon_partition::planner::parse_size;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::sync::Arc;

/// Bytes from an offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) struct Range {
    offset_bytes: u64,
    /// `None` for all up to the end.
    len_bytes: Option<u64>,
}

impl Range {
    /// OFFSET+LENGTH, or OFFSET+ for all from there on. Both are sizes (4096, 4K), or hexadecimal
    /// numbers of bytes (0x1000), as klon prints extents.
    pub(in crate::command) fn parse(text: &str) -> Result<Self> {
        let parts = text.split_once('+').ok_or_else(|| {
            usage(format!(
                "--range {text}: expected OFFSET+LENGTH, as in 1M+4K; OFFSET+ is all from there on"
            ))
        })?;
        let number = |part: &str| -> Result<u64> {
            let hexadecimal = part.strip_prefix("0x");
            let hexadecimal = hexadecimal.map(|digits| u64::from_str_radix(digits, 16));
            match hexadecimal {
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(error)) => Err(usage(format!("--range {text}: {part}: {error}"))),
                None => parse_size(part).map_err(|error| usage(format!("--range {text}: {error}"))),
            }
        };
        Ok(Self {
            offset_bytes: number(parts.0)?,
            len_bytes: (!parts.1.is_empty()).then(|| number(parts.1)).transpose()?,
        })
    }

    /// Where that is in what has `size_bytes`.
    fn extent(self, size_bytes: u64) -> Result<Extent> {
        let rest_bytes = size_bytes.saturating_sub(self.offset_bytes);
        let len_bytes = self.len_bytes.unwrap_or(rest_bytes);
        let extent = Extent::new(self.offset_bytes, len_bytes);
        match extent.filter(|extent| extent.end_bytes() <= size_bytes) {
            Some(extent) => Ok(extent),
            None if len_bytes == 0 => Err(usage("the range is empty".to_owned())),
            None => Err(usage(format!(
                "the range ends at byte {}, and there are only {size_bytes} bytes",
                self.offset_bytes.saturating_add(len_bytes)
            ))),
        }
    }
}

/// What becomes a file.
pub(super) struct Exported {
    pub(super) device: Arc<dyn ReadAt>,
    pub(super) data: ExtentMap,
    pub(super) wanted: ExtentMap,
    pub(super) bad: ExtentMap,
    /// Where it lies in the snapshot; `None` for an empty one.
    extent: Option<Extent>,
    /// What goes on where the image is damaged.
    salvage: Option<Arc<SalvageDevice>>,
}

impl Exported {
    /// Takes the place of a partition from the manifest, which is whole where the table may not be.
    pub(super) fn of(
        snapshot: &Arc<Snapshot>,
        number: Option<u32>,
        range: Option<Range>,
        skip_damaged: bool,
    ) -> Result<Self> {
        let salvage = skip_damaged
            .then(|| Arc::new(SalvageDevice::new(snapshot.clone(), Unreadable::Damage)));
        let whole: Arc<dyn ReadAt> = match &salvage {
            Some(salvage) => salvage.clone(),
            None => Arc::new(SnapshotDevice::new(snapshot.clone())),
        };
        let mut extent = whole.geometry().extent();
        if let Some(number) = number {
            extent = Some(partition(snapshot, number)?);
        }
        if let Some(range) = range {
            let inner = range.extent(extent.map_or(0, Extent::len_bytes))?;
            extent = inner.shifted(extent.map_or(0, Extent::offset_bytes));
        }
        let part = |map: &ExtentMap| match extent {
            Some(extent) => map.in_part(extent),
            None => ExtentMap::new(),
        };
        let manifest = snapshot.manifest();
        Ok(Self {
            data: part(&manifest.data),
            wanted: part(&manifest.wanted()),
            bad: part(&manifest.bad),
            device: match extent {
                Some(extent) => Arc::new(Window::new(whole, extent)?),
                None => whole,
            },
            extent,
            salvage,
        })
    }

    /// Its bytes that were found damaged.
    pub(super) fn damage(&self) -> Damage {
        let found = self.salvage.as_ref().map(|salvage| salvage.damage());
        let found = found.unwrap_or_default();
        let extents = self.extent.map(|extent| found.extents.in_part(extent));
        Damage {
            extents: extents.unwrap_or_default(),
            ..found
        }
    }
}

fn partition(snapshot: &Snapshot, number: u32) -> Result<Extent> {
    let partitions = &snapshot.meta().partitions;
    let found = partitions.iter().find(|found| found.number == number);
    let found = found.ok_or_else(|| {
        let numbers: Vec<_> = partitions.iter().map(|it| it.number.to_string()).collect();
        usage(if numbers.is_empty() {
            "it is a volume, and has no partitions".to_owned()
        } else {
            format!(
                "it has no partition {number}; it has {}",
                numbers.join(", ")
            )
        })
    })?;
    Ok(found.extent)
}

#[cfg(test)]
mod tests {
    use super::Range;
    use klon_partition::Extent;

    #[test]
    fn ranges_are_sizes_or_hexadecimal() {
        let extent = |text: &str| Range::parse(text).and_then(|range| range.extent(1 << 20));
        let expected = Extent::new(4096, 512);
        for text in ["4K+512", "0x1000+0x200", "4096+0.5K"] {
            assert_eq!(extent(text).ok(), expected, "{text}");
        }
        assert_eq!(extent("0+").unwrap().len_bytes(), 1 << 20);
        assert_eq!(extent("1023K+").unwrap().len_bytes(), 1024);
        for text in [
            "4096",
            "+",
            "4K+0",
            "1M+",
            "1M+1",
            "512K+513K",
            "0xg+1",
            "0+0x",
            "1kB+1",
            "0xffffffffffffffff+0xffffffffffffffff",
            "-1+5",
        ] {
            assert!(extent(text).is_err(), "{text}");
        }
    }
}
