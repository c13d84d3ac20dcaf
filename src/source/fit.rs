//! Sources that are larger than their targets. What must be copied has to end before the target does.
//! What lies behind, and nobody proved free, is never lost without a word.

mod too_small;

use crate::error::refused;
use crate::human;
use crate::messages::say;
use crate::named::open::OpenPlace;
use crate::source::adapted::{self, Adapted};
use crate::source::copied;
use crate::source::imaged::leave_out_unknown;
use crate::source::resized::Resized;
use crate::source::shrunk::{self, Shrinking};
use anyhow::{Context as _, Result};
use klon_partition::device::Window;
use klon_partition::filesystem::{Kind, Usage};
use klon_partition::inspect::{
    self, DiskUsage, Fitting, Overrun, cut_of_disk, cut_of_volume, data_in, disk_usage_by,
};
use klon_partition::outside::first_set;
use klon_partition::table::{self, Moved, Scheme, Table};
use klon_partition::{Extent, ExtentMap, Geometry, Outside, ReadAt};
use std::sync::Arc;
use too_small::{TooSmall, exact, way_out_of_disk};

/// Reading more than this is announced.
const ANNOUNCED_BYTES: u64 = 1 << 30;

/// The end of a source that its target has no room for.
#[derive(Clone)]
pub struct Cut {
    /// The source with it.
    device: Arc<dyn ReadAt>,
    /// Its bytes that nobody proved free.
    end: inspect::Cut,
    /// Where that lies: "behind the end of its ext4".
    place: String,
}

/// A source as it is on a target, and what the target cuts off.
pub struct Fitted<U> {
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// Its bytes in use.
    pub usage: U,
    /// The end that the target has no room for.
    pub cut: Option<Cut>,
    /// Numbers in its table that differ from the source's.
    pub moved: Vec<Moved>,
    /// The bytes that are not read from the source.
    pub replaced: ExtentMap,
    /// Bytes of the source that lie where the target has its table.
    pub covered: ExtentMap,
}

impl<U> Fitted<U> {
    const fn new(device: Arc<dyn ReadAt>, usage: U, cut: Option<Cut>) -> Self {
        Self {
            device,
            usage,
            cut,
            moved: Vec::new(),
            replaced: ExtentMap::new(),
            covered: ExtentMap::new(),
        }
    }
}

/// A volume, as far as a target of this size has it.
///
/// # Errors
/// When its filesystem, or anything that is in use, ends behind the target.
pub fn volume(open: &OpenPlace, usage: Usage, target: Option<Geometry>) -> Result<Fitted<Usage>> {
    let sectors = adapted::sectors(open, &usage)?;
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    match sectors {
        // Its size and its sectors are one thing.
        Some(sector_bytes) if kind.is_some_and(adapted::is_own) => {
            let own_bytes = open.device.geometry().size_bytes;
            let target_bytes = smaller(target, own_bytes).unwrap_or(own_bytes);
            laid_out(open, usage, Geometry::new(target_bytes, sector_bytes))
        }
        Some(sector_bytes) => {
            let fitted = in_own_sectors(open, usage, target)?;
            in_sectors(open, fitted, sector_bytes)
        }
        None => in_own_sectors(open, usage, target),
    }
}

/// What was fitted to a target, for sectors of `sector_bytes` as well.
fn in_sectors(open: &OpenPlace, fitted: Fitted<Usage>, sector_bytes: u32) -> Result<Fitted<Usage>> {
    let to = Geometry::new(fitted.device.geometry().size_bytes, sector_bytes);
    let from = Adapted {
        device: fitted.device.clone(),
        usage: fitted.usage.clone(),
    };
    let Adapted { device, usage } = adapted::laid_out(open, from, to)?;
    Ok(Fitted {
        device,
        usage,
        ..fitted
    })
}

/// A volume in sectors of the size that it has.
fn in_own_sectors(
    open: &OpenPlace,
    usage: Usage,
    target: Option<Geometry>,
) -> Result<Fitted<Usage>> {
    let device = open.device.clone();
    let size_bytes = device.geometry().size_bytes;
    let Some(target_bytes) = smaller(target, size_bytes) else {
        return Ok(Fitted::new(device, usage, None));
    };
    let found = cut_of_volume(&*device, &usage, target_bytes)?;
    if let (Fitting::Overruns(Overrun::Filesystem { kind, .. }), Some(scratch)) =
        (&found, &open.place.shrink)
    {
        if adapted::is_own(*kind) {
            let to = Geometry {
                size_bytes: target_bytes,
                ..device.geometry()
            };
            return laid_out(open, usage, to);
        }
        let to = Shrinking {
            target_bytes,
            scratch,
        };
        return shrunken(open, usage, *kind, to);
    }
    let end = fitting(open, found, target_bytes)?;
    let place = match &usage.summary {
        Some(summary) => format!("behind the end of its {}", summary.kind),
        None => "behind its end".to_owned(),
    };
    let here = usage.within(Extent::new(0, target_bytes));
    let first = first(&device, target_bytes)?;
    let cut = Cut { device, end, place };
    Ok(Fitted::new(first, here, Some(cut)))
}

/// A volume whose filesystem is shrunk for its target.
fn shrunken(
    open: &OpenPlace,
    usage: Usage,
    kind: Kind,
    to: Shrinking<'_>,
) -> Result<Fitted<Usage>> {
    let target_bytes = to.target_bytes;
    let shrunk = match kind {
        Kind::Xfs => copied::volume(open, &usage, to)?,
        kind => shrunk::volume(open, &usage, kind, to)?,
    };
    let cut = rest_behind(open, &usage, kind, target_bytes);
    Ok(Fitted::new(shrunk.device, shrunk.usage, Some(cut)))
}

/// A FAT that klon lays out anew on a target of this geometry, which may be smaller.
fn laid_out(open: &OpenPlace, usage: Usage, to: Geometry) -> Result<Fitted<Usage>> {
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    let is_cut = to.size_bytes < open.device.geometry().size_bytes;
    let cut = kind.filter(|_| is_cut);
    let cut = cut.map(|kind| rest_behind(open, &usage, kind, to.size_bytes));
    let from = Adapted {
        device: open.device.clone(),
        usage,
    };
    let Adapted { device, usage } = adapted::laid_out(open, from, to)?;
    Ok(Fitted::new(device, usage, cut))
}

/// What nobody proved free behind the end of a filesystem that becomes smaller.
fn rest_behind(open: &OpenPlace, usage: &Usage, kind: Kind, target_bytes: u64) -> Cut {
    // What was behind the end of the filesystem has no place on the target.
    let device = open.device.clone();
    let behind = Extent::between(target_bytes, device.geometry().size_bytes);
    let mut rest = usage.within(behind);
    rest.extents = rest.unproven.clone();
    Cut {
        end: inspect::Cut {
            target_bytes,
            rest,
            unproven_bytes: 0,
        },
        place: format!("behind the end of its {kind}"),
        device,
    }
}

/// A disk with a table, as it is on a target of this size: a backup GPT lies at the end.
///
/// # Errors
/// When a partition, or anything else that is in use, ends behind the target.
pub fn disk(open: &OpenPlace, target: Option<Geometry>) -> Result<Fitted<DiskUsage>> {
    let table = open.layout.believed_table();
    let size_bytes = open.device.geometry().size_bytes;
    let cut = match smaller(target, size_bytes) {
        Some(target_bytes) => Some(cut(open, target_bytes)?),
        None => None,
    };
    let gpt = table.filter(|table| table.scheme == Scheme::Gpt);
    let resized = match (gpt, target, &cut) {
        (Some(table), Some(target), _) if target.size_bytes != size_bytes => {
            relocated(open, table, target)?
        }
        (_, _, Some(cut)) => Resized::as_is(&first(&open.device, cut.target_bytes())?),
        _ => Resized::as_is(&open.device),
    };
    // Where the table was edited nothing is taken over.
    let known = match resized.replaced.is_empty() {
        true => &*open.layout.volumes,
        false => &[],
    };
    let disk = disk_usage_by(&*resized.device, known).with_context(|| open.place.given.clone())?;
    Ok(Fitted {
        moved: resized.moved,
        replaced: resized.replaced,
        covered: resized.covered,
        ..Fitted::new(resized.device, disk, cut)
    })
}

/// The target's size, if that is less.
fn smaller(target: Option<Geometry>, size_bytes: u64) -> Option<u64> {
    let target_bytes = target?.size_bytes;
    (target_bytes < size_bytes).then_some(target_bytes)
}

fn first(device: &Arc<dyn ReadAt>, len_bytes: u64) -> Result<Arc<dyn ReadAt>> {
    let extent = Extent::new(0, len_bytes).ok_or_else(|| refused("the target has no bytes"))?;
    Ok(Arc::new(Window::new(device.clone(), extent)?))
}

/// What a smaller target cuts off of a disk.
fn cut(open: &OpenPlace, target_bytes: u64) -> Result<Cut> {
    let device = open.device.clone();
    let disk =
        disk_usage_by(&*device, &open.layout.volumes).with_context(|| open.place.given.clone())?;
    let mut usage = disk.into_usage();
    leave_out_unknown(&mut usage, open);
    let found = cut_of_disk(&*device, &open.layout, usage, target_bytes)?;
    Ok(Cut {
        end: fitting(open, found, target_bytes)?,
        place: "in no partition".to_owned(),
        device,
    })
}

/// What a target cuts off, when all that is in use fits.
fn fitting(open: &OpenPlace, found: Fitting, target_bytes: u64) -> Result<inspect::Cut> {
    let overrun = match found {
        Fitting::Fits(cut) => return Ok(*cut),
        Fitting::Overruns(overrun) => overrun,
    };
    let what = match &overrun {
        Overrun::Whole { reason, .. } => format!("klon copies all of it ({reason})"),
        Overrun::Filesystem { kind, end_bytes } => {
            format!("its {kind} ends at {}", exact(*end_bytes))
        }
        Overrun::Used { end_bytes } => format!("what is in use ends at {}", exact(*end_bytes)),
        Overrun::Partition {
            number, end_bytes, ..
        } => format!("its partition {number} ends at {}", exact(*end_bytes)),
    };
    let way_out = match &overrun {
        Overrun::Filesystem { kind, .. } => shrunk::way_out(*kind),
        Overrun::Partition { .. } => way_out_of_disk(open),
        Overrun::Whole { .. } | Overrun::Used { .. } => "",
    };
    let too_small = TooSmall {
        what: &what,
        least_bytes: overrun.least_bytes(),
        way_out,
    };
    Err(too_small.error(open, target_bytes))
}

/// The disk with its GPT as it is on one of `target` geometry.
fn relocated(open: &OpenPlace, table: &Table, target: Geometry) -> Result<Resized> {
    let target_bytes = target.size_bytes;
    table::relocated(table, target_bytes).map_err(|_| {
        let ends = table.partitions.iter().map(|it| it.extent.end_bytes());
        let end_bytes = ends.max().unwrap_or(0);
        let what = format!("its last partition ends at {}", exact(end_bytes));
        let too_small = TooSmall {
            what: &what,
            least_bytes: table.least_bytes(end_bytes),
            way_out: way_out_of_disk(open),
        };
        too_small.error(open, target_bytes)
    })?;
    Resized::new(&open.place.given, &open.device, Some(table), Some(target))
}

/// What is done about bytes that the target cuts off and that nobody proved free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is written before the user has said that they can be left out.
    Refuse,
    /// They are named.
    Tell,
    /// The source is a clone, and by its record, which describes it, it ends before them.
    Foreign,
}

/// Looks at what a target cuts off of a source called `name`: zeroes need no word.
///
/// # Errors
/// When there is anything else that is not left out by choice, and losing it is refused.
pub fn check(name: &str, cut: Option<&Cut>, loss: Loss) -> Result<()> {
    let Some(cut) = cut else {
        return Ok(());
    };
    let from = exact(cut.target_bytes());
    let left_bytes = cut.end.rest.left_out.total_bytes();
    if left_bytes > 0 {
        say(&format!(
            "klon: {name}: left out, {}: {} {}, behind the target's end at {from}. klon did not \
             look at them",
            match cut.end.rest.choice {
                Outside::All => "which the image does not have".to_owned(),
                choice => format!("by --outside {choice}"),
            },
            human::size(left_bytes),
            cut.place
        ));
    }
    let Some(at) = first_data(name, cut, &cut.end.rest.unproven)? else {
        return Ok(());
    };
    let found = format!(
        "{name} is larger than the target, and has data {} at byte {at}, which nothing shows to be \
         free. The target ends at {from}",
        cut.place
    );
    match loss {
        Loss::Refuse => {}
        Loss::Tell => {
            say(&format!("klon: warning: {found}"));
            return Ok(());
        }
        Loss::Foreign => {
            say(&format!(
                "klon: {name}: what lies {} from {from} on is no part of the clone, by its record, so \
                 klon does not copy it",
                cut.place
            ));
            return Ok(());
        }
    }
    let more = match cut.end.unproven_bytes {
        0 => String::new(),
        bytes => format!(", and {} before the target's end", human::size(bytes)),
    };
    Err(refused(format!(
        "{found}. Nothing was written. --outside none leaves out what nothing shows to be free: {} from \
         {from} on{more}; no record tells whose that is. To keep it, choose a target of at least {}",
        human::size(cut.end.rest.unproven.total_bytes()),
        exact(cut.device.geometry().size_bytes)
    )))
}

impl Cut {
    /// The source with its end.
    pub fn device(&self) -> &dyn ReadAt {
        &*self.device
    }

    /// Where the target ends.
    pub const fn target_bytes(&self) -> u64 {
        self.end.target_bytes
    }

    /// Leaves out the bytes that nobody proved free and that the user chose not to have.
    pub fn limit(&mut self, choice: Outside) {
        self.end.rest.limit(choice);
    }
}

/// Where the first byte of `extents` lies that is not zero, and no footer of a virtual disk.
fn first_data(name: &str, cut: &Cut, extents: &ExtentMap) -> Result<Option<u64>> {
    let device = &*cut.device;
    let data = data_in(device, extents)?;
    if data.total_bytes() > ANNOUNCED_BYTES {
        say(&format!(
            "klon: {name}: looking whether {} {} are zero, because the target has no room for them",
            human::size(data.total_bytes()),
            cut.place
        ));
    }
    for extent in data.iter() {
        let found = first_set(device, extent)
            .with_context(|| format!("looking at what the target cuts off {name}"))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
