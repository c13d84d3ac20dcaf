//! Files whose contents are worth nothing on a copy: swap files, which are told by their contents. What the header of
//! one says stays, so that it is a swap file on the copy, too.

use super::files::{File, FileKind, FileRun, FileVisitor, Next, RunKind};
use super::{Filesystem, Kind, swap};
use crate::device::{ReadAt, Window};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

/// A file whose contents nobody needs on a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worthless {
    /// Its path, with a leading slash; sealed text.
    pub path: String,
    /// What it is, in words: "a swap file".
    pub what: &'static str,
    /// The bytes of its contents that nobody needs.
    pub extents: ExtentMap,
}

/// A swap file is no smaller: `mkswap` wants ten pages.
const LEAST_BYTES: u64 = 10 * 4096;
/// The runs of one file that are looked at.
const RUNS_MAX: usize = 1 << 16;
/// The files that are taken for swap files by their shape, and so read at their start.
const CANDIDATES_MAX: usize = 1 << 16;

/// The swap files of a filesystem whose walk tells where files lie.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn swap_files<F: Filesystem + ?Sized>(
    filesystem: &F,
    device: &dyn ReadAt,
) -> Result<Vec<Worthless>> {
    let mut shapes = Shapes::default();
    if filesystem.files(device, &mut shapes).is_none() {
        return Ok(Vec::new());
    }
    shapes.end_file();
    let mut found = Vec::new();
    for shape in shapes.found {
        let Some(kept_bytes) = header_bytes(device, &shape)? else {
            continue;
        };
        let mut extents = ExtentMap::new();
        for &(file_offset_bytes, run) in &shape.runs {
            let kept = kept_bytes
                .saturating_sub(file_offset_bytes)
                .min(run.len_bytes());
            let from_bytes = run.offset_bytes().saturating_add(kept);
            let rest = Extent::between(from_bytes, run.end_bytes());
            extents = extents.union(&rest.into_iter().collect());
        }
        if has_checksums(filesystem, device, &extents)? {
            continue;
        }
        // The name is told by where the file lies, and that shows that no one else lies there.
        let owners = filesystem.owners(device, &extents, 2);
        if let [owner] = &owners.files[..] {
            found.push(Worthless {
                path: owner.path.clone(),
                what: "a swap file",
                extents,
            });
        }
    }
    Ok(found)
}

/// Whether the filesystem keeps checksums of any of these bytes: zeroes there would be damage.
fn has_checksums<F: Filesystem + ?Sized>(
    filesystem: &F,
    device: &dyn ReadAt,
    extents: &ExtentMap,
) -> Result<bool> {
    let Some(lookup) = filesystem.checksums(device).transpose()? else {
        return Ok(false);
    };
    for extent in extents.iter() {
        if !lookup.within(extent)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How long the header of a swap file is; `None` for any other file, and for one that holds a suspended system.
fn header_bytes(device: &dyn ReadAt, shape: &Shape) -> Result<Option<u64>> {
    let Some((0, first)) = shape.runs.first() else {
        return Ok(None);
    };
    // The header lies in the first run, and says how long the file is.
    let window = Window::new(device, *first)?;
    let Some(found) = swap::probe(&Longer(&window, shape.size_bytes))? else {
        return Ok(None);
    };
    let summary = found.summary();
    let is_sound = summary.kind == Kind::Swap
        && summary.hazards.is_empty()
        && summary.used_bytes.is_some()
        && summary.size_bytes <= shape.size_bytes;
    Ok(summary.used_bytes.filter(|_| is_sound))
}

/// The start of a file, as long as the file: nothing behind its first run is read.
struct Longer<'a>(&'a Window<&'a dyn ReadAt>, u64);

impl ReadAt for Longer<'_> {
    fn geometry(&self) -> crate::device::Geometry {
        crate::device::Geometry {
            size_bytes: self.1,
            ..self.0.geometry()
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end_bytes = offset_bytes.saturating_add(buffer.len() as u64);
        match end_bytes <= self.0.geometry().size_bytes {
            true => self.0.read_exact_at(buffer, offset_bytes),
            // No header reaches so far.
            false => {
                buffer.fill(0);
                Ok(())
            }
        }
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        Ok(within.into())
    }

    fn sha256(&self, _extent: Extent) -> Result<Option<[u8; 32]>> {
        Ok(None)
    }
}

/// A file that could be a swap file: whole pages, without holes.
struct Shape {
    size_bytes: u64,
    /// Where each run begins in the file, and where it lies.
    runs: Vec<(u64, Extent)>,
}

#[derive(Default)]
struct Shapes {
    found: Vec<Shape>,
    current: Option<Shape>,
}

impl Shapes {
    fn end_file(&mut self) {
        let Some(shape) = self.current.take() else {
            return;
        };
        let mut end_bytes = 0;
        let is_whole = shape.runs.iter().all(|&(at, run)| {
            let is_next = at == end_bytes;
            end_bytes = at.saturating_add(run.len_bytes());
            is_next
        });
        if is_whole && end_bytes >= shape.size_bytes && self.found.len() < CANDIDATES_MAX {
            self.found.push(shape);
        }
    }
}

impl FileVisitor for Shapes {
    fn file(&mut self, file: &File<'_>) -> Next {
        self.end_file();
        let is_candidate = file.kind == FileKind::Regular
            && !file.is_internal
            && file.size_bytes >= LEAST_BYTES
            && file.size_bytes.is_multiple_of(4096);
        if !is_candidate {
            return Next::SkipFile;
        }
        self.current = Some(Shape {
            size_bytes: file.size_bytes,
            runs: Vec::new(),
        });
        Next::Continue
    }

    fn run(&mut self, _: &File<'_>, run: &FileRun) -> Next {
        if run.kind != RunKind::Contents {
            return Next::Continue;
        }
        let Some(shape) = &mut self.current else {
            return Next::SkipFile;
        };
        let is_first = shape.runs.is_empty() && run.file_offset_bytes == 0;
        // Nothing of what was never written is read, but for the header.
        if shape.runs.len() >= RUNS_MAX || (is_first && !run.is_written) {
            self.current = None;
            return Next::SkipFile;
        }
        shape.runs.push((run.file_offset_bytes, run.extent));
        Next::Continue
    }
}
