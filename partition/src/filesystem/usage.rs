//! The policy on top of the parsers: a byte is left out only when a clean filesystem proves it
//! free.

use super::{ChangeToken, Filesystem, Summary, probe};
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::ExtentMap;

/// Which bytes of a volume must be copied, and why those.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The filesystem, if one was recognised.
    pub summary: Option<Summary>,
    /// What must be copied.
    pub extents: ExtentMap,
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
        /// Whether that is out of the ordinary and worth a warning (a dirty or damaged volume,
        /// not one whose format klon merely has no parser for).
        is_warning: bool,
    },
}

/// Where the reason of [`Basis::Whole`] begins so, the volume's own records can't be read.
pub const UNREAD: &str = "it can't be read: ";

/// Finds what of `volume` must be copied.
///
/// # Errors
/// [`Error::Io`] when the device fails. Anything wrong with the filesystem makes the whole volume
/// used, with the reason in [`Usage::basis`].
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

/// As [`usage`], for a device with bad sectors: where they hide what is in use, all of it is.
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
    let token = filesystem.change_token(volume)?;
    Ok(Usage {
        summary: Some(summary),
        extents,
        basis: Basis::Map,
        token,
    })
}

fn whole(volume: &dyn ReadAt, summary: Option<Summary>, reason: String, is_warning: bool) -> Usage {
    let extents = ExtentMap::whole(volume.geometry().size_bytes);
    Usage {
        summary,
        extents,
        basis: Basis::Whole { reason, is_warning },
        token: None,
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
