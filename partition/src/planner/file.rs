//! The plan file: TOML, documented in its own head, versioned, unknown keys refused.
//!
//! It names the drive and the sources by what they are ([`Identity`]), never by /dev/sdX.

mod head;
mod original;

use super::layout::{Extended, Plan, PlannedDrive, PlannedTable, PlannedVolume, SourceRef};
use super::size::SizePolicy;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::identity::Identity;
use crate::table::{Partition, PartitionType, Scheme};
use crate::text::{plain, resealed};
use head::HEAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of plan files that this klon writes. It reads those before, too.
pub const PLAN_VERSION: u32 = 2;

/// The version before: the same without the disks of the sources.
const VERSION_WITHOUT_ORIGINALS: u32 = 1;

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    drive: Drive,
    table: Table,
    #[serde(default, rename = "volume", skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<Volume>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kept: Vec<Kept>,
    #[serde(default, rename = "original", skip_serializing_if = "Vec::is_empty")]
    originals: Vec<original::Original>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drive {
    identity: Identity,
    size_bytes: u64,
    logical_sector_bytes: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    scheme: Scheme,
    is_new: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk_guid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk_signature: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extended: Option<ExtendedPlace>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtendedPlace {
    number: u32,
    start_bytes: u64,
    size_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Volume {
    name: String,
    group: String,
    number: u32,
    start_bytes: u64,
    size_bytes: u64,
    #[serde(rename = "type")]
    partition_type: TypeText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Hex::is_zero")]
    attributes: Hex,
    #[serde(default, skip_serializing_if = "is_false")]
    is_bootable: bool,
    size: SizePolicy,
    source_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    least_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    is_shrunk: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filesystem: Option<Kind>,
    source: SourceText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceText {
    identity: Identity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partuuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fs_uuid: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    number: u32,
    start_bytes: u64,
    size_bytes: u64,
    #[serde(rename = "type")]
    partition_type: TypeText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Hex::is_zero")]
    attributes: Hex,
    #[serde(default, skip_serializing_if = "is_false")]
    is_bootable: bool,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// A number written `0x…`, as bit 63 of the GPT attributes does not fit TOML's signed integers.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex(u64);

impl Hex {
    const fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        parse_hex(&text)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a number as in \"0x8000000000000000\""))
    }
}

impl From<Hex> for String {
    fn from(hex: Hex) -> Self {
        format!("{:#x}", hex.0)
    }
}

fn parse_hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct TypeText(PartitionType);

impl TryFrom<String> for TypeText {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let byte = parse_hex(&text).and_then(|value| u8::try_from(value).ok());
        byte.map(PartitionType::Mbr)
            .or_else(|| text.parse().ok().map(PartitionType::Gpt))
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is not a partition type: expected a GUID, or 0x83 and the like")
            })
    }
}

impl From<TypeText> for String {
    fn from(text: TypeText) -> Self {
        match text.0 {
            PartitionType::Gpt(guid) => guid.to_string(),
            PartitionType::Mbr(byte) => format!("{byte:#04x}"),
        }
    }
}

impl Plan {
    /// The plan as the text of a plan file.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a number is too large for TOML (8 EiB).
    pub fn to_toml(&self) -> Result<String> {
        let body = toml::to_string(&File::of(self))
            .map_err(|error| Error::Invalid(format!("the plan can't be written: {error}")))?;
        Ok(format!("{HEAD}\n{body}"))
    }

    /// Reads and checks the text of a plan file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another version; [`Error::Invalid`] saying which key is wrong
    /// and what was expected, or which rule of [`Plan::check`] the plan breaks.
    pub fn from_toml(text: &str) -> Result<Self> {
        let invalid = |error: toml::de::Error| Error::Invalid(format!("plan file: {error}"));
        let Versioned { version } = toml::from_str(text).map_err(invalid)?;
        if ![VERSION_WITHOUT_ORIGINALS, PLAN_VERSION].contains(&version) {
            return Err(Error::unsupported(
                format!("version {version} of the plan file"),
                format!("this klon reads versions up to {PLAN_VERSION}. Make a new plan"),
            ));
        }
        let file: File = toml::from_str(text).map_err(invalid)?;
        if version == VERSION_WITHOUT_ORIGINALS && !file.originals.is_empty() {
            return Err(Error::Invalid(format!(
                "plan file: version {version} has no [[original]]"
            )));
        }
        let plan = file.into_plan()?;
        plan.check()?;
        Ok(plan)
    }
}

impl File {
    fn of(plan: &Plan) -> Self {
        let drive = &plan.drive;
        let table = &plan.table;
        Self {
            version: PLAN_VERSION,
            drive: Drive {
                identity: drive.identity.clone(),
                size_bytes: drive.size_bytes,
                logical_sector_bytes: drive.logical_sector_bytes,
            },
            table: Table {
                scheme: table.scheme,
                is_new: table.is_new,
                disk_guid: table.disk_guid,
                disk_signature: (table.scheme == Scheme::Mbr)
                    .then_some(Hex(u64::from(table.disk_signature))),
                extended: table.extended.map(|extended| ExtendedPlace {
                    number: extended.number,
                    start_bytes: extended.extent.offset_bytes(),
                    size_bytes: extended.extent.len_bytes(),
                }),
            },
            volumes: plan.volumes.iter().map(Volume::of).collect(),
            kept: plan.kept.iter().map(Kept::of).collect(),
            originals: plan.originals.iter().map(original::Original::of).collect(),
        }
    }

    fn into_plan(self) -> Result<Plan> {
        let signature = self.table.disk_signature.unwrap_or_default().0;
        let extended = self.table.extended.map(|extended| {
            let extent = extent("table.extended", extended.start_bytes, extended.size_bytes);
            extent.map(|extent| Extended {
                number: extended.number,
                extent,
            })
        });
        Ok(Plan {
            drive: PlannedDrive {
                identity: self.drive.identity,
                size_bytes: self.drive.size_bytes,
                logical_sector_bytes: self.drive.logical_sector_bytes,
            },
            table: PlannedTable {
                scheme: self.table.scheme,
                is_new: self.table.is_new,
                disk_guid: self.table.disk_guid,
                disk_signature: u32::try_from(signature).map_err(|_| {
                    Error::Invalid("table.disk_signature has more than 32 bits".to_owned())
                })?,
                extended: extended.transpose()?,
            },
            volumes: self
                .volumes
                .into_iter()
                .map(Volume::into_planned)
                .collect::<Result<_>>()?,
            kept: self
                .kept
                .into_iter()
                .map(Kept::into_partition)
                .collect::<Result<_>>()?,
            originals: self
                .originals
                .into_iter()
                .map(original::Original::into_original)
                .collect::<Result<_>>()?,
        })
    }
}

fn extent(what: &str, start_bytes: u64, size_bytes: u64) -> Result<Extent> {
    Extent::new(start_bytes, size_bytes).ok_or_else(|| {
        Error::Invalid(format!(
            "{what}: start_bytes {start_bytes} and size_bytes {size_bytes} are no range of bytes"
        ))
    })
}

impl Volume {
    fn of(volume: &PlannedVolume) -> Self {
        let source = &volume.source;
        Self {
            name: plain(&volume.name),
            group: plain(&volume.group),
            number: volume.number,
            start_bytes: volume.extent.offset_bytes(),
            size_bytes: volume.extent.len_bytes(),
            partition_type: TypeText(volume.partition_type),
            guid: volume.guid,
            attributes: Hex(volume.attributes),
            is_bootable: volume.is_bootable,
            size: volume.size,
            source_bytes: volume.source_bytes,
            least_bytes: volume.least_bytes,
            minimum_bytes: volume.minimum_bytes,
            is_shrunk: volume.is_shrunk,
            used_bytes: volume.used_bytes,
            filesystem: volume.filesystem,
            source: SourceText {
                identity: source.identity.clone(),
                partition: source.partition,
                partuuid: source.partuuid.clone(),
                fs_uuid: source.fs_uuid.clone(),
            },
        }
    }

    fn into_planned(self) -> Result<PlannedVolume> {
        Ok(PlannedVolume {
            extent: extent(&resealed(&self.name), self.start_bytes, self.size_bytes)?,
            name: resealed(&self.name),
            group: resealed(&self.group),
            source: SourceRef {
                identity: self.source.identity,
                partition: self.source.partition,
                partuuid: self.source.partuuid,
                fs_uuid: self.source.fs_uuid,
            },
            number: self.number,
            partition_type: self.partition_type.0,
            guid: self.guid,
            attributes: self.attributes.0,
            is_bootable: self.is_bootable,
            size: self.size,
            source_bytes: self.source_bytes,
            least_bytes: self.least_bytes,
            minimum_bytes: self.minimum_bytes,
            is_shrunk: self.is_shrunk,
            used_bytes: self.used_bytes,
            filesystem: self.filesystem,
        })
    }
}

impl Kept {
    fn of(partition: &Partition) -> Self {
        Self {
            number: partition.number,
            start_bytes: partition.extent.offset_bytes(),
            size_bytes: partition.extent.len_bytes(),
            partition_type: TypeText(partition.partition_type),
            guid: partition.guid,
            name: plain(&partition.name),
            attributes: Hex(partition.attributes),
            is_bootable: partition.is_bootable,
        }
    }

    fn into_partition(self) -> Result<Partition> {
        let what = format!("partition {}", self.number);
        Ok(Partition {
            number: self.number,
            extent: extent(&what, self.start_bytes, self.size_bytes)?,
            partition_type: self.partition_type.0,
            guid: self.guid,
            name: resealed(&self.name),
            attributes: self.attributes.0,
            is_bootable: self.is_bootable,
        })
    }
}
