//! How systemd calls the ledger: a service at boot, a timer for clocks that are set, and a program that is
//! run at the very end of a shutdown.
//!
//! - `klon-ledger.service` counts the boot once the root volume can be written to, and before any other
//!   volume is checked or mounted (systemd.special(7), `local-fs-pre.target`). What the root volume is
//!   written to before that is what systemd itself writes in its first moments.
//! - `klon-ledger-clock.timer` has the clock noted whenever it is set (systemd.timer(5), `OnClockChange`), so
//!   that a clock which is set back and on again is noticed. It has a service of its own: a timer comes
//!   before what it starts, and after volumes are mounted.
//! - `system-shutdown/klon-ledger` is run by systemd-shutdown(8) after every process was ended, every
//!   volume unmounted and the root volume made read-only. A unit's `ExecStop` would come before that.

use super::Ledger;
use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use klon_partition::durable::directory_of;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const SERVICE: &str = "etc/systemd/system/klon-ledger.service";
const CLOCK: &str = "etc/systemd/system/klon-ledger-clock.service";
const TIMER: &str = "etc/systemd/system/klon-ledger-clock.timer";
/// The only directory that systemd-shutdown(8) looks into.
const HOOK: &str = "usr/lib/systemd/system-shutdown/klon-ledger";
/// What enables the units: link, and what it leads to.
const LINKS: [(&str, &str); 2] = [
    (
        "etc/systemd/system/sysinit.target.wants/klon-ledger.service",
        "../klon-ledger.service",
    ),
    (
        "etc/systemd/system/timers.target.wants/klon-ledger-clock.timer",
        "../klon-ledger-clock.timer",
    ),
];

fn service(call: &str) -> String {
    format!(
        "\
# Written by `klon ledger install`; `klon ledger remove` removes it.
[Unit]
Description=Count boots that follow an unclean shutdown, for klon
DefaultDependencies=no
ConditionVirtualization=!container
After=systemd-remount-fs.service
Before=local-fs-pre.target systemd-random-seed.service shutdown.target
Wants=local-fs-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart={call} boot

[Install]
WantedBy=sysinit.target
"
    )
}

fn clock(call: &str) -> String {
    format!(
        "\
# Written by `klon ledger install`; `klon ledger remove` removes it.
[Unit]
Description=Note in klon's ledger that the clock was set
ConditionVirtualization=!container
After=klon-ledger.service

[Service]
Type=oneshot
ExecStart={call} boot
"
    )
}

const TIMER_TEXT: &str = "\
# Written by `klon ledger install`; `klon ledger remove` removes it.
[Unit]
Description=Tell klon's ledger when the clock is set

[Timer]
OnClockChange=yes

[Install]
WantedBy=timers.target
";

fn hook(call: &str) -> String {
    format!(
        "\
#!/bin/sh
# Written by `klon ledger install`; `klon ledger remove` removes it.
# Run by systemd-shutdown when all is unmounted and the root volume is read-only.
exec {call} shutdown
"
    )
}

/// Puts the units and the program in their places, and enables them from the next boot on.
///
/// # Errors
/// A refusal where the ledger would miss ends.
pub fn install(ledger: &Ledger) -> Result<()> {
    let root = &ledger.root;
    if !root.join("usr/lib/systemd").is_dir() {
        return Err(refused(
            "this system has no systemd. Its init can call `klon ledger boot` before it mounts \
             volumes, and `klon ledger shutdown` after it has unmounted them",
        ));
    }
    let program = std::env::current_exe().context("finding klon's own file")?;
    stays(ledger, &ledger.path, &[])?;
    if root == Path::new("/") {
        stays(ledger, &program, &["usr"])?;
    }
    let directory = directory_of(&ledger.path);
    fs::create_dir_all(directory).with_context(|| directory.shown())?;
    let name = ledger.path.file_name().unwrap_or_default();
    let call = format!(
        "{} ledger --ledger {}",
        plain(&program)?,
        plain(&ledger.place()?.join(name))?
    );
    put(root, SERVICE, &service(&call), 0o644)?;
    put(root, CLOCK, &clock(&call), 0o644)?;
    put(root, TIMER, TIMER_TEXT, 0o644)?;
    put(root, HOOK, &hook(&call), 0o755)?;
    for (link, to) in LINKS {
        let path = root.join(link);
        fs::create_dir_all(path.parent().unwrap_or(root)).with_context(|| path.shown())?;
        match symlink(to, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.with_context(|| path.shown())?,
        }
    }
    systemctl(root, &["daemon-reload"])?;
    systemctl(root, &["start", "klon-ledger-clock.timer"])
}

/// Removes what `install` put there, and the ledger. A ledger that missed boots would be wrong.
///
/// # Errors
/// When something can't be removed.
pub fn remove(ledger: &Ledger) -> Result<()> {
    let root = &ledger.root;
    let stopped = match root.join(TIMER).exists() {
        true => systemctl(root, &["stop", "klon-ledger-clock.timer"]),
        false => Ok(()),
    };
    let links = LINKS.map(|(link, _)| link);
    let files = links.into_iter().chain([SERVICE, CLOCK, TIMER, HOOK]);
    let paths = files.map(|name| root.join(name));
    for path in paths.chain([ledger.path.clone()]) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.with_context(|| path.shown())?,
        }
    }
    stopped?;
    systemctl(root, &["daemon-reload"])
}

/// Whether everything that calls the ledger is there.
pub fn is_installed(root: &Path) -> bool {
    let links = LINKS.map(|(link, _)| link);
    let mut names = links.into_iter().chain([SERVICE, CLOCK, TIMER, HOOK]);
    names.all(|name| root.join(name).symlink_metadata().is_ok())
}

/// Refuses a path that is gone when every volume is unmounted except those of the root directory and `/usr`.
fn stays(ledger: &Ledger, path: &Path, beside: &[&str]) -> Result<()> {
    let root = &ledger.root;
    let others = beside.iter().map(|name| root.join(name));
    let mut volumes = std::iter::once(root.clone()).chain(others);
    if volumes.any(|volume| is_on_volume_of(&volume, path)) {
        return Ok(());
    }
    Err(refused(format!(
        "{} is on a volume that is unmounted before the last moment of a shutdown. It must be on the root \
         volume",
        path.shown()
    )))
}

/// Whether `path` is on the same volume as another path. For a path that is still to be made, its directory
/// counts.
pub fn is_on_volume_of(volume: &Path, path: &Path) -> bool {
    let number = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let there = path.ancestors().find_map(number);
    there.is_some() && there == number(volume)
}

/// A path that means the same to systemd and to a shell.
fn plain(path: &Path) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let text = path.to_str().filter(|text| text.chars().all(is_plain));
    text.ok_or_else(|| {
        refused(format!(
            "{} has characters that systemd or a shell would not take as they are",
            path.shown()
        ))
    })
}

fn put(root: &Path, name: &str, text: &str, mode: u32) -> Result<()> {
    let path: PathBuf = root.join(name);
    let write = || -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))
    };
    write().with_context(|| path.shown())
}

/// Tells the running systemd, if it is the one that is meant.
fn systemctl(root: &Path, arguments: &[&str]) -> Result<()> {
    if root != Path::new("/") || !Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    let doing = || format!("systemctl {}", arguments.join(" "));
    let status = Command::new("systemctl").args(arguments).status();
    let status = status.with_context(doing)?;
    anyhow::ensure!(status.success(), "{}: {status}", doing());
    Ok(())
}
