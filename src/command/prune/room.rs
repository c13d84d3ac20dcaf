//! The room that a prune needs before it gives any back.

use crate::advice;
use crate::error::{Advice, refused};
use crate::human;
use anyhow::{Context as _, Result};
use klon_imaging::image::{Image, PrunePlan, forget_bytes, forget_from};
use klon_partition::Shown;
use std::path::Path;

/// Refuses a prune that could not write the catalog without the removed snapshots.
pub(super) fn check(image: &Image, plan: &PrunePlan, path: &Path) -> Result<()> {
    let needed_bytes = forget_bytes(image);
    // What is torn is cut off first.
    let room_bytes = room(path)?.saturating_add(plan.torn_bytes);
    if forget_from(image, plan).is_none() || room_bytes >= needed_bytes {
        return Ok(());
    }
    Err(refused(format!(
        "{}. Now {} are free. Nothing was changed",
        needs(image, path),
        human::size(room_bytes)
    )))
}

/// Adds to an error what a prune needs.
pub(super) fn explained(error: anyhow::Error, image: &Image, path: &Path) -> anyhow::Error {
    if advice::is_room(&error) {
        error.context(Advice(format!(
            "{}. The snapshots are as they were",
            needs(image, path)
        )))
    } else {
        advice::to_write(error, path, advice::ELSEWHERE)
    }
}

fn needs(image: &Image, path: &Path) -> String {
    let size = human::size(forget_bytes(image));
    format!(
        "a prune first writes a new catalog, which takes up to {size} on the filesystem of {}. After \
         that it frees room. Remove something else of at least that size there, and run the same \
         command again",
        path.shown()
    )
}

/// What is free on the filesystem of `path`.
pub(super) fn room(path: &Path) -> Result<u64> {
    let found = nix::sys::statvfs::statvfs(path).with_context(|| path.shown())?;
    Ok(found
        .blocks_available()
        .saturating_mul(found.fragment_size()))
}
