//! The identity that a clone has of its own: what it is made of, which names stand for which of its source, and where
//! the two differ by it.

use klon_partition::{ExtentMap, OwnIds};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The section with it is never longer.
pub(super) const BYTES_MAX: u64 = 4 << 20;
/// No clone has more names than this.
const NAMES_MAX: usize = 1 << 14;

/// What tells a clone from its source, as the section `IDNT` has it. The section `IDEX` has the places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnIdentity {
    /// What its identifiers are made of.
    #[serde(serialize_with = "to_text", deserialize_with = "from_text")]
    pub ids: OwnIds,
    /// The names that it has in place of its source's, and those of other volumes that its files name so.
    pub names: Vec<OwnName>,
    /// Where it differs from its source for that reason alone.
    #[serde(skip)]
    pub changed: ExtentMap,
}

/// A name in place of another, as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnName {
    /// What it names.
    pub of: Named,
    /// On the source.
    #[serde(with = "klon_partition::text::stored")]
    pub from: String,
    /// On the clone.
    #[serde(with = "klon_partition::text::stored")]
    pub to: String,
}

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// A disk: its GUID or signature.
    Disk,
    /// A partition: its PARTUUID.
    Partition,
    /// A filesystem: its UUID or serial number.
    Filesystem,
}

impl OwnIdentity {
    /// Checks what JSON can't say.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.names.len() {
            0..=NAMES_MAX => Ok(()),
            more => Err(format!("{more} names, expected at most {NAMES_MAX}")),
        }
    }
}

fn to_text<S: Serializer>(ids: &OwnIds, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(ids)
}

fn from_text<'de, D: Deserializer<'de>>(from: D) -> Result<OwnIds, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}
