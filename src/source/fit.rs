//! Sources that are larger than their targets. What must be copied has to end before the target does.
//! What lies behind, and nobody proved free, is never lost without a word.

use crate::error::refused;
use crate::human;
use crate::messages::say;
use crate::named::open::OpenPlace;
use crate::source::imaged::leave_out_unknown;
use crate::source::resized::Resized;
use anyhow::{Context as _, Result};
use klon_partition::bytes::{be32, be64};
use klon_partition::device::{Window, read_vec};
use klon_partition::filesystem::{Basis, Usage};
use klon_partition::inspect::{DiskUsage, disk_usage};
use klon_partition::outside::first_set;
use klon_partition::table::{self, Finding, Moved, Scheme, Table};
use klon_partition::{Extent, ExtentMap, Geometry, Outside, ReadAt};
use std::sync::Arc;

/// Reading more than this is announced.
const ANNOUNCED_BYTES: u64 = 1 << 30;

/// Length of the footer of a virtual hard disk (Virtual Hard Disk Image Format Specification,
/// "Hard Disk Footer Format").
const FOOTER_BYTES: u64 = 512;

/// The end of a source that its target has no room for.
#[derive(Clone)]
pub struct Cut {
    /// The source with it.
    device: Arc<dyn ReadAt>,
    /// What of it nobody proved free; positions on the source.
    rest: Usage,
    /// Where that lies: "behind the end of its ext4".
    place: String,
    target_bytes: u64,
    /// How much before that end nobody proved free either.
    unproven_bytes: u64,
}

/// A source as it is on a target, and what the target cuts off.
pub struct Fitted<U> {
    /// What is read.
    pub device: Arc<dyn ReadAt>,
    /// What of it is in use.
    pub usage: U,
    /// What there is no room for.
    pub cut: Option<Cut>,
    /// What its table says otherwise than on the source itself.
    pub moved: Vec<Moved>,
    /// What is read from elsewhere than the source.
    pub replaced: ExtentMap,
    /// What of the source the target can't have.
    pub warnings: Vec<String>,
}

impl<U> Fitted<U> {
    const fn new(device: Arc<dyn ReadAt>, usage: U, cut: Option<Cut>) -> Self {
        Self {
            device,
            usage,
            cut,
            moved: Vec::new(),
            replaced: ExtentMap::new(),
            warnings: Vec::new(),
        }
    }
}

/// Where the part of a volume of `size_bytes` ends that a clone of it must have: the filesystem, and
/// what else is in use. `None` when nothing shows that it ends before the volume.
pub fn end_bytes(usage: &Usage, size_bytes: u64) -> Option<u64> {
    let open = usage.unproven.union(&usage.left_out);
    let end_bytes = open.complement(size_bytes).end_bytes();
    (usage.basis == Basis::Map && end_bytes < size_bytes).then_some(end_bytes)
}

/// A volume, as far as a target of this size has it.
///
/// # Errors
/// When its filesystem, or anything that is in use, ends behind the target.
pub fn volume(open: &OpenPlace, usage: Usage, target: Option<Geometry>) -> Result<Fitted<Usage>> {
    let device = open.device.clone();
    let size_bytes = device.geometry().size_bytes;
    let Some(target_bytes) = smaller(target, size_bytes) else {
        return Ok(Fitted::new(device, usage, None));
    };
    let end_bytes = match end_bytes(&usage, size_bytes) {
        Some(end_bytes) => end_bytes,
        None if has_footer(&*device)? => size_bytes.saturating_sub(FOOTER_BYTES),
        None => size_bytes,
    };
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    if end_bytes > target_bytes {
        let what = match (&usage.basis, kind) {
            (Basis::Map, Some(kind)) => format!("its {kind} ends at {}", exact(end_bytes)),
            (Basis::Whole { reason, .. } | Basis::Contained { reason }, _) => {
                format!("klon copies all of it ({reason})")
            }
            (Basis::Map, None) => format!("what is in use ends at {}", exact(end_bytes)),
        };
        return Err(too_small(open, target_bytes, (&what, end_bytes)));
    }
    let place = match kind {
        Some(kind) => format!("behind the end of its {kind}"),
        None => "behind its end".to_owned(),
    };
    let here = within(&usage, Extent::new(0, target_bytes));
    let cut = Cut {
        rest: within(&usage, Extent::between(target_bytes, size_bytes)),
        device: device.clone(),
        place,
        target_bytes,
        unproven_bytes: here.unproven.total_bytes(),
    };
    Ok(Fitted::new(first(&device, target_bytes)?, here, Some(cut)))
}

/// A disk with a table, as it is on a target of this size: a backup GPT lies at the end.
///
/// # Errors
/// When a partition, or anything else that is in use, ends behind the target.
pub fn disk(open: &OpenPlace, target: Option<Geometry>) -> Result<Fitted<DiskUsage>> {
    let table = open.layout.believed_table();
    let size_bytes = open.device.geometry().size_bytes;
    let cut = match smaller(target, size_bytes) {
        Some(target_bytes) => Some(cut_of_disk(open, table, target_bytes)?),
        None => None,
    };
    let gpt = table.filter(|table| table.scheme == Scheme::Gpt);
    let resized = match (gpt, target, &cut) {
        (Some(table), Some(target), _) if target.size_bytes != size_bytes => {
            relocated(open, table, target)?
        }
        (_, _, Some(cut)) => Resized::as_is(&first(&open.device, cut.target_bytes)?),
        _ => Resized::as_is(&open.device),
    };
    let disk = disk_usage(&*resized.device).with_context(|| open.place.given.clone())?;
    Ok(Fitted {
        moved: resized.moved,
        replaced: resized.replaced,
        warnings: resized.warnings,
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

/// The part of what is known of a source that lies in `part`; positions stay.
fn within(usage: &Usage, part: Option<Extent>) -> Usage {
    let part: ExtentMap = part.into_iter().collect();
    Usage {
        summary: usage.summary.clone(),
        extents: usage.extents.intersection(&part),
        unproven: usage.unproven.intersection(&part),
        edges: usage.edges.intersection(&part),
        left_out: usage.left_out.intersection(&part),
        choice: usage.choice,
        basis: usage.basis.clone(),
        token: usage.token,
    }
}

/// What a smaller target cuts off of a disk: none of its partitions, nor anything else that is known
/// to be in use.
fn cut_of_disk(open: &OpenPlace, table: Option<&Table>, target_bytes: u64) -> Result<Cut> {
    let device = &open.device;
    let size_bytes = device.geometry().size_bytes;
    let disk = disk_usage(device).with_context(|| open.place.given.clone())?;
    if let Basis::Whole { reason, .. } | Basis::Contained { reason } = &disk.basis {
        let size_bytes = if has_footer(device)? {
            size_bytes.saturating_sub(FOOTER_BYTES)
        } else {
            size_bytes
        };
        if size_bytes > target_bytes {
            let what = format!("klon copies all of it ({reason})");
            return Err(too_small(open, target_bytes, (&what, size_bytes)));
        }
    }
    let structures = match table {
        Some(table) if table.scheme == Scheme::Gpt => table::raw_extents(device, table)?,
        _ => ExtentMap::new(),
    };
    let backup = backup(open, &structures)?;
    let mut usage = disk.into_usage();
    leave_out_unknown(&mut usage, open);
    let partitions = table.iter().flat_map(|table| &table.partitions);
    let last = partitions.max_by_key(|partition| partition.extent.end_bytes());
    if let Some(last) = last.filter(|last| last.extent.end_bytes() > target_bytes) {
        let end_bytes = last.extent.end_bytes();
        let what = format!("its partition {} ends at {}", last.number, exact(end_bytes));
        let least_bytes = table.map_or(end_bytes, |table| with_backup(table, end_bytes));
        return Err(too_small(open, target_bytes, (&what, least_bytes)));
    }
    let used_end_bytes = usage.used().difference(&structures).end_bytes();
    if usage.basis == Basis::Map && used_end_bytes > target_bytes {
        let what = format!("what is in use ends at {}", exact(used_end_bytes));
        return Err(too_small(open, target_bytes, (&what, used_end_bytes)));
    }
    usage.unproven = usage.unproven.union(&structures).difference(&backup);
    // The new backup takes the place of what is there on the source.
    let gpt = table.filter(|table| table.scheme == Scheme::Gpt);
    let moved = gpt.and_then(|table| table::relocated(table, target_bytes).ok());
    let kept_bytes = moved.map_or(target_bytes, |moved| moved.usable.end_bytes());
    let here = within(&usage, Extent::new(0, kept_bytes));
    Ok(Cut {
        device: device.clone(),
        unproven_bytes: here.unproven.total_bytes(),
        rest: within(&usage, Extent::between(kept_bytes, size_bytes)),
        place: "in no partition".to_owned(),
        target_bytes,
    })
}

/// The part of a GPT's `structures` that nobody needs of a disk whose end is cut off: the backup, which
/// is made anew at the end of the target. Where there is none, something else may lie.
fn backup(open: &OpenPlace, structures: &ExtentMap) -> Result<ExtentMap> {
    let is_damaged = |finding: &Finding| matches!(finding, Finding::BackupDamaged(_));
    if open.layout.findings.iter().any(is_damaged) {
        return Ok(ExtentMap::new());
    }
    // The last sector is a place for a backup also when that is elsewhere.
    let Some(table) = open.layout.believed_table() else {
        return Ok(ExtentMap::new());
    };
    let sector_bytes = u64::from(table.logical_sector_bytes);
    let sectors = open.device.geometry().size_bytes / sector_bytes;
    let last_bytes = sectors.saturating_sub(1).saturating_mul(sector_bytes);
    let is_backup = read_vec(&*open.device, last_bytes, 8)? == b"EFI PART";
    let last: ExtentMap = Extent::new(last_bytes, sector_bytes).into_iter().collect();
    Ok(if is_backup {
        structures.clone()
    } else {
        structures.difference(&last)
    })
}

/// The least disk for partitions up to `end_bytes`: a GPT needs its backup behind them, with entries
/// of 128 bytes.
fn with_backup(table: &Table, end_bytes: u64) -> u64 {
    let sector_bytes = u64::from(table.logical_sector_bytes);
    let backup_bytes = match table.scheme {
        Scheme::Gpt => table
            .array_bytes()
            .div_ceil(sector_bytes)
            .saturating_add(1)
            .saturating_mul(sector_bytes),
        Scheme::Mbr => 0,
    };
    end_bytes.saturating_add(backup_bytes)
}

/// The disk with its GPT as it is on one of `target` geometry.
fn relocated(open: &OpenPlace, table: &Table, target: Geometry) -> Result<Resized> {
    let target_bytes = target.size_bytes;
    table::relocated(table, target_bytes).map_err(|_| {
        let ends = table.partitions.iter().map(|it| it.extent.end_bytes());
        let end_bytes = ends.max().unwrap_or(0);
        let what = format!("its last partition ends at {}", exact(end_bytes));
        let least_bytes = with_backup(table, end_bytes);
        too_small(open, target_bytes, (&what, least_bytes))
    })?;
    Resized::new(&open.place.given, &open.device, Some(table), Some(target))
}

/// A size for a message that says how much is needed: never rounded down.
fn exact(size_bytes: u64) -> String {
    let size = human::size(size_bytes);
    if size_bytes.is_multiple_of(1 << 20) && size_bytes < 100 << 30 {
        size
    } else {
        format!("{size} ({size_bytes} bytes)")
    }
}

fn too_small(
    open: &OpenPlace,
    target_bytes: u64,
    (what, least_bytes): (&str, u64),
) -> anyhow::Error {
    let size_bytes = open.device.geometry().size_bytes;
    refused(format!(
        "the target ({}) is too small for {} ({}): {what}, and klon can't shrink it yet. The target \
         must have at least {}. Nothing was written",
        exact(target_bytes),
        open.place.given,
        exact(size_bytes),
        exact(least_bytes)
    ))
}

/// What is done about bytes that the target cuts off and that nobody proved free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is written before the user has said that they can be left out.
    Refuse,
    /// They are named.
    Tell,
    /// The source is a clone, and by its record it ends before them.
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
    let from = exact(cut.target_bytes);
    let left_bytes = cut.rest.left_out.total_bytes();
    if left_bytes > 0 {
        say(&format!(
            "klon: {name}: left out, {}: {} {}, behind the target's end at {from}. klon did not \
             look at them",
            match cut.rest.choice {
                Outside::All => "which the image does not have".to_owned(),
                choice => format!("by --outside {choice}"),
            },
            human::size(left_bytes),
            cut.place
        ));
    }
    let Some(at) = first_data(name, cut, &cut.rest.unproven)? else {
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
    let more = match cut.unproven_bytes {
        0 => String::new(),
        bytes => format!(", and {} before the target's end", human::size(bytes)),
    };
    Err(refused(format!(
        "{found}. Nothing was written. --outside none leaves out what nothing shows to be free: {} from \
         {from} on{more}; no record tells whose that is. To keep it, choose a target of at least {}",
        human::size(cut.rest.unproven.total_bytes()),
        exact(cut.device.geometry().size_bytes)
    )))
}

impl Cut {
    /// Where the target ends.
    pub const fn target_bytes(&self) -> u64 {
        self.target_bytes
    }

    /// Leaves out what the user chose not to have of what nobody proved free.
    pub fn limit(&mut self, choice: Outside) {
        self.rest.limit(choice);
    }
}

/// Where the first byte of `extents` lies that is not zero, and no footer of a virtual disk.
fn first_data(name: &str, cut: &Cut, extents: &ExtentMap) -> Result<Option<u64>> {
    let device = &*cut.device;
    let mut data = ExtentMap::new();
    for extent in extents.iter() {
        data = data.union(&device.data(extent)?);
    }
    let size_bytes = device.geometry().size_bytes;
    if has_footer(device)? {
        let start_bytes = size_bytes.saturating_sub(FOOTER_BYTES);
        data = data.intersection(&ExtentMap::whole(start_bytes));
    }
    let data = data.intersection(extents);
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

/// Whether a device ends with the footer of a virtual hard disk of fixed size, which is no part of the
/// disk: cookie, current size, disk type and checksum are as the specification says.
fn has_footer(device: &dyn ReadAt) -> Result<bool> {
    let size_bytes = device.geometry().size_bytes;
    let Some(start_bytes) = size_bytes.checked_sub(FOOTER_BYTES) else {
        return Ok(false);
    };
    let footer = read_vec(device, start_bytes, FOOTER_BYTES as usize)?;
    let sum = footer
        .iter()
        .enumerate()
        .filter(|(at, _)| !(64..68).contains(at))
        .fold(0_u32, |sum, (_, &byte)| sum.wrapping_add(byte.into()));
    // 2 is a fixed hard disk.
    Ok(footer.starts_with(b"conectix")
        && be64(&footer, 48) == start_bytes
        && be32(&footer, 60) == 2
        && be32(&footer, 64) == !sum)
}
