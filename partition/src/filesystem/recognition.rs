//! Which filesystem is on a volume, and when nobody can say.

use super::named::Named;
use super::owners::{Forgiving, Gaps, Owners};
use super::{
    Filesystem, Hazard, Kind, Summary, apfs, btrfs, erofs, exfat, ext, f2fs, fat, hfsplus, iso9660,
    lvm2, ntfs, signature, squashfs, swap, xfs,
};
use crate::device::{ReadAt, Unread};
use crate::error::{Error, Result};
use crate::extent::ExtentMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

type Found = Option<Box<dyn Filesystem>>;

/// Filesystems that klon reads further than their signature, in order of precedence.
const PARSERS: &[fn(&dyn ReadAt) -> Result<Found>] = &[
    ext::probe,
    fat::probe,
    exfat::probe,
    ntfs::probe,
    xfs::probe,
    btrfs::probe,
    lvm2::probe,
    apfs::probe,
    hfsplus::probe,
    f2fs::probe,
    iso9660::probe,
    swap::probe,
    squashfs::probe,
    erofs::probe,
];

/// A filesystem that was recognized. It is kept and handed on, so that the same volume is not searched
/// for signatures again.
#[derive(Clone)]
pub struct Recognized(Arc<dyn Filesystem>);

impl Deref for Recognized {
    type Target = dyn Filesystem;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Recognized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recognized").field(self.summary()).finish()
    }
}

/// As [`probe`], for what is kept.
///
/// # Errors
/// As [`probe`].
pub fn recognize(volume: &dyn ReadAt) -> Result<Option<Recognized>> {
    Ok(probe(volume)?.map(|filesystem| Recognized(filesystem.into())))
}

/// Recognises the filesystem on `volume`; `None` when nothing klon knows is there.
///
/// A damaged filesystem is recognised, with [`Hazard::Damaged`] in its summary. So is a volume
/// with the signatures of two filesystems: nothing shows which of them was there last. A RAID
/// member is one whatever lies inside the array.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let mut found: Vec<Box<dyn Filesystem>> = Vec::new();
    for parser in PARSERS {
        found.extend(parser(volume)?);
    }
    for summary in signatures(volume, &found)? {
        let named = Named::new(summary);
        if named.summary().kind == Kind::Mdraid {
            return Ok(Some(Box::new(named)));
        }
        found.push(Box::new(named));
    }
    if found.is_empty() {
        let remains = signature::find_remains(volume)?;
        return Ok(remains.map(|summary| -> Box<dyn Filesystem> { Box::new(Named::new(summary)) }));
    }
    match found.as_slice() {
        [] | [_] => Ok(found.pop()),
        [first, ..] => {
            let summary = first.summary().clone();
            let hazard = ambiguity(&found);
            Ok(Some(Box::new(Named::new(summary).with_hazard(hazard))))
        }
    }
}

/// Signatures of others, which are no reason to fail where the filesystem lists bad blocks: nothing is
/// there.
fn signatures(volume: &dyn ReadAt, found: &[Box<dyn Filesystem>]) -> Result<Vec<Summary>> {
    match (signature::find(volume), found) {
        (Err(error @ Error::Io { .. }), [one]) if one.summary().hazards.is_empty() => {
            let bad = one.known_bad(volume);
            match bad.is_empty() {
                true => Err(error),
                false => signature::find(&Unread::new(volume, bad)),
            }
        }
        (found, _) => found,
    }
}

fn ambiguity(found: &[Box<dyn Filesystem>]) -> Hazard {
    let kinds: Vec<String> = found
        .iter()
        .map(|filesystem| filesystem.summary().kind.to_string())
        .collect();
    Hazard::Damaged(format!(
        "both {} signatures are on it (wipefs lists them)",
        kinds.join(" and ")
    ))
}

/// The bytes of `volume` that its filesystem lists as bad and that nothing in it claims. They are not
/// in use. A volume that must be copied whole has none.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub fn known_bad(volume: &dyn ReadAt) -> Result<ExtentMap> {
    let filesystem = probe(volume)?;
    let clean = filesystem.filter(|filesystem| filesystem.summary().hazards.is_empty());
    Ok(clean.map_or_else(ExtentMap::new, |filesystem| filesystem.known_bad(volume)))
}

/// The files of the filesystem on `device` that hold bytes of `extents`: at most `files_max`.
///
/// Sectors that can't be read are not an error: what they would have told is in
/// [`Owners::gaps`].
#[must_use]
pub fn owners(device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
    let gaps = Gaps::new();
    // Zeroes make the structures that can't be read damaged ones.
    let forgiving = Forgiving::new(device, 0, &gaps);
    let found = match probe(&forgiving) {
        Ok(Some(filesystem)) => filesystem.owners(device, extents, files_max),
        Ok(None) => Owners::default(),
        Err(error) => {
            gaps.note(error);
            Owners::default()
        }
    };
    gaps.note_all(&found.gaps);
    Owners {
        files: found.files,
        gaps: gaps.list(),
    }
}

#[cfg(test)]
mod tests;
