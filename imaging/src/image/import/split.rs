//! Parts that `split` made of one file: which files they are, and all of them read as one again.
//!
//! Suffixes are letters (`aa`), or numbers with `-d` (`00`). When they are used up to the last but one
//! first letter, `split` goes on with longer ones, so that names stay in order: `yz`, `zaaa`, …, `zyzz`,
//! `zzaaaa`; `89`, `9000`. With `-a` all have one length (GNU Coreutils, "split invocation").

mod counted;

use crate::foreign;
use crate::image::parts::Joined;
use crate::packed::{Packing, Unpacked, unpack};
use klon_partition::Shown;
use klon_partition::device::{Window, look_at};
use klon_partition::filesystem::probe;
use klon_partition::{Error, Extent, ReadAt, Result};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest suffix of a first part that is looked for.
const SUFFIX_LEN_MAX: usize = 8;
/// The backup of a GPT is never longer.
const BACKUP_BYTES_MAX: u64 = 1 << 20;
/// Endings of two letters that files beside the parts may have.
const OTHER_ENDINGS: [&str; 5] = ["gz", "xz", "lz", "md", "sh"];

/// The parts of a file that was split, in order; one file alone is its only part. At most one is open.
#[derive(Clone, Debug)]
pub struct Parts {
    paths: VecDeque<PathBuf>,
}

/// What suffixes are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letters {
    Alphabet,
    Digits,
}

impl Letters {
    const fn first(self) -> u8 {
        match self {
            Self::Alphabet => b'a',
            Self::Digits => b'0',
        }
    }

    const fn last(self) -> u8 {
        match self {
            Self::Alphabet => b'z',
            Self::Digits => b'9',
        }
    }

    fn of(suffix: &str) -> Option<Self> {
        let all = |letters: Self| {
            suffix
                .bytes()
                .all(|byte| (letters.first()..=letters.last()).contains(&byte))
        };
        let found = [Self::Alphabet, Self::Digits]
            .into_iter()
            .find(|&it| all(it));
        found.filter(|_| (2..=SUFFIX_LEN_MAX).contains(&suffix.len()))
    }

    /// Whether a set may begin with it: `aa`, `00`, or `01`, from which `--numeric-suffixes=1` counts.
    fn is_first(self, suffix: &str) -> bool {
        let (last, rest) = suffix.as_bytes().split_last().unwrap_or((&0, &[]));
        let is_start = *last == self.first() || (self == Self::Digits && *last == b'1');
        is_start && rest.iter().all(|byte| *byte == self.first())
    }

    /// The suffix after one of the same length; `None` after the last.
    fn following(self, suffix: &str) -> Option<String> {
        let mut bytes = suffix.as_bytes().to_vec();
        for byte in bytes.iter_mut().rev() {
            if *byte < self.last() {
                *byte += 1;
                return String::from_utf8(bytes).ok();
            }
            *byte = self.first();
        }
        None
    }

    /// The next suffix. After the last suffix of a first letter it is a longer one. The first suffix of the
    /// set had `len` letters.
    fn growing(self, suffix: &str, len: usize) -> Option<String> {
        let last = char::from(self.last());
        let grown = suffix.chars().take_while(|&letter| letter == last).count();
        let body = suffix
            .get(grown..)
            .filter(|body| body.len() == len + grown)?;
        let next = self.following(body)?;
        Some(match next.starts_with(last) {
            false => format!("{}{next}", &suffix[..grown]),
            true => {
                let first = char::from(self.first()).to_string();
                let prefix = last.to_string().repeat(grown + 1);
                format!("{prefix}{}", first.repeat(len + grown + 1))
            }
        })
    }
}

impl Parts {
    /// All parts of the set that begins with `first` (`NAME.aa`, `NAME.ab`, …; `NAME.00`, …), or that file
    /// alone. Files with numbers may also be backups of several days. They are refused where each of them
    /// begins like a disk, a volume or an image of its own, or where their sizes are not those of parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one between the first and the last is missing, `first` is another part, or
    /// may be; [`Error::Open`].
    pub fn find(first: &Path) -> Result<Self> {
        let alone = || Self {
            paths: [first.to_owned()].into(),
        };
        let name = first.file_name().and_then(|name| name.to_str());
        let split = name.and_then(|name| name.rsplit_once('.'));
        let Some((stem, suffix)) = split.filter(|(stem, _)| !stem.is_empty()) else {
            return Ok(alone());
        };
        if let Some(counted) = counted::find(first, stem, suffix)? {
            return Ok(counted);
        }
        let Some(letters) = Letters::of(suffix) else {
            return Ok(alone());
        };
        let path = |suffix: &str| first.with_file_name(format!("{stem}.{suffix}"));
        let zero = char::from(letters.first()).to_string().repeat(suffix.len());
        let is_second = suffix != zero && path(&zero).is_file();
        if !letters.is_first(suffix) || is_second {
            let start = char::from(letters.first()).to_string().repeat(2);
            let is_part = path(&start).is_file() && path(&start) != first && !is_beginning(first)?;
            return match is_part && reaches(letters, &start, suffix, &path) {
                true => Err(Error::Invalid(format!(
                    "{} is a part of a file; name the first of its parts, {stem}.{start}",
                    first.shown()
                ))),
                false => Ok(alone()),
            };
        }
        let suffixes = siblings(first, stem, suffix, letters)?;
        let paths: VecDeque<PathBuf> = in_order(letters, stem, suffix, suffixes)?
            .iter()
            .map(|suffix| path(suffix))
            .collect();
        let parts = Self { paths };
        if letters == Letters::Digits && parts.is_split() {
            parts.check_numbered()?;
        }
        Ok(parts)
    }

    /// Refuses files with numbers that need not be parts.
    fn check_numbered(&self) -> Result<()> {
        let doubtful = |why: &str| {
            Error::Invalid(format!(
                "{} may be the first of {} parts, but {why}. If they are parts, join them with `cat`; if \
                 not, give them other names",
                self.name(),
                self.count()
            ))
        };
        if let Some(second) = self.paths.get(1)
            && is_beginning(second)?
        {
            return Err(doubtful(
                "the next begins like a disk or an image by itself",
            ));
        }
        self.check_lengths()
            .map_err(|_| doubtful("their sizes are not those of parts"))
    }

    /// Refuses parts that are not as long as `split` makes them: all but the last have one length.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the part, [`Error::Open`].
    pub fn check_lengths(&self) -> Result<()> {
        let lengths = self.paths.iter().map(|path| len_of(path));
        let lengths = lengths.collect::<Result<Vec<u64>>>()?;
        let Some((&first, count)) = lengths.first().zip(u64::try_from(lengths.len()).ok()) else {
            return Ok(());
        };
        for (index, &len) in lengths.iter().enumerate() {
            // With `-n` the last has what can't be divided.
            let is_right = match index + 1 == lengths.len() {
                true => len <= first.saturating_add(count),
                false => len == first,
            };
            if !is_right {
                return Err(Error::Invalid(format!(
                    "{} has {len} bytes, and the first part {first}: it is not whole, or no part of the \
                     same file",
                    self.paths[index].shown()
                )));
            }
        }
        Ok(())
    }

    /// The unpacked bytes of all parts, as one stream, and how they were packed.
    ///
    /// # Errors
    /// As [`unpack`].
    pub fn open(self) -> Result<(Unpacked, Packing)> {
        let name = self.name();
        let reader = PartsReader {
            parts: self,
            current: None,
        };
        unpack(reader, &name)
    }

    /// The bytes as they are in the files, still packed, as one device. All parts are open then.
    ///
    /// # Errors
    /// [`Error::Open`] names the part that can't be opened.
    pub fn device(&self) -> Result<Arc<dyn ReadAt>> {
        let parts = self.paths.iter().map(|path| look_at(path));
        Ok(Arc::new(Joined::new(parts.collect::<Result<Vec<_>>>()?)))
    }

    /// Whether there are several parts.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.paths.len() > 1
    }

    /// How many parts there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// The path of the first part, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.paths.front();
        first.map_or_else(String::new, |path| path.shown())
    }
}

/// Whether a file begins like one that is no later part of another.
fn is_beginning(path: &Path) -> Result<bool> {
    let file = look_at(path)?;
    match foreign::recognize(&file) {
        Ok(None) => begins_raw(&file),
        Err(error @ Error::Io { .. }) => Err(error),
        _ => Ok(true),
    }
}

/// Whether a file begins like a disk or a volume. The last part of a disk has the backup of its GPT at
/// the end, and begins like nothing.
fn begins_raw(file: &dyn ReadAt) -> Result<bool> {
    let size_bytes = file.geometry().size_bytes;
    let front_bytes = size_bytes.saturating_sub(BACKUP_BYTES_MAX.min(size_bytes / 2));
    let Some(front) = Extent::new(0, front_bytes - front_bytes % 512) else {
        return foreign::looks_raw(file);
    };
    Ok(foreign::looks_raw(&Window::new(file, front)?)? || matches!(probe(file), Ok(Some(_))))
}

/// Whether all parts from `start` up to `suffix` are there.
fn reaches(letters: Letters, start: &str, suffix: &str, path: &dyn Fn(&str) -> PathBuf) -> bool {
    let mut at = Some(start.to_owned());
    while let Some(here) = at.filter(|here| path(here).is_file()) {
        if here == suffix {
            return true;
        }
        at = letters.growing(&here, start.len());
    }
    false
}

/// Suffixes of the files that may be parts, by length and then in order.
fn siblings(first: &Path, stem: &str, suffix: &str, letters: Letters) -> Result<Vec<String>> {
    let failed = |source| Error::Open {
        path: first.to_owned(),
        doing: "list the parts of",
        source,
    };
    let directory = first.parent().filter(|p| !p.as_os_str().is_empty());
    let entries = fs::read_dir(directory.unwrap_or(Path::new("."))).map_err(failed)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?.file_name();
        let part = entry.to_str().and_then(|entry| entry.rsplit_once('.'));
        if let Some((found_stem, end)) = part
            && found_stem == stem
            && end.len() >= suffix.len()
            && Letters::of(end).is_some_and(|of| of == letters)
            && (end.len() > suffix.len() || end >= suffix)
        {
            found.push(end.to_owned());
        }
    }
    found.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    Ok(found)
}

/// The suffixes that are parts; an error when one is missing.
fn in_order(letters: Letters, stem: &str, first: &str, found: Vec<String>) -> Result<Vec<String>> {
    let last = char::from(letters.last());
    // All names are of one length, or they grow: then those that begin with the last letter are longer.
    let is_fixed = (found.iter()).any(|it| it.len() == first.len() && it.starts_with(last));
    let mut expected = Some(first.to_owned());
    let mut parts: Vec<String> = Vec::new();
    for suffix in found {
        let is_longer = suffix.len() > first.len();
        // Of another set, or no part.
        if is_longer && (is_fixed || !suffix.starts_with(last)) {
            continue;
        }
        if Some(&suffix) != expected.as_ref() {
            if OTHER_ENDINGS.contains(&suffix.as_str()) {
                continue;
            }
            let expected = expected.unwrap_or_default();
            return Err(Error::Invalid(format!(
                "{stem}.{expected} is missing, but there is {stem}.{suffix}"
            )));
        }
        expected = match is_fixed {
            true => letters.following(&suffix),
            false => letters.growing(&suffix, first.len()),
        };
        parts.push(suffix);
    }
    Ok(parts)
}

fn len_of(path: &Path) -> Result<u64> {
    let found = fs::metadata(path).map(|found| found.len());
    found.map_err(|source| Error::Open {
        path: path.to_owned(),
        doing: "ask how long it is",
        source,
    })
}

struct PartsReader {
    parts: Parts,
    current: Option<File>,
}

impl Read for PartsReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                let len = file.read(buffer)?;
                if len > 0 || buffer.is_empty() {
                    return Ok(len);
                }
            }
            let Some(path) = self.parts.paths.pop_front() else {
                return Ok(0);
            };
            self.current = Some(File::open(path)?);
        }
    }
}

#[cfg(test)]
mod tests;
