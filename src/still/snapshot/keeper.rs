//! The keeper: a process of its own that removes a snapshot when the run has ended, however that ended. A run
//! that is killed can't remove anything itself, and one that ends at once would still have the snapshot open.

use super::left_over::remove;
use super::lvm::Lvm;
use super::owner::Owner;
use crate::messages::say;
use anyhow::{Context as _, Result};
use klon_partition::locks::lock;
use klon_partition::text::sealed_bytes;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The hidden command that runs it.
pub const COMMAND: &str = "keep-snapshot";
/// What the run says when it ends in order.
const END: &[u8] = b"end";
/// How often it tries: while a process ends, it may still have the snapshot open.
const TRIES: usize = 5;
/// How long it waits between two of them.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a command of LVM that the run had started may take until it shows what it made.
const LATE: Duration = Duration::from_secs(3);

/// A keeper, as the run has it.
#[derive(Debug)]
pub(super) struct Keeper {
    name: String,
    child: Mutex<Option<Child>>,
}

impl Keeper {
    /// Starts a keeper for a snapshot that is to be made: `GROUP/NAME`.
    ///
    /// # Errors
    /// When no process can be started.
    pub(super) fn start(name: &str, owner: &Owner) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("klon");
        command.args([COMMAND, name, &owner.tag()]);
        // Ctrl-C is for the run.
        command.process_group(0).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn();
        let child = child.context("starting the process that removes the snapshot")?;
        Ok(Self {
            name: name.to_owned(),
            child: Mutex::new(Some(child)),
        })
    }

    /// Lets it remove the snapshot, and waits for that.
    ///
    /// # Errors
    /// When it could not; it said why.
    pub(super) fn end(&self) -> Result<()> {
        let child = lock(&self.child).take();
        let Some(mut child) = child else {
            return Ok(());
        };
        if let Some(mut stdin) = child.stdin.take() {
            // A keeper that is gone shows by its status.
            let _ = stdin.write_all(END);
        }
        let status = child
            .wait()
            .context("waiting for the removal of the snapshot")?;
        match status.success() {
            true => Ok(()),
            false => Err(anyhow::anyhow!(
                "the snapshot {0} was not removed ({status}). By hand: lvremove {0}. The next run of klon \
                 with a volume of LVM tries again",
                self.name
            )),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            say(&format!("klon: warning: {error:#}"));
        }
    }
}

/// The process itself: waits for the end of the run, and removes the snapshot with this name and tag.
///
/// # Errors
/// When it can't be removed.
pub fn run(name: &str, tag: &str) -> Result<ExitCode> {
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        // A system that shuts down sends them to all; the snapshot is removed all the same.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let mut said = Vec::new();
    std::io::stdin()
        .take(END.len() as u64 + 1)
        .read_to_end(&mut said)?;
    let is_in_order = said == END;
    let lvm = Lvm::find().context("LVM is gone (no program lvm)")?;
    if !exists(&lvm, name, tag)? {
        if is_in_order {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LATE);
        if !exists(&lvm, name, tag)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let mut tries = 1;
    while let Err(error) = remove(&lvm, name) {
        if !exists(&lvm, name, tag)? {
            break;
        }
        if tries == TRIES {
            return Err(error);
        }
        tries += 1;
        std::thread::sleep(PAUSE);
    }
    if !is_in_order {
        say(&format!(
            "klon: the run ended without removing its snapshot {}; klon removed it",
            sealed_bytes(name.as_bytes())
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there is a snapshot of that name that bears that tag.
fn exists(lvm: &Lvm, name: &str, tag: &str) -> Result<bool> {
    let volumes = lvm.volumes(None)?;
    let is_it = |volume: &super::lvm::Volume| {
        volume.full_name() == name && volume.tags.iter().any(|found| found == tag)
    };
    Ok(volumes.iter().any(is_it))
}
