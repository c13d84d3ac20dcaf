//! Parts that are counted: `NAME.1`, `NAME.2`, …, `NAME.10`, or from 0 on.
//! Most files with such names are no parts: the partitions of a disk have them, too. klon takes them for
//! parts only where everything speaks for it.

use super::judge::are_counted;
use super::names::Frame;
use super::{Parts, named_first};
use klon_partition::{Error, Result};
use std::path::{Path, PathBuf};

/// All parts of a set, by its first part `given`, whose number is `suffix`. `None` if there is no such set.
///
/// # Errors
/// [`Error::Invalid`] when it is another part, or a part is missing or not whole; [`Error::Open`].
pub(super) fn find(given: &Path, frame: &Frame<'_>, suffix: &[u8]) -> Result<Option<Parts>> {
    let Some(number) = counted(suffix) else {
        return Ok(None);
    };
    let text = |number: u32| number.to_string().into_bytes();
    let Some(start) = [0, 1].into_iter().find(|&it| frame.has(&text(it))) else {
        return Ok(None);
    };
    let suffixes = frame.suffixes()?;
    // One digit of sixteen (`split -x -a 1`).
    if (suffixes.iter()).any(|it| matches!(it[..], [b'a' | b'A'])) && frame.has(b"9") {
        return Ok(None);
    }
    let mut numbers: Vec<u32> = suffixes.iter().filter_map(|it| counted(it)).collect();
    numbers.sort_unstable();
    let path = |number: u32| frame.path(&text(number));
    let paths: Vec<PathBuf> = numbers.iter().copied().map(path).collect();
    if numbers.first() != Some(&start) || !are_counted(&paths)? {
        return Ok(None);
    }
    let expected = (start..).zip(&numbers);
    if let Some((missing, there)) = expected.into_iter().find(|(one, other)| one != *other) {
        return Err(Error::Invalid(format!(
            "{} is missing, but there is {}",
            frame.name(&text(missing)),
            frame.name(&text(*there))
        )));
    }
    let parts = Parts {
        paths: paths.into(),
    };
    parts.check_lengths()?;
    if number != start {
        return Err(named_first(given, frame, &text(start)));
    }
    Ok(Some(parts))
}

/// The number that a suffix is, without zeroes before it.
fn counted(suffix: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(suffix).ok()?;
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
