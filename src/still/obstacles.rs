//! What klon itself would write to a volume at rest: it would wait for itself. It is found beforehand.
//!
//! What can't be known: where the other end of a pipe writes, and where a program, a network or another machine
//! has what it serves (FUSE, NBD, NFS). If that is a volume at rest, klon waits until the watchdog thaws it.

use crate::error::refused;
use anyhow::{Context as _, Error, Result};
use klon_partition::Shown as _;
use klon_partition::system::System;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// What a path is for klon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is cloned to it.
    Target,
    /// The image that is written to.
    Image,
    /// Where records are kept.
    Records,
    /// Where temporary files are made.
    Temporary,
    /// Standard output or standard error.
    Output,
    /// Anything else that this process has open for writing.
    OpenFile,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Target => "the target",
            Self::Image => "the image",
            Self::Records => "the directory of the records",
            Self::Temporary => "the directory for temporary files",
            Self::Output => "the file that standard output or standard error goes to",
            Self::OpenFile => "the open file",
        }
    }

    const fn way_out(self) -> &'static str {
        match self {
            Self::Target => "Name a target that is elsewhere",
            Self::Image => "Keep the image elsewhere",
            Self::Records => "Keep the records elsewhere: --records DIR",
            Self::Temporary => {
                "Name another directory for temporary files, for example one in memory: TMPDIR=/dev/shm"
            }
            Self::Output => "Let another program write it: klon … | cat >FILE",
            Self::OpenFile => "Let it be elsewhere",
        }
    }
}

/// Something that would be written to a volume at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is for klon.
    pub role: Role,
    /// What would be written to.
    pub path: PathBuf,
    /// Where the volume is mounted that it lies on.
    pub at: PathBuf,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, path, at) = (self.role.name(), self.path.shown(), self.at.shown());
        write!(f, "{role} ({path}) lies on the volume at {at}")
    }
}

/// Finds the `paths` that lie on a filesystem mounted at one of `mounts`, also through loop devices and overlays.
/// Finds what this process has open for writing there as well, such as its standard output.
///
/// # Errors
/// When the system does not say where something lies.
pub fn in_the_way(paths: &[(Role, PathBuf)], mounts: &[PathBuf]) -> Result<Vec<Obstacle>> {
    let system = System::current()?;
    let mut resting = BTreeMap::new();
    for at in mounts {
        let file = fs::File::open(at).with_context(|| at.shown())?;
        let superblock = system.superblock_of(&file);
        let number = superblock.with_context(|| at.shown())?.number;
        resting.insert(number, at.clone());
    }
    let mut found = Vec::new();
    let open = written_by_us()?;
    let named = paths.iter().map(|(role, path)| (*role, path, path));
    let all = named.chain(open.iter().map(|it| (it.role, &it.link, &it.path)));
    for (role, to_look_at, path) in all {
        let beneath = match system.superblocks_beneath(to_look_at) {
            // Another thread has closed it meanwhile.
            Err(_) if role == Role::OpenFile && to_look_at.symlink_metadata().is_err() => continue,
            beneath => beneath.with_context(|| path.shown())?,
        };
        // What was named by its role is open, too.
        let is_named = role == Role::OpenFile && paths.iter().any(|(_, named)| named == path);
        if is_named {
            continue;
        }
        if let Some(at) = beneath.iter().find_map(|number| resting.get(number)) {
            let (path, at) = (path.clone(), at.clone());
            found.push(Obstacle { role, path, at });
        }
    }
    Ok(found)
}

/// A refusal that names the obstacles and the ways out.
pub fn refusal(obstacles: &[Obstacle]) -> Error {
    let named: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    let mut ways: Vec<&str> = obstacles.iter().map(|it| it.role.way_out()).collect();
    ways.dedup();
    refused(format!(
        "klon would have to write to a volume while it is at rest: {}. {}",
        named.join("; "),
        ways.join(". ")
    ))
}

/// A file that this process has open for writing.
struct Written {
    role: Role,
    /// The link in `/proc`.
    link: PathBuf,
    /// What it is called.
    path: PathBuf,
}

/// What this process has open for writing.
fn written_by_us() -> Result<Vec<Written>> {
    let directory = Path::new("/proc/self/fd");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).context("/proc/self/fd")? {
        let name = entry.context("/proc/self/fd")?.file_name();
        let link = directory.join(&name);
        let info = fs::read_to_string(Path::new("/proc/self/fdinfo").join(&name));
        // Another thread may have closed it.
        let (Ok(info), Ok(metadata)) = (info, fs::metadata(&link)) else {
            continue;
        };
        let kind = metadata.file_type();
        if !is_for_writing(&info) || !(kind.is_file() || kind.is_block_device()) {
            continue;
        }
        let is_output = name == "1" || name == "2";
        let role = if is_output {
            Role::Output
        } else {
            Role::OpenFile
        };
        let path = fs::read_link(&link).unwrap_or_else(|_| link.clone());
        found.push(Written { role, link, path });
    }
    Ok(found)
}

/// By the flags of open(2), in octal (proc_pid_fdinfo(5)): the lowest two bits are 0 for reading alone.
fn is_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u64::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::{Obstacle, Role, in_the_way, is_for_writing, refusal};
    use crate::error::message;

    #[test]
    fn descriptors_for_writing_are_told_from_those_for_reading() {
        let info = |flags: &str| format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t29\n");
        assert!(!is_for_writing(&info("0100000")));
        assert!(is_for_writing(&info("0100001")));
        assert!(is_for_writing(&info("02100002")));
        assert!(is_for_writing("nothing that is known"));
    }

    #[test]
    fn what_lies_on_a_volume_is_found_by_its_directory_and_by_what_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new_in(directory.path()).unwrap();
        let name = directory.path().join("not/there/yet");
        let mounts = [directory.path().to_owned()];
        let found = in_the_way(&[(Role::Records, name.clone())], &mounts).unwrap();
        let records = found.iter().find(|it| it.role == Role::Records).unwrap();
        assert_eq!(records.path, name);
        assert!(found.iter().any(|it| it.path == file.path()), "{found:?}");
        let elsewhere = in_the_way(&[(Role::Target, "/proc/self".into())], &mounts).unwrap();
        assert!(!elsewhere.iter().any(|it| it.role == Role::Target));
    }

    #[test]
    fn a_refusal_names_each_way_out() {
        let obstacle = |role| Obstacle {
            role,
            path: "/srv/x".into(),
            at: "/srv".into(),
        };
        let said = message(&refusal(&[obstacle(Role::Records), obstacle(Role::Output)]));
        for part in [
            "/srv/x",
            "the volume at /srv",
            "--records DIR",
            "| cat >FILE",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
