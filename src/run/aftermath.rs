//! After a run that failed: what is safe, and what to do.

use super::end::End;
use super::rescue;
use crate::advice::{self, ELSEWHERE, reason};
use crate::error::Advice;
use crate::target::open::OpenTarget;
use anyhow::Error;
use klon_imaging::clone::{Phase, Stopped};
use klon_imaging::mark::Mark;
use klon_imaging::{Error as ImagingError, RecordStore};
use klon_partition::{Error as PartitionError, Shown};
use nix::libc::{EDQUOT, EFBIG, EIO, ENODEV, ENOSPC, ENXIO};
use std::path::Path;

impl End<'_> {
    /// The error, with what stands on the target now.
    pub(super) fn told(&self, stopped: Stopped, name: &str, records: &RecordStore) -> Error {
        let error = tell(stopped, self, name, records);
        rescue::explained(error, self.source).context(format!("cloning {name}"))
    }
}

/// The error of a run that stopped, with what the target is now and what to do next. `name` names all volumes
/// that it is about.
fn tell(stopped: Stopped, end: &End<'_>, name: &str, records: &RecordStore) -> Error {
    let End { source, target, .. } = *end;
    // Everything but the last step was done.
    let is_commit = stopped.phase >= Phase::Committing;
    let error = Error::from(stopped.error);
    let cause = error.downcast_ref();
    let said = match cause {
        // These say it themselves.
        Some(ImagingError::NoRoom { .. } | ImagingError::AfterCommit(_)) => String::new(),
        // The same run would meet the same damage.
        Some(ImagingError::Source(PartitionError::Corrupt(_))) if source.snapshot.is_some() => {
            Standing::of(target, is_commit).in_brief(name)
        }
        _ => Standing::of(target, is_commit).in_words(name),
    };
    let names = Names {
        source: &source.name,
        target: &end.job.target.place.given,
    };
    let advice = advice(&error, &names, records);
    let told: Vec<String> = [said, advice]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    if told.is_empty() {
        return error;
    }
    error.context(Advice(told.join(". ")))
}

/// Says of an error before the first write that nothing was written, and what records need.
pub fn not_begun(error: Error, records: &RecordStore) -> Error {
    let advice = of_records(reason(&error).unwrap_or(0), records);
    error.context(Advice(format!("Nothing was written. {advice}")))
}

/// What stands on a target after a run that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody can say: it can't be read.
    Unreadable,
    /// Nothing: the file that was made for it is gone again.
    NoFile,
    /// The earlier clone, and beside it all of the update.
    Staged,
    /// A part of a clone, marked as that.
    Unfinished,
    /// A clone whose last step failed.
    MaybeNotDurable,
    /// What was there before.
    AsBefore,
}

impl Standing {
    fn of(target: &OpenTarget, is_commit: bool) -> Self {
        match Mark::read(&target.volume) {
            Err(_) => Self::Unreadable,
            Ok(None) if target.is_useless() => Self::NoFile,
            Ok(Some(mark)) if mark.staged.is_some() => Self::Staged,
            Ok(Some(_)) => Self::Unfinished,
            Ok(None) if is_commit => Self::MaybeNotDurable,
            Ok(None) => Self::AsBefore,
        }
    }

    /// What stands there, if repeating the command would gain nothing.
    fn in_brief(self, name: &str) -> String {
        match self {
            Self::Unfinished => {
                format!("{name} is marked as unfinished, so nothing takes it for a complete clone")
            }
            _ => self.in_words(name),
        }
    }

    fn in_words(self, name: &str) -> String {
        match self {
            Self::Unreadable => format!(
                "klon can't read {name} any more. If a run was begun there, {name} is marked as \
                 unfinished. Attach it again and run the same command: it goes on, or compares"
            ),
            Self::NoFile => {
                format!("There is no new file {name}, because nothing was written to it")
            }
            Self::Staged => format!(
                "All of the update is staged on the drive. `klon finish` or the same command \
                 completes {name}"
            ),
            Self::Unfinished => format!(
                "{}. Run the same command again to complete it",
                self.in_brief(name)
            ),
            Self::MaybeNotDurable => format!(
                "The last step failed, so {name} may not be durable. Run the same command again: \
                 it compares"
            ),
            Self::AsBefore => {
                format!("{name} is as it was before: nothing in use on it was overwritten")
            }
        }
    }
}

/// Both ends, as the user named them.
struct Names<'a> {
    source: &'a str,
    target: &'a str,
}

/// What the system's reason asks for.
fn advice(error: &Error, names: &Names<'_>, records: &RecordStore) -> String {
    let Some(number) = reason(error) else {
        return String::new();
    };
    let innermost = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<ImagingError>())
        .last();
    let of_record = match innermost {
        Some(ImagingError::AfterCommit(cause)) => cause,
        Some(other) => other,
        None => return String::new(),
    };
    if matches!(of_record, ImagingError::RecordIo { .. }) {
        return of_records(number, records);
    }
    let device = match innermost {
        Some(ImagingError::Source(_)) => names.source,
        _ => names.target,
    };
    match number {
        EIO | ENXIO | ENODEV => format!(
            "{device} fails, was detached or became smaller. Check its cable and power, and dmesg. \
             smartctl -a shows its health"
        ),
        _ => advice::about(number, Path::new(device), ELSEWHERE).unwrap_or_default(),
    }
}

/// What the state directory needs.
fn of_records(number: i32, records: &RecordStore) -> String {
    let directory = records.directory().shown();
    match number {
        ENOSPC | EDQUOT => format!(
            "Make room in {directory}, where klon keeps its records, or name another place with \
             --records DIR"
        ),
        EFBIG => {
            let elsewhere = "raise the limit, or name another place with --records DIR";
            advice::about(number, records.directory(), elsewhere).unwrap_or_default()
        }
        _ => format!(
            "klon must be able to write its records to {directory}. To keep them elsewhere, use \
             --records DIR"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Standing, advice, not_begun, of_records};
    use crate::error::message;
    use anyhow::Error;
    use klon_imaging::{Error as ImagingError, RecordStore};
    use klon_partition::Error as PartitionError;
    use klon_partition::error::Operation;
    use nix::libc::{EACCES, EFBIG, EIO, ENOSPC};
    use std::io;

    const NAMES: Names<'static> = Names {
        source: "/dev/a",
        target: "/dev/b",
    };

    fn records() -> RecordStore {
        RecordStore::new("/state".into())
    }

    fn failed(number: i32) -> PartitionError {
        PartitionError::Io {
            operation: Operation::Read,
            offset_bytes: 0,
            len_bytes: 512,
            source: io::Error::from_raw_os_error(number),
        }
    }

    fn record_failed(number: i32) -> ImagingError {
        ImagingError::RecordIo {
            path: "/state/x".into(),
            doing: "write",
            source: io::Error::from_raw_os_error(number),
        }
    }

    #[test]
    fn the_end_that_failed_is_named() {
        let of_source = Error::from(ImagingError::Source(failed(EIO)));
        assert!(advice(&of_source, &NAMES, &records()).starts_with("/dev/a fails"));
        let of_target = Error::from(ImagingError::Target(failed(EIO)));
        assert!(advice(&of_target, &NAMES, &records()).starts_with("/dev/b fails"));
    }

    #[test]
    fn records_have_an_advice_of_their_own_also_after_the_commit() {
        let wanted = of_records(ENOSPC, &records());
        assert!(wanted.starts_with("Make room in /state"), "{wanted}");
        let before = Error::from(record_failed(ENOSPC));
        assert_eq!(advice(&before, &NAMES, &records()), wanted);
        let after = ImagingError::AfterCommit(Box::new(record_failed(ENOSPC)));
        assert_eq!(advice(&Error::from(after), &NAMES, &records()), wanted);
    }

    #[test]
    fn each_reason_of_records_says_where_they_may_go() {
        for number in [ENOSPC, EFBIG, EACCES] {
            let text = of_records(number, &records());
            assert!(text.contains("--records DIR"), "{text}");
        }
        assert!(of_records(EFBIG, &records()).contains("ulimit -f"));
    }

    #[test]
    fn without_a_reason_of_the_system_there_is_no_advice() {
        let error = Error::from(ImagingError::Refused("no".to_owned()));
        assert_eq!(advice(&error, &NAMES, &records()), "");
        assert_eq!(advice(&anyhow::anyhow!("no"), &NAMES, &records()), "");
    }

    #[test]
    fn an_error_before_the_first_write_says_so() {
        let text = message(&not_begun(record_failed(EACCES).into(), &records()));
        assert!(
            text.contains("Nothing was written. klon must be able"),
            "{text}"
        );
    }

    #[test]
    fn what_stands_on_a_target_is_said_by_its_name() {
        let all = [
            (Standing::Unreadable, "can't read X any more"),
            (Standing::NoFile, "no new file X"),
            (Standing::Staged, "completes X"),
            (Standing::Unfinished, "X is marked as unfinished"),
            (Standing::MaybeNotDurable, "X may not be durable"),
            (Standing::AsBefore, "X is as it was before"),
        ];
        for (standing, wanted) in all {
            let text = standing.in_words("X");
            assert!(text.contains(wanted), "{text}");
        }
    }
}
