//! What a killed run left beside the records: files that were to replace a record, a log or a map.
//!
//! A file is removed when nothing speaks against it: its name is one that klon chooses, it is a plain file
//! of this user with no other name, it begins as klon begins it or is empty, and nobody holds its lock,
//! which its writer holds until the file has the name that it is to have.

use super::format::MAGIC;
use crate::durable::RANDOM_LEN;
use klon_partition::device::FileId;
use nix::libc::{O_CLOEXEC, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// How the names begin, and what may stand at the start of the file.
const KINDS: [(&str, &[&[u8]]); 4] = [
    (".record-", &[MAGIC]),
    (".evidence-", &[b"klonevid"]),
    (".log-", &[b"klonlog\n"]),
    (".map-", &[b"# Mapfile of klon", b"# klon-first: "]),
];

/// Removes what is left in `directory`. A file that can't be removed is in nobody's way.
pub(super) fn remove_left_over(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(starts) = name.to_str().and_then(starts_of) {
            let _ = remove_if_left_over(&entry.path(), starts);
        }
    }
}

/// What a file of this name may begin with; `None` for a name that klon doesn't choose.
fn starts_of(name: &str) -> Option<&'static [&'static [u8]]> {
    KINDS.iter().find_map(|&(prefix, starts)| {
        let random = name.strip_prefix(prefix)?;
        let is_random =
            random.len() == RANDOM_LEN && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_random.then_some(starts)
    })
}

fn remove_if_left_over(path: &Path, starts: &[&[u8]]) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Ok(());
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
        .open(path)?;
    // On a filesystem without locks nothing shows who is at work, and the file stays.
    if file.try_lock().is_ok() && is_klons(&file, starts)? && is_at(&file, path) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Whether `path` is a name of `file`, and no link to one.
fn is_at(file: &File, path: &Path) -> bool {
    let node = |found: io::Result<fs::Metadata>| found.ok().as_ref().map(FileId::of);
    let here = node(file.metadata());
    here.is_some() && here == node(fs::symlink_metadata(path))
}

fn is_klons(mut file: &File, starts: &[&[u8]]) -> io::Result<bool> {
    let found = file.metadata()?;
    let is_plain = found.is_file() && found.nlink() == 1 && found.uid() == geteuid().as_raw();
    if !is_plain || found.len() == 0 {
        return Ok(is_plain);
    }
    let len_max = starts.iter().map(|start| start.len()).max().unwrap_or(0);
    let mut begun = Vec::new();
    file.by_ref().take(len_max as u64).read_to_end(&mut begun)?;
    Ok(starts.iter().any(|start| begun.starts_with(start)))
}

#[cfg(test)]
mod tests;
