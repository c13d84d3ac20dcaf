//! Images as the user names them: FILE, or FILE@N for the snapshot of that number.

pub mod lock;

use crate::confirm;
use crate::error::{Advice, CORRUPT, Failure, refused, usage};
use crate::human;
use anyhow::{Context as _, Result};
use klon_imaging::image::{
    Adopted, Append, FilesAppend, Header, Image, ImageFiles, ImageWriter, Snapshot, StreamAppend,
};
use klon_partition::ReadAt;
use klon_partition::Shown;
use klon_partition::device::look_at;
use klon_partition::planner::parse_size;
use klon_partition::text::{quoted, unsealed};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

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
                "{text}: {} is no number of a snapshot; `klon list {path}` shows them",
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
    pub fn is_image(&self) -> Result<bool> {
        // One of which a part is missing is one, too.
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
    pub fn files(&self) -> Result<ImageFiles> {
        ImageFiles::find(&self.path).with_context(|| self.path.shown())
    }

    /// Opens the snapshot.
    pub fn open_snapshot(&self) -> Result<Arc<Snapshot>> {
        let name = || self.path.shown();
        let image = self.open()?;
        match image.snapshot(self.snapshot) {
            Ok(snapshot) => Ok(Arc::new(snapshot)),
            Err(error @ klon_partition::Error::Corrupt(_)) => Err(error)
                .context(Advice(format!(
                    "It is this snapshot's manifest that is damaged; klon verify {} says which \
                     snapshots are whole",
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let header = Header::new(now.unwrap_or_default().as_secs());
        let Some(chunk_bytes) = self.chunk_bytes else {
            return Ok(header);
        };
        header.with_chunks(chunk_bytes).ok_or_else(|| {
            usage(format!(
                "--chunk: chunks are 64K, 128K, 256K, 512K, 1M, 2M, 4M, 8M or 16M, not {chunk_bytes} \
                 bytes"
            ))
        })
    }

    /// Refuses an image that has other chunks.
    fn check(&self, image: &Image, name: &ImageName) -> Result<()> {
        let own = image.header().chunk_bytes;
        match self.chunk_bytes {
            Some(asked) if asked != u64::from(own) => Err(refused(format!(
                "{} has chunks of {}, and all of a file are of one size; leave out --chunk, or begin \
                 a new image",
                name.path.shown(),
                human::size(own.into())
            ))),
            _ => Ok(()),
        }
    }
}

/// An image to be added to, locked against others who would.
pub struct OpenForAppend {
    before: Option<Image>,
    writer: ImageWriter<Box<dyn Append>>,
    _lock: Option<File>,
}

impl OpenForAppend {
    /// Opens an image, or makes it. Goes on behind what an interrupted run left and is whole.
    /// With a length of parts it is, and goes on, in parts of that length.
    pub fn new(name: &ImageName, shape: &Shape) -> Result<Self> {
        let path = &name.path;
        let given = || path.shown();
        let is_new = !std::fs::metadata(path).is_ok_and(|found| found.len() > 0);
        if is_new {
            let header = shape.header()?;
            let output = match shape.part_bytes {
                Some(part_bytes) => FilesAppend::create(path, part_bytes),
                None => FilesAppend::create_whole(path),
            };
            let output: Box<dyn Append> = Box::new(output.with_context(given)?);
            let lock = lock::for_writing(&first_part(path))?;
            return Ok(Self {
                before: None,
                writer: ImageWriter::create(output, header).with_context(given)?,
                _lock: Some(lock),
            });
        }
        if !name.is_image()? {
            return Err(refused(format!(
                "{} exists and is not a klon image; name another file",
                path.shown()
            )));
        }
        let lock = lock::for_writing(path)?;
        let image = name.open()?;
        shape.check(&image, name)?;
        ImageWriter::<Box<dyn Append>>::check_appendable(&image).with_context(given)?;
        let adopted = Adopted::find(image.device(), image.header(), image.tail());
        let adopted = adopted.with_context(given)?;
        let output = FilesAppend::resume(&name.files()?, adopted.end, shape.part_bytes);
        let output: Box<dyn Append> = Box::new(output.with_context(given)?);
        let writer = ImageWriter::resume(output, &image, &adopted).with_context(given)?;
        Ok(Self {
            before: Some(image),
            writer,
            _lock: Some(lock),
        })
    }

    /// A new image that goes to standard output.
    pub fn stream(shape: &Shape) -> Result<Self> {
        let output: Box<dyn Append> = Box::new(StreamAppend::new(std::io::stdout()));
        Ok(Self {
            before: None,
            writer: ImageWriter::create(output, shape.header()?)?,
            _lock: None,
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
}

/// The first part of an image whose name is `path`; otherwise that.
pub fn first_part(path: &Path) -> PathBuf {
    let mut first = path.as_os_str().to_owned();
    first.push(".000");
    let first = PathBuf::from(first);
    match !path.exists() && first.is_file() {
        true => first,
        false => path.to_owned(),
    }
}
