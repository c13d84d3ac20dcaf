//! Programs of the user's that are run before volumes are frozen and after they are thawed, so that a database
//! can be brought to rest.

mod directory;
mod run;

use crate::cli::HookArgs;
use crate::error::{message, refused};
use crate::messages;
use anyhow::Result;
use directory::programs;
use klon_partition::Shown as _;
use run::{Hook, Kind};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Where hooks are looked for when no directory is named.
const DIRECTORY: &str = "/etc/klon/hooks.d";

/// Programs that are run before a freeze and after the thaw. What was begun is ended: when this is dropped
/// without [`Hooks::after`], those that are for after the thaw are run all the same.
#[derive(Debug)]
pub struct Hooks {
    before: Vec<Hook>,
    after: Vec<Hook>,
    /// How many of `before` were started.
    started: usize,
    /// They were started, and what is for after the thaw was not run yet.
    is_begun: bool,
    timeout: Duration,
    environment: Vec<(&'static str, OsString)>,
    interrupt: Arc<AtomicBool>,
}

impl Hooks {
    /// Finds them. `mounts`: what will be frozen, for the hooks to know. Once `interrupt` is set, those that are
    /// run before the freeze are ended, and have failed.
    ///
    /// # Errors
    /// A refusal when a directory can't be read, or has a program in it that others than its owner can change.
    pub fn find(args: &HookArgs, mounts: &[PathBuf], interrupt: Arc<AtomicBool>) -> Result<Self> {
        let usual = Path::new(DIRECTORY);
        let directory = match &args.hooks {
            Some(named) => Some(named.as_path()),
            None => Some(usual).filter(|usual| usual.exists()),
        };
        let mut before = Vec::new();
        let mut after: Vec<Hook> = args.after_thaw.iter().map(Hook::command).collect();
        if let Some(directory) = directory {
            before.extend(programs(&directory.join(Kind::Before.name()))?);
            after.extend(programs(&directory.join(Kind::After.name()))?);
            if args.hooks.is_some() && before.is_empty() && after.is_empty() {
                return Err(refused(format!(
                    "there are no hooks in {}. Put programs into its directories before-freeze and \
                     after-thaw",
                    directory.shown()
                )));
            }
        }
        before.extend(args.before_freeze.iter().map(Hook::command));
        let mounts: Vec<&OsStr> = mounts.iter().map(|at| at.as_os_str()).collect();
        Ok(Self {
            before,
            after,
            started: 0,
            is_begun: false,
            timeout: args.hook_timeout,
            environment: vec![("KLON_MOUNT_POINTS", mounts.join(OsStr::new("\n")))],
            interrupt,
        })
    }

    /// Runs those for before the freeze. When one fails, those for after the thaw are run at once, so that what
    /// was brought to rest goes on: all but the ones whose namesake for before the freeze was not started.
    ///
    /// # Errors
    /// A refusal that names the hook that failed: nothing may be frozen then.
    pub fn before(&mut self) -> Result<()> {
        self.is_begun = true;
        for index in 0..self.before.len() {
            self.started = index + 1;
            let Some(hook) = self.before.get(index) else {
                break;
            };
            let interrupt = Some(&*self.interrupt);
            if let Err(why) = hook.run(Kind::Before, &self.environment, self.timeout, interrupt) {
                let failed = format!("the hook {} {why}, so nothing was frozen", hook.shown());
                return Err(match self.after() {
                    Ok(()) => refused(failed),
                    Err(also) => refused(format!("{failed}; {}", message(&also))),
                });
            }
        }
        Ok(())
    }

    /// Runs those for after the thaw, all of them, also when one fails. Does nothing when they were run, or
    /// when nothing was begun.
    ///
    /// # Errors
    /// With all that failed.
    pub fn after(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.is_begun) {
            return Ok(());
        }
        let not_started = self.before.get(self.started..).unwrap_or_default();
        let is_left_out = |hook: &Hook| not_started.iter().any(|other| other.is_namesake(hook));
        let mut failed = Vec::new();
        for hook in self.after.iter().filter(|hook| !is_left_out(hook)) {
            if let Err(why) = hook.run(Kind::After, &self.environment, self.timeout, None) {
                failed.push(format!("the hook {} {why}", hook.shown()));
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(std::io::Error::other(format!(
            "{}. What it should have set going again may stand still: look after it",
            failed.join("; ")
        ))
        .into())
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        if let Err(error) = self.after() {
            messages::say(&format!("klon: {}", message(&error)));
        }
    }
}

#[cfg(test)]
mod tests;
