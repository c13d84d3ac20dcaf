//! Names for disks and volumes that stay the same when /dev/sdX does not.

use crate::text::{plain, quoted, resealed};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a disk, a volume or a file is recognised by, strongest first.
///
/// Written `kind:value`, as in `serial:S4EWNX0M` or `path:/backup/drive.img`. Values are sealed
/// text ([`crate::text`]); the one of a path gives the path back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identity {
    /// A disk's serial number, as the kernel gives it.
    Serial(String),
    /// A disk's GPT disk GUID, or the MBR disk signature as eight hexadecimal digits.
    DiskGuid(String),
    /// A partition's unique GUID, or MBR signature and number (`PARTUUID` of the kernel).
    PartUuid(String),
    /// A filesystem's UUID or serial number, as `blkid` prints it.
    FsUuid(String),
    /// An absolute path, for plain files and devices that have nothing better.
    Path(String),
}

impl Identity {
    const fn parts(&self) -> (&'static str, &String) {
        match self {
            Self::Serial(value) => ("serial", value),
            Self::DiskGuid(value) => ("disk-guid", value),
            Self::PartUuid(value) => ("partuuid", value),
            Self::FsUuid(value) => ("fs-uuid", value),
            Self::Path(value) => ("path", value),
        }
    }

    /// The value without its kind.
    #[must_use]
    pub const fn value(&self) -> &String {
        self.parts().1
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, value) = self.parts();
        write!(f, "{kind}:{value}")
    }
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let make = match text.split_once(':') {
            Some(("serial", _)) => Self::Serial,
            Some(("disk-guid", _)) => Self::DiskGuid,
            Some(("partuuid", _)) => Self::PartUuid,
            Some(("fs-uuid", _)) => Self::FsUuid,
            Some(("path", _)) => Self::Path,
            _ => {
                return Err(format!(
                    "{} is not an identity: expected serial:, disk-guid:, partuuid:, fs-uuid: or path: \
                     and a value",
                    quoted(text)
                ));
            }
        };
        let value = text.split_once(':').map_or("", |(_, value)| value);
        if value.is_empty() {
            return Err(format!("the identity {} has no value", quoted(text)));
        }
        Ok(make(resealed(value)))
    }
}

impl TryFrom<String> for Identity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        plain(&identity.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        for text in [
            "serial:X-1",
            "disk-guid:a",
            "partuuid:1-01",
            "fs-uuid:AB-CD",
            "path:/a:b",
        ] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
        let odd = "path:/a\\b\nc";
        let identity: Identity = odd.parse().unwrap();
        assert!(!identity.to_string().contains(['\n', '\\']));
        assert_eq!(String::from(identity), odd);
        assert!("serial:".parse::<Identity>().is_err());
        assert!("/dev/sda".parse::<Identity>().is_err());
    }
}
