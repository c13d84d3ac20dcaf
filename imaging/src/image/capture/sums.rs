//! What is read of each volume, against the checksums that its filesystem keeps.

use super::{CaptureJob, SourceVolume};
use crate::change::MetadataFigures;
use crate::change::sectors::SectorCheck;
use crate::change::sums;
use crate::error::Result;
use klon_partition::device::Window;
use klon_partition::filesystem::Filesystem;
use klon_partition::{Extent, ExtentMap, ReadAt};

/// A volume whose data has checksums.
pub(super) struct Summed<'a> {
    volume: SourceVolume<'a>,
    window: Window<&'a dyn ReadAt>,
    filesystem: &'a dyn Filesystem,
}

/// The volumes whose data has checksums.
///
/// # Errors
/// [`crate::Error::Source`].
pub(super) fn summed<'a>(job: &CaptureJob<'a>) -> Result<Vec<Summed<'a>>> {
    let mut found = Vec::new();
    let volumes = job.volumes.iter().flat_map(|volumes| &volumes.all);
    for &volume in volumes {
        let Ok(window) = Window::new(job.source, volume.part) else {
            continue;
        };
        if let Some(filesystem) = sums::filesystem(&window, volume.usage)? {
            found.push(Summed {
                volume,
                window,
                filesystem,
            });
        }
    }
    Ok(found)
}

/// Comparisons under way.
pub(super) struct Checks<'a> {
    checks: Vec<(&'a Summed<'a>, SectorCheck<'a>)>,
    found: Checked,
}

/// What came of them.
#[derive(Default)]
pub(super) struct Checked {
    /// What is told of it.
    pub(super) figures: MetadataFigures,
    /// The bytes of the source that are damaged, or could not be compared.
    pub(super) doubtful: ExtentMap,
    /// Volumes where nothing could be compared.
    pub(super) unchecked: Vec<Extent>,
}

impl<'a> Checks<'a> {
    pub(super) fn begin(summed: &'a [Summed<'a>]) -> Self {
        let mut found = Checked::default();
        let mut checks = Vec::new();
        for one in summed {
            let figures = &mut found.figures;
            match sums::begin(Some(one.filesystem), &one.window, figures) {
                Ok(check) => checks.extend(check.map(|check| (one, check))),
                Err(sums::Unchecked) => found.unchecked.push(one.volume.part),
            }
        }
        Self { checks, found }
    }

    /// Compares what was read of `copy` with its checksums. Its bytes are in `content`, the bytes of `chunk`.
    pub(super) fn look(&self, chunk: Extent, copy: &[Extent], content: &[u8]) {
        for (summed, check) in &self.checks {
            let part = summed.volume.part;
            let Some(here) = chunk.intersection(part) else {
                continue;
            };
            let copy: ExtentMap = copy.iter().copied().collect();
            let copy = copy.in_part(part);
            // The volume may begin within the chunk.
            let skip = here.offset_bytes().saturating_sub(chunk.offset_bytes());
            let content = usize::try_from(skip)
                .ok()
                .and_then(|skip| content.get(skip..));
            let start_bytes = here.offset_bytes().saturating_sub(part.offset_bytes());
            let content = content.unwrap_or_default();
            sums::look(check, copy.extents(), start_bytes, content);
        }
    }

    /// What was found. The paths of a partition begin with its number and a colon.
    pub(super) fn finish(self, job: &CaptureJob<'_>) -> Checked {
        let Self { checks, mut found } = self;
        for (summed, check) in checks {
            let SourceVolume { number, part, .. } = summed.volume;
            let lost = job.bad.in_part(part);
            let mut figures = MetadataFigures::default();
            let doubtful = sums::end(&summed.window, check.finish(), &lost, &mut figures);
            let start_bytes = part.offset_bytes();
            let doubtful = doubtful.shifted(start_bytes);
            found.doubtful = found.doubtful.union(&doubtful);
            if number != 0 {
                for file in &mut figures.damaged_files {
                    file.path = format!("{number}:{}", file.path);
                }
            }
            found.figures.join(figures, start_bytes);
        }
        found
    }
}
