//! A look at a source before a run: whether the metadata of its files may be believed, and a walk over
//! them.

use super::evidence::{Draft, Evidence, EvidenceMeta, Spool};
use super::proven::{
    Continuity, Count, ExtentCount, ExtentVerdict, ExtentWriter, Faster, Horizon, IdentityWriter,
    Largest, Previous, PreviousExtents, Rule, Session, Stamped, Verdict, Walk, WalkError, refusal,
    set_back_seconds, walk, walk_extents, went_down,
};
use super::reliance::{Reliance, Witness};
use crate::clock::{stamp_now, stamp_of};
use crate::error::{Error, Result};
use crate::record::Consistency;
use klon_partition::device::Geometry;
use klon_partition::filesystem::{Basis, Filesystem, Kind, Usage};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use uuid::Uuid;

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The source.
    pub source: &'a dyn ReadAt,
    /// The bytes of it that are in use.
    pub usage: &'a Usage,
    /// What the machine's ledger says now; `None` without one.
    pub continuity: Option<&'a Continuity>,
    /// The runs that wrote to the source when it was a target, by its records.
    pub written_by: &'a [Uuid],
    /// Since when it is at rest, of one that is mounted for writing.
    pub rested: Option<&'a Rested>,
}

/// A filesystem that is mounted for writing and read at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rested {
    /// That instant, or an earlier moment: what is read has nothing that was written after it.
    pub since: SystemTime,
    /// How it is at rest.
    pub consistency: Consistency,
    /// How it is mounted; `None` where the kernel can't tell its mounts apart, and of a snapshot.
    pub session: Option<Session>,
}

/// Why no file may be left unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The reason.
    pub reason: String,
    /// What would make the next run fast.
    pub remedy: Faster,
}

impl Doubt {
    /// One that this run ends.
    pub(crate) const fn until_now(reason: String) -> Self {
        let remedy = Faster::ThisRun;
        Self { reason, remedy }
    }
}

/// A look at a source whose files can show by their metadata that they are what they were.
pub struct Look<'a> {
    device: Counting<'a>,
    filesystem: &'a dyn Filesystem,
    witness: Witness,
    stamped: Stamped,
    horizon: Horizon,
}

/// What a walk over the files of a source came to.
#[derive(Debug)]
pub struct Walked {
    /// The bytes of the source that are as the record says.
    pub proven: ExtentMap,
    /// The regular files, by what was found of them.
    pub files: BTreeMap<Verdict, Count>,
    /// The data extents, where these are compared instead.
    pub extents: BTreeMap<ExtentVerdict, ExtentCount>,
    /// The largest of them that are to be read whole.
    pub largest: Largest,
    /// The contents of regular files, which are not metadata, where the walk was over files.
    pub contents: Option<ExtentMap>,
    /// The evidence for the next run, as of a run that reads everything; `None` when nothing is kept.
    pub draft: Option<Draft>,
}

/// What shows by the metadata of such a filesystem that files or extents of it are what they were; `None`
/// when nothing does.
const fn witness(kind: Kind) -> Option<Witness> {
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 | Kind::Xfs => Some(Witness::Stamps),
        // No stamp is asked, so neither a clock nor a power cut can deceive.
        Kind::Btrfs => Some(Witness::Checksums),
        Kind::Ntfs => Some(Witness::FileRecords),
        _ => None,
    }
}

/// Whether nothing but a heuristic could show which files of that source changed.
pub(crate) fn is_guesswork(usage: &Usage) -> bool {
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    usage.basis == Basis::Map && kind.and_then(witness) == Some(Witness::FileRecords)
}

/// Whether the record of a clone of that source keeps digests of its metadata: what shows, with its change
/// token or by that heuristic, that nobody changed the clone.
pub(crate) fn keeps_metadata(usage: &Usage, reliance: &Reliance) -> bool {
    usage.token.is_some() || reliance.trusts_file_records && is_guesswork(usage)
}

/// What is known of the volume as it was at an earlier run.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// What that run kept of its files.
    pub evidence: &'a Evidence,
    /// The bytes that its record describes.
    pub described: &'a ExtentMap,
}

impl<'a> Look<'a> {
    /// Looks at a source. `None` if its files can't prove anything: by this filesystem, or only by a heuristic that
    /// nobody asked for; because the source is not clean, or keeps digests itself; or because its journal was replayed
    /// or it was shrunk for this run alone, or contents of it are left out.
    ///
    /// # Errors
    /// [`Error::Source`].
    pub fn new(subject: Subject<'a>, reliance: &Reliance) -> Result<Option<Self>> {
        let Subject { source, usage, .. } = subject;
        let kind = usage.summary.as_ref().map(|summary| summary.kind);
        // What is shown of a volume whose journal was replayed is on no disk. The next run finds it as the
        // kernel left it, and reads everything.
        // What is left out may not be at the next run: no file shows that.
        let is_own =
            !usage.is_replayed && usage.shrunk_from_bytes.is_none() && usage.skipped.is_empty();
        let is_mapped = usage.basis == Basis::Map && is_own;
        let is_mapped = is_mapped && keeps_metadata(usage, reliance);
        let witness = kind.and_then(witness).filter(|_| is_mapped);
        let (Some(first), Some(witness)) = (source.geometry().extent(), witness) else {
            return Ok(None);
        };
        let first = Extent::new(0, first.len_bytes().min(crate::CHUNK_BYTES)).unwrap_or(first);
        if source.sha256(first).map_err(Error::Source)?.is_some() {
            return Ok(None);
        }
        // What happens to a file from now on has a later stamp.
        let begin = stamp_now();
        let device = Counting {
            device: source,
            read_bytes: AtomicU64::new(0),
        };
        let Some(filesystem) = usage.filesystem() else {
            return Ok(None);
        };
        let stamped = Stamped {
            instance: filesystem.instance(&device).map_err(Error::Source)?,
            age: filesystem.age(&device).map_err(Error::Source)?,
            // Without a freeze that klon knows of, stamps may be missing.
            is_clean: filesystem.summary().hazards.is_empty()
                && (subject.rested.is_some()
                    || filesystem.is_unmounted(&device).map_err(Error::Source)?),
            seen: u64::try_from(begin.seconds).unwrap_or(0),
            continuity: subject.continuity.cloned(),
            written_by: subject.written_by.to_vec(),
            session: subject.rested.and_then(|rested| rested.session.clone()),
        };
        Ok(Some(Self {
            device,
            filesystem,
            witness,
            stamped,
            horizon: match subject.rested {
                Some(rested) => Horizon::frozen(stamp_of(rested.since)),
                None => Horizon::unmounted(begin),
            },
        }))
    }

    /// Why nothing may be left unread by `evidence`, which belongs to the record; `None` when nothing speaks
    /// against it.
    #[must_use]
    pub fn doubt(&self, evidence: &Evidence, reliance: &Reliance) -> Option<Doubt> {
        let before = &evidence.meta;
        if let Some(reason) = &before.disabled {
            return Some(Doubt::until_now(reason.clone()));
        }
        // What Windows did before a power cut no ledger of this machine knows, so none is asked for.
        let needs_no_ledger = reliance.is_said_clean || self.witness != Witness::Stamps;
        let (then, now) = (&before.stamped, &self.stamped);
        let refused = refusal(then, now, needs_no_ledger).or_else(|| {
            let is_heard = self.is_heuristic() && !reliance.is_said_clean;
            went_down(then, now).filter(|_| is_heard)
        });
        if let Some(refusal) = refused {
            return Some(Doubt {
                reason: refusal.to_string(),
                remedy: refusal.remedy(),
            });
        }
        let due = reliance
            .full_every
            .due(before, self.stamped.seen, self.witness);
        due.map(Doubt::until_now)
    }

    /// Why nothing may be left unread by what someone else tells, whatever that is; `None` when nothing
    /// speaks against it. A check or a power cut shows there as any other write does.
    #[must_use]
    pub fn doubt_of_tracked(&self, before: &EvidenceMeta, reliance: &Reliance) -> Option<Doubt> {
        let reason = before.disabled.clone();
        let witness = match self.witness {
            Witness::Checksums | Witness::Stamps => Witness::Stamps,
            Witness::FileRecords => Witness::FileRecords,
        };
        let due = || {
            let every = reliance.full_every;
            every.due(before, self.stamped.seen, witness)
        };
        reason.or_else(due).map(Doubt::until_now)
    }

    /// Whether what it shows is no proof.
    pub(crate) fn is_heuristic(&self) -> bool {
        self.witness == Witness::FileRecords
    }

    /// Walks over the files, or over the data extents, and compares them with those of the `previous` run. What
    /// the next run needs goes to `spool`.
    ///
    /// # Errors
    /// [`WalkError`]; then nothing is proven and nothing is kept.
    pub fn walk(
        &self,
        previous: Option<Before<'_>>,
        spool: Spool,
        is_said_clean: bool,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Walked, WalkError> {
        if self.witness == Witness::Checksums {
            return self.walk_extents(previous, spool, is_cancelled);
        }
        let previous = match previous {
            None => None,
            Some(Before {
                evidence,
                described,
            }) => {
                let back_seconds = set_back_seconds(&evidence.meta.stamped, &self.stamped);
                Some(Previous {
                    identities: evidence.identities()?.set_back(back_seconds),
                    signatures: &evidence.signatures,
                    written_past: &evidence.written_past,
                    described,
                })
            }
        };
        let keep = IdentityWriter::begin(spool, self.horizon).map_err(WalkError::Keep)?;
        let rule = Rule::default();
        let found = walk(self.over(&rule, is_cancelled), previous, keep)?;
        let meta = self.meta(is_said_clean);
        let identities_bytes = found.kept.len_bytes;
        Ok(Walked {
            proven: found.proven,
            files: found.files,
            extents: BTreeMap::new(),
            largest: found.largest,
            contents: found.contents,
            draft: Draft::new(found.inner, identities_bytes, found.written_past, meta),
        })
    }

    fn over<'w>(&'w self, rule: &'w Rule, is_cancelled: &'w dyn Fn() -> bool) -> Walk<'w> {
        Walk {
            filesystem: self.filesystem,
            device: &self.device,
            rule,
            is_cancelled,
        }
    }

    fn walk_extents(
        &self,
        previous: Option<Before<'_>>,
        spool: Spool,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Walked, WalkError> {
        let previous = match previous {
            None => None,
            Some(Before {
                evidence,
                described,
            }) => Some(PreviousExtents {
                extents: evidence.extents()?,
                damaged: &evidence.damaged,
                described,
            }),
        };
        let keep = ExtentWriter::begin(spool, Horizon::NEVER).map_err(WalkError::Keep)?;
        let rule = Rule::default();
        let found = walk_extents(self.over(&rule, is_cancelled), previous, keep)?;
        let (kept_bytes, meta) = (found.kept.len_bytes, self.meta(false));
        Ok(Walked {
            proven: found.proven,
            files: BTreeMap::new(),
            extents: found.extents,
            largest: Largest::default(),
            contents: None,
            draft: Draft::new(found.inner, kept_bytes, ExtentMap::new(), meta),
        })
    }

    /// What is known of the volume, as of a run that reads everything.
    fn meta(&self, is_said_clean: bool) -> EvidenceMeta {
        EvidenceMeta {
            stamped: self.stamped.clone(),
            said_clean_unix_seconds: is_said_clean.then_some(self.stamped.seen),
            trusts_file_records: self.is_heuristic(),
            audit_cursor_bytes: 0,
            full_unix_seconds: self.stamped.seen,
            runs_since_full: 0,
            tracked_runs_since_full: 0,
            bitmap: None,
            disabled: None,
        }
    }

    /// How much of the source was read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.device.read_bytes.load(Ordering::Relaxed)
    }
}

/// What keeps evidence from being written, as a reason.
pub(crate) fn unwritable(error: &io::Error) -> String {
    format!("what is to be kept of the files can't be written: {error}")
}

/// A device that counts what is read of it.
struct Counting<'a> {
    device: &'a dyn ReadAt,
    read_bytes: AtomicU64,
}

impl ReadAt for Counting<'_> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        let len_bytes = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        self.read_bytes.fetch_add(len_bytes, Ordering::Relaxed);
        self.device.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        self.device.data(within)
    }

    fn sha256(&self, extent: Extent) -> klon_partition::Result<Option<[u8; 32]>> {
        self.device.sha256(extent)
    }
}
