//! What a pass over a source in use leaves to the next one, and what the files of the source show against it.

use super::outside::{Past, read_again};
use super::source::LiveSource;
use super::walk::{Earlier, again};
use crate::change::evidence::{Draft, Evidence, Findings};
use crate::change::look::Subject;
use crate::change::proven::Continuity;
use crate::change::{MetadataFigures, Reliance};
use crate::error::{Error, Result};
use crate::progress::Observer;
use klon_partition::device::Window;
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;
use std::path::PathBuf;
use uuid::Uuid;

/// What is known of a source from the pass before.
#[derive(Default)]
pub(crate) struct LastPass {
    /// What was in use.
    pub(crate) described: ExtentMap,
    /// What is damaged by the filesystem's checksums, or could not be compared with them.
    pub(crate) damaged: ExtentMap,
    /// What tells the files of each of its volumes unchanged, by where the volume begins; none where that is not
    /// known.
    evidence: BTreeMap<u64, Evidence>,
    /// How much was written to a disk past its volumes by then.
    written_past: Option<u64>,
}

/// What the files of a source at rest show.
pub(crate) struct Shown {
    /// What is as it was at the pass before.
    pub(crate) proven: ExtentMap,
    /// What tells the files unchanged at the next look, with where their volumes lie.
    pub(crate) drafts: Vec<(Extent, Draft)>,
    pub(crate) figures: MetadataFigures,
    /// The contents of regular files, where the source is one volume, and they are known.
    pub(crate) contents: Option<ExtentMap>,
}

/// How the files of a source are looked at.
pub(crate) struct Looking<'a> {
    /// What the machine's ledger says now; `None` without one.
    pub(crate) continuity: Option<&'a Continuity>,
    /// The runs that wrote to the source when it was a target, by its records.
    pub(crate) written_by: &'a [Uuid],
    /// Where the evidence of the volume with that number would be kept, for messages.
    pub(crate) path: &'a dyn Fn(u32) -> PathBuf,
    pub(crate) reliance: &'a Reliance,
    pub(crate) observer: &'a dyn Observer,
}

impl LastPass {
    /// What of `found` is as the pass before found it: volumes that nobody has mounted, and what the files of the
    /// others show. Now that and `wanted` is in use.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::Interrupted`].
    pub(crate) fn shown(
        &self,
        found: &LiveSource,
        wanted: &ExtentMap,
        looking: &Looking<'_>,
    ) -> Result<Shown> {
        let parts: ExtentMap = found.mounted().map(|it| it.part).collect();
        let past = Past::between(self.written_past, found.written_past);
        let outside = read_again(found, wanted, past);
        let mut shown = Shown {
            proven: self.described.difference(&parts).difference(&self.damaged),
            drafts: Vec::new(),
            figures: MetadataFigures::default(),
            contents: None,
        };
        for volume in found.mounted_apart() {
            let window = Window::new(&*found.source, volume.part).map_err(Error::Source)?;
            let start_bytes = volume.part.offset_bytes();
            let subject = Subject {
                source: &window,
                usage: &volume.usage,
                continuity: looking.continuity,
                written_by: looking.written_by,
                rested: volume.rested.as_ref(),
            };
            let earlier = Earlier {
                evidence: self.evidence.get(&start_bytes),
                described: &self.described.in_part(volume.part),
                path: &(looking.path)(volume.number),
            };
            let walked = again(subject, earlier, looking.reliance, looking.observer)?;
            if let Some(extents) = walked.proven {
                shown.proven = shown.proven.union(&extents.shifted(start_bytes));
            }
            shown
                .drafts
                .extend(walked.draft.map(|draft| (volume.part, draft)));
            shown.figures.join(walked.figures, start_bytes);
            if volume.number == 0 {
                shown.contents = walked.contents;
            }
        }
        shown.proven = shown.proven.difference(&outside);
        Ok(shown)
    }

    /// Takes over what a pass `found`. All of `described` was in use then; `drafts` and `signatures` are what its
    /// files showed, and what it met that is written past the filesystem.
    pub(crate) fn follow(
        &mut self,
        found: &LiveSource,
        described: ExtentMap,
        drafts: &mut [(Extent, Draft)],
        signatures: &ExtentMap,
    ) {
        self.described = described;
        self.written_past = found.written_past;
        self.evidence.clear();
        for (part, draft) in drafts {
            let findings = Findings {
                signatures: signatures.in_part(*part),
                damaged: self.damaged.in_part(*part),
            };
            // Without it the next pass reads everything.
            if let Ok(evidence) = draft.so_far(findings) {
                self.evidence.insert(part.offset_bytes(), evidence);
            }
        }
    }
}
