//! Snapshots of damaged images as sources: klon restores what is intact.

mod told;

pub use told::{explained, hinted, report};

use crate::error::{refused, usage};
use crate::guard;
use crate::named::Place;
use crate::named::open::{Looked, OpenPlace, find_partition};
use crate::source::SourceEnd;
use crate::source::imaged::of_part;
use crate::target::TargetEnd;
use anyhow::{Context as _, Result};
use klon_imaging::image::{SalvageDevice, Salvaged, Snapshot, Unreadable};
use klon_partition::device::{Window, open_source};
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::inspect::{DiskLayout, inspect};
use klon_partition::system::System;
use klon_partition::table::Partition;
use klon_partition::{Error, Extent, ExtentMap, ReadAt};
use std::sync::Arc;

/// As [`SourceEnd::open`], of a snapshot whose image is damaged: it reads as zeroes there, unless the
/// target has what was there.
///
/// # Errors
/// When the image can't be read at all, or does not fit the target.
pub fn open(place: &Place, system: &System, target: &TargetEnd) -> Result<SourceEnd> {
    guard::still(system, &place.path)?;
    let name = place.image.as_ref();
    let name = name.ok_or_else(|| usage(format!("{} is not a klon image", place.given)))?;
    let snapshot = name.open_snapshot()?;
    // Who restores must not take a disk that was detached for an image full of damage.
    let mut salvage = SalvageDevice::new(snapshot.clone(), Unreadable::Stop);
    if let (Some(now), Some(start_bytes)) = (&target.now, start_bytes(place, &snapshot)) {
        salvage = salvage.or_from(now.open.device.clone(), start_bytes);
    }
    let salvage = Arc::new(salvage);
    let open = claim(place, &snapshot, &salvage)?;
    let mut end = if open.is_disk() {
        SourceEnd::disk(&open, system, target.geometry())?
    } else {
        SourceEnd::volume(&open, system, target.geometry())?
    };
    if !salvage.damage().extents.is_empty() {
        as_imaged(&mut end, open.partition.as_ref(), &snapshot)?;
    }
    let at = match &open.partition {
        Some(partition) => Some(partition.extent),
        None => salvage.geometry().extent(),
    };
    end.salvaged = at.map(|at| {
        let mut salvaged = Salvaged::new(salvage.clone(), at);
        salvaged.replace(&end.replaced);
        salvaged
    });
    // What is not read again, because the target has it, is not lost there.
    salvage.forget();
    Ok(end)
}

/// Where the place lies in what was imaged. `None` for a partition that did not exist then.
fn start_bytes(place: &Place, snapshot: &Snapshot) -> Option<u64> {
    let Some(number) = place.number else {
        return Some(0);
    };
    let mut partitions = snapshot.meta().partitions.iter();
    let found = partitions.find(|partition| partition.number == number)?;
    Some(found.extent.offset_bytes())
}

/// As [`Place::claim`].
fn claim(
    place: &Place,
    snapshot: &Arc<Snapshot>,
    salvage: &Arc<SalvageDevice>,
) -> Result<OpenPlace> {
    let source = open_source(&place.path).with_context(|| place.given.clone())?;
    let layout = match inspect(salvage) {
        Err(Error::Corrupt(_) | Error::Unsupported { .. }) => DiskLayout::unknown(salvage),
        layout => layout.with_context(|| format!("inspecting {}", place.given))?,
    };
    let whole: Arc<dyn ReadAt> = salvage.clone();
    let (partition, device) = match place.number {
        Some(number) => {
            let partition = find_partition(&layout, number).with_context(|| {
                format!(
                    "{}: the partition table itself may be damaged. klon extract --skip-damaged \
                     makes a file of the partition, which can be cloned",
                    place.given
                )
            })?;
            let window: Arc<dyn ReadAt> = Arc::new(Window::new(whole, partition.extent)?);
            (Some(partition), window)
        }
        None => (None, whole),
    };
    let mut open = OpenPlace {
        place: place.clone(),
        layout,
        partition,
        device,
        source: Some(Arc::new(source)),
        snapshot: Some(snapshot.clone()),
        container: None,
        journals: Vec::new(),
        watch: None,
        rested: None,
        looked: Looked::default(),
    };
    open.watch = open.begin_watch()?;
    Ok(open)
}

/// Takes what is in use from the manifest. Part of the bitmap may read as zeroes here, and would then show
/// blocks as free that are in use.
fn as_imaged(
    end: &mut SourceEnd,
    partition: Option<&Partition>,
    snapshot: &Snapshot,
) -> Result<()> {
    let known = of_part(&snapshot.manifest().wanted(), partition);
    if end.cut.is_some() && known.end_bytes() > end.device.geometry().size_bytes {
        return Err(refused(format!(
            "{}: the image is damaged, so klon can't see whether everything in use fits the \
             target, which is smaller than the source. Choose a target as large as the source. \
             Nothing was written",
            end.name
        )));
    }
    let partitions = end.table.iter().flat_map(|table| &table.partitions);
    let partitions: ExtentMap = partitions.map(|partition| partition.extent).collect();
    // The table as it will be on the target.
    let outside = match &end.usage.basis {
        Basis::Map if end.table.is_some() => end.usage.extents.difference(&partitions),
        _ => ExtentMap::new(),
    };
    let whole = end.device.geometry().extent();
    let clipped = |whole: Extent| known.union(&outside).within(whole).collect();
    end.usage = Usage {
        summary: end.usage.summary.take(),
        ..Usage::mapped(whole.map_or_else(ExtentMap::new, clipped))
    };
    end.warnings = vec![format!(
        "{}: the image is damaged in the partition table or in a filesystem's own structures. The \
         snapshot's manifest says what was in use",
        end.name
    )];
    Ok(())
}
