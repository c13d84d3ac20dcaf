//! Holes in the files of an image.

use super::super::prune::{HOLE_ALIGN, Punch};
use super::ImageFiles;
use klon_partition::Extent;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The files of an image, to make holes in.
pub struct FilesPunch {
    parts: Vec<(Extent, File)>,
}

impl ImageFiles {
    /// Opens them to make holes in.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::Unsupported`] when their filesystem can't make holes.
    pub fn punch(&self) -> io::Result<FilesPunch> {
        probe(self.first())?;
        let mut parts = Vec::new();
        for part in &self.parts {
            let file = OpenOptions::new().read(true).write(true).open(&part.path)?;
            // An empty part has nothing to make a hole in.
            parts.extend(Extent::new(part.start, part.len).map(|extent| (extent, file)));
        }
        Ok(FilesPunch { parts })
    }
}

/// Makes a hole in a file without a name beside `path`.
fn probe(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    let mut file = tempfile::tempfile_in(parent.unwrap_or(Path::new(".")))?;
    file.write_all(&[1; 2 * HOLE_ALIGN as usize])?;
    punch(&file, 0, HOLE_ALIGN)
}

fn punch(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let signed = |bytes: u64| i64::try_from(bytes).map_err(io::Error::other);
    Ok(fallocate(file, flags, signed(offset)?, signed(len)?)?)
}

impl Punch for FilesPunch {
    fn punch(&self, extent: Extent) -> io::Result<()> {
        for (all, file) in &self.parts {
            if let Some(here) = all.intersection(extent) {
                let offset = here.offset_bytes() - all.offset_bytes();
                punch(file, offset, here.len_bytes())?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.parts.iter().try_for_each(|(_, file)| file.sync_all())
    }
}
