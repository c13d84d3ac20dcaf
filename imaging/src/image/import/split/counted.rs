//! Parts that are counted: `NAME.1`, `NAME.2`, …, `NAME.10`, or from 0 on.
//! Most files with such names are no parts: the partitions of a disk have them, too. klon takes them for
//! parts only where everything speaks for it.

use super::{Parts, is_beginning, len_of};
use klon_partition::device::look_at;
use klon_partition::filesystem::probe;
use klon_partition::inspect::inspect;
use klon_partition::{Error, ReadAt, Result, Shown};
use std::fs;
use std::path::{Path, PathBuf};

/// All parts of a set, by its first part `given`. `stem` and `suffix` make up the name of that file. `None`
/// if there is no such set.
///
/// # Errors
/// [`Error::Invalid`] when it is another part, or a part is missing or not whole; [`Error::Open`].
pub(super) fn find(given: &Path, stem: &str, suffix: &str) -> Result<Option<Parts>> {
    let Some(number) = counted(suffix) else {
        return Ok(None);
    };
    let path = |number: u32| given.with_file_name(format!("{stem}.{number}"));
    let Some(start) = [0, 1].into_iter().find(|&number| path(number).is_file()) else {
        return Ok(None);
    };
    let numbers = numbers(given, stem)?;
    let paths: Vec<PathBuf> = numbers.iter().copied().map(path).collect();
    if numbers.first() != Some(&start) || !are_parts(&paths)? {
        return Ok(None);
    }
    let expected = (start..).zip(&numbers);
    if let Some((missing, there)) = expected.into_iter().find(|(one, other)| one != *other) {
        return Err(Error::Invalid(format!(
            "{stem}.{missing} is missing, but there is {stem}.{there}"
        )));
    }
    let parts = Parts {
        paths: paths.into(),
    };
    parts.check_lengths()?;
    if number != start {
        return Err(Error::Invalid(format!(
            "{} is a part of a file; name the first of its parts, {stem}.{start}",
            given.shown()
        )));
    }
    Ok(Some(parts))
}

/// The number that a suffix is, without zeroes before it.
fn counted(suffix: &str) -> Option<u32> {
    let number: u32 = suffix.parse().ok()?;
    (number.to_string() == suffix).then_some(number)
}

/// The numbers of all files of that stem, in order.
fn numbers(given: &Path, stem: &str) -> Result<Vec<u32>> {
    let failed = |source| Error::Open {
        path: given.to_owned(),
        doing: "list the parts of",
        source,
    };
    let directory = given.parent().filter(|it| !it.as_os_str().is_empty());
    let entries = fs::read_dir(directory.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let split = name.to_str().and_then(|name| name.rsplit_once('.'));
        let suffix = split.filter(|(other, _)| *other == stem);
        found.extend(suffix.and_then(|(_, suffix)| counted(suffix)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether the files can only be parts: the first is incomplete by itself, no other begins like a disk or an
/// image, and none is longer than a part may be.
fn are_parts(paths: &[PathBuf]) -> Result<bool> {
    let [first, others @ ..] = paths else {
        return Ok(false);
    };
    if others.is_empty() || is_whole(first)? {
        return Ok(false);
    }
    let most_bytes = len_of(first)?.saturating_add(paths.len() as u64);
    for other in others {
        if len_of(other)? > most_bytes || is_beginning(other)? {
            return Ok(false);
        }
    }
    // What tells nothing of itself may be anything.
    is_beginning(first)
}

/// Whether a file is a disk or a volume, and nothing lies behind its end.
fn is_whole(path: &Path) -> Result<bool> {
    let file = look_at(path)?;
    if let Ok(layout) = inspect(&file)
        && layout.table.is_some()
    {
        return Ok(layout.doubt().is_none());
    }
    let size_bytes = file.geometry().size_bytes;
    Ok(matches!(probe(&file), Ok(Some(found)) if found.summary().size_bytes <= size_bytes))
}
