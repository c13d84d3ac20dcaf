//! The policy on top of the parsers: a byte is left out only when a clean filesystem proves it
//! free. A filesystem proves nothing about the bytes behind its own end.

use super::{
    ChangeToken, Filesystem, Hazard, Recognized, Summary, Worthless, beyond, probe, recognize,
};
use crate::device::{Geometry, ReadAt};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::outside::{self, FIRST_BYTES, Outside};

/// Which bytes of a volume must be copied, and why.
#[derive(Clone, Debug)]
pub struct Usage {
    /// What the filesystem says of itself, if one was recognized.
    pub summary: Option<Summary>,
    /// The filesystem itself, where it was recognized on the volume that is at hand. A description of
    /// a volume by a record or an image has none.
    pub recognized: Option<Recognized>,
    /// The bytes that must be copied, `unproven` included.
    pub extents: ExtentMap,
    /// The part of `extents` that must be copied only because nothing proves it free: space in no
    /// partition, and bytes behind a filesystem's own end.
    pub unproven: ExtentMap,
    /// The part of `unproven` that [`Outside::Edges`] copies.
    pub edges: ExtentMap,
    /// Bytes that nothing proves free, and that the user chose not to copy. None of them is in
    /// `extents`.
    pub left_out: ExtentMap,
    /// The user's choice.
    pub choice: Outside,
    /// Where `extents` comes from.
    pub basis: Basis,
    /// Whether that is what it is once a journal was replayed: the volume itself is still as it was left.
    pub is_replayed: bool,
    /// The size that the filesystem has on the volume itself, where it was shrunk for a target.
    pub shrunk_from_bytes: Option<u64>,
    /// Files whose contents are shown as zeroes, as the user left them out.
    pub skipped: Vec<Worthless>,
    /// The filesystem's change token, if it has one.
    pub token: Option<ChangeToken>,
}

/// Where a volume's set of used bytes comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The filesystem's own allocation records.
    Map,
    /// The whole volume is taken as used, because nothing proves a byte of it free.
    Whole {
        /// Why there is no proof.
        reason: String,
        /// Whether the reason is worth a warning. A dirty or damaged volume is; a format that klon
        /// has no parser for is not.
        is_warning: bool,
    },
    /// The whole volume is taken as used, although its filesystem is clean. The volume holds more
    /// than the filesystem, or something covers the free blocks, too.
    Contained {
        /// What else there is.
        reason: String,
    },
}

impl Usage {
    /// A volume or disk whose `extents` are in use. Everything else is free.
    #[must_use]
    pub fn mapped(extents: ExtentMap) -> Self {
        Self {
            summary: None,
            recognized: None,
            extents,
            unproven: ExtentMap::new(),
            edges: ExtentMap::new(),
            left_out: ExtentMap::new(),
            choice: Outside::All,
            basis: Basis::Map,
            is_replayed: false,
            shrunk_from_bytes: None,
            skipped: Vec::new(),
            token: None,
        }
    }

    /// A volume whose filesystem shows that `extents` are in use.
    fn of(filesystem: Recognized, extents: ExtentMap) -> Self {
        Self {
            summary: Some(filesystem.summary().clone()),
            recognized: Some(filesystem),
            ..Self::mapped(extents)
        }
    }

    /// A volume or disk of `size_bytes`. Nothing of it is proven free, for this reason.
    #[must_use]
    pub fn whole(size_bytes: u64, reason: String, is_warning: bool) -> Self {
        Self {
            basis: Basis::Whole { reason, is_warning },
            ..Self::mapped(ExtentMap::whole(size_bytes))
        }
    }

    /// The same volume, of `size_bytes`, when it holds more than its filesystem, for this reason.
    #[must_use]
    pub fn contained(self, size_bytes: u64, reason: String) -> Self {
        Self {
            summary: self.summary,
            recognized: self.recognized,
            is_replayed: self.is_replayed,
            basis: Basis::Contained { reason },
            ..Self::mapped(ExtentMap::whole(size_bytes))
        }
    }

    /// The filesystem, to be asked more of the volume that it was recognized on; `None` when nothing
    /// klon knows is there, or when the volume is not at hand.
    #[must_use]
    pub fn filesystem(&self) -> Option<&dyn Filesystem> {
        self.recognized.as_deref()
    }

    /// The bytes of `volume` that its filesystem lists as bad and that nothing in it claims. They are
    /// not in use. A volume whose filesystem can't be believed has none.
    #[must_use]
    pub fn known_bad(&self, volume: &dyn ReadAt) -> ExtentMap {
        self.filesystem()
            .filter(|filesystem| filesystem.summary().hazards.is_empty())
            .map_or_else(ExtentMap::new, |filesystem| filesystem.known_bad(volume))
    }

    /// The bytes of `volume` that are in use and that its filesystem does not need, so that zeroes do as well
    /// ([`Filesystem::blank`]). A volume whose filesystem can't be believed has none, and neither has a
    /// volume that holds more than its filesystem.
    #[must_use]
    pub fn blank(&self, volume: &dyn ReadAt) -> ExtentMap {
        let clean = self.filesystem().filter(|filesystem| {
            self.basis == Basis::Map && filesystem.summary().hazards.is_empty()
        });
        clean.map_or_else(ExtentMap::new, |filesystem| {
            filesystem.blank(volume).intersection(&self.used())
        })
    }

    /// The bytes in use: all that must be copied, without those that are only
    /// [`unproven`](Self::unproven).
    #[must_use]
    pub fn used(&self) -> ExtentMap {
        self.extents.difference(&self.unproven)
    }

    /// How many bytes are in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let unproven_bytes = self.unproven.total_bytes();
        self.extents.total_bytes().saturating_sub(unproven_bytes)
    }

    /// Where the part of a volume of `size_bytes` ends that a copy of it must have: the filesystem, and
    /// what else is in use. `None` when nothing shows that it ends before the volume.
    #[must_use]
    pub fn end_bytes(&self, size_bytes: u64) -> Option<u64> {
        let open = self.unproven.union(&self.left_out);
        let end_bytes = open.complement(size_bytes).end_bytes();
        (self.basis == Basis::Map && end_bytes < size_bytes).then_some(end_bytes)
    }

    /// What of the usage lies in `part`. Offsets stay those of the volume.
    #[must_use]
    pub fn within(&self, part: Option<Extent>) -> Self {
        let part: ExtentMap = part.into_iter().collect();
        Self {
            extents: self.extents.intersection(&part),
            unproven: self.unproven.intersection(&part),
            edges: self.edges.intersection(&part),
            left_out: self.left_out.intersection(&part),
            ..self.clone()
        }
    }

    /// Leaves out the unproven bytes that the user chose not to copy.
    pub fn limit(&mut self, choice: Outside) {
        let kept = match choice {
            Outside::All => return,
            Outside::Edges => self.edges.intersection(&self.unproven),
            Outside::None => ExtentMap::new(),
        };
        self.choice = choice;
        // The first mebibyte is copied in any case.
        let kept = kept.union(&ExtentMap::whole(FIRST_BYTES));
        self.leave_out(&self.unproven.difference(&kept));
    }

    /// Leaves out `extents`, as far as they are unproven.
    pub fn leave_out(&mut self, extents: &ExtentMap) {
        let left_out = extents.intersection(&self.unproven);
        self.drop_unproven(&left_out);
        self.left_out = self.left_out.union(&left_out);
    }

    /// Takes `extents` out of the unproven bytes: nothing is there.
    pub fn drop_unproven(&mut self, extents: &ExtentMap) {
        let gone = extents.intersection(&self.unproven);
        self.extents = self.extents.difference(&gone);
        self.unproven = self.unproven.difference(&gone);
        self.edges = self.edges.difference(&gone);
    }
}

/// How the reason in [`Basis::Whole`] begins when the volume's own records can't be read.
pub const UNREAD: &str = "it can't be read: ";

/// What the reason in [`Basis::Whole`] has where the volume ends before its filesystem.
pub const CUT: &str = " (it ends before its filesystem)";

/// Whether the damaged filesystem `found` on `volume` says that it goes on behind the volume's end.
#[must_use]
pub fn is_cut(volume: &dyn ReadAt, found: &Summary) -> bool {
    let is_damaged = |hazard: &Hazard| matches!(hazard, Hazard::Damaged(_));
    if !found.hazards.iter().any(is_damaged) {
        return false;
    }
    let size_bytes = volume.geometry().size_bytes;
    // What says nothing of its size takes all of the room.
    matches!(probe(&Longer(volume)), Ok(Some(it)) if it.summary().kind == found.kind
        && (size_bytes + 1..Longer::SIZE_BYTES).contains(&it.summary().size_bytes))
}

/// A volume with zeroes behind its end.
struct Longer<'a>(&'a dyn ReadAt);

impl Longer<'_> {
    const SIZE_BYTES: u64 = 1 << 50;
}

impl ReadAt for Longer<'_> {
    fn geometry(&self) -> Geometry {
        Geometry {
            size_bytes: Self::SIZE_BYTES,
            ..self.0.geometry()
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let rest_bytes = (self.0.geometry().size_bytes).saturating_sub(offset_bytes);
        let len = usize::try_from(rest_bytes).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let (front, behind) = buffer.split_at_mut(len);
        behind.fill(0);
        match front.is_empty() {
            true => Ok(()),
            false => self.0.read_exact_at(front, offset_bytes),
        }
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let own = self.0.geometry().extent();
        match own.and_then(|own| own.intersection(within)) {
            Some(part) => self.0.data(part),
            None => Ok(ExtentMap::new()),
        }
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        match extent.end_bytes() <= self.0.geometry().size_bytes {
            true => self.0.sha256(extent),
            false => Ok(None),
        }
    }
}

/// Finds which bytes of `volume` must be copied.
///
/// # Errors
/// [`Error::Io`] when the device fails. When anything is wrong with the filesystem, the whole volume
/// is in use, and [`Usage::basis`] has the reason.
pub fn usage(volume: &dyn ReadAt) -> Result<Usage> {
    Ok(match recognize(volume)? {
        Some(filesystem) => usage_by(volume, filesystem)?,
        None => unknown(volume),
    })
}

/// As [`usage()`], by the filesystem that was recognized on `volume` before.
///
/// # Errors
/// As [`usage()`].
pub fn usage_by(volume: &dyn ReadAt, filesystem: Recognized) -> Result<Usage> {
    let summary = filesystem.summary();
    if !summary.hazards.is_empty() {
        let mut reason = dirty_reason(summary);
        if is_cut(volume, summary) {
            reason.push_str(CUT);
        }
        return Ok(whole(volume, Some(filesystem), reason, true));
    }
    match filesystem.used(volume) {
        Ok(Some(extents)) => mapped(volume, filesystem, extents),
        Ok(None) => {
            let reason = filesystem.whole_because();
            Ok(whole(volume, Some(filesystem), reason, false))
        }
        Err(error @ (Error::Corrupt(_) | Error::Unsupported { .. })) => {
            let reason = format!("{}: {error}", summary.kind);
            Ok(whole(volume, Some(filesystem), reason, true))
        }
        Err(error) => Err(error),
    }
}

/// As [`usage()`], for a device with bad sectors. When they hide which bytes are in use, all are.
/// `known` is the filesystem, where it was recognized before.
#[must_use]
pub fn usage_or_whole(volume: &dyn ReadAt, known: Option<Recognized>) -> Usage {
    let unread = |filesystem, error| whole(volume, filesystem, format!("{UNREAD}{error}"), true);
    match known.map_or_else(|| recognize(volume), |known| Ok(Some(known))) {
        Ok(Some(filesystem)) => usage_by(volume, filesystem.clone())
            .unwrap_or_else(|error| unread(Some(filesystem), error)),
        Ok(None) => unknown(volume),
        Err(error) => unread(None, error),
    }
}

fn mapped(volume: &dyn ReadAt, filesystem: Recognized, extents: ExtentMap) -> Result<Usage> {
    let size_bytes = volume.geometry().size_bytes;
    let kind = filesystem.summary().kind;
    if extents.end_bytes() > size_bytes {
        let reason = format!(
            "{kind} claims bytes up to {:#x} of a volume of {size_bytes:#x} bytes",
            extents.end_bytes()
        );
        return Ok(whole(volume, Some(filesystem), reason, true));
    }
    let end_bytes = filesystem.end_bytes().min(size_bytes);
    let proven = extents.union(&ExtentMap::whole(end_bytes));
    let unproven = proven.complement(size_bytes);
    // A tail that can't be read is copied as far as it can be, and the map still holds.
    let covers = || beyond::covers(volume, &unproven).unwrap_or_default();
    if end_bytes > 0
        && let Some(what) = covers()
    {
        let reason = format!("{what} behind the end of the {kind} covers its free blocks, too");
        return Ok(Usage::of(filesystem, extents).contained(size_bytes, reason));
    }
    Ok(Usage {
        edges: outside::edges(&unproven),
        token: filesystem.change_token(volume)?,
        unproven: unproven.clone(),
        ..Usage::of(filesystem, extents.union(&unproven))
    })
}

/// A volume with nothing on it that klon knows.
fn unknown(volume: &dyn ReadAt) -> Usage {
    let reason = "no filesystem that klon knows".to_owned();
    whole(volume, None, reason, false)
}

fn whole(
    volume: &dyn ReadAt,
    recognized: Option<Recognized>,
    reason: String,
    is_warning: bool,
) -> Usage {
    let summary = recognized.as_ref().map(|found| found.summary().clone());
    Usage {
        summary,
        recognized,
        ..Usage::whole(volume.geometry().size_bytes, reason, is_warning)
    }
}

fn dirty_reason(summary: &Summary) -> String {
    let hazards: Vec<String> = summary.hazards.iter().map(ToString::to_string).collect();
    let advice = summary.kind.advice().map(|advice| format!("; {advice}"));
    format!(
        "{} {}{}",
        summary.kind,
        hazards.join(", "),
        advice.unwrap_or_default()
    )
}
