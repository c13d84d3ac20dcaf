//! The jobs that an overlay's room does.

use std::fmt;
use std::str::FromStr;

/// What is done to the volume that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Mounts and unmounts an XFS, so that the kernel replays its log.
    ReplayXfs,
    /// Mounts and unmounts a Btrfs for that.
    ReplayBtrfs,
    /// Shrinks an ext2, ext3 or ext4 to so many bytes or fewer.
    ShrinkExt(u64),
    /// Shrinks an NTFS.
    ShrinkNtfs(u64),
    /// Shrinks a Btrfs.
    ShrinkBtrfs(u64),
    /// Makes an XFS on the second volume like the one on the first, and copies its files.
    CopyXfs,
    /// Takes the mark from an NTFS that asks for a check.
    UnmarkNtfs,
    /// Asks how many bytes the smallest ext2, ext3 or ext4 has.
    LeastExt,
    /// Asks the same of an NTFS.
    LeastNtfs,
    /// Asks the same of a Btrfs.
    LeastBtrfs,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplayXfs => f.write_str("replay-xfs"),
            Self::ReplayBtrfs => f.write_str("replay-btrfs"),
            Self::ShrinkExt(bytes) => write!(f, "shrink-ext:{bytes}"),
            Self::ShrinkNtfs(bytes) => write!(f, "shrink-ntfs:{bytes}"),
            Self::ShrinkBtrfs(bytes) => write!(f, "shrink-btrfs:{bytes}"),
            Self::CopyXfs => f.write_str("copy-xfs"),
            Self::UnmarkNtfs => f.write_str("unmark-ntfs"),
            Self::LeastExt => f.write_str("least-ext"),
            Self::LeastNtfs => f.write_str("least-ntfs"),
            Self::LeastBtrfs => f.write_str("least-btrfs"),
        }
    }
}

impl FromStr for Job {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let missing = || format!("there is no job {text}");
        let (name, bytes) = match text.split_once(':') {
            Some((name, bytes)) => (name, Some(bytes.parse().map_err(|_| missing())?)),
            None => (text, None),
        };
        match (name, bytes) {
            ("replay-xfs", None) => Ok(Self::ReplayXfs),
            ("replay-btrfs", None) => Ok(Self::ReplayBtrfs),
            ("shrink-ext", Some(bytes)) => Ok(Self::ShrinkExt(bytes)),
            ("shrink-ntfs", Some(bytes)) => Ok(Self::ShrinkNtfs(bytes)),
            ("shrink-btrfs", Some(bytes)) => Ok(Self::ShrinkBtrfs(bytes)),
            ("copy-xfs", None) => Ok(Self::CopyXfs),
            ("unmark-ntfs", None) => Ok(Self::UnmarkNtfs),
            ("least-ext", None) => Ok(Self::LeastExt),
            ("least-ntfs", None) => Ok(Self::LeastNtfs),
            ("least-btrfs", None) => Ok(Self::LeastBtrfs),
            _ => Err(missing()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Job;

    #[test]
    fn a_job_is_read_as_it_is_written() {
        let all = [
            Job::ReplayXfs,
            Job::ReplayBtrfs,
            Job::ShrinkExt(7),
            Job::ShrinkNtfs(u64::MAX),
            Job::ShrinkBtrfs(1 << 30),
            Job::CopyXfs,
            Job::UnmarkNtfs,
            Job::LeastExt,
            Job::LeastNtfs,
            Job::LeastBtrfs,
        ];
        for job in all {
            assert_eq!(job.to_string().parse(), Ok(job));
        }
        for wrong in ["", "replay", "replay-xfs:1", "shrink-ext", "shrink-ext:-1"] {
            assert!(wrong.parse::<Job>().is_err(), "{wrong}");
        }
    }
}
