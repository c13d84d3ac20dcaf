//! The tools that make filesystems larger, each for its own filesystem.

use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::Shown;
use klon_partition::filesystem::Kind;
use klon_partition::text::sealed_bytes;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Where the tools may be. A name is not searched for in the user's path, as klon is mostly root.
const PLACES: [&str; 6] = [
    "/usr/sbin",
    "/sbin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];

/// Directories that are there on any system. In a mount namespace of its own, something can be mounted on
/// one of them, and nobody else sees it.
const MOUNT_POINTS: [&str; 4] = ["/mnt", "/media", "/srv", "/opt"];

/// Mounts a volume in the mount namespace of this shell, and has it grown there. `$1` is the device, `$2`
/// the directory, `$3` the options, and what follows the tool. The mount ends with the shell, however that
/// ends.
const MOUNTED: &str = r#"device=$1 at=$2 options=$3; shift 3; mount -o "$options" -- "$device" "$at" && "$@" && umount "$at""#;

/// The most of what a tool says that is repeated.
const SAID_LEN_MAX: usize = 2000;

/// How a tool ended.
pub struct Ran {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it said.
    pub said: String,
}

/// A tool that was found.
#[derive(Clone, Debug)]
pub struct Tool(PathBuf);

impl Tool {
    /// The tool of this name, where it is installed.
    pub fn find(name: &str) -> Option<Self> {
        let mut places = PLACES.iter().map(|place| Path::new(place).join(name));
        places.find(|program| program.is_file()).map(Self)
    }

    /// Runs it to its end, with nobody to answer what it asks.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Ran> {
        let mut command = Command::new(&self.0);
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .env("PATH", PLACES.join(":"))
            // Ctrl-C is for klon: a tool that changes a filesystem is not to be cut short.
            .process_group(0)
            .stdin(Stdio::null());
        let output = command.output();
        let output = output.with_context(|| format!("starting {}", self.0.shown()))?;
        let mut said = output.stdout;
        said.extend(output.stderr);
        let text = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let lines = lines.into_iter().filter(|line| !line.is_empty());
        let mut said = lines.collect::<Vec<_>>().join("; ");
        if let Some((at, _)) = said.char_indices().nth(SAID_LEN_MAX) {
            said.truncate(at);
        }
        Ok(Ran {
            status: output.status,
            said: sealed_bytes(said.as_bytes()),
        })
    }
}

/// The tools that grow a filesystem of this kind; none if klon can't grow it.
pub const fn names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => &["e2fsck", "resize2fs"],
        Kind::Ntfs => &["ntfsresize"],
        Kind::Xfs => &["xfs_growfs", "unshare", "mount"],
        Kind::Btrfs => &["btrfs", "unshare", "mount"],
        _ => &[],
    }
}

/// The names of the tools in words, without those that only mount it.
pub fn named(kind: Kind) -> String {
    let own = names(kind)
        .iter()
        .filter(|name| !["unshare", "mount"].contains(name));
    own.copied().collect::<Vec<_>>().join(" and ")
}

/// Whether the tool works on a mounted filesystem only, so that it takes a block device and root.
pub const fn needs_mount(kind: Kind) -> bool {
    matches!(kind, Kind::Xfs | Kind::Btrfs)
}

/// Why klon does not grow such a filesystem, and what does; `None` when it does.
pub fn why_not(kind: Option<Kind>) -> Option<String> {
    let why = match kind {
        Some(kind) if !names(kind).is_empty() => return None,
        Some(Kind::Fat12 | Kind::Fat16 | Kind::Fat32 | Kind::Exfat) => {
            "its tables keep the size that they were made with, and klon knows no tool that moves everything \
             safely. Make a larger one (mkfs.fat -i, mkfs.exfat) and copy the files"
        }
        Some(Kind::Swap) => {
            "it holds nothing. Make it anew with mkswap, which can keep the UUID (-U)"
        }
        Some(Kind::Luks) => {
            "it is encrypted. Grow its partition (parted, sgdisk), open it, and grow the mapping (cryptsetup \
             resize) and what is in it"
        }
        Some(Kind::Lvm2) => {
            "it holds logical volumes. Grow its partition (parted, sgdisk), then the physical volume \
             (pvresize) and what is in it (lvextend --resizefs)"
        }
        Some(_) => "klon knows of no tool for it",
        None => "klon does not recognize what is in it",
    };
    Some(why.to_owned())
}

/// Makes the filesystem on `node` as large as the node.
///
/// # Errors
/// What the tool says when it fails.
pub fn grow(kind: Kind, node: &Path) -> Result<()> {
    let tool = |name: &str| Tool::find(name).ok_or_else(|| missing(name));
    let node = node.as_os_str();
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => {
            // resize2fs wants a whole check before. Exit code 1: something was corrected (e2fsck(8)).
            let options = [OsStr::new("-f"), OsStr::new("-p"), node];
            let ran = tool("e2fsck")?.run(&options)?;
            if !matches!(ran.status.code(), Some(0 | 1)) {
                return Err(failed("e2fsck", &ran));
            }
            checked("resize2fs", tool("resize2fs")?.run(&[node])?)
        }
        Kind::Ntfs => {
            let options = ["--no-progress-bar", "--force"].map(OsStr::new);
            let all = [&options[..], &[node]].concat();
            checked("ntfsresize", tool("ntfsresize")?.run(&all)?)
        }
        Kind::Xfs => mounted(node, "nouuid,noatime", "xfs_growfs", &["-d"]),
        Kind::Btrfs => {
            let arguments = &["filesystem", "resize", "max"];
            mounted(node, "noatime,skip_balance", "btrfs", arguments)
        }
        _ => Err(refused(why_not(Some(kind)).unwrap_or_default())),
    }
}

/// A directory that something can be mounted on in a mount namespace of its own.
///
/// # Errors
/// When none of the usual ones is there.
pub fn mount_point() -> Result<&'static Path> {
    let mut places = MOUNT_POINTS.iter().map(Path::new);
    let found = places.find(|at| at.is_dir());
    found.ok_or_else(|| refused("none of /mnt, /media, /srv and /opt is there to mount on"))
}

/// Runs a tool on a filesystem that is mounted for it alone.
fn mounted(node: &OsStr, options: &str, name: &str, arguments: &[&str]) -> Result<()> {
    let tool = |name: &str| Tool::find(name).ok_or_else(|| missing(name));
    let at = mount_point()?.as_os_str();
    let program = tool(name)?;
    let own = [
        "--mount",
        "--propagation",
        "private",
        "--",
        "/bin/sh",
        "-c",
        MOUNTED,
        "sh",
    ];
    let mut all: Vec<&OsStr> = own.iter().map(OsStr::new).collect();
    all.extend([node, at, OsStr::new(options)]);
    all.push(program.0.as_os_str());
    all.extend(arguments.iter().map(OsStr::new));
    all.push(at);
    checked(name, tool("unshare")?.run(&all)?)
}

fn checked(name: &str, ran: Ran) -> Result<()> {
    match ran.status.success() {
        true => Ok(()),
        false => Err(failed(name, &ran)),
    }
}

fn failed(name: &str, ran: &Ran) -> anyhow::Error {
    let Ran { status, said } = ran;
    anyhow::anyhow!("{name} failed ({status}): {said}")
}

/// What is said where a tool is not installed.
pub fn missing(name: &str) -> anyhow::Error {
    let package = match name {
        "e2fsck" | "resize2fs" => "e2fsprogs",
        "ntfsresize" => "ntfs-3g",
        "xfs_growfs" => "xfsprogs",
        "btrfs" => "btrfs-progs",
        _ => "util-linux",
    };
    refused(format!(
        "{name} is needed, and it is not in {}. Install the package {package}",
        PLACES.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::{Ran, Tool, names, needs_mount, why_not};
    use klon_partition::filesystem::Kind;

    #[test]
    fn each_kind_has_a_tool_or_a_reason() {
        let all = [Kind::Ext4, Kind::Ntfs, Kind::Xfs, Kind::Btrfs];
        for kind in all {
            assert!(why_not(Some(kind)).is_none() && !names(kind).is_empty());
            assert_eq!(needs_mount(kind), names(kind).contains(&"mount"));
        }
        for kind in [
            Kind::Fat32,
            Kind::Exfat,
            Kind::Swap,
            Kind::Luks,
            Kind::Lvm2,
            Kind::F2fs,
        ] {
            assert!(why_not(Some(kind)).is_some() && names(kind).is_empty());
        }
        assert!(why_not(None).is_some());
    }

    #[test]
    fn what_a_tool_says_comes_in_one_line() {
        let shell = Tool::find("sh").unwrap();
        let Ran { status, said } = shell.run(&["-c", "echo a; echo ' b' >&2; exit 3"]).unwrap();
        assert_eq!((status.code(), &*said), (Some(3), "a; b"));
        let Ran { said, .. } = shell.run(&["-c", "printf %09999d 1"]).unwrap();
        assert_eq!(said.len(), super::SAID_LEN_MAX);
        assert!(Tool::find("no such tool").is_none());
    }
}
