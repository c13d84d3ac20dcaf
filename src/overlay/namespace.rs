//! The mount namespace of an overlay's room. The served volume is mounted in it.

use super::served::{NAME, SECOND};
use anyhow::{Context as _, Result, anyhow};
use klon_partition::Shown as _;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::{self, File};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The paths that the room works with.
pub(super) struct RoomPaths {
    /// The volume, as a file.
    pub(super) volume: PathBuf,
    /// An empty directory.
    pub(super) mount_point: PathBuf,
    /// The second volume, where there is one.
    pub(super) second: PathBuf,
    /// An empty directory for that.
    pub(super) second_mount_point: PathBuf,
}

/// Enters a namespace of its own, and mounts there what the other end of the socket will serve. `covered` is a
/// directory that nobody needs here; an empty one in memory covers it.
///
/// # Errors
/// What the kernel refuses.
pub(super) fn enter(covered: &Path, socket: &UnixStream) -> Result<RoomPaths> {
    leave()?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("a mount namespace of its own")?;
    let options = Some("size=1m,mode=700");
    mount(Some("klon"), covered, Some("tmpfs"), quiet, options)
        .with_context(|| format!("a directory in memory over {}", covered.shown()))?;
    let directory = covered.join("served");
    let mount_point = covered.join("mounted");
    let second_mount_point = covered.join("second");
    for directory in [&directory, &mount_point, &second_mount_point] {
        fs::create_dir(directory).with_context(|| directory.shown())?;
    }
    let fuse = File::options().read(true).write(true).open("/dev/fuse");
    let fuse = fuse.context("/dev/fuse: an overlay needs the kernel's FUSE (modprobe fuse)")?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
        fuse.as_raw_fd()
    );
    let options = Some(options.as_str());
    mount(Some("klon"), &directory, Some("fuse.klon"), quiet, options).context("mounting FUSE")?;
    send(socket, &fuse)?;
    Ok(RoomPaths {
        volume: directory.join(NAME),
        mount_point,
        second: directory.join(SECOND),
        second_mount_point,
    })
}

/// A user who is not root is it in a namespace, where the system allows that.
fn leave() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        return unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace of its own");
    }
    let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    match unshare(flags) {
        Ok(()) => {}
        Err(Errno::EPERM | Errno::ENOSPC | Errno::EUSERS) => {
            return Err(anyhow!(
                "the system lets only root mount anything, also in a namespace of its own. Run klon as root"
            ));
        }
        Err(error) => return Err(error).context("a namespace of its own"),
    }
    fs::write("/proc/self/setgroups", "deny").context("/proc/self/setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).context("/proc/self/uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).context("/proc/self/gid_map")
}

/// Gives klon the descriptor. The room's own is closed: it must not keep the mount alive when klon is gone.
fn send(socket: &UnixStream, fuse: &File) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [fuse.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(anyhow!("the overlay's socket takes no descriptor"));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&[1])],
        &mut control,
        SendFlags::empty(),
    )
    .context("the overlay's socket")?;
    Ok(())
}
