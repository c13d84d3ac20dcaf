//! Writing evidence: the identities while a run looks at its files, the rest when its record is durable.

use super::{Belonging, CRC_AT, Evidence, EvidenceMeta, HEADER_LEN, MAGIC, VERSION};
use crate::durable;
use crate::extents::encode_extents;
use crate::section;
use klon_partition::{Extent, ExtentMap};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How the names of files begin that are not complete.
const PREFIX: &str = ".evidence-";

/// Where the identities of files go during a walk.
#[derive(Debug)]
pub enum Spool {
    /// To the file that becomes the evidence.
    Kept(Box<Beginning>),
    /// Nowhere: nothing is kept of this run.
    Dropped,
}

/// A file that is to become the evidence at a path.
#[derive(Debug)]
pub struct Beginning {
    file: BufWriter<Scratch>,
    path: PathBuf,
}

/// Where evidence is while it is written.
#[derive(Debug)]
enum Scratch {
    /// Beside the one that it will replace.
    Beside(NamedTempFile),
    /// In memory: nothing may be written to a filesystem that is at rest.
    Memory(File),
}

impl Scratch {
    fn as_file(&self) -> &File {
        match self {
            Self::Beside(file) => file.as_file(),
            Self::Memory(file) => file,
        }
    }

    /// The file beside the one at `path`, with all of this.
    fn beside(self, path: &Path) -> io::Result<NamedTempFile> {
        let mut memory = match self {
            Self::Beside(file) => return Ok(file),
            Self::Memory(file) => file,
        };
        fs::create_dir_all(durable::directory_of(path))?;
        let mut file = durable::begin(path, PREFIX)?;
        memory.rewind()?;
        io::copy(&mut memory, file.as_file_mut())?;
        Ok(file)
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Beside(file) => file.write(bytes),
            Self::Memory(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Beside(file) => file.flush(),
            Self::Memory(file) => file.flush(),
        }
    }
}

impl Spool {
    /// Begins the evidence that is to be at `path`, beside what is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(durable::directory_of(path))?;
        Self::begin_in(Scratch::Beside(durable::begin(path, PREFIX)?), path)
    }

    /// The same, in memory until it is [kept](Draft::keep).
    ///
    /// # Errors
    /// What the system says.
    pub fn in_memory(path: &Path) -> io::Result<Self> {
        let memory = memfd_create(c"klon-evidence", MFdFlags::MFD_CLOEXEC)?;
        Self::begin_in(Scratch::Memory(memory.into()), path)
    }

    fn begin_in(scratch: Scratch, path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::new(scratch);
        // By its first bytes the next run tells it from what is not klon's, should this one be killed.
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(MAGIC);
        file.write_all(&header)?;
        Ok(Self::Kept(Box::new(Beginning {
            file,
            path: path.to_owned(),
        })))
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Kept(beginning) => beginning.file.write(bytes),
            Self::Dropped => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Kept(beginning) => beginning.file.flush(),
            Self::Dropped => Ok(()),
        }
    }
}

/// Evidence that lacks only what is known at the end of a run. Dropped it leaves no trace.
#[derive(Debug)]
pub struct Draft {
    file: BufWriter<Scratch>,
    path: PathBuf,
    identities_bytes: u64,
    written_past: ExtentMap,
    /// What is known so far of the volume and of the runs.
    pub meta: EvidenceMeta,
}

impl Draft {
    /// Evidence whose identities are in `spool` and have this length; `None` where the spool kept nothing.
    /// `written_past` has the bytes of files that are written past the filesystem.
    #[must_use]
    pub fn new(
        spool: Spool,
        identities_bytes: u64,
        written_past: ExtentMap,
        meta: EvidenceMeta,
    ) -> Option<Self> {
        let Spool::Kept(beginning) = spool else {
            return None;
        };
        let Beginning { file, path } = *beginning;
        Some(Self {
            file,
            path,
            identities_bytes,
            written_past,
            meta,
        })
    }

    /// Where it will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it shows already, for the next look of the same run; it belongs to nothing yet.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn so_far(&mut self, findings: Findings) -> io::Result<Evidence> {
        let Findings {
            signatures,
            damaged,
        } = findings;
        self.file.flush()?;
        Ok(Evidence {
            belonging: Belonging::Record([0; 32]),
            meta: self.meta.clone(),
            signatures,
            written_past: self.written_past.clone(),
            damaged,
            path: self.path.clone(),
            file: self.file.get_ref().as_file().try_clone()?,
            identities_bytes: self.identities_bytes,
        })
    }

    /// Completes it and puts it in the place of the old one, durably. It belongs to `belonging`, which
    /// must be durable by now. `findings` are those of all that the run read.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(self, belonging: Belonging, findings: &Findings) -> io::Result<()> {
        let Self {
            mut file,
            path,
            identities_bytes,
            written_past,
            meta,
        } = self;
        let mut sections = Vec::new();
        section::push(
            &mut sections,
            *b"SIGN",
            &encode_extents(&findings.signatures)?,
        );
        section::push(&mut sections, *b"PAST", &encode_extents(&written_past)?);
        section::push(&mut sections, *b"DMGD", &encode_extents(&findings.damaged)?);
        section::push(&mut sections, *b"META", &serde_json::to_vec(&meta)?);
        file.write_all(&sections)?;
        let mut file = file.into_inner()?.beside(&path)?;
        let len_bytes = file.seek(SeekFrom::End(0))?;
        let header = header(belonging, identities_bytes, len_bytes);
        file.as_file().write_all_at(&header, 0)?;
        file.as_file().sync_all()?;
        durable::name(file, &path).map(drop)
    }
}

/// What a run found in the bytes that it read of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Signatures of data that is written past the filesystem.
    pub signatures: ExtentMap,
    /// What is damaged by the checksums of its filesystem, or could not be compared with them.
    pub damaged: ExtentMap,
}

impl Findings {
    /// Those in `part`, at offsets from its start.
    pub(crate) fn in_part(&self, part: Extent) -> Self {
        Self {
            signatures: self.signatures.in_part(part),
            damaged: self.damaged.in_part(part),
        }
    }
}

fn header(belonging: Belonging, identities_bytes: u64, len_bytes: u64) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&96_u32.to_le_bytes());
    bytes[24..28].copy_from_slice(&belonging.code().to_le_bytes());
    bytes[32..64].copy_from_slice(&belonging.digest());
    bytes[64..72].copy_from_slice(&identities_bytes.to_le_bytes());
    bytes[72..80].copy_from_slice(&len_bytes.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}
