//! Parts that `split` made of one file: which files they are, and all of them read as one again.
//!
//! Suffixes are letters (`aa`), or numbers with `-d` (`00`). When they are used up to the last but one
//! first letter, `split` goes on with longer ones, so that names stay in order: `yz`, `zaaa`, …, `zyzz`,
//! `zzaaaa`; `89`, `9000`. With `-a` all have one length (GNU Coreutils, "split invocation"). With `-x` they
//! are hexadecimal, and without a dot in the prefix nothing is before them (`xaa`).

mod counted;
mod judge;
mod letters;
mod names;

use crate::foreign;
use crate::image::parts::Joined;
use crate::packed::{Packing, Unpacked, unpack};
use klon_partition::Shown;
use klon_partition::device::{Window, look_at};
use klon_partition::filesystem::probe;
use klon_partition::{Error, Extent, ReadAt, Result};
use letters::Letters;
use names::Frame;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How far behind a missing part another one is looked for where names are not telling.
const NEAR: usize = 10;
/// The backup of a GPT is never longer.
const BACKUP_BYTES_MAX: u64 = 1 << 20;
/// Endings of two letters that files beside the parts may have.
const OTHER_ENDINGS: [&[u8]; 5] = [b"gz", b"xz", b"lz", b"md", b"sh"];

/// The parts of a file that was split, in order; one file alone is its only part. At most one is open.
#[derive(Clone, Debug)]
pub struct Parts {
    paths: VecDeque<PathBuf>,
}

impl Parts {
    /// All parts of the set that begins with `first` (`NAME.aa`, `NAME.ab`, …; `NAME.00`, …; `xaa`, …), or
    /// that file alone. Files with numbers may also be backups of several days. They are refused where each of
    /// them begins like a disk, a volume or an image of its own, or where their sizes are not those of parts.
    /// Of a link, the file that it leads to may be a part as well.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one between the first and the last is missing, `first` is another part, or
    /// may be; [`Error::Open`].
    pub fn find(first: &Path) -> Result<Self> {
        let found = Self::by_name(first)?;
        let is_link = || fs::symlink_metadata(first).is_ok_and(|it| it.is_symlink());
        if found.is_none()
            && is_link()
            && let Ok(real) = first.canonicalize()
            && let Some(parts) = Self::by_name(&real)?
        {
            return Ok(parts);
        }
        Ok(found.unwrap_or_else(|| Self {
            paths: [first.to_owned()].into(),
        }))
    }

    /// The set of which `first` has the first name; `None` when it is a file alone.
    fn by_name(first: &Path) -> Result<Option<Self>> {
        for (frame, suffix) in Frame::all(first) {
            if let Some(parts) = counted::find(first, &frame, suffix)? {
                return Ok(Some(parts));
            }
            if let Some(parts) = Self::in_frame(first, &frame, suffix)? {
                return Ok(Some(parts));
            }
        }
        Ok(None)
    }

    /// The set that begins with `first`, by this way to read its name.
    fn in_frame(first: &Path, frame: &Frame<'_>, suffix: &[u8]) -> Result<Option<Self>> {
        let may_be = |letters: Letters| {
            let has_next = || (letters.following(suffix)).is_some_and(|next| frame.has(&next));
            letters.is_first(suffix) && (frame.is_dotted || has_next())
                || frame.has(&letters.zero(suffix.len()))
                || frame.has(&letters.zero(2))
        };
        if !Letters::possible(suffix).any(may_be) {
            return Ok(None);
        }
        let suffixes = frame.suffixes()?;
        let beside: Vec<&[u8]> = suffixes.iter().map(Vec::as_slice).collect();
        let beside: Vec<&[u8]> = (beside.into_iter())
            .filter(|it| it.len() == suffix.len())
            .collect();
        let Some(letters) = Letters::of(suffix, &beside) else {
            return Ok(None);
        };
        // One digit of ten is counted.
        if letters == Letters::Digits && suffix.len() == 1 {
            return Ok(None);
        }
        let set = Set {
            frame,
            letters,
            suffixes: &suffixes,
        };
        let zero = letters.zero(suffix.len());
        if !letters.is_first(suffix) || (suffix != zero && frame.has(&zero)) {
            set.check_later(first, suffix)?;
            return Ok(None);
        }
        set.from(suffix)
    }

    /// Refuses files with numbers that need not be parts.
    fn check_numbered(&self) -> Result<()> {
        if let Some(second) = self.paths.get(1)
            && is_beginning(second)?
        {
            return Err(self.doubtful("the next begins like a disk or an image by itself"));
        }
        self.check_lengths()
            .map_err(|_| self.doubtful("their sizes are not those of parts"))
    }

    /// Why they are not taken for parts, nor the first for a file alone.
    fn doubtful(&self, why: &str) -> Error {
        Error::Invalid(format!(
            "{} may be the first of {} parts, but {why}. If they are parts, join them with `cat`; if \
             not, give them other names",
            self.name(),
            self.count()
        ))
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

/// Refuses a part that is not the first.
fn named_first(given: &Path, frame: &Frame<'_>, start: &[u8]) -> Error {
    Error::Invalid(format!(
        "{} is a part of a file; name the first of its parts, {}",
        given.shown(),
        frame.name(start)
    ))
}

/// Files whose names differ in their suffix alone.
struct Set<'a> {
    frame: &'a Frame<'a>,
    letters: Letters,
    /// Suffixes of all of them, by length and then in order.
    suffixes: &'a [Vec<u8>],
}

impl Set<'_> {
    /// Whether the names alone show parts: behind a dot, and not just one letter.
    fn is_sure(&self, suffix: &[u8]) -> bool {
        self.frame.is_dotted && suffix.len() > 1
    }

    /// The parts from the first one on; `None` when there are no others, or they are none.
    fn from(&self, first: &[u8]) -> Result<Option<Parts>> {
        let is_sure = self.is_sure(first);
        let (suffixes, missing) = self.in_order(first);
        let last = suffixes.last();
        // Then `aa` is the end of a longer suffix.
        let is_used_up = last.is_some_and(|it| it.iter().all(|&it| it == self.letters.last()));
        let is_longer = !is_sure && self.frame.before.ends_with(&[self.letters.first()]);
        let is_set = suffixes.len() > 1 || (is_sure && missing.is_some());
        if !is_set || (is_used_up && is_longer) {
            return Ok(None);
        }
        let parts = Parts {
            paths: suffixes.iter().map(|it| self.frame.path(it)).collect(),
        };
        let is_telling = self.letters != Letters::Digits && first.len() > 1;
        if !is_sure && !judge::are_parts(&parts, is_telling)? {
            return Ok(None);
        }
        if let Some(missing) = missing {
            return Err(missing);
        }
        if is_sure && self.letters.first() == b'0' {
            parts.check_numbered()?;
        }
        Ok(Some(parts))
    }

    /// The suffixes that are parts, and an error when one is missing.
    fn in_order(&self, first: &[u8]) -> (Vec<Vec<u8>>, Option<Error>) {
        let letters = self.letters;
        let is_sure = self.is_sure(first);
        let found = self.suffixes.iter().filter(|it| {
            letters.has(it)
                && it.len() >= first.len()
                && (it.len() > first.len() || it.as_slice() >= first)
        });
        // All names are of one length, or they grow: then those that begin with the last letter are longer.
        let mut fixed = letters.zero(first.len());
        fixed[0] = letters.last();
        let is_fixed = found.clone().any(|it| match is_sure {
            true => it.len() == first.len() && it.first() == Some(&letters.last()),
            false => *it == fixed,
        });
        let after = |suffix: &[u8]| match is_fixed {
            true => letters.following(suffix),
            false => letters.growing(suffix, first.len()),
        };
        let mut expected = Some(first.to_vec());
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for suffix in found {
            let is_longer = suffix.len() > first.len();
            // Of another set, or no part.
            if is_longer && (is_fixed || suffix.first() != Some(&letters.last())) {
                continue;
            }
            if Some(suffix) != expected.as_ref() {
                if OTHER_ENDINGS.contains(&suffix.as_slice()) {
                    continue;
                }
                let near = std::iter::successors(expected.clone(), |it| after(it));
                if !is_sure && !near.take(NEAR).any(|it| it == *suffix) {
                    break;
                }
                let missing = Error::Invalid(format!(
                    "{} is missing, but there is {}. If that is no part, give it another name",
                    self.frame.name(&expected.unwrap_or_default()),
                    self.frame.name(suffix)
                ));
                return (parts, Some(missing));
            }
            expected = after(suffix);
            parts.push(suffix.clone());
        }
        (parts, None)
    }

    /// Refuses a file that is a later part of this set.
    fn check_later(&self, given: &Path, suffix: &[u8]) -> Result<()> {
        let starts = [suffix.len(), 2].map(|len| self.letters.zero(len));
        let Some(start) = (starts.iter()).find(|start| self.reaches(start, suffix)) else {
            return Ok(());
        };
        if start == suffix || is_beginning(given)? {
            return Ok(());
        }
        match self.is_sure(suffix) || self.from(start)?.is_some() {
            true => Err(named_first(given, self.frame, start)),
            false => Ok(()),
        }
    }

    /// Whether all parts from `start` up to `suffix` are there.
    fn reaches(&self, start: &[u8], suffix: &[u8]) -> bool {
        let is_there = |it: &Vec<u8>| self.frame.has(it);
        let mut at = Some(start.to_vec());
        while let Some(here) = at.filter(is_there) {
            if here == suffix {
                return true;
            }
            let next = self.letters.growing(&here, start.len()).filter(is_there);
            at = next.or_else(|| self.letters.following(&here));
        }
        false
    }
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
