//! The disk of a source in the plan file, in the words of the file.

use super::{Hex, Kept, is_false};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::planner::original;
use crate::table::Scheme;
use crate::text::{plain, resealed};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Original {
    identity: Identity,
    groups: Vec<String>,
    size_bytes: u64,
    logical_sector_bytes: u32,
    scheme: Scheme,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk_guid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk_signature: Option<Hex>,
    #[serde(default, skip_serializing_if = "Digits::is_empty")]
    boot_code: Digits,
    #[serde(default, skip_serializing_if = "is_false")]
    has_loader_in_gap: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loader: Option<Loader>,
    #[serde(default, rename = "partition", skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<Kept>,
}

/// What lies before the first partition.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Loader {
    start_bytes: u64,
    bytes: Digits,
}

/// Bytes as hexadecimal digits.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Digits(Vec<u8>);

impl Digits {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Digits> for String {
    fn from(digits: Digits) -> Self {
        digits.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Digits {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let wrong = || "expected two hexadecimal digits for each byte".to_owned();
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
            .collect();
        let pairs = digits.ok_or_else(wrong)?;
        let pairs = pairs.chunks(2).map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        });
        pairs.collect::<Option<_>>().map(Self).ok_or_else(wrong)
    }
}

impl Original {
    pub(super) fn of(original: &original::Original) -> Self {
        Self {
            identity: original.identity.clone(),
            groups: original.groups.iter().map(|group| plain(group)).collect(),
            size_bytes: original.size_bytes,
            logical_sector_bytes: original.logical_sector_bytes,
            scheme: original.scheme,
            disk_guid: original.disk_guid,
            disk_signature: (original.scheme == Scheme::Mbr)
                .then_some(Hex(u64::from(original.disk_signature))),
            boot_code: Digits(original.boot_code.clone()),
            has_loader_in_gap: original.has_loader_in_gap,
            loader: original.loader.as_ref().map(|loader| Loader {
                start_bytes: loader.start_bytes,
                bytes: Digits(loader.bytes.clone()),
            }),
            partitions: original.partitions.iter().map(Kept::of).collect(),
        }
    }

    pub(super) fn into_original(self) -> Result<original::Original> {
        let partitions = self.partitions.into_iter().map(Kept::into_partition);
        Ok(original::Original {
            groups: self.groups.iter().map(|group| resealed(group)).collect(),
            size_bytes: self.size_bytes,
            logical_sector_bytes: self.logical_sector_bytes,
            scheme: self.scheme,
            disk_guid: self.disk_guid,
            disk_signature: u32::try_from(self.disk_signature.unwrap_or_default().0).map_err(
                |_| Error::Invalid("original.disk_signature has more than 32 bits".to_owned()),
            )?,
            boot_code: self.boot_code.0,
            has_loader_in_gap: self.has_loader_in_gap,
            loader: self.loader.map(|loader| original::Loader {
                start_bytes: loader.start_bytes,
                bytes: loader.bytes.0,
            }),
            partitions: partitions.collect::<Result<_>>()?,
            identity: self.identity,
        })
    }
}
