//! `klon prune --compact`: what remains goes into a new file, which takes the old one's place.

use super::{Line, Work, room};
use crate::advice;
use crate::cli::{Common, PruneArgs};
use crate::confirm;
use crate::error::refused;
use crate::human;
use crate::messages::say;
use crate::output;
use crate::progress::{Progress, Totals};
use crate::signals::interrupt_flag;
use crate::threads;
use anyhow::{Context as _, Result, anyhow};
use klon_imaging::OwnFile;
use klon_imaging::image::{FileAppend, Image, check, compact, compact_bytes};
use klon_imaging::progress::Runner;
use klon_partition::Shown;
use klon_partition::device::look_at;
use std::fs;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub(super) fn run(work: Work, args: &PruneArgs, common: &Common) -> Result<ExitCode> {
    let given = work.name.path.shown();
    if work.name.files()?.is_split() {
        return Err(refused(format!(
            "{given} is kept in parts, and klon can't replace all of them at once. Prune it without --compact"
        )));
    }
    let path = work
        .name
        .path
        .canonicalize()
        .with_context(|| given.clone())?;
    let old = fs::metadata(&path).with_context(|| given.clone())?;
    let needed_bytes = compact_bytes(&work.image, &work.remove).with_context(|| given.clone())?;
    let room_bytes = room::room(&path)?;
    let smaller = |bytes: u64| (old.blocks() * 512).saturating_sub(bytes);
    let line = |event, freed_bytes, live_bytes| Line {
        event,
        image: given.clone(),
        snapshots: &work.fates,
        removed: &work.remove,
        freed_bytes,
        live_bytes,
        zone: work.zone.name(),
    };
    if args.dry_run {
        let freed_bytes = smaller(needed_bytes);
        if common.json {
            output::json(&line("would_prune", freed_bytes, needed_bytes))?
        } else {
            output::line(&work.text(freed_bytes, needed_bytes))?
        }
        return Ok(ExitCode::SUCCESS);
    }
    if needed_bytes > room_bytes {
        return Err(no_room(&given, needed_bytes, room_bytes));
    }
    let sizes = Sizes {
        freed_bytes: smaller(needed_bytes),
        live_bytes: needed_bytes,
    };
    consent(&work, args, common, &sizes)?;
    let progress = Progress::new(
        common,
        Totals {
            bytes: needed_bytes * 2,
            volumes: 2,
        },
        interrupt_flag()?,
    );
    rewrite(&work, &path, args, &progress)
        .and_then(|new| replace(new, &path, &old))
        .map_err(|error| advice::to_write(error, &path, advice::ELSEWHERE))
        .with_context(|| format!("compacting {given} (the image is as it was)"))?;
    let now = fs::metadata(&path).with_context(|| given.clone())?;
    let (freed_bytes, live_bytes) = (smaller(now.blocks() * 512), now.len());
    match (common.json, common.quiet) {
        (true, _) => output::json(&line("pruned", freed_bytes, live_bytes))?,
        (false, true) => {}
        (false, false) => output::line(&format!(
            "{given}: {} removed, {} freed; the image now takes {}",
            human::count(work.remove.len(), "snapshot"),
            human::size(freed_bytes),
            human::size(live_bytes)
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn no_room(given: &str, needed_bytes: u64, room_bytes: u64) -> anyhow::Error {
    refused(format!(
        "the new file needs up to {} beside {given} until the old one is removed, and {} are free. \
         Make room, or prune without --compact",
        human::size(needed_bytes),
        human::size(room_bytes)
    ))
}

/// What compacting does to the size of an image.
struct Sizes {
    /// Bytes that it frees.
    freed_bytes: u64,
    /// Bytes that the new file has.
    live_bytes: u64,
}

fn consent(work: &Work, args: &PruneArgs, common: &Common, sizes: &Sizes) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    let given = work.name.path.shown();
    if !common.json && !common.quiet {
        say(&work.text(sizes.freed_bytes, sizes.live_bytes));
    }
    match confirm::yes(&format!("Replace {given} with a new file"))? {
        true => Ok(()),
        false => Err(refused(format!(
            "this would replace {given} with a new file. To do it, add --yes"
        ))),
    }
}

/// Writes the new file, which has no name yet, and reads all of it back.
fn rewrite(work: &Work, path: &Path, args: &PruneArgs, progress: &Progress) -> Result<OwnFile> {
    let threads = threads::count(args.threads);
    let name = path.shown();
    let new = OwnFile::create(path).with_context(|| name.clone())?;
    let file = new.file().try_clone()?;
    let output = FileAppend::over(file, 0).with_context(|| name.clone())?;
    drop(compact(
        &work.image,
        &work.remove,
        output,
        Runner {
            name: &name,
            threads,
            observer: progress,
        },
    )?);
    let image = Image::open(Arc::new(look_at(&new.again())?))?;
    let found = check(
        &image,
        None,
        Runner {
            name: &name,
            threads,
            observer: progress,
        },
    )?;
    let numbers = |image: &Image| -> Vec<u64> {
        let entries = image.catalog().snapshots.iter();
        entries.map(|entry| entry.number).collect()
    };
    let mut expected = numbers(&work.image);
    expected.retain(|number| !work.remove.contains(number));
    if found.is_whole && numbers(&image) == expected {
        Ok(new)
    } else {
        Err(anyhow!("the new file does not read back as it was written"))
    }
}

/// Gives the new file the old one's owner and mode, and then its place.
fn replace(new: OwnFile, path: &Path, old: &fs::Metadata) -> Result<()> {
    let file = new.file();
    // Only root may give files away; for others it is theirs already.
    let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    file.set_permissions(old.permissions())
        .and_then(|()| file.sync_all())
        .and_then(|()| new.into_place(true))
        .with_context(|| path.shown())
}
