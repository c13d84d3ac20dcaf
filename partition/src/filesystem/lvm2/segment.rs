//! The logical volumes of a group: which extents of one physical volume their segments have.
//!
//! Segments of the types `striped` and `mirror` name physical volumes or other logical volumes. All
//! other types stand on logical volumes only. Some of these are hidden, and have segments of their
//! own.

use super::address::{PhysicalExtent, Run};
use super::text::{Event, Item, Reader, Value};
use super::value::{flags, number, text};
use crate::error::Checked;
use crate::filesystem::Hazard;
use std::collections::{HashMap, HashSet};

/// More than this are left to a copy of the whole volume.
const LOGICAL_VOLUMES_MAX: usize = 1 << 18;
/// Runs of extents and names of logical volumes that are held.
const AREAS_MAX: usize = 1 << 20;
/// Hazards said of one group.
const HAZARDS_MAX: usize = 16;

/// Status flags of a logical volume that LVM knows (`lib/format_text/flags.c`).
const STATUS: [&str; 10] = [
    "READ",
    "WRITE",
    "FIXED_MINOR",
    "VISIBLE",
    "PVMOVE",
    "LOCKED",
    "NOTSYNCED",
    "REBUILD",
    "WRITEMOSTLY",
    "CACHE_VOL",
];
/// Flags that follow a segment's type after a `+`.
const TYPE_FLAGS: [&str; 8] = [
    "RESHAPE",
    "RESHAPE_DATA_OFFSET",
    "RESHAPE_DELTA_DISKS_PLUS",
    "RESHAPE_DELTA_DISKS_MINUS",
    "REMOVE_AFTER_RESHAPE",
    "METADATA_FORMAT",
    "CROP_METADATA",
    "CACHE_USES_CACHEVOL",
];
/// Types of segments that name logical volumes only, or nothing (lvm2, `lib/metadata/segtype.h`).
const INDIRECT: [&str; 32] = [
    "snapshot",
    "zero",
    "error",
    "raid0",
    "raid0_meta",
    "raid1",
    "raid10",
    "raid10_near",
    "raid4",
    "raid5",
    "raid5_n",
    "raid5_la",
    "raid5_ls",
    "raid5_ra",
    "raid5_rs",
    "raid6",
    "raid6_n_6",
    "raid6_nc",
    "raid6_nr",
    "raid6_zr",
    "raid6_ls_6",
    "raid6_rs_6",
    "raid6_la_6",
    "raid6_ra_6",
    "thin-pool",
    "thin",
    "cache-pool",
    "cache",
    "vdo",
    "vdo-pool",
    "writecache",
    "integrity",
];

/// What all segments together say.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// In order; overlapping if the metadata is damaged.
    pub(super) runs: Vec<Run>,
    pub(super) hazards: Vec<Hazard>,
}

/// Reads the section `logical_volumes`, which was just opened. `volumes` are the names of physical
/// volumes, and whether each is the one in question.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    volumes: &HashMap<&'a str, bool>,
) -> Checked<Segments> {
    let mut walk = Walk {
        volumes,
        names: HashSet::new(),
        referred: Vec::new(),
        found: Segments::default(),
    };
    loop {
        match reader.event()? {
            Event::Close => break,
            Event::Open(name) if walk.names.len() < LOGICAL_VOLUMES_MAX => {
                if !walk.names.insert(name) {
                    return Err(reader.corrupt("logical_volumes", "names once", name));
                }
                walk.logical_volume(reader)?;
            }
            _ => return Err(reader.corrupt("logical_volumes", "sections", "others or too many")),
        }
    }
    if let Some(name) = walk
        .referred
        .iter()
        .find(|name| !walk.names.contains(*name))
    {
        return Err(reader.corrupt("stripes", "volumes of the group", name));
    }
    walk.found.runs.sort_unstable();
    Ok(walk.found)
}

struct Walk<'w, 'a> {
    volumes: &'w HashMap<&'a str, bool>,
    /// Names of logical volumes.
    names: HashSet<&'a str>,
    /// Names in segments. Each must be the name of a logical volume.
    referred: Vec<&'a str>,
    found: Segments,
}

/// Logical extents of a logical volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogicalRun {
    start_extent: u64,
    extent_count: u64,
}

/// A segment as far as it matters.
#[derive(Default)]
struct Segment<'a> {
    start: Option<u64>,
    count: Option<u64>,
    kind: Option<&'a str>,
    stripes: Option<u64>,
    mirrors: Option<u64>,
    /// The lists that name areas, by their names.
    lists: Vec<(&'a str, Vec<Item<'a>>)>,
}

impl<'a> Walk<'_, 'a> {
    fn hazard(&mut self, what: String) {
        let hazard = Hazard::UnknownFeature(what);
        if self.found.hazards.len() < HAZARDS_MAX && !self.found.hazards.contains(&hazard) {
            self.found.hazards.push(hazard);
        }
    }

    fn logical_volume(&mut self, reader: &mut Reader<'a>) -> Checked {
        let mut expected = None;
        let mut segments: Vec<LogicalRun> = Vec::new();
        loop {
            match reader.event()? {
                Event::Close => break,
                // Every section in a logical volume is a segment.
                Event::Open(_) => segments.push(self.segment(reader)?),
                Event::Value("segment_count", value) => {
                    expected = Some(number(reader, "segment_count", &value)?);
                }
                Event::Value("status", value) => self.status(flags(reader, &value)?),
                Event::Value(..) => (),
                Event::End => return Err(reader.corrupt("section", "its end", "the text's end")),
            }
        }
        let count = segments.len() as u64;
        if expected != Some(count) {
            return Err(reader.corrupt("segment_count", count, expected.unwrap_or(0)));
        }
        // A segment that got lost would leave a hole.
        segments.sort_unstable();
        let mut end = Some(0_u64);
        for segment in segments {
            let start = segment.start_extent;
            if Some(start) != end {
                let expected = end.unwrap_or(u64::MAX);
                return Err(reader.corrupt("start_extent", expected, start));
            }
            end = start.checked_add(segment.extent_count);
        }
        Ok(())
    }

    fn status(&mut self, flags: Vec<&'a str>) {
        for flag in flags {
            if !STATUS.contains(&flag) {
                self.hazard(format!("logical volume status {flag}"));
            }
        }
    }

    /// Reads a segment: its first logical extent and how many it has.
    fn segment(&mut self, reader: &mut Reader<'a>) -> Checked<LogicalRun> {
        let mut segment = Segment::default();
        loop {
            let (name, value) = match reader.event()? {
                Event::Close => break,
                Event::Value(name, value) => (name, value),
                // Settings of caches, messages of pools.
                Event::Open(_) => {
                    reader.skip()?;
                    continue;
                }
                Event::End => return Err(reader.corrupt("section", "its end", "the text's end")),
            };
            match (name, value) {
                ("start_extent", value) => {
                    segment.start = Some(number(reader, "start_extent", &value)?);
                }
                ("extent_count", value) => {
                    segment.count = Some(number(reader, "extent_count", &value)?);
                }
                ("type", value) => segment.kind = Some(text(reader, "type", &value)?),
                ("stripe_count", value) => {
                    segment.stripes = Some(number(reader, "stripe_count", &value)?);
                }
                ("mirror_count", value) => {
                    segment.mirrors = Some(number(reader, "mirror_count", &value)?);
                }
                (name, Value::List(items)) if name != "tags" => segment.lists.push((name, items)),
                ("stripes" | "mirrors", Value::One(_)) => {
                    return Err(reader.corrupt("stripes", "a list", "a single value"));
                }
                _ => (),
            }
        }
        let (Some(start), Some(count), Some(kind)) = (segment.start, segment.count, segment.kind)
        else {
            let expected = "start_extent, extent_count and type";
            return Err(reader.corrupt("segment", expected, "less"));
        };
        if count == 0 {
            return Err(reader.corrupt("extent_count", "at least 1", count));
        }
        self.areas(reader, &segment, kind, count)?;
        Ok(LogicalRun {
            start_extent: start,
            extent_count: count,
        })
    }

    fn areas(
        &mut self,
        reader: &Reader<'a>,
        segment: &Segment<'a>,
        kind: &'a str,
        count: u64,
    ) -> Checked {
        let mut names = kind.split('+');
        let kind = names.next().unwrap_or_default();
        for flag in names.filter(|flag| !TYPE_FLAGS.contains(flag)) {
            self.hazard(format!("segment type flag {flag}"));
        }
        let (list, areas, each) = match kind {
            "striped" => {
                let stripes = segment.stripes.unwrap_or(0);
                if stripes == 0 || !count.is_multiple_of(stripes) {
                    let expected = format!("a divisor of extent_count {count}");
                    return Err(reader.corrupt("stripe_count", expected, stripes));
                }
                ("stripes", stripes, count / stripes)
            }
            "mirror" => ("mirrors", segment.mirrors.unwrap_or(0), count),
            _ => return self.indirect(reader, segment, kind),
        };
        match &segment.lists[..] {
            [(name, items)] if *name == list => self.list(reader, items, areas, each),
            _ => Err(reader.corrupt("segment", format!("one list, {list}"), "others")),
        }
    }

    /// `["pv0", 17, …]`: volumes, and the first extent of each.
    fn list(&mut self, reader: &Reader<'a>, items: &[Item<'a>], areas: u64, each: u64) -> Checked {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() || pairs.is_empty() || pairs.len() as u64 != areas {
            let expected = format!("{areas} pairs");
            return Err(reader.corrupt("stripes", expected, format!("{} values", items.len())));
        }
        for pair in pairs {
            let [Item::Text(name), Item::Number(first)] = *pair else {
                return Err(reader.corrupt("stripes", "names and numbers", "something else"));
            };
            let run = u32::try_from(first).ok().zip(u32::try_from(each).ok());
            let run = run.filter(|(first, count)| first.checked_add(*count).is_some());
            let Some((first, count)) = run else {
                return Err(reader.corrupt("stripes", "extents in 32 bits", first));
            };
            match self.volumes.get(name) {
                Some(true) => {
                    let first = PhysicalExtent(first);
                    self.found.runs.push(Run { first, count });
                }
                Some(false) => (),
                None => self.referred.push(name),
            }
        }
        self.bounded(reader)
    }

    /// A segment whose lists may name logical volumes only.
    fn indirect(&mut self, reader: &Reader<'a>, segment: &Segment<'a>, kind: &str) -> Checked {
        if !INDIRECT.contains(&kind) {
            self.hazard(format!("segment type {kind}"));
            return Ok(());
        }
        for (name, items) in &segment.lists {
            if !kind.starts_with("raid") || !matches!(*name, "raids" | "raid0_lvs") {
                self.hazard(format!("{name} in a segment of type {kind}"));
                continue;
            }
            for item in items {
                let Item::Text(name) = item else {
                    return Err(reader.corrupt("raids", "names", "something else"));
                };
                self.referred.push(name);
            }
        }
        self.bounded(reader)
    }

    fn bounded(&self, reader: &Reader<'a>) -> Checked {
        let areas = self.found.runs.len().max(self.referred.len());
        if areas <= AREAS_MAX {
            return Ok(());
        }
        let expected = format!("at most {AREAS_MAX} areas");
        Err(reader.corrupt("logical_volumes", expected, "more"))
    }
}
