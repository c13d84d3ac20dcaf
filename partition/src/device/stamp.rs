//! What shows that a source was written to by someone else while it was read.

use super::handle::{Handle, Kind};
use nix::sys::stat::{major, minor};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// The state of a file or block device at one moment, as far as the kernel keeps account of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Of a plain file.
    File {
        /// Length in bytes.
        size_bytes: u64,
        /// When its content changed: seconds and nanoseconds.
        modified: (i64, i64),
        /// When anything of it changed.
        changed: (i64, i64),
    },
    /// Of a block device.
    Block {
        /// Units of 512 bytes written to and discarded on it since the system started.
        written_units: u64,
    },
}

impl Stamp {
    /// The state of `handle` now; `None` where the kernel keeps no account (`queue/iostats` is
    /// off).
    pub(super) fn take(handle: &Handle) -> io::Result<Option<Self>> {
        let metadata = handle.file.metadata()?;
        if handle.kind == Kind::File {
            return Ok(Some(Self::File {
                size_bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            }));
        }
        let number = metadata.rdev();
        let sysfs = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        let is_counted = ["queue/iostats", "../queue/iostats"]
            .iter()
            .find_map(|name| fs::read_to_string(format!("{sysfs}/{name}")).ok())
            .is_some_and(|text| text.trim() == "1");
        let counters = fs::read_to_string(format!("{sysfs}/stat")).unwrap_or_default();
        Ok(written_units(&counters)
            .filter(|_| is_counted)
            .map(|written_units| Self::Block { written_units }))
    }

    /// What happened since `self`, in a few words; `None` for nothing.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<String> {
        match (self, now) {
            _ if self == now => None,
            (
                Self::File { size_bytes, .. },
                Self::File {
                    size_bytes: after, ..
                },
            ) if size_bytes != after => Some(format!(
                "its file had {size_bytes} bytes and has {after} now"
            )),
            (
                Self::File { modified, .. },
                Self::File {
                    modified: after, ..
                },
            ) if modified != after => Some("its file was written to".to_owned()),
            (
                Self::Block { written_units },
                Self::Block {
                    written_units: after,
                },
            ) => Some(format!(
                "{} bytes were written to or discarded on the device",
                after.wrapping_sub(*written_units).saturating_mul(512)
            )),
            _ => Some("the times of its file changed".to_owned()),
        }
    }
}

/// Fields 7 and 14 of a `stat` file (`Documentation/block/stat.rst` of Linux): sectors written and
/// discarded, in units of 512 bytes. Old kernels don't count discards.
fn written_units(counters: &str) -> Option<u64> {
    let mut fields = counters.split_ascii_whitespace();
    let written: u64 = fields.nth(6)?.parse().ok()?;
    let discarded = fields.nth(6).map_or(Ok(0), str::parse::<u64>).ok()?;
    Some(written.wrapping_add(discarded))
}

#[cfg(test)]
mod tests {
    use super::{Stamp, written_units};

    #[test]
    fn writes_and_discards_are_summed() {
        let line = "1 2 3 4 5 6 700 8 9 10 11 12 13 1400 15 16 17\n";
        assert_eq!(written_units(line), Some(2100));
        assert_eq!(written_units("1 2 3 4 5 6 700 8 9 10 11"), Some(700));
        assert_eq!(written_units("1 2 3"), None);
    }

    #[test]
    fn every_difference_is_told() {
        let file = |size_bytes, modified, changed| Stamp::File {
            size_bytes,
            modified: (1, modified),
            changed: (1, changed),
        };
        let block = |written_units| Stamp::Block { written_units };
        assert_eq!(file(1, 2, 3).difference(&file(1, 2, 3)), None);
        let told = |before: Stamp, now: Stamp| before.difference(&now).unwrap();
        assert!(told(file(1, 2, 3), file(9, 2, 3)).contains("has 9 now"));
        assert!(told(file(1, 2, 3), file(1, 9, 3)).contains("written"));
        assert!(told(file(1, 2, 3), file(1, 2, 9)).contains("times"));
        assert!(told(block(1), block(3)).starts_with("1024 bytes"));
    }
}
