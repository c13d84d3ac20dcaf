//! Which identity a clone is to have: the one that was asked for, or the one that it has by its record.

use super::Asked;
use crate::cli::IdentityArg;
use crate::source::SourceEnd;
use crate::target::TargetEnd;
use anyhow::Result;
use klon_imaging::RecordStore;
use klon_imaging::intent::Interrupted;
use klon_imaging::mark::Mark;
use klon_imaging::record::OwnIdentity;
use klon_partition::{ExtentMap, Identity, OwnIds, Shown as _};

/// The identity of its own that the clone of `source` on `target` is to have; `None` for its source's.
///
/// # Errors
/// When the target or a record can't be read.
pub(super) fn of_target(
    asked: Asked<'_>,
    source: &SourceEnd,
    target: &TargetEnd,
) -> Result<Option<OwnIdentity>> {
    if asked.identity == Some(IdentityArg::Keep) {
        return Ok(None);
    }
    let recorded = recorded(asked, source, target)?;
    Ok(match (asked.identity, recorded) {
        (_, Some(own)) => Some(own),
        (Some(IdentityArg::New), None) => Some(OwnIdentity {
            ids: OwnIds::at(&place(target)),
            names: Vec::new(),
            changed: ExtentMap::new(),
        }),
        (_, None) => None,
    })
}

/// What the record of the clone says. A target that is recognized by its content bears a mark while a run is not
/// finished, and is found by the log of that run then.
fn recorded(
    asked: Asked<'_>,
    source: &SourceEnd,
    target: &TargetEnd,
) -> Result<Option<OwnIdentity>> {
    let records = asked.records;
    let of = |clone: &Identity| recorded_of(records, source, clone);
    if let Some(own) = of(&target.identity)? {
        return Ok(Some(own));
    }
    let Some(now) = &target.now else {
        return Ok(None);
    };
    let Some(mark) = Mark::read(&*now.open.device)? else {
        return Ok(None);
    };
    for manifest in records.manifests()? {
        let log = Interrupted::load(&records.log_path(&manifest.target));
        let is_own = log.ok().flatten().is_some_and(|log| log.run == mark.run);
        if is_own && let Some(own) = of(&manifest.target)? {
            return Ok(Some(own));
        }
    }
    Ok(None)
}

/// What the record of that clone says, if it is one of the source.
///
/// # Errors
/// When the record can't be read.
pub(super) fn recorded_of(
    records: &RecordStore,
    source: &SourceEnd,
    clone: &Identity,
) -> Result<Option<OwnIdentity>> {
    // A damaged record says nothing, and the run says so.
    let outline = records.outline(clone).unwrap_or_default();
    let outline = outline.filter(|it| it.manifest.source == source.identity);
    Ok(outline.map(|it| it.own_identity()).transpose()?.flatten())
}

/// What stays the same of a target whatever is on it.
fn place(target: &TargetEnd) -> String {
    match &target.identity {
        lasting @ (Identity::Serial(_) | Identity::PartUuid(_)) => lasting.to_string(),
        Identity::DiskGuid(_) | Identity::FsUuid(_) | Identity::Path(_) => {
            let path = &target.place.path;
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            let number = target.place.number.map(|number| format!(":{number}"));
            format!("path:{}{}", path.shown(), number.unwrap_or_default())
        }
    }
}
