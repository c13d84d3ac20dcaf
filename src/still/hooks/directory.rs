//! Which files of a directory are hooks.

use super::run::Hook;
use crate::error::refused;
use crate::messages;
use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use nix::unistd::geteuid;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Any of the three bits that let someone run a file, and those that let others than its owner change it.
const EXECUTABLE: u32 = 0o111;
const OPEN_TO_OTHERS: u32 = 0o022;

/// What packages and editors leave beside a file that they replace.
const LEFT_BEHIND: [&str; 8] = [
    "~",
    ".bak",
    ".orig",
    ".swp",
    ".rpmnew",
    ".rpmsave",
    ".dpkg-new",
    ".dpkg-old",
];

/// The programs in a directory, in the order of their names; none when there is no such directory. A file that
/// can't be run is told and left out.
///
/// # Errors
/// A refusal of a program that someone else could have changed; when the directory can't be read.
pub fn programs(directory: &Path) -> Result<Vec<Hook>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| directory.shown())?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: Result<Vec<PathBuf>, _> = paths.collect();
    let mut paths = paths.with_context(|| directory.shown())?;
    paths.retain(|path| !is_left_behind(path));
    paths.sort();
    let mut hooks = Vec::new();
    for path in paths {
        let metadata = fs::metadata(&path).with_context(|| path.shown())?;
        if !metadata.is_file() {
            continue;
        }
        if metadata.permissions().mode() & EXECUTABLE == 0 {
            messages::say(&format!(
                "klon: the hook {} is left out, as it is not executable (chmod +x)",
                path.shown()
            ));
            continue;
        }
        let is_ours = metadata.uid() == 0 || metadata.uid() == geteuid().as_raw();
        if !is_ours || metadata.permissions().mode() & OPEN_TO_OTHERS != 0 {
            return Err(refused(format!(
                "others can change the hook {}, and klon would run it with your rights. Make root its owner, and \
                 keep others from writing it (chmod go-w)",
                path.shown()
            )));
        }
        hooks.push(Hook::program(path));
    }
    Ok(hooks)
}

fn is_left_behind(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let ends = |end: &&str| name.ends_with(end.as_bytes());
    name.starts_with(b".") || LEFT_BEHIND.iter().any(ends)
}
