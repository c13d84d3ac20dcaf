//! The metadata of a volume group: what it says of one of its physical volumes.
//!
//! lvm2, `lib/format_text/export.c` and `import_vsn1.c`.

use super::address::{Run, Sectors};
use super::segment::{self, Segments};
use super::text::{Event, Item, Reader, Value};
use super::value::{flags, number, text};
use crate::error::Checked;
use crate::filesystem::Hazard;
use std::collections::HashMap;

/// Physical volumes in a group; more are left to a copy of the whole volume.
const VOLUMES_MAX: usize = 1 << 16;
/// Status flags of a group that LVM knows.
const GROUP_STATUS: [&str; 6] = [
    "EXPORTED",
    "RESIZEABLE",
    "PVMOVE",
    "READ",
    "WRITE",
    "PARTIAL",
];
/// Status flags of a physical volume that LVM knows. The flag of a missing one is not among them.
const VOLUME_STATUS: [&str; 2] = ["ALLOCATABLE", "EXPORTED"];

/// A volume group, seen from one of its physical volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) seqno: u64,
    /// `extent_size`
    pub(super) extent_size: Sectors,
    /// How many physical volumes it has.
    pub(super) volumes: usize,
    pub(super) volume: PhysicalVolume,
    /// The physical extents of the volume that logical volumes have, in order, none twice.
    pub(super) runs: Vec<Run>,
    pub(super) hazards: Vec<Hazard>,
}

/// A physical volume in the metadata of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PhysicalVolume {
    pub(super) pe_start: Sectors,
    pub(super) pe_count: u32,
    pub(super) dev_size: Option<Sectors>,
    pub(super) boot: Option<BootArea>,
}

/// What is kept for boot loaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BootArea {
    pub(super) ba_start: Sectors,
    /// Not 0.
    pub(super) ba_size: Sectors,
}

impl Group {
    /// Reads the metadata in `text`, which starts at `offset_bytes` of the device, for the
    /// physical volume with this UUID (32 characters).
    ///
    /// # Errors
    /// What is not in the text's syntax, contradicts itself, or does not have the volume.
    pub(super) fn parse(text: &[u8], offset_bytes: u64, uuid: &[u8; 32]) -> Checked<Self> {
        let mut reader = Reader::new(text, offset_bytes);
        let mut group = None;
        let (mut has_contents, mut has_version) = (false, false);
        loop {
            match reader.event()? {
                Event::Value("contents", value) => {
                    has_contents = value == text_value("Text Format Volume Group");
                }
                Event::Value("version", value) => has_version = value == number_value(1),
                Event::Value(..) => (),
                Event::Open(name) if group.is_none() => {
                    group = Some(Parts::new(name, uuid).read(&mut reader)?);
                }
                Event::End => break,
                Event::Open(_) | Event::Close => {
                    return Err(reader.corrupt("section", "one volume group", "something else"));
                }
            }
        }
        if !has_contents || !has_version {
            let expected = "\"Text Format Volume Group\" of version 1";
            return Err(reader.corrupt("contents", expected, "something else"));
        }
        group.ok_or_else(|| reader.corrupt("section", "a volume group", "none"))
    }
}

const fn text_value(text: &str) -> Value<'_> {
    Value::One(Item::Text(text))
}

const fn number_value<'a>(number: i64) -> Value<'a> {
    Value::One(Item::Number(number))
}

/// A group in the making.
struct Parts<'a> {
    group: Group,
    uuid: &'a [u8; 32],
    volume: Option<PhysicalVolume>,
    /// Names of physical volumes in this text, and whether each is the one in question.
    names: HashMap<&'a str, bool>,
}

impl<'a> Parts<'a> {
    fn new(name: &'a str, uuid: &'a [u8; 32]) -> Self {
        let group = Group {
            name: name.to_owned(),
            ..Group::default()
        };
        Self {
            group,
            uuid,
            volume: None,
            names: HashMap::new(),
        }
    }

    fn read(mut self, reader: &mut Reader<'a>) -> Checked<Group> {
        let mut segments = None;
        loop {
            match reader.event()? {
                Event::Close => break,
                Event::Open("physical_volumes") if self.names.is_empty() => {
                    self.volumes(reader)?;
                }
                // Names in segments mean physical volumes first, so these must be known.
                Event::Open("logical_volumes") if segments.is_none() && !self.names.is_empty() => {
                    segments = Some(segment::read(reader, &self.names)?);
                }
                Event::Open("historical_logical_volumes") => reader.skip()?,
                Event::Value(name, value) => self.value(reader, name, &value)?,
                Event::Open(name) => {
                    let expected = "physical_volumes, then logical_volumes";
                    return Err(reader.corrupt("section", expected, name));
                }
                Event::End => return Err(reader.corrupt("section", "its end", "the text's end")),
            }
        }
        self.finish(reader, segments.unwrap_or_default())
    }

    fn value(&mut self, reader: &Reader<'a>, name: &str, value: &Value<'a>) -> Checked {
        match name {
            "id" => self.group.id = text(reader, "id", value)?.to_owned(),
            "seqno" => self.group.seqno = number(reader, "seqno", value)?,
            "extent_size" => {
                self.group.extent_size = Sectors(number(reader, "extent_size", value)?);
            }
            "status" => {
                for flag in flags(reader, value)? {
                    self.flag(flag);
                }
            }
            "lock_type" if text(reader, "lock_type", value)? != "none" => {
                self.shared("lock_type other than none");
            }
            _ => (),
        }
        Ok(())
    }

    fn flag(&mut self, flag: &str) {
        if matches!(flag, "CLUSTERED" | "SHARED") {
            self.shared(flag);
        } else if !GROUP_STATUS.contains(&flag) {
            let hazard = Hazard::UnknownFeature(format!("volume group status {flag}"));
            self.group.hazards.push(hazard);
        }
    }

    /// Other machines may write to it at this very moment.
    fn shared(&mut self, how: &str) {
        let how = format!(
            "volume group {}, shared between machines: {how}",
            self.group.name
        );
        self.group.hazards.push(Hazard::MultiDevice(how));
    }

    fn volumes(&mut self, reader: &mut Reader<'a>) -> Checked {
        loop {
            match reader.event()? {
                Event::Close => return Ok(()),
                Event::Open(name) if self.names.len() < VOLUMES_MAX => {
                    let is_this = self.physical_volume(reader)?;
                    if self.names.insert(name, is_this).is_some() {
                        return Err(reader.corrupt("physical_volumes", "names once", name));
                    }
                }
                _ => return Err(reader.corrupt("physical_volumes", "sections", "others")),
            }
        }
    }

    /// Reads a physical volume, and whether it is the one in question.
    fn physical_volume(&mut self, reader: &mut Reader<'a>) -> Checked<bool> {
        let (mut id, mut is_missing) = (None, false);
        let mut volume = PhysicalVolume::default();
        let (mut pe_start, mut pe_count) = (None, None);
        let (mut ba_start, mut ba_size) = (0, 0);
        loop {
            let (name, value) = match reader.event()? {
                Event::Close => break,
                Event::Value(name, value) => (name, value),
                _ => return Err(reader.corrupt("physical_volumes", "values", "others")),
            };
            match name {
                "id" => id = Some(text(reader, "id", &value)?),
                "status" | "flags" => {
                    for flag in flags(reader, &value)? {
                        is_missing |= flag == "MISSING";
                        self.volume_flag(name, flag);
                    }
                }
                "pe_start" => pe_start = Some(number(reader, "pe_start", &value)?),
                "pe_count" => pe_count = Some(number(reader, "pe_count", &value)?),
                "dev_size" => {
                    volume.dev_size = Some(Sectors(number(reader, "dev_size", &value)?));
                }
                "ba_start" => ba_start = number(reader, "ba_start", &value)?,
                "ba_size" => ba_size = number(reader, "ba_size", &value)?,
                _ => (),
            }
        }
        let Some(id) = id else {
            return Err(reader.corrupt("id", "one for each physical volume", "none"));
        };
        if !id.bytes().filter(|&byte| byte != b'-').eq(*self.uuid) {
            return Ok(false);
        }
        let (Some(pe_start), Some(pe_count)) = (pe_start, pe_count) else {
            return Err(reader.corrupt("physical_volumes", "pe_start and pe_count", "one or none"));
        };
        volume.pe_start = Sectors(pe_start);
        volume.pe_count =
            u32::try_from(pe_count).map_err(|_| reader.corrupt("pe_count", "32 bits", pe_count))?;
        volume.boot = (ba_size != 0).then_some(BootArea {
            ba_start: Sectors(ba_start),
            ba_size: Sectors(ba_size),
        });
        if is_missing {
            let how = "the volume group has this physical volume as missing".to_owned();
            self.group.hazards.push(Hazard::Errors(how));
        }
        if self.volume.replace(volume).is_some() {
            return Err(reader.corrupt("id", "this physical volume once", "it twice"));
        }
        Ok(true)
    }

    fn volume_flag(&mut self, list: &str, flag: &str) {
        // LVM passes over what it doesn't know in the list `flags`, and nowhere else.
        if list == "status" && flag != "MISSING" && !VOLUME_STATUS.contains(&flag) {
            let hazard = Hazard::UnknownFeature(format!("physical volume status {flag}"));
            self.group.hazards.push(hazard);
        }
    }

    fn finish(self, reader: &Reader<'a>, segments: Segments) -> Checked<Group> {
        let mut group = self.group;
        let Some(volume) = self.volume else {
            return Err(reader.corrupt("physical_volumes", "this physical volume", "others only"));
        };
        if group.seqno == 0 || group.extent_size == Sectors(0) || group.id.is_empty() {
            let expected = "id, seqno and extent_size, none of them 0";
            return Err(reader.corrupt("section", expected, "others"));
        }
        let mut end = 0_u64;
        for run in &segments.runs {
            let first = run.first.0;
            if u64::from(first) < end {
                let expected = format!("each physical extent once, not {first} again");
                return Err(reader.corrupt("stripes", expected, "segments that overlap"));
            }
            end = run.end();
        }
        if end > u64::from(volume.pe_count) {
            let expected = format!("extents below pe_count {}", volume.pe_count);
            return Err(reader.corrupt("stripes", expected, format!("extents up to {end}")));
        }
        group.volumes = self.names.len();
        group.volume = volume;
        group.runs = segments.runs;
        group.hazards.extend(segments.hazards);
        if group.volumes > 1 {
            let how = format!(
                "volume group {} of {} physical volumes",
                group.name, group.volumes
            );
            group.hazards.push(Hazard::MultiDevice(how));
        }
        Ok(group)
    }
}
