//! From errors to exit codes.

use klon_imaging::Error as ImagingError;
use klon_imaging::change::proven::Faster;
use klon_partition::Error as PartitionError;
use klon_partition::error::Remedy;
use std::process::ExitCode;

/// Differences were found.
pub const DIFFERENT: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// Refused, because data would be at risk.
pub const REFUSED: u8 = 3;
/// A device failed.
pub const DEVICE: u8 = 4;
/// Corrupt or unsupported input.
pub const CORRUPT: u8 = 5;
/// Someone asked for the run to stop.
pub const INTERRUPTED: u8 = 130;

/// An error of the program itself, with its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What went wrong and what to do.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

/// What is safe after an error, and what to do about it: the context of the error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Advice(pub String);

/// A refusal for safety.
pub fn refused(message: impl Into<String>) -> anyhow::Error {
    Failure {
        message: format!("refused: {}", message.into()),
        code: REFUSED,
    }
    .into()
}

/// A command line that makes no sense.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure {
        message: message.into(),
        code: USAGE,
    }
    .into()
}

/// The exit code for an error. The deepest cause that has a code gives it.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(code(error))
}

/// The error and its causes in one line; what a cause says that was said before is not said again.
/// What is to be done comes last.
pub fn message(error: &anyhow::Error) -> String {
    let advice = error.downcast_ref::<Advice>().map(ToString::to_string);
    let causes = error.chain().map(ToString::to_string);
    let mut said: Vec<String> = Vec::new();
    for cause in causes.filter(|cause| Some(cause) != advice.as_ref()) {
        match said.last_mut() {
            Some(last) if last.ends_with(&cause) => {}
            // "X" because of "X: no such file", or of "X is a pipe".
            Some(last) if begins_with(&cause, last) => *last = cause,
            _ => said.push(cause),
        }
    }
    let said = plain_words(&said.join(": "));
    let helps = [
        remedy(error).map(str::to_owned),
        advice.or_else(|| permission(error)),
    ];
    let all = std::iter::once(said).chain(helps.into_iter().flatten());
    all.collect::<Vec<_>>().join(". ")
}

/// Whether `cause` begins with the name that was said before it.
fn begins_with(cause: &str, name: &str) -> bool {
    let rest = cause.strip_prefix(name);
    rest.is_some_and(|rest| rest.starts_with(": ") || rest.starts_with(" is "))
}

/// The text without the numbers of the system's errors, which say nothing to people.
pub fn plain_words(text: &str) -> String {
    const START: &str = " (os error ";
    let mut rest = text;
    let mut words = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(START) {
        words.push_str(before);
        let digits = after.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = match digits.strip_prefix(')') {
            Some(behind) if digits.len() < after.len() => behind,
            _ => {
                words.push_str(START);
                after
            }
        };
    }
    words.push_str(rest);
    words
}

/// By which option the program is told to do what was refused.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    let of_cause = |cause: &(dyn std::error::Error + 'static)| {
        let of_imaging = match cause.downcast_ref() {
            Some(ImagingError::NoRoom { .. }) => {
                return Some(
                    "With --in-place it is overwritten as the update goes on, and an interruption \
                     leaves it unfinished until the next run",
                );
            }
            Some(ImagingError::RefusedUnless { remedy, .. }) => Some(*remedy),
            _ => None,
        };
        let of_partition = match cause.downcast_ref() {
            Some(PartitionError::RefusedUnless { remedy, .. }) => Some(*remedy),
            _ => None,
        };
        of_imaging.or(of_partition).and_then(option)
    };
    error.chain().find_map(of_cause)
}

/// What to type for it.
const fn option(remedy: Remedy) -> Option<&'static str> {
    match remedy {
        Remedy::ReplaceTable => {
            Some("--replace-table replaces it (all that is on the drive is lost)")
        }
        Remedy::NameDisk => Some("--disk says which one is meant"),
        Remedy::ReplaceFile => Some("--force replaces it"),
        Remedy::AnotherMap => Some("--rescue=MAPFILE names another map"),
        Remedy::FreezeLonger => Some("--freeze-max allows it more"),
        Remedy::ShowUses => Some("`lsblk` and `klon devices` show by whom"),
        Remedy::CheckImage => Some("`klon verify` says which snapshot it is"),
        Remedy::CompactImage => Some("klon prune --compact makes a sound image of it"),
        Remedy::FinishAlone => Some(
            "Where the sources are lost, `klon finish --alone` completes each volume of the group \
             that can be completed by itself",
        ),
        _ => None,
    }
}

/// What would make the next run fast, where this one had to read everything.
pub const fn faster(remedy: Faster) -> Option<&'static str> {
    match remedy {
        Faster::ThisRun => None,
        Faster::MakeClean => Some(
            "Mount the source and unmount it, or check it with its fsck: klon reads less of a clean one",
        ),
        Faster::InstallLedger => Some(
            "`klon ledger install` keeps a ledger of how this machine goes down, and lets klon read only \
             what can have changed from the run after the next on. If you know that the power never \
             failed while the source was mounted since the last run, --assume-clean-since-record says so",
        ),
        Faster::NameRun => Some(
            "--changed-since names the run with which a list of changed ranges begins; `run` of `klon clone --json` \
             is what to name",
        ),
        Faster::TrustFileRecords => Some(
            "NTFS keeps nothing that proves which files changed. --heuristic ntfs lets klon take a file for \
             unchanged while its file record is, from the run after the next on; DELTA.md says what that can miss",
        ),
        Faster::SayClean => Some(
            "If the power never failed while the source was mounted since the last run, \
             --assume-clean-since-record lets klon read only what can have changed",
        ),
    }
}

/// Disks are root's.
fn permission(error: &anyhow::Error) -> Option<String> {
    let cause = error.chain().find_map(|cause| cause.downcast_ref());
    let is_root = nix::unistd::geteuid().is_root();
    cause.filter(|_| !is_root).and_then(as_root)
}

/// What to do when `error` keeps this user from a device.
pub fn as_root(error: &PartitionError) -> Option<String> {
    let PartitionError::Open { path, source, .. } = error else {
        return None;
    };
    let is_denied = source.kind() == std::io::ErrorKind::PermissionDenied;
    (is_denied && path.starts_with("/dev"))
        .then(|| "Only root may read and write disks: run klon as root".to_owned())
}

/// The exit code for an error as a number.
pub fn code(error: &anyhow::Error) -> u8 {
    let of_cause = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<Failure>()
            .map(|failure| failure.code)
            .or_else(|| cause.downcast_ref::<ImagingError>().map(imaging_code))
            .or_else(|| cause.downcast_ref::<PartitionError>().map(partition_code))
    };
    error.chain().find_map(of_cause).unwrap_or(DEVICE)
}

fn imaging_code(error: &ImagingError) -> u8 {
    match error {
        ImagingError::Source(cause) | ImagingError::Target(cause) | ImagingError::Image(cause) => {
            partition_code(cause)
        }
        ImagingError::RecordCorrupt { .. } | ImagingError::StageCorrupt { .. } => CORRUPT,
        ImagingError::SourceChanged(_)
        | ImagingError::Refused(_)
        | ImagingError::RefusedUnless { .. }
        | ImagingError::NoRoom { .. } => REFUSED,
        ImagingError::AfterCommit(cause) => imaging_code(cause),
        ImagingError::Interrupted => INTERRUPTED,
        _ => DEVICE,
    }
}

fn partition_code(error: &PartitionError) -> u8 {
    match error {
        PartitionError::Corrupt(_) | PartitionError::Unsupported { .. } => CORRUPT,
        PartitionError::RefusedUnless {
            remedy: Remedy::NameDisk,
            ..
        }
        | PartitionError::Invalid(_) => USAGE,
        PartitionError::Refused(_) | PartitionError::RefusedUnless { .. } => REFUSED,
        _ => DEVICE,
    }
}

#[cfg(test)]
mod tests {
    use super::{as_root, code, message, plain_words, refused};
    use anyhow::Context as _;
    use klon_imaging::Error as ImagingError;
    use klon_partition::Error as PartitionError;
    use klon_partition::error::Remedy;

    #[test]
    fn a_cause_is_said_once() {
        let error = ImagingError::RecordIo {
            path: "/r".into(),
            doing: "open",
            source: std::io::Error::other("no luck"),
        };
        let error = anyhow::Error::from(error).context("cloning x");
        assert_eq!(message(&error), "cloning x: record /r: open: no luck");
    }

    #[test]
    fn a_name_is_said_once_and_numbers_of_errors_are_not_said() {
        let open = |path: &str, number| PartitionError::Open {
            path: path.into(),
            doing: "open for reading",
            source: std::io::Error::from_raw_os_error(number),
        };
        let error = anyhow::Error::from(open("/nowhere", 2)).context("/nowhere");
        let expected = "/nowhere: open for reading: No such file or directory";
        assert_eq!(message(&error), expected);
        let error = error.context("verifying x");
        assert_eq!(message(&error), format!("verifying x: {expected}"));
        assert_eq!(
            as_root(&open("/dev/sda", 13)).unwrap(),
            "Only root may read and write disks: run klon as root"
        );
        assert_eq!(as_root(&open("/dev/sda", 5)), None);
        assert_eq!(as_root(&open("/home/x", 13)), None);
        let text = "a (os error x) b (os error 5): c (os error ";
        assert_eq!(plain_words(text), "a (os error x) b: c (os error ");
    }

    #[test]
    fn a_doubtful_table_may_be_replaced() {
        let error = PartitionError::RefusedUnless {
            reason: "the drive's partition table can't be relied on".into(),
            remedy: Remedy::ReplaceTable,
        };
        let error = anyhow::Error::from(error).context("planning");
        assert_eq!(
            message(&error),
            "planning: refused: the drive's partition table can't be relied on. --replace-table \
             replaces it (all that is on the drive is lost)"
        );
        assert_eq!(code(&error), 3);
    }

    #[test]
    fn commands_that_show_more_are_named_here() {
        let refused = |remedy| PartitionError::RefusedUnless {
            reason: "no".into(),
            remedy,
        };
        let in_use = anyhow::Error::from(refused(Remedy::ShowUses));
        assert_eq!(
            message(&in_use),
            "refused: no. `lsblk` and `klon devices` show by whom"
        );
        let damaged = anyhow::Error::from(ImagingError::Image(refused(Remedy::CheckImage)));
        assert_eq!(
            message(&damaged),
            "image: refused: no. `klon verify` says which snapshot it is"
        );
    }

    #[test]
    fn context_does_not_hide_the_code() {
        let error = Err::<(), _>(ImagingError::Interrupted)
            .context("cloning")
            .unwrap_err();
        assert_eq!(code(&error), 130);
        let inner = PartitionError::Invalid("x".into());
        assert_eq!(
            code(&anyhow::Error::from(ImagingError::Source(inner)).context("a")),
            2
        );
        assert_eq!(code(&refused("no").context("b")), 3);
        assert_eq!(code(&std::io::Error::other("disk").into()), 4);
    }
}
