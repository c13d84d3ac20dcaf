//! Advice: what helps when the system refuses a write (the disk is full, a quota or a limit is reached, or the
//! filesystem is read-only), and what the commands do about warnings of the planner.

use crate::error::Advice;
use crate::human;
use anyhow::Error;
use klon_imaging::Error as ImagingError;
use klon_partition::Error as PartitionError;
use klon_partition::Shown;
use klon_partition::planner::Warning;
use nix::libc::{EDQUOT, EFBIG, ENOSPC, EROFS};
use nix::sys::statvfs::statvfs;
use std::io;
use std::path::Path;

/// What helps where no other way is known.
pub const ELSEWHERE: &str = "raise the limit, or name a place on another filesystem";

/// The system's number of what failed.
pub fn reason(error: &Error) -> Option<i32> {
    let mut causes = error.chain();
    let cause = causes.find_map(|cause| cause.downcast_ref::<io::Error>())?;
    // Some libraries tell the kind alone.
    cause.raw_os_error().or_else(|| match cause.kind() {
        io::ErrorKind::StorageFull => Some(ENOSPC),
        io::ErrorKind::QuotaExceeded => Some(EDQUOT),
        io::ErrorKind::FileTooLarge => Some(EFBIG),
        io::ErrorKind::ReadOnlyFilesystem => Some(EROFS),
        _ => None,
    })
}

/// Whether `error` is that there is no room for what is written, for now.
pub fn is_room(error: &Error) -> bool {
    matches!(reason(error), Some(ENOSPC | EDQUOT))
}

/// Whether `error` comes again however often the same is tried: a file may not become as large as it
/// would have to, or another one is in its way.
pub fn is_final(error: &Error) -> bool {
    let mut causes = error.chain();
    let is_taken = |cause: &io::Error| cause.kind() == io::ErrorKind::AlreadyExists;
    reason(error) == Some(EFBIG) || causes.any(|cause| cause.downcast_ref().is_some_and(is_taken))
}

/// What helps when `path` can't be written for the system's reason; `None` for reasons that say it
/// themselves. `otherwise` is what to do about a file that may not become so large.
pub fn about(number: i32, path: &Path, otherwise: &str) -> Option<String> {
    let shown = path.shown();
    let place = if path.as_os_str() == "-" {
        "where standard output goes".to_owned()
    } else {
        format!("that {shown} is on")
    };
    match number {
        ENOSPC => Some(format!(
            "The filesystem {place} is full{}. Make room there, or name a place elsewhere",
            free(path)
        )),
        EDQUOT => Some(format!(
            "The quota on the filesystem {place} is used up. Remove something there, have the \
             quota raised, or name a place elsewhere"
        )),
        EFBIG => Some(format!(
            "The file would be larger than the filesystem {place} or `ulimit -f` allows. To go on, \
             {otherwise}"
        )),
        EROFS => Some(format!(
            "The filesystem {place} is mounted read-only, or became read-only after an error \
             (dmesg shows it). Mount it for writing, or name a place elsewhere"
        )),
        _ => None,
    }
}

/// ` (12 MiB free)`, as far as that can be told.
fn free(path: &Path) -> String {
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    let found = statvfs(path).or_else(|_| statvfs(parent.unwrap_or(Path::new("."))));
    match found {
        Ok(found) if path.as_os_str() != "-" => {
            let free = found.blocks_available();
            let bytes = free.saturating_mul(found.fragment_size());
            format!(" ({} free)", human::size(bytes))
        }
        _ => String::new(),
    }
}

/// Adds what helps to an error that has no advice yet, where it names what can't be written.
pub fn added(error: Error) -> Error {
    if error.downcast_ref::<Advice>().is_some() {
        return error;
    }
    let path = error.chain().find_map(|cause| {
        let opened = |error: &PartitionError| match error {
            PartitionError::Open { path, .. } => Some(path.clone()),
            _ => None,
        };
        match cause.downcast_ref() {
            Some(ImagingError::RecordIo { path, .. }) => Some(path.clone()),
            Some(ImagingError::Target(cause) | ImagingError::Image(cause)) => opened(cause),
            _ => cause.downcast_ref().and_then(opened),
        }
    });
    let advice = path
        .zip(reason(&error))
        .and_then(|(path, number)| about(number, &path, ELSEWHERE));
    match advice {
        Some(advice) => error.context(Advice(advice)),
        None => error,
    }
}

/// What the commands do about a warning of the planner, which knows no commands.
pub const fn about_plan(warning: &Warning) -> Option<&'static str> {
    const FITS: &str = "If it no longer fits one day, klon clone says so before it writes";
    match warning {
        Warning::BootCode { .. } => Some("A new disk gets the code back by klon restore"),
        Warning::Unassigned { .. } => {
            Some("klon clone or klon image of the whole disk copies them too")
        }
        Warning::Smaller { .. } => {
            Some("Before klon clone writes, it looks whether anything else lies there")
        }
        Warning::Shrunk {
            minimum_bytes: Some(_),
            ..
        } => Some(FITS),
        Warning::Shrunk {
            minimum_unknown_because: Some(_),
            ..
        } => Some("If it can't, klon clone says so before it writes"),
        _ => None,
    }
}

/// Adds to an error that has no advice yet what helps to write `path`.
pub fn if_none(error: Error, path: &Path, otherwise: &str) -> Error {
    match error.downcast_ref::<Advice>() {
        Some(_) => error,
        None => to_write(error, path, otherwise),
    }
}

/// Adds to an error what helps to write `path`.
pub fn to_write(error: Error, path: &Path, otherwise: &str) -> Error {
    match reason(&error).and_then(|number| about(number, path, otherwise)) {
        Some(advice) => error.context(Advice(advice)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::{ELSEWHERE, about, about_plan, added, reason};
    use crate::error::message;
    use anyhow::Error;
    use klon_imaging::Error as ImagingError;
    use klon_partition::planner::Warning;
    use nix::libc::{EDQUOT, EFBIG, EIO, ENOSPC, EROFS};
    use std::io;
    use std::path::Path;

    #[test]
    fn warnings_of_the_planner_get_the_commands_that_help() {
        let group = "Boot".to_owned();
        let told = |warning: Warning| about_plan(&warning);
        assert_eq!(
            told(Warning::BootCode {
                group: group.clone()
            }),
            Some("A new disk gets the code back by klon restore")
        );
        let unassigned = Warning::Unassigned {
            group,
            room_bytes: 2,
            first_bytes: 1,
        };
        assert_eq!(
            told(unassigned),
            Some("klon clone or klon image of the whole disk copies them too")
        );
        let covered = Warning::Covered {
            covered_bytes: 1,
            first_bytes: 1,
        };
        assert_eq!(told(covered), None);
    }

    #[test]
    fn each_reason_has_what_helps() {
        let path = Path::new("/there/file");
        for (number, word) in [
            (ENOSPC, "full"),
            (EDQUOT, "quota"),
            (EFBIG, "ulimit -f"),
            (EROFS, "read-only"),
        ] {
            let source = io::Error::from_raw_os_error(number);
            let error = ImagingError::RecordIo {
                path: path.to_owned(),
                doing: "write",
                source,
            };
            let error = Error::from(error);
            assert_eq!(reason(&error), Some(number));
            let text = message(&added(error));
            assert!(
                text.contains(word) && text.contains("/there/file"),
                "{text}"
            );
        }
        assert_eq!(about(EIO, path, ELSEWHERE), None);
    }
}
