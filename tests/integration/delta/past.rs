//! Writes to the blocks of a file past its filesystem, as boot loaders and swap do.

use super::state::Bytes;
use crate::support::tree::noise;
use klon_partition::Extent;
use klon_partition::filesystem::files::{File, FileRun, FileVisitor, Next, RunKind};
use klon_partition::filesystem::probe;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where a file lies.
pub(super) struct Place {
    inode: u64,
    /// Offset in the file, extent of the volume.
    pub(super) runs: Vec<(u64, Extent)>,
    /// Blocks that say where others are.
    pub(super) maps: Vec<Extent>,
}

impl FileVisitor for Place {
    fn file(&mut self, file: &File<'_>) -> Next {
        match file.number == self.inode {
            true => Next::Continue,
            false => Next::SkipFile,
        }
    }

    fn run(&mut self, _file: &File<'_>, run: &FileRun) -> Next {
        match run.kind {
            RunKind::Contents => self.runs.push((run.file_offset_bytes, run.extent)),
            RunKind::Map => self.maps.push(run.extent),
            RunKind::Attributes => {}
        }
        Next::Continue
    }
}

/// Where a file of the volume in `bytes` lies.
pub(super) fn place(bytes: &[u8], inode: u64) -> Place {
    let device = Bytes(bytes);
    let filesystem = probe(&device).unwrap().unwrap();
    let mut place = Place {
        inode,
        runs: Vec::new(),
        maps: Vec::new(),
    };
    assert_eq!(filesystem.files(&device, &mut place), Some(Vec::new()));
    place
}

/// Where a byte of a file lies on the volume.
pub(super) fn offset_bytes(image: &Path, (inode, offset_bytes): (u64, u64), what: &str) -> u64 {
    let runs = place(&std::fs::read(image).unwrap(), inode).runs;
    let found = runs.iter().find_map(|(at, extent)| {
        let in_run = offset_bytes.checked_sub(*at)?;
        (in_run < extent.len_bytes()).then(|| extent.offset_bytes() + in_run)
    });
    found.unwrap_or_else(|| panic!("{what}: nothing at {offset_bytes} of {runs:?}"))
}

/// Writes 600 bytes of noise to a file's block.
pub(super) fn write(image: &Path, place: (u64, u64), what: &str) {
    let at = offset_bytes(image, place, what);
    let image = OpenOptions::new().write(true).open(image).unwrap();
    let seed = u64::from(std::process::id()) ^ place.1;
    image.write_all_at(&noise(seed, 600), at).unwrap();
}
