//! Writing an image to a file, to parts of limited size, or to a stream.

use super::super::append::{Append, FileAppend};
use super::super::prune::HOLE_ALIGN;
use super::{ImageFiles, Part, part_path, without_number};
use crate::durable::sync_name;
use klon_partition::Shown;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The end of an image in a file or in parts.
pub struct FilesAppend {
    /// The name of the parts; `None` for a file that has none.
    name: Option<PathBuf>,
    /// How long a part may become.
    part_bytes: u64,
    number: usize,
    /// How long the last part is.
    filled: u64,
    output: FileAppend,
    /// The part after the last one, which is there before that is full: so a missing part can be told,
    /// whenever a run ends.
    next: Option<FileAppend>,
}

impl FilesAppend {
    /// Makes the first part of a new image, `NAME.000`; each has at most `part_bytes`.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AlreadyExists`]; [`io::ErrorKind::InvalidInput`] for
    /// parts of less than 4096 bytes.
    pub fn create(name: &Path, part_bytes: u64) -> io::Result<Self> {
        Self::start(name.to_owned(), 0, checked(part_bytes)?)
    }

    /// Begins a new image in an empty file that is open for reading and writing: the first of parts
    /// of at most `part_bytes` if it has the name of one, else all of it.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::InvalidInput`] for parts of less than 4096 bytes.
    pub fn begin(file: File, path: &Path, part_bytes: Option<u64>) -> io::Result<Self> {
        let name = match part_bytes {
            None => None,
            Some(_) => Some(without_number(path).ok_or(io::ErrorKind::InvalidInput)?),
        };
        Ok(Self {
            name,
            part_bytes: part_bytes.map_or(Ok(u64::MAX), checked)?,
            number: 0,
            filled: 0,
            output: FileAppend::over(file, 0)?,
            next: None,
        })
    }

    /// Adds to an image from `position` on; what it has behind that is cut off. It goes on in
    /// parts as long as the first one is, or as `part_bytes` says. `first` is its first file, open for
    /// reading and writing.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::InvalidInput`] when parts are asked for and it has
    /// none, or a part is missing.
    pub fn resume(
        files: &ImageFiles,
        first: File,
        position: u64,
        part_bytes: Option<u64>,
    ) -> io::Result<Self> {
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if let Err(error) = files.check_end() {
            return wrong(error.to_string());
        }
        if !files.is_split {
            if part_bytes.is_some() {
                return wrong("the image is one file; begin a new one for parts".to_owned());
            }
            return Ok(Self {
                name: None,
                part_bytes: u64::MAX,
                number: 0,
                filled: position,
                output: FileAppend::over(first, position)?,
                next: None,
            });
        }
        if let Some(missing) = files.missing() {
            return wrong(format!(
                "the part {0} seems to be missing; put it beside the others. If there never was \
                 one, make it an empty file",
                missing.shown()
            ));
        }
        let part_bytes = match (part_bytes, &files.parts[..]) {
            (Some(part_bytes), _) => checked(part_bytes)?,
            (None, [first, _, ..]) => first.len,
            (None, _) => u64::MAX,
        };
        Self::at(files, first, position, part_bytes)
    }

    fn at(files: &ImageFiles, first: File, position: u64, part_bytes: u64) -> io::Result<Self> {
        let count = files.parts.partition_point(|part| part.start <= position);
        let (keep, cut) = files.parts.split_at(count.max(1).min(files.parts.len()));
        // The last first, so that none is ever missing in the middle.
        for part in cut.iter().rev() {
            fs::remove_file(&part.path)?;
            sync_name(&part.path)?;
        }
        let Some(Part { path, start, .. }) = keep.last() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let filled = position.saturating_sub(*start);
        let here = filled.min(part_bytes);
        let mut output = Self {
            name: Some(files.name.clone()),
            part_bytes,
            number: keep.len() - 1,
            filled: here,
            output: match keep.len() {
                1 => FileAppend::over(first, here)?,
                _ => FileAppend::open(path, here)?,
            },
            next: None,
        };
        output.roll_when_full()?;
        // Padding up to the position; it is less than a block.
        let padding = usize::try_from(filled - here).map_err(io::Error::other)?;
        output.append(&vec![0; padding])?;
        Ok(output)
    }

    fn start(name: PathBuf, number: usize, part_bytes: u64) -> io::Result<Self> {
        let output = Self::part(&name, number)?;
        Ok(Self {
            name: Some(name),
            part_bytes,
            number,
            filled: 0,
            output,
            next: None,
        })
    }

    /// Makes an empty part.
    fn part(name: &Path, number: usize) -> io::Result<FileAppend> {
        let path = part_path(name, number);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path);
        // The name says which of them was in the way.
        let named = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let what = format!("{} exists already", path.shown());
                io::Error::new(io::ErrorKind::AlreadyExists, what)
            }
            _ => error,
        };
        let file = file.map_err(named)?;
        sync_name(&path)?;
        FileAppend::over(file, 0)
    }

    /// Makes the part after the last one; `None` for a file that has none.
    fn begin_next(&self) -> io::Result<Option<FileAppend>> {
        let name = self.name.as_deref();
        name.map(|name| Self::part(name, self.number + 1))
            .transpose()
    }

    /// Goes on in the next part when one is full.
    fn roll_when_full(&mut self) -> io::Result<()> {
        if self.filled < self.part_bytes {
            return Ok(());
        }
        let next = match self.next.take() {
            Some(next) => Some(next),
            None => self.begin_next()?,
        };
        let Some(next) = next else {
            return Ok(());
        };
        self.output.sync()?;
        self.output = next;
        self.number += 1;
        self.filled = 0;
        Ok(())
    }
}

/// Parts are whole blocks, so that holes can be made at the same places as in one file.
fn checked(part_bytes: u64) -> io::Result<u64> {
    match part_bytes / HOLE_ALIGN * HOLE_ALIGN {
        0 => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("parts of {part_bytes} bytes are too small"),
        )),
        part_bytes => Ok(part_bytes),
    }
}

impl Append for FilesAppend {
    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = usize::try_from(self.part_bytes - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(left));
            if now.len() == left && self.next.is_none() {
                self.next = self.begin_next()?;
            }
            self.output.append(now)?;
            self.filled += now.len() as u64;
            self.roll_when_full()?;
            bytes = later;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.output.sync()
    }

    fn file_count(&self) -> usize {
        self.number + 1
    }
}

/// A stream, as standard output. It can't be made durable from here.
pub struct StreamAppend<W>(W);

impl<W: Write + Send> StreamAppend<W> {
    /// A new image goes to `output`.
    pub const fn new(output: W) -> Self {
        Self(output)
    }
}

impl<W: Write + Send> Append for StreamAppend<W> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
