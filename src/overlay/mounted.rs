//! Volumes that the kernel mounts in the room.

use super::tool::{self, Program};
use anyhow::{Context as _, Result, anyhow};
use klon_partition::Shown as _;
use klon_partition::system;
use nix::mount::{MntFlags, umount2};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

const MOUNT: Program = Program::new("mount", "mount");
/// How long the kernel may take to give a loop device back: whoever looks at new disks may hold it.
const DETACH_TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// How a volume is mounted.
pub(super) struct Mounting {
    pub(super) kind: &'static str,
    pub(super) options: &'static str,
}

/// A volume whose files are copied: nothing is written to it, and its log is empty.
pub(super) const COPIED_FROM: Mounting = Mounting {
    kind: "xfs",
    options: "loop,ro,noatime,nosuid,nodev,noexec,nouuid",
};
/// The new one, whose owners and modes may be anything.
pub(super) const COPIED_TO: Mounting = Mounting {
    kind: "xfs",
    options: "loop,rw,noatime,nosuid,nodev,noexec,nouuid",
};

/// A volume that is mounted.
pub(super) struct Mounted {
    kind: &'static str,
    at: PathBuf,
    device: PathBuf,
}

/// Mounts a volume that is served.
pub(super) fn mounted(volume: &Path, at: &Path, mounting: &Mounting) -> Result<Mounted> {
    let Mounting { kind, options } = *mounting;
    let arguments = ["-n", "-i", "-t", kind, "-o", options];
    let arguments = arguments.map(OsString::from).into_iter();
    let own = [volume.into(), at.into()];
    tool::run(MOUNT, arguments.chain(own))?;
    Ok(Mounted {
        kind,
        at: at.to_owned(),
        device: device_of(at)?,
    })
}

impl Mounted {
    /// Unmounts it, and waits until all of it is with klon.
    pub(super) fn unmount(self) -> Result<()> {
        let Self { kind, at, device } = self;
        umount2(&at, MntFlags::UMOUNT_NOFOLLOW).with_context(|| format!("unmounting {kind}"))?;
        if kind == "btrfs" {
            // The kernel must not take the overlay for a newer state of the volume itself.
            system::forget_btrfs(&device);
        }
        await_detached(&device)
    }
}

/// The loop device that is mounted there.
fn device_of(at: &Path) -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    let at = at.to_str().context("the mount point")?;
    // As the kernel writes it there.
    let escapes = [
        ("\\", "\\134"),
        (" ", "\\040"),
        ("\t", "\\011"),
        ("\n", "\\012"),
    ];
    let at = escapes
        .iter()
        .fold(at.to_owned(), |at, (raw, code)| at.replace(raw, code));
    let found = mounts.lines().rev().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let is_it = mount.split(' ').nth(4) == Some(&at);
        let source = source.split(' ').nth(1)?;
        is_it.then(|| PathBuf::from(source))
    });
    found.ok_or_else(|| anyhow!("{at} is not mounted"))
}

/// Waits until the kernel has given the loop device back, and so all of it to klon.
fn await_detached(device: &Path) -> Result<()> {
    let name = device.file_name().context("the loop device")?;
    let file = Path::new("/sys/block").join(name).join("loop/backing_file");
    let names = [super::served::NAME, super::served::SECOND];
    let covered = |text: &str| names.iter().any(|name| text.contains(name));
    for _ in 0..DETACH_TRIES {
        match fs::read_to_string(&file) {
            Ok(text) if covered(&text) => sleep(PAUSE),
            _ => return Ok(()),
        }
    }
    Err(anyhow!("{} is held by another program", device.shown()))
}
