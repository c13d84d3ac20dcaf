//! The policy on top of the parsers: a byte is left out only when a clean filesystem proves it
//! free. A filesystem proves nothing about the bytes behind its own end.

use super::{ChangeToken, Filesystem, Summary, beyond, probe};
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::ExtentMap;
use crate::outside::{self, Outside};

/// Which bytes of a volume must be copied, and why.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The filesystem, if one was recognized.
    pub summary: Option<Summary>,
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
            extents,
            unproven: ExtentMap::new(),
            edges: ExtentMap::new(),
            left_out: ExtentMap::new(),
            choice: Outside::All,
            basis: Basis::Map,
            token: None,
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

    /// A volume of `size_bytes` that holds more than the filesystem of this summary, for this reason.
    #[must_use]
    pub fn contained(size_bytes: u64, summary: Option<Summary>, reason: String) -> Self {
        Self {
            summary,
            basis: Basis::Contained { reason },
            ..Self::mapped(ExtentMap::whole(size_bytes))
        }
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

/// What of a volume is copied whatever the choice is: boot loaders of the BIOS are there.
const FIRST_BYTES: u64 = 1 << 20;

/// How the reason in [`Basis::Whole`] begins when the volume's own records can't be read.
pub const UNREAD: &str = "it can't be read: ";

/// Finds which bytes of `volume` must be copied.
///
/// # Errors
/// [`Error::Io`] when the device fails. When anything is wrong with the filesystem, the whole volume
/// is in use, and [`Usage::basis`] has the reason.
pub fn usage(volume: &dyn ReadAt) -> Result<Usage> {
    let Some(filesystem) = probe(volume)? else {
        return Ok(whole(
            volume,
            None,
            "no filesystem that klon knows".to_owned(),
            false,
        ));
    };
    let summary = filesystem.summary().clone();
    if !summary.hazards.is_empty() {
        let reason = dirty_reason(&summary);
        return Ok(whole(volume, Some(summary), reason, true));
    }
    match filesystem.used(volume) {
        Ok(Some(extents)) => mapped(volume, &*filesystem, summary, extents),
        Ok(None) => {
            let reason = filesystem.whole_because();
            Ok(whole(volume, Some(summary), reason, false))
        }
        Err(error @ (Error::Corrupt(_) | Error::Unsupported { .. })) => {
            let reason = format!("{}: {error}", summary.kind);
            Ok(whole(volume, Some(summary), reason, true))
        }
        Err(error) => Err(error),
    }
}

/// As [`usage`], for a device with bad sectors. When they hide which bytes are in use, all are.
#[must_use]
pub fn usage_or_whole(volume: &dyn ReadAt) -> Usage {
    usage(volume).unwrap_or_else(|error| {
        let summary = probe(volume)
            .ok()
            .flatten()
            .map(|filesystem| filesystem.summary().clone());
        whole(volume, summary, format!("{UNREAD}{error}"), true)
    })
}

fn mapped(
    volume: &dyn ReadAt,
    filesystem: &dyn Filesystem,
    summary: Summary,
    extents: ExtentMap,
) -> Result<Usage> {
    let size_bytes = volume.geometry().size_bytes;
    if extents.end_bytes() > size_bytes {
        let reason = format!(
            "{} claims bytes up to {:#x} of a volume of {size_bytes:#x} bytes",
            summary.kind,
            extents.end_bytes()
        );
        return Ok(whole(volume, Some(summary), reason, true));
    }
    let end_bytes = filesystem.end_bytes().min(size_bytes);
    let proven = extents.union(&ExtentMap::whole(end_bytes));
    let unproven = proven.complement(size_bytes);
    // A tail that can't be read is copied as far as it can be, and the map still holds.
    let covers = || beyond::covers(volume, &unproven).unwrap_or_default();
    if end_bytes > 0
        && let Some(what) = covers()
    {
        let reason = format!(
            "{what} behind the end of the {} covers its free blocks, too",
            summary.kind
        );
        return Ok(Usage::contained(size_bytes, Some(summary), reason));
    }
    Ok(Usage {
        summary: Some(summary),
        edges: outside::edges(&unproven),
        token: filesystem.change_token(volume)?,
        extents: extents.union(&unproven),
        unproven,
        left_out: ExtentMap::new(),
        choice: Outside::All,
        basis: Basis::Map,
    })
}

fn whole(volume: &dyn ReadAt, summary: Option<Summary>, reason: String, is_warning: bool) -> Usage {
    Usage {
        summary,
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
