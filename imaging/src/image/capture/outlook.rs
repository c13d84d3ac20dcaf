//! What the files of a source's volumes show before a run, and what is kept of them for the next one.

use super::super::header::Header;
use super::super::snapshot::Snapshot;
use super::selected::Selected;
use super::{CaptureJob, CaptureOptions, SourceVolume, Volumes};
use crate::change::evidence::{Belonging, Draft, Findings};
use crate::change::look::{Doubt, Subject, unwritable};
use crate::change::outlook::{self, Answer, Past, Proven, Purpose, Question};
use crate::change::{InPart, MetadataFigures, RungChoice, Unchanged, not_possible};
use crate::chunk::Digest;
use crate::error::Result;
use crate::live::is_apart;
use crate::plan::Plan;
use crate::progress::Observer;
use crate::record::ImageSource;
use crate::rung::Rung;
use klon_partition::device::Window;
use klon_partition::{Extent, ExtentMap};
use uuid::Uuid;

/// Volumes whose doubts are told.
const DOUBTS_MAX: usize = 3;

/// What is known of the files of a source.
#[derive(Default)]
pub(super) struct Outlook {
    pub(super) figures: MetadataFigures,
    /// What need not be read; `None` when everything must.
    pub(super) unread: Option<Unread>,
    /// The evidence for the next run, with where its volume lies.
    pub(super) drafts: Vec<(Extent, Draft)>,
}

/// What need not be read.
pub(super) struct Unread {
    pub(super) unchanged: Unchanged,
    /// All that is in use now.
    pub(super) wanted: ExtentMap,
    /// Where the runs before found signatures of what is written past the filesystem.
    pub(super) signatures: ExtentMap,
}

impl Unread {
    /// Whether the snapshot before has what is in use of a chunk, and nothing else of it.
    pub(super) fn covers(&self, chunk: Extent) -> bool {
        let wanted: Vec<Extent> = self.wanted.within(chunk).collect();
        self.unchanged.covers(chunk, &wanted)
    }

    /// Which part of a chunk must come from the source, if the snapshot before has most of it. Without the
    /// snapshot, `copy` would be read.
    pub(super) fn in_part(&self, chunk: Extent, copy: &[Extent]) -> Option<InPart> {
        let wanted: Vec<Extent> = self.wanted.within(chunk).collect();
        self.unchanged.in_part(chunk, copy, &wanted)
    }
}

/// A source whose files are looked at before it is imaged.
#[derive(Clone, Copy)]
pub(super) struct Viewed<'a> {
    pub(super) job: &'a CaptureJob<'a>,
    pub(super) plan: &'a Plan,
    /// That of the image.
    pub(super) header: &'a Header,
    pub(super) options: &'a CaptureOptions,
    pub(super) observer: &'a dyn Observer,
}

/// What is asked of all volumes.
struct Asked<'a> {
    viewed: Viewed<'a>,
    volumes: &'a Volumes<'a>,
    /// The snapshot before, if it is to be relied on.
    before: Option<Before<'a>>,
}

/// The snapshot before.
struct Before<'a> {
    snapshot: &'a Snapshot,
    /// All that it describes.
    described: ExtentMap,
}

/// Looks at the files of a source. If `selected` is [`Rung::Digest`], and nothing speaks against it, it
/// becomes [`Rung::Metadata`], else it says why not.
///
/// # Errors
/// [`crate::Error::Source`], [`crate::Error::Interrupted`].
pub(super) fn look(viewed: Viewed<'_>, selected: Selected) -> Result<(Outlook, Selected)> {
    look_beside(viewed, selected, Beforehand::default())
}

/// What was found of some volumes before the others are looked at.
#[derive(Default)]
pub(super) struct Beforehand {
    found: Found,
    /// Where those volumes lie.
    parts: Vec<Extent>,
}

/// Looks at the volumes of a source that lie where `is_meant` says.
///
/// # Errors
/// As [`look`].
pub(super) fn beforehand(
    viewed: Viewed<'_>,
    rung: Rung,
    is_meant: &dyn Fn(Extent) -> bool,
) -> Result<Beforehand> {
    let mut before = Beforehand::default();
    let Some(asked) = Asked::new(viewed, rung) else {
        return Ok(before);
    };
    for volume in apart(&asked.volumes.all).filter(|volume| is_meant(volume.part)) {
        before.found.join(asked.volume(volume)?, volume);
        before.parts.push(volume.part);
    }
    Ok(before)
}

/// As [`look`], but for what was found of some volumes before.
///
/// # Errors
/// As [`look`].
pub(super) fn look_beside(
    viewed: Viewed<'_>,
    selected: Selected,
    before: Beforehand,
) -> Result<(Outlook, Selected)> {
    let Selected { rung, reason } = selected;
    let is_wanted = is_wanted(viewed);
    let previous = previous(viewed, rung);
    let Some(asked) = Asked::new(viewed, rung) else {
        let reason = match previous.filter(|_| is_wanted) {
            Some(_) => not_possible(Rung::Metadata, &outlook::without().reason),
            None => reason,
        };
        return Ok((Outlook::default(), Selected { rung, reason }));
    };
    let Beforehand { mut found, parts } = before;
    for volume in apart(&asked.volumes.all).filter(|volume| !parts.contains(&volume.part)) {
        found.join(asked.volume(volume)?, volume);
    }
    let selected = match previous {
        Some(previous) => found.selected(previous, is_wanted, reason),
        None => Selected { rung, reason },
    };
    let is_proven = selected.rung == Rung::Metadata;
    let unread = asked.before.filter(|_| is_proven).map(|before| Unread {
        unchanged: Unchanged::new(found.proven, before.described),
        wanted: viewed.plan.wanted(),
        signatures: found.signatures,
    });
    let outlook = Outlook {
        figures: found.figures,
        unread,
        drafts: found.drafts,
    };
    Ok((outlook, selected))
}

/// Whether the user wants nothing but what the metadata of files proves.
fn is_wanted(viewed: Viewed<'_>) -> bool {
    viewed.options.rung == RungChoice::Only(Rung::Metadata)
}

/// The snapshot that the files are compared with, if a run of that rung may go by it.
fn previous(viewed: Viewed<'_>, rung: Rung) -> Option<&Snapshot> {
    let is_free = is_wanted(viewed) || viewed.options.rung == RungChoice::Auto;
    let previous = viewed.job.previous;
    previous.filter(|_| rung == Rung::Digest && is_free)
}

/// The volumes that share no byte with another one: what is written to a volume is no trace in
/// another's files.
pub(super) fn apart<'a>(all: &'a [SourceVolume<'a>]) -> impl Iterator<Item = SourceVolume<'a>> {
    let is_apart = |volume: &SourceVolume<'_>| is_apart(volume.part, all.iter().map(|it| it.part));
    all.iter().copied().filter(is_apart)
}

impl<'a> Asked<'a> {
    /// What a run of that rung asks; `None` where nothing may be left unread, nor kept for the next one.
    fn new(viewed: Viewed<'a>, rung: Rung) -> Option<Self> {
        let volumes = viewed.job.volumes.as_ref();
        let volumes = volumes.filter(|_| !viewed.options.reliance.is_off)?;
        Some(Self {
            viewed,
            volumes,
            before: previous(viewed, rung).map(|snapshot| Before {
                snapshot,
                described: snapshot.manifest().wanted(),
            }),
        })
    }

    /// Whether any of the volumes is mounted, and at rest for the moment.
    fn is_at_rest(&self) -> bool {
        let rested = self.volumes.all.iter().filter_map(|volume| volume.rested);
        rested
            .into_iter()
            .any(|rested| rested.consistency.is_short())
    }

    /// What the files of one volume show.
    fn volume(&self, volume: SourceVolume<'_>) -> Result<outlook::Outlook> {
        let Viewed {
            job,
            plan,
            header,
            options,
            observer,
        } = self.viewed;
        let SourceVolume {
            number,
            part,
            usage,
            rested,
        } = volume;
        let Ok(window) = Window::new(job.source, part) else {
            return Ok(outlook::Outlook::default());
        };
        let records = self.volumes.records;
        let of = ImageSource {
            identity: job.source_identity,
            given_name: job.given_name.as_deref(),
            partition: number,
        };
        let question = Question {
            subject: Subject {
                source: &window,
                usage,
                continuity: self.volumes.continuity,
                written_by: self.volumes.written_by,
                rested,
            },
            rung: options.rung,
            reliance: &options.reliance,
            tracked: None,
            copy: &plan.copy.in_part(part),
            zero: &plan.zero.in_part(part),
            reread: &job.bad.in_part(part),
            path: &records.image_evidence_path(header.uuid, of),
            purpose: Purpose::Run,
            is_at_rest: self.is_at_rest(),
            observer,
        };
        let Some(before) = &self.before else {
            return outlook::look(&question, None);
        };
        let snapshot = before.snapshot;
        let manifest = Digest(snapshot.entry().manifest.sha256.0);
        let past = Past {
            belonging: Belonging::of_snapshot(header.uuid, manifest, part),
            run: None,
            described: &before.described.in_part(part),
            zero: &snapshot.manifest().zero.in_part(part),
            bad: &snapshot.manifest().bad.in_part(part),
        };
        outlook::look(&question, Some(&past))
    }
}

/// What was found of the volumes so far, at offsets of the source.
#[derive(Default)]
struct Found {
    figures: MetadataFigures,
    proven: ExtentMap,
    signatures: ExtentMap,
    drafts: Vec<(Extent, Draft)>,
    is_any_proven: bool,
    doubts: Vec<String>,
}

impl Found {
    fn join(&mut self, found: outlook::Outlook, volume: SourceVolume<'_>) {
        let outlook::Outlook {
            mut figures,
            draft,
            answer,
            ..
        } = found;
        let start_bytes = volume.part.offset_bytes();
        let reason = figures.next_reads_all_because.take();
        figures.next_reads_all_because = reason.map(|reason| of(volume, &reason));
        self.figures.join(figures, start_bytes);
        self.drafts.extend(draft.map(|draft| (volume.part, draft)));
        match answer {
            Answer::None => {}
            Answer::Doubtful(Doubt { reason, .. }) => self.doubts.push(of(volume, &reason)),
            Answer::Proven(Proven {
                extents,
                signatures,
            })
            | Answer::Tracked(Proven {
                extents,
                signatures,
            }) => {
                self.is_any_proven = true;
                self.proven = self.proven.union(&extents.shifted(start_bytes));
                let signatures = signatures.shifted(start_bytes);
                self.signatures = self.signatures.union(&signatures);
            }
        }
    }

    /// The rung that this allows, and why.
    fn selected(&self, previous: &Snapshot, is_wanted: bool, otherwise: String) -> Selected {
        let shown = self.doubts.iter().take(DOUBTS_MAX);
        let doubts: Vec<&str> = shown.map(String::as_str).collect();
        let doubts = doubts.join("; ");
        let since = format!("snapshot {}", previous.number());
        match (self.is_any_proven, doubts.is_empty()) {
            (true, true) => Selected::new(Rung::Metadata, self.figures.shown(&since)),
            (true, false) => {
                let reason = format!("{}; {doubts}", self.figures.shown(&since));
                Selected::new(Rung::Metadata, reason)
            }
            (false, true) if is_wanted => {
                let reason = outlook::without().reason;
                Selected::new(Rung::Digest, not_possible(Rung::Metadata, &reason))
            }
            (false, true) => Selected::new(Rung::Digest, otherwise),
            (false, false) if is_wanted => {
                Selected::new(Rung::Digest, not_possible(Rung::Metadata, &doubts))
            }
            (false, false) => Selected::new(Rung::Digest, format!("{otherwise}; {doubts}")),
        }
    }
}

/// A reason, with the volume that it is of.
fn of(volume: SourceVolume<'_>, reason: &str) -> String {
    match volume.number {
        0 => reason.to_owned(),
        number => format!("partition {number}: {reason}"),
    }
}

/// Keeps the evidence of a run whose snapshot is durable in the image, where its manifest has that digest.
/// Returns why it could not be kept. `findings` are those of all that the run read.
pub(super) fn keep(
    drafts: Vec<(Extent, Draft)>,
    image: Uuid,
    manifest: Digest,
    findings: &Findings,
) -> Option<String> {
    let mut failed = None;
    for (part, draft) in drafts {
        let belonging = Belonging::of_snapshot(image, manifest, part);
        let kept = draft.keep(belonging, &findings.in_part(part));
        failed = failed.or(kept.err());
    }
    failed.map(|error| unwritable(&error))
}

#[cfg(test)]
mod tests {
    use super::{SourceVolume, apart};
    use klon_partition::filesystem::Usage;
    use klon_partition::{Extent, ExtentMap};

    #[test]
    fn volumes_that_share_bytes_are_no_witnesses_of_each_other() {
        let usage = Usage::mapped(ExtentMap::new());
        let places = [(0, 10), (10, 10), (19, 5), (30, 10), (32, 2)];
        let volumes: Vec<SourceVolume<'_>> = (1..)
            .zip(places)
            .map(|(number, (at, len))| SourceVolume {
                number,
                part: Extent::new(at, len).unwrap(),
                usage: &usage,
                rested: None,
            })
            .collect();
        let found: Vec<u32> = apart(&volumes).map(|volume| volume.number).collect();
        assert_eq!(found, [1]);
    }
}
