//! One mount, from its beginning to its end, whoever ends it.

use super::filesystem::Files;
use super::tree::Tree;
use crate::error::{INTERRUPTED, plain_words};
use crate::messages::say;
use crate::signals::Stop;
use anyhow::{Context as _, Result};
use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
use klon_partition::Shown;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use std::path::{Path, PathBuf};
use std::thread;

/// Threads that answer the kernel.
const THREADS: usize = 4;

/// A tree that is mounted.
pub struct Mounted {
    session: Session<Files>,
    directory: PathBuf,
}

impl Mounted {
    /// Mounts a tree on a directory; `name` is what lists of mounts show.
    ///
    /// # Errors
    /// When the kernel has no FUSE, or refuses the mount, with what to do.
    pub fn new(tree: Tree, directory: PathBuf, name: &str, is_for_others: bool) -> Result<Self> {
        let mut config = Config::default();
        // Commas would part options.
        let name = name.replace([',', '\\'], "_");
        config.mount_options = vec![
            MountOption::RO,
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::NoExec,
            MountOption::NoAtime,
            MountOption::DefaultPermissions,
            MountOption::FSName(name),
            MountOption::Subtype("klon".to_owned()),
        ];
        config.n_threads = Some(THREADS);
        if is_for_others {
            config.acl = SessionACL::All;
        }
        let session = Session::new(Files::new(tree), &directory, &config)
            .with_context(|| format!("mounting on {}{}", directory.shown(), needed()))?;
        Ok(Self { session, directory })
    }

    /// Answers until it is unmounted, or a signal comes and it can be.
    ///
    /// # Errors
    /// When the kernel ends the session with an error.
    pub fn run(mut self, stop: Stop) -> Result<()> {
        let unmounter = self.session.unmount_callable();
        let directory = self.directory.clone();
        thread::spawn(move || end(&stop, &directory, unmounter));
        self.session.run().with_context(|| self.directory.shown())
    }
}

/// What a mount needs and this machine lacks, as far as that can be seen.
fn needed() -> String {
    let is_root = nix::unistd::geteuid().is_root();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_helper = std::env::split_paths(&path).any(|path| path.join("fusermount3").exists());
    if !Path::new("/dev/fuse").exists() {
        ". klon mount needs the kernel's FUSE: modprobe fuse".to_owned()
    } else if !is_root && !has_helper {
        ". klon mount needs fusermount3: apt install fuse3".to_owned()
    } else {
        String::new()
    }
}

/// Unmounts when a signal comes. What is in use goes on being answered until it is not.
fn end(stop: &Stop, directory: &Path, mut unmounter: SessionUnmounter) {
    stop.wait();
    match umount2(directory, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => {}
        Err(Errno::EBUSY) => {
            say(&format!(
                "{} is in use, so it is only hidden now. klon ends when nothing uses it any more. To end \
                 klon at once, press Ctrl-C again",
                directory.shown()
            ));
            if let Err(error) = umount2(directory, MntFlags::MNT_DETACH) {
                say(&format!("{}: unmount: {error}", directory.shown()));
            }
        }
        // Users other than root have a program for it.
        Err(_) => {
            if let Err(error) = unmounter.unmount() {
                let reason = plain_words(&error.to_string());
                say(&format!("{}: unmount: {reason}", directory.shown()));
            }
        }
    }
    stop.wait();
    std::process::exit(INTERRUPTED.into());
}
