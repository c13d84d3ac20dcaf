//! Volumes whose journal awaits recovery, shown as they are once it was replayed. The volume itself stays
//! as it is.

use super::replayed::{Replay, Replayed};
use super::{Basis, Filesystem, Hazard, recognize, usage_by};
use crate::device::ReadAt;
use crate::device::redirected::Redirected;
use crate::error::{Error, Result};

/// Replays the journal of `volume`, on which `filesystem` was recognized, if that is all that keeps its map
/// from being believed. What comes out is checked: the volume must be clean then, and its map consistent.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub fn replay(volume: &dyn ReadAt, filesystem: &dyn Filesystem) -> Result<Replay> {
    let hazards = &filesystem.summary().hazards;
    let is_recovery = |hazard: &Hazard| matches!(hazard, Hazard::NeedsRecovery(_));
    if hazards.is_empty() || !hazards.iter().all(is_recovery) {
        return Ok(Replay::Unneeded);
    }
    let replayed = match filesystem.replay(volume) {
        None => return Ok(Replay::Unneeded),
        Some(Err(error)) => return impossible(error),
        Some(Ok(replayed)) => replayed,
    };
    let Some(whole) = volume.geometry().extent() else {
        return Ok(Replay::Unneeded);
    };
    let (transactions, replayed_bytes) = (replayed.transactions, replayed.replayed_bytes);
    let shown = Redirected::new(volume, vec![(whole, replayed.redirection)])?;
    match doubt(&shown) {
        Err(error) => impossible(error),
        Ok(Some(why)) => Ok(Replay::Impossible(why)),
        Ok(None) => Ok(Replay::Done(Replayed {
            redirection: shown.into_only().unwrap_or_default(),
            transactions,
            replayed_bytes,
        })),
    }
}

/// Why a volume whose journal was replayed is no better than before; `None` if it is.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub fn doubt(shown: &dyn ReadAt) -> Result<Option<String>> {
    let Some(filesystem) = recognize(shown)? else {
        return Ok(Some("nothing is recognized after its replay".to_owned()));
    };
    Ok(match usage_by(shown, filesystem)?.basis {
        Basis::Whole { reason, .. } => Some(format!("after its replay, {reason}")),
        Basis::Map | Basis::Contained { .. } => None,
    })
}

fn impossible(error: Error) -> Result<Replay> {
    match error {
        Error::Corrupt(_) | Error::Unsupported { .. } | Error::Refused(_) => {
            Ok(Replay::Impossible(error.to_string()))
        }
        other => Err(other),
    }
}
