//! Mounts, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use super::DeviceNumber;
use super::block_device::names_in;
use crate::error::{Error, Result};
use crate::text;
use crate::text::{Shown, quoted, sealed_bytes};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where a volume is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountPoint {
    /// The directory.
    #[serde(serialize_with = "text::path")]
    pub at: PathBuf,
    /// Whether the filesystem itself is read-only; a read-only mount of a writable one is not.
    pub is_read_only: bool,
    /// The filesystem's name in the kernel.
    pub filesystem: String,
}

/// A line of mountinfo.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    /// Unique among the mounts that there are.
    pub(super) id: u64,
    pub(super) number: DeviceNumber,
    pub(super) source: PathBuf,
    pub(super) point: MountPoint,
    /// The directory of an overlay that what is written comes to (`upperdir=`).
    pub(super) upper: Option<PathBuf>,
}

pub(super) fn read(path: &Path) -> Result<Vec<Mount>> {
    let bytes = fs::read(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        doing: "read what is mounted",
        source,
    })?;
    let lines = bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| {
            // To skip a line could hide that a target is mounted.
            parse(line).ok_or_else(|| {
                Error::unsupported(
                    format!(
                        "the line {} of {}",
                        quoted(&sealed_bytes(line)),
                        path.shown()
                    ),
                    "it is not as proc_pid_mountinfo(5) describes",
                )
            })
        })
        .collect()
}

/// `id parent major:minor root mount-point options [tag…] - type source super-options`
fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let separator = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let number = DeviceNumber::parse(std::str::from_utf8(fields.get(2)?).ok()?)?;
    let super_options = fields.get(separator + 3)?;
    let is_overlay = *fields.get(separator + 1)? == b"overlay";
    let mut options = super_options.split(|&byte| byte == b',');
    let upper = options.find_map(|option| option.strip_prefix(b"upperdir="));
    Some(Mount {
        id: std::str::from_utf8(fields.first()?).ok()?.parse().ok()?,
        upper: upper.filter(|_| is_overlay).map(unescape),
        number,
        source: unescape(fields.get(separator + 2)?),
        point: MountPoint {
            at: unescape(fields.get(4)?),
            is_read_only: super_options
                .split(|&byte| byte == b',')
                .any(|option| option == b"ro"),
            filesystem: String::from_utf8_lossy(fields.get(separator + 1)?).into_owned(),
        },
    })
}

/// Decodes `\ooo`, as the kernel writes blanks, tabs, line ends and backslashes in names.
pub(super) fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, octal(after)) {
            (b'\\', Some(decoded)) => {
                bytes.push(decoded);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

fn octal(bytes: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(bytes.get(..3)?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

/// The kernel names of the devices of every mounted Btrfs, by its UUID: a mount names one alone.
pub(super) fn btrfs_devices(sysfs: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let listed = match names_in(sysfs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        listed => listed.map_err(|source| Error::Open {
            path: sysfs.to_owned(),
            doing: "list Btrfs filesystems",
            source,
        })?,
    };
    Ok(listed
        .into_iter()
        .filter_map(|uuid| {
            let devices = names_in(&sysfs.join(&uuid).join("devices")).ok()?;
            Some((uuid, devices))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{parse, unescape};
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    proptest! {
        #[test]
        fn every_name_that_the_kernel_escapes_comes_back(
            name in prop::collection::vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'\\')], 0..20),
        ) {
            let escaped: Vec<u8> = name
                .iter()
                .flat_map(|&byte| match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                    byte => vec![byte],
                })
                .collect();
            let found = unescape(&escaped);
            prop_assert_eq!(found.as_os_str().as_bytes(), &name[..]);
        }

        #[test]
        fn any_line_parses_or_does_not(line in "[0-9: /a-z,\\\\-]{0,60}") {
            let _ = parse(line.as_bytes());
        }
    }

    #[test]
    fn the_writable_layer_of_an_overlay_is_known() {
        let line =
            br"52 30 0:48 / /merged rw - overlay none rw,lowerdir=/a,upperdir=/b\054c,workdir=/d";
        let mount = parse(line).unwrap();
        assert_eq!(
            (mount.id, mount.number.to_string()),
            (52, "0:48".to_owned())
        );
        assert_eq!(mount.upper.as_deref(), Some(Path::new("/b,c")));
        let line = br"53 30 8:1 / /other rw - ext4 /dev/sda1 rw,upperdir=/x";
        assert_eq!(parse(line).unwrap().upper, None);
    }
}
