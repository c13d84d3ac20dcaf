//! `klon mount`: an image as a read-only file system.

mod background;

use crate::cli::{Common, MountArgs};
use crate::error::{refused, usage};
use crate::human;
use crate::image::ImageName;
use crate::mount::{Mounted, Owner, Tree};
use crate::output;
use crate::signals::Stop;
use anyhow::{Context as _, Result};
use klon_imaging::serve::ImageExports;
use klon_partition::Shown;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The answer of `klon mount --json`, once it is mounted.
#[derive(Serialize, Deserialize)]
struct MountedLine {
    event: String,
    directory: PathBuf,
    snapshots: Vec<u64>,
    /// The process that answers.
    pid: u32,
}

/// Mounts, and answers until that ends.
///
/// # Errors
/// When the image can't be read, or the directory can't be mounted on.
pub fn run(args: &MountArgs, common: &Common) -> Result<ExitCode> {
    if args.background {
        return background::run(args, common);
    }
    let stop = Stop::on_signals()?;
    let name = ImageName::parse(&args.image)?;
    let image = name.open()?;
    let shown = name.path.shown();
    let exports = ImageExports::new(image, name.snapshot).with_context(|| shown.clone())?;
    let directory = free_directory(&args.directory)?;
    let metadata = fs::metadata(&name.path).with_context(|| shown.clone())?;
    let owner = Owner {
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode(),
    };
    let tree = Tree::new(exports, name.snapshot.is_some(), owner);
    let line = MountedLine {
        event: "mounted".to_owned(),
        directory: directory.clone(),
        snapshots: tree.numbers().to_vec(),
        pid: std::process::id(),
    };
    let mounted = Mounted::new(tree, directory, &shown, args.allow_other)?;
    line.report(args, common)?;
    if args.detached {
        background::leave()?;
    }
    mounted.run(stop)?;
    Ok(ExitCode::SUCCESS)
}

impl MountedLine {
    fn report(&self, args: &MountArgs, common: &Common) -> Result<()> {
        if common.json {
            output::json(self)?;
        } else if !common.quiet {
            let directory = self.directory.shown();
            let unmount = if nix::unistd::geteuid().is_root() {
                "umount"
            } else {
                "fusermount3 -u"
            };
            let end = if args.background {
                format!("`{unmount} {directory}`")
            } else {
                format!("Ctrl-C or `{unmount} {directory}`")
            };
            output::line(&format!(
                "{} is mounted read-only, {} in {directory}, the last one as \
                 {directory}/latest. To stop: {end}",
                args.image.shown(),
                human::count(self.snapshots.len(), "snapshot"),
            ))?;
        }
        Ok(())
    }
}

/// The directory with all links followed, unless there is something in it.
fn free_directory(given: &Path) -> Result<PathBuf> {
    let shown = given.shown();
    let metadata = fs::metadata(given).map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::ENOTCONN as i32 => refused(format!(
            "the program that mounted {shown} is gone. Unmount it first: umount {shown}, or \
             fusermount3 -u {shown}"
        )),
        _ => usage(format!("{shown}: {error}. Name an empty directory")),
    })?;
    if !metadata.is_dir() {
        return Err(usage(format!(
            "{shown} is not a directory. Name an empty one"
        )));
    }
    let path = given.canonicalize().with_context(|| shown.to_string())?;
    let parent = path.parent().map(fs::metadata).transpose()?;
    if parent.is_none_or(|parent| parent.dev() != metadata.dev()) {
        return Err(refused(format!(
            "something is mounted on {shown} already. Unmount it, or choose an empty directory"
        )));
    }
    let mut entries = fs::read_dir(&path).with_context(|| shown.to_string())?;
    if entries.next().is_some() {
        return Err(refused(format!(
            "{shown} is not empty, and the mount would hide what is in it. Choose an empty directory"
        )));
    }
    Ok(path)
}
