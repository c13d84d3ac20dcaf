//! What is known of a volume at the end of its passes.

use super::noted::ChunkDigests;
use super::way::Staging;
use super::{Done, Ended, Known, Pass, Taken, Volume};
use crate::change::evidence::Draft;
use crate::change::proven::Signatures;
use crate::change::sums;
use crate::clone::context::Context;
use crate::clone::live::LiveJob;
use crate::clone::outlook::Outlook;
use crate::clone::prepared::Prepared;
use crate::clone::run::Notes;
use crate::clone::{CloneOptions, Job};
use crate::error::{Error, Result};
use crate::live::RestFigures;
use crate::target_writer::HeldBack;
use klon_partition::ExtentMap;
use klon_partition::extent::ExtentMapBuilder;
use std::sync::Arc;
use std::time::Instant;

/// What the ends of all volumes have in common.
#[derive(Clone, Copy)]
pub(in crate::clone::live) struct Ending<'a> {
    pub(in crate::clone::live) with: Context<'a>,
    pub(in crate::clone::live) figures: &'a RestFigures,
    pub(in crate::clone::live) started: Instant,
}

/// What stays as it is until the record is written.
pub(in crate::clone::live) struct Last<'a> {
    live: &'a LiveJob<'a>,
    pass: Pass,
    /// With the plan of that pass.
    pub(in crate::clone::live) prepared: Prepared,
}

/// What goes into the record, or is used up before.
pub(in crate::clone::live) struct Leftover<'a> {
    known: Known,
    done: Done,
    draft: Option<Draft>,
    taken: Taken,
    pub(in crate::clone::live) staging: Option<Staging<'a>>,
}

impl<'a> Volume<'a> {
    /// What is known of it after the last pass.
    ///
    /// # Errors
    /// [`Error::Internal`] when a pass goes on: what it staged would be taken for nothing.
    pub(in crate::clone::live) fn into_parts(
        self,
        ended: Ended,
    ) -> Result<(Last<'a>, Leftover<'a>)> {
        let staging = match self.staging.map(Arc::into_inner) {
            Some(None) => return Err(Error::Internal("a pass goes on behind the last".to_owned())),
            staging => staging.flatten(),
        };
        let Ended { mut pass, taken } = ended;
        let mut prepared = self.prepared;
        prepared.plan = pass.plan.clone();
        prepared.wanted = pass.wanted.clone();
        // What the volumes of a disk showed is of use to its passes alone.
        let mut drafts = std::mem::take(&mut pass.drafts).into_iter();
        let own = pass.found.itself().and_then(|_| drafts.next());
        let draft = own.map(|(_, draft)| draft);
        let last = Last {
            live: self.live,
            pass,
            prepared,
        };
        let leftover = Leftover {
            known: self.known,
            done: self.done,
            draft,
            taken,
            staging,
        };
        Ok((last, leftover))
    }
}

impl<'a> Last<'a> {
    /// The job, with the source as it was at rest.
    pub(in crate::clone::live) fn job<'p>(&'p self) -> Job<'p>
    where
        'a: 'p,
    {
        self.pass.job(self.live)
    }
}

impl Leftover<'_> {
    /// The first chunk, which comes to the target last.
    pub(in crate::clone::live) const fn held(&self) -> &HeldBack {
        &self.taken.held
    }

    /// Whether the target bears the mark.
    pub(in crate::clone::live) const fn is_marked(&self) -> bool {
        self.done.is_marked
    }

    /// Bytes that were written in place before the commit.
    pub(in crate::clone::live) const fn written_bytes(&self) -> u64 {
        self.done.written_bytes
    }

    /// What goes into the record, of all passes.
    ///
    /// # Errors
    /// [`Error::RecordIo`].
    pub(in crate::clone::live) fn notes(
        self,
        last: &Last<'_>,
        ending: Ending<'_>,
    ) -> Result<Notes> {
        let Ending {
            with,
            figures,
            started,
        } = ending;
        let target = last.live.job.target_identity;
        let digests: Vec<_> = self.known.digests.iter().flatten().collect();
        let digested = last.prepared.digested;
        let begun = with.records;
        let mut writer = begun.begin_digested(target, digests.len() as u64, digested)?;
        for ChunkDigests { digest, pieces } in digests {
            writer.push_in_pieces(*digest, pieces.as_deref())?;
        }
        let metadata = last.pass.metadata.clone();
        let mut metadata = metadata.map(|map| writer.begin_metadata(map)).transpose()?;
        if let Some(metadata) = &mut metadata {
            for &digest in &self.taken.metadata {
                metadata.push(digest)?;
            }
        }
        let mut signatures = Signatures::new();
        signatures.add(self.known.signatures.values().flatten().copied());
        let mut changed = ExtentMapBuilder::new();
        self.done
            .changed
            .iter()
            .for_each(|extent| changed.push(extent));
        Ok(Notes {
            started,
            digests: writer,
            metadata,
            changed,
            read_source_bytes: self.done.read_source_bytes,
            read_target_bytes: self.done.read_target_bytes + last.prepared.checked_bytes,
            signatures,
            is_all_seen: true,
            outlook: self.outlook(&last.pass, with.options),
            rest: RestFigures {
                consistency: last.pass.found.consistency,
                ..figures.clone()
            },
        })
    }

    /// What was found of the files: by the first look against the record, and by the last for the next run.
    fn outlook(mut self, pass: &Pass, options: &CloneOptions) -> Outlook {
        let mut figures = std::mem::take(&mut self.done.figures);
        let copied = pass.plan.copy.intersection(&self.done.unread);
        figures.skipped_bytes = copied.total_bytes();
        figures.next_reads_all_because = pass.figures.next_reads_all_because.clone();
        let is_checked = self.taken.checked.is_ok();
        figures.unchecked_because = None;
        match self.taken.checked {
            Ok(Some(checked)) => {
                let source = &*pass.found.source;
                sums::end(source, checked, &ExtentMap::new(), &mut figures);
                figures.checksummed_bytes = self.done.checksummed_bytes;
            }
            Ok(None) => {}
            Err(reason) => figures.unchecked_because = Some(reason),
        }
        let is_kept = !options.reliance.is_off && is_checked;
        Outlook {
            figures,
            draft: self.draft.filter(|_| is_kept),
            contents: None,
            damaged: self.known.last.damaged,
        }
    }
}
