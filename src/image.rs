//! Images as the user names them: FILE, or FILE@N for the snapshot of that number.

pub mod at_rest;
pub mod lock;
pub mod state;

use crate::confirm;
use crate::error::{self, Advice, CORRUPT, Failure, refused, usage};
use crate::human;
use crate::output::Stream;
use anyhow::{Context as _, Result};
use klon_imaging::clock::unix_seconds_now;
use klon_imaging::image::{
    Adopted, Append, FilesAppend, Header, Image, ImageFiles, ImageWriter, Snapshot, StreamAppend,
};
use klon_partition::ReadAt;
use klon_partition::Shown;
use klon_partition::device::look_at;
use klon_partition::planner::parse_size;
use klon_partition::text::{quoted, unsealed};
use lock::Claimed;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An image, and which snapshot of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// The file; of an image in parts the first of them, `NAME.000`.
    pub path: PathBuf,
    /// The snapshot's number; `None` for the last one.
    pub snapshot: Option<u64>,
}

impl ImageName {
    /// Takes FILE or FILE@N apart. A file whose own name ends so is that file. FILE may be the name
    /// of parts.
    pub fn parse(given: &Path) -> Result<Self> {
        let whole = Self {
            path: first_part(given),
            snapshot: None,
        };
        if whole.path.exists() {
            return Ok(whole);
        }
        let text = given.shown();
        let Some((path, number)) = text.rsplit_once('@') else {
            return Ok(whole);
        };
        let number = number.parse().map_err(|_| {
            usage(format!(
                "{text}: {} is not a snapshot number; `klon list {path}` shows them",
                quoted(number)
            ))
        })?;
        Ok(Self {
            path: first_part(Path::new(&unsealed(path))),
            snapshot: Some(number),
        })
    }

    /// The image that `given` names, if the file is one: FILE or FILE@N.
    pub fn find(given: &Path) -> Result<Option<Self>> {
        let is_plain = std::fs::metadata(first_part(given)).is_ok_and(|found| found.is_file());
        if !is_plain && given.exists() {
            return Ok(None);
        }
        let is_numbered = |text: &str| {
            let number = text.rsplit_once('@').map(|(_, number)| number);
            number.is_some_and(|number| number.parse::<u64>().is_ok())
        };
        if !is_plain && !is_numbered(&given.shown()) {
            return Ok(None);
        }
        let name = Self::parse(given)?;
        Ok(name.is_image()?.then_some(name))
    }

    /// Whether the file is an image of klon's.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn is_image(&self) -> Result<bool> {
        // An image that lacks a part is one, too.
        let whole = ImageFiles::find(&self.path).and_then(|files| files.open());
        match (whole, look_at(&self.path)) {
            (Ok(whole), _) => Ok(Image::is_image(&*whole)?),
            (Err(_), Ok(part)) => Ok(Image::is_image(&part)?),
            (Err(_), Err(_)) => Ok(false),
        }
    }

    /// Opens the file. Nobody prunes it as long as it is open.
    pub fn open(&self) -> Result<Image> {
        let device = lock::reading(self.files()?.first(), || self.device())?;
        self.open_device(device)
    }

    /// Opens the file for someone who has it alone.
    pub fn open_alone(&self) -> Result<Image> {
        self.open_device(self.device()?)
    }

    fn device(&self) -> Result<Arc<dyn ReadAt>> {
        let device = self.files()?.open();
        device.with_context(|| self.path.shown())
    }

    fn open_device(&self, device: Arc<dyn ReadAt>) -> Result<Image> {
        if !Image::is_image(&*device).with_context(|| self.path.shown())? {
            let name = self.path.shown();
            return Err(Failure {
                message: format!(
                    "{name} is not a klon image. (To make one: klon image {} FILE.klon)",
                    confirm::quoted(&name)
                ),
                code: CORRUPT,
            }
            .into());
        }
        Image::open(device).with_context(|| self.path.shown())
    }

    /// The file or the parts that it is kept in.
    ///
    /// # Errors
    /// [`usage`] when there is no such file. When one of the parts is missing or can't be read.
    pub fn files(&self) -> Result<ImageFiles> {
        if !self.path.try_exists().unwrap_or(true) {
            return Err(not_there(&self.path));
        }
        ImageFiles::find(&self.path).with_context(|| self.path.shown())
    }

    /// Opens the snapshot.
    ///
    /// # Errors
    /// As `open`, and when the image has no snapshot of that number, or can't read it.
    pub fn open_snapshot(&self) -> Result<Arc<Snapshot>> {
        let name = || self.path.shown();
        let image = self.open()?;
        match image.snapshot(self.snapshot) {
            Ok(snapshot) => Ok(Arc::new(snapshot)),
            Err(error @ klon_partition::Error::Corrupt(_)) => Err(error)
                .context(Advice(format!(
                    "The manifest of this snapshot is damaged. klon verify {} says which snapshots \
                     are intact",
                    name()
                )))
                .with_context(name),
            Err(error) => Err(error).with_context(name),
        }
    }
}

/// What was asked for of an image's form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// How long its parts are, for one that is kept in parts.
    pub part_bytes: Option<u64>,
    /// Size of its chunks.
    pub chunk_bytes: Option<u64>,
}

impl Shape {
    /// From `--split` and `--chunk`.
    pub fn parse(split: Option<&str>, chunk: Option<&str>) -> Result<Self> {
        let size = |option: &str, text: Option<&str>| {
            let parsed = text.map(|text| {
                parse_size(text).map_err(|error| usage(format!("{option} {text}: {error}")))
            });
            parsed.transpose()
        };
        let shape = Self {
            part_bytes: size("--split", split)?,
            chunk_bytes: size("--chunk", chunk)?,
        };
        // Before anything is made.
        shape.header()?;
        Ok(shape)
    }

    /// The header of a new image.
    fn header(&self) -> Result<Header> {
        let header = Header::new(unix_seconds_now());
        let Some(chunk_bytes) = self.chunk_bytes else {
            return Ok(header);
        };
        header.with_chunks(chunk_bytes).ok_or_else(|| {
            usage(format!(
                "--chunk {chunk_bytes}: expected 64K, 128K, 256K, 512K, 1M, 2M, 4M, 8M or 16M"
            ))
        })
    }

    /// Refuses an image that has other chunks.
    fn check(&self, image: &Image, name: &ImageName) -> Result<()> {
        let own = image.header().chunk_size.bytes();
        match self.chunk_bytes {
            Some(asked) if asked != own => Err(refused(format!(
                "{} has chunks of {}, and an image has chunks of one size only. Leave out --chunk, \
                 or begin a new image",
                name.path.shown(),
                human::size(own)
            ))),
            _ => Ok(()),
        }
    }
}

/// An image to be added to, locked against others who would.
pub struct OpenForAppend {
    before: Option<Image>,
    writer: ImageWriter<Box<dyn Append>>,
    /// Its first file; `None` for standard output.
    claimed: Option<Claimed>,
}

/// What is left of a run that added no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The image is as it was. Only behind its last snapshot there may be something new.
    Earlier,
    /// That many bytes of a new image, which the same run does not write again.
    Some(u64),
    /// Nothing: there is no image.
    Nothing,
}

/// A new image is worth keeping from here on: it has more than its header.
const LEFT_BYTES_MIN: u64 = 64 << 10;

impl OpenForAppend {
    /// Opens an image, or makes it. Goes on behind the whole chunks that an interrupted run left. If `shape` has a
    /// length of parts, the image is split into parts of that length.
    pub fn new(name: &ImageName, shape: &Shape) -> Result<Self> {
        let is_begun = std::fs::metadata(&name.path).is_ok_and(|found| found.len() > 0);
        let path = match shape.part_bytes {
            Some(_) if !is_begun => ImageFiles::first_part(&name.path),
            _ => name.path.clone(),
        };
        let claimed = Claimed::open(&path)?;
        let found = claimed.file.metadata();
        let found = found.with_context(|| path.shown())?;
        if !found.is_file() {
            return Err(not_plain(&path));
        }
        if found.len() > 0 {
            return Self::resume(claimed, shape);
        }
        Self::begin(claimed, shape).map_err(|(error, claimed)| {
            // Ours, and empty; the first error is what matters.
            let _ = claimed.discard(1);
            error
        })
    }

    fn begin(claimed: Claimed, shape: &Shape) -> Result<Self, (anyhow::Error, Claimed)> {
        let path = &claimed.path;
        let begun = || -> Result<_> {
            let first = ImageFiles::first_part(path);
            let (twin, second) = if &first == path {
                (path.with_extension(""), path.with_extension("001"))
            } else {
                (first, PathBuf::new())
            };
            lock::no_twin(&claimed, &twin)?;
            if shape.part_bytes.is_some() && second.symlink_metadata().is_ok() {
                return Err(refused(format!(
                    "{} exists already, where a part of the new image would be. Name another image",
                    second.shown()
                )));
            }
            let file = claimed.file.try_clone()?;
            let output = FilesAppend::begin(file, path, shape.part_bytes);
            let output: Box<dyn Append> = Box::new(output?);
            Ok(ImageWriter::create(output, shape.header()?)?)
        };
        match begun().with_context(|| path.shown()) {
            Ok(writer) => Ok(Self {
                before: None,
                writer,
                claimed: Some(claimed),
            }),
            Err(error) => Err((error, claimed)),
        }
    }

    fn resume(claimed: Claimed, shape: &Shape) -> Result<Self> {
        let name = ImageName {
            path: claimed.path.clone(),
            snapshot: None,
        };
        let given = || name.path.shown();
        if !name.is_image()? {
            return Err(refused(format!(
                "{} exists and is not a klon image. Name another file",
                given()
            )));
        }
        let image = name.open()?;
        shape.check(&image, &name)?;
        ImageWriter::<Box<dyn Append>>::check_appendable(&image).with_context(given)?;
        let adopted = Adopted::find(image.device(), image.header(), image.tail());
        let adopted = adopted.with_context(given)?;
        let files = name.files()?;
        let file = claimed.file.try_clone().with_context(given)?;
        if !claimed.is_named() {
            return Err(refused(format!(
                "someone replaced {} while klon opened it. Run the command again",
                given()
            )));
        }
        if shape.part_bytes.is_some() && !files.is_split() {
            return Err(refused(format!(
                "{} is one file, and only a new image can be kept in parts. Leave out --split, or \
                 name another file",
                given()
            )));
        }
        let output = FilesAppend::resume(&files, file, adopted.end, shape.part_bytes);
        let output: Box<dyn Append> = Box::new(output.with_context(given)?);
        let writer = ImageWriter::resume(output, &image, &adopted).with_context(given)?;
        Ok(Self {
            before: Some(image),
            writer,
            claimed: Some(claimed),
        })
    }

    /// A new image that goes to standard output.
    pub fn stream(shape: &Shape) -> Result<Self> {
        let output: Box<dyn Append> = Box::new(StreamAppend::new(Stream::open()?));
        Ok(Self {
            before: None,
            writer: ImageWriter::create(output, shape.header()?)?,
            claimed: None,
        })
    }

    /// The image as it was before.
    pub const fn before(&self) -> Option<&Image> {
        self.before.as_ref()
    }

    /// What adds to it.
    pub const fn writer(&mut self) -> &mut ImageWriter<Box<dyn Append>> {
        &mut self.writer
    }

    /// After the snapshot is durable: that its image still has its name.
    ///
    /// # Errors
    /// [`Failure`] when another file has the name by now.
    pub fn done(self) -> Result<()> {
        match self.claimed.filter(|claimed| !claimed.is_named()) {
            None => Ok(()),
            Some(claimed) => Err(Failure {
                message: format!(
                    "someone renamed, replaced or removed {} while klon added the snapshot, so the \
                     snapshot is in the file that had this name before",
                    claimed.path.shown()
                ),
                code: error::DEVICE,
            }
            .into()),
        }
    }

    /// Puts the file in order after a run that added no snapshot. If `is_kept`, the next run can go on with a new
    /// image.
    pub fn give_up(self, is_kept: bool) -> Left {
        let Self {
            before,
            writer,
            claimed,
        } = self;
        let file_count = writer.into_output().file_count();
        let Some(claimed) = claimed else {
            return Left::Nothing;
        };
        if before.is_some() {
            return Left::Earlier;
        }
        let files = ImageFiles::find(&claimed.path);
        let len_bytes = files.map_or(0, |files| files.len_bytes());
        if is_kept && len_bytes >= LEFT_BYTES_MIN {
            return Left::Some(len_bytes);
        }
        match claimed.discard(file_count) {
            Ok(()) => Left::Nothing,
            Err(_) => Left::Some(len_bytes),
        }
    }
}

/// That there is no image of this name.
pub fn not_there(path: &Path) -> anyhow::Error {
    usage(format!("{}: there is no such file", path.shown()))
}

/// That an image must be a plain file.
pub fn not_plain(path: &Path) -> anyhow::Error {
    refused(format!(
        "{} is not a plain file, as an image must be. To copy to a device, use `klon clone`",
        path.shown()
    ))
}

/// The first part of an image whose name is `path`; otherwise that.
pub fn first_part(path: &Path) -> PathBuf {
    let mut first = path.as_os_str().to_owned();
    first.push(".000");
    let first = PathBuf::from(first);
    // An empty one is what a first run has left that failed.
    let is_begun =
        || std::fs::metadata(&first).is_ok_and(|found| found.is_file() && found.len() > 0);
    if !path.exists() && is_begun() {
        first
    } else {
        path.to_owned()
    }
}
