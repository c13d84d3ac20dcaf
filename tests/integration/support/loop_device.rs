//! Loop devices and mounts that go away with their guards.

use super::tool::{command, run};
use klon_partition::system::tell_kernel;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{panicking, sleep};
use std::time::Duration;

/// Whether a test that needs root must stop here: it says so, unless CI wants every test run.
pub(crate) fn lacks_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return false;
    }
    let is_ci = std::env::var_os("CI").is_some();
    assert!(!is_ci, "this test needs root, and CI must run it");
    println!("needs root");
    true
}

/// A loop device, detached with its partitions when dropped.
pub(crate) struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Shows `file` with sectors of `sector_bytes`.
    pub(crate) fn new(file: &Path, sector_bytes: u32) -> Self {
        let sector = sector_bytes.to_string();
        let file = file.to_str().unwrap();
        let arguments = ["--find", "--show", "--sector-size", &sector, file];
        let device = Self(run("losetup", &arguments).trim().into());
        // The kernel remembers of a device what an earlier user of it wanted.
        run("blockdev", &["--setrw", device.text()]);
        device
    }

    /// Shows a file that can only be read, and each of its sectors by itself.
    pub(crate) fn direct(file: &Path) -> Self {
        let file = file.to_str().unwrap();
        let options = ["--find", "--show", "--read-only", "--direct-io=on", file];
        Self(run("losetup", &options).trim().into())
    }

    /// Shows `size_bytes` of `file` from `offset_bytes` on.
    pub(crate) fn window(file: &Path, offset_bytes: u64, size_bytes: u64) -> Self {
        let (offset, size) = (offset_bytes.to_string(), size_bytes.to_string());
        let file = file.to_str().unwrap();
        let options = [
            "--find",
            "--show",
            "--offset",
            &offset,
            "--sizelimit",
            &size,
        ];
        let device = Self(
            run("losetup", &[&options[..], &[file]].concat())
                .trim()
                .into(),
        );
        run("blockdev", &["--setrw", device.text()]);
        device
    }

    /// The same, to be written as well.
    pub(crate) fn direct_writable(file: &Path) -> Self {
        let file = file.to_str().unwrap();
        let device = Self(
            run("losetup", &["--find", "--show", "--direct-io=on", file])
                .trim()
                .into(),
        );
        run("blockdev", &["--setrw", device.text()]);
        device
    }

    /// Its node.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Its node as text.
    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The node of one of its partitions.
    pub(crate) fn part(&self, number: u64) -> String {
        format!("{}p{number}", self.text())
    }

    /// Tells the kernel of the partitions that are on it, as a booted system would.
    pub(crate) fn scan(&self) {
        let source = klon_partition::device::open_source(&self.0).unwrap();
        let layout = klon_partition::inspect::inspect(&source).unwrap();
        drop(source);
        let partitions = layout.table.unwrap().partitions;
        let known: Vec<_> = partitions
            .iter()
            .map(|part| (part.number, part.extent))
            .collect();
        tell_kernel(&self.0, &known).unwrap();
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // A partition that the kernel knows would keep the device; and the next to get it would
        // get it read-only.
        let is_forgotten = patiently(|| tell_kernel(&self.0, &[]).is_ok());
        let is_writable = succeeds("blockdev", &["--setrw"], &self.0);
        let shown = shown(&self.0);
        let is_detached = patiently(|| succeeds("losetup", &["--detach"], &self.0));
        let is_gone = is_forgotten && is_writable && is_detached && is_let_go(&self.0, shown);
        assert!(is_gone || panicking(), "{} stays", self.0.display());
    }
}

/// The file that a loop device shows, if it shows one.
fn shown(device: &Path) -> Option<String> {
    let name = device.file_name()?.to_str()?;
    let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    let file = file.trim_end();
    Some(file.strip_suffix(" (deleted)").unwrap_or(file).to_owned())
}

/// Waits until the device shows that file no longer: a program that looks at all disks, as udev's,
/// may hold it, and the kernel ends it only when nobody does.
fn is_let_go(device: &Path, file: Option<String>) -> bool {
    file.is_none() || patiently(|| shown(device) != file)
}

/// A mount on a new directory, unmounted when dropped.
pub(crate) struct Mount {
    at: PathBuf,
    /// The loop device that came with it and goes with it.
    device: Option<PathBuf>,
}

impl Mount {
    /// Mounts a device.
    pub(crate) fn new(device: impl AsRef<Path>, at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        let device = device.as_ref().to_str().unwrap();
        run("mount", &["-o", options, device, at.to_str().unwrap()]);
        let has_loop = options.split(',').any(|option| option == "loop");
        Self {
            at: at.to_owned(),
            device: has_loop.then(|| mounted_on(at)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let device = self.device.as_deref();
        let shown = device.and_then(shown);
        let is_unmounted = patiently(|| succeeds("umount", &[], &self.at));
        let is_gone = is_unmounted && device.is_none_or(|device| is_let_go(device, shown));
        assert!(is_gone || panicking(), "{} stays", self.at.display());
    }
}

/// The device of what is mounted there.
fn mounted_on(at: &Path) -> PathBuf {
    let at = fs::canonicalize(at).unwrap();
    let at = at.to_str().unwrap().replace('\\', "\\134");
    let at = at.replace(' ', "\\040");
    // Another test may have mounted something on a name that is not UTF-8.
    let mounts = fs::read("/proc/self/mounts").unwrap();
    let mounts = String::from_utf8_lossy(&mounts);
    let device = mounts.lines().rev().find_map(|line| {
        let (device, rest) = line.split_once(' ')?;
        (rest.split(' ').next() == Some(&at)).then(|| device.into())
    });
    device.unwrap_or_else(|| panic!("{at} is not in /proc/self/mounts"))
}

/// Tries for half a minute: a program that another test is just starting holds all of our files
/// for a moment.
fn patiently(attempt: impl Fn() -> bool) -> bool {
    (0..600).any(|_| {
        attempt() || {
            sleep(Duration::from_millis(50));
            false
        }
    })
}

fn succeeds(program: &str, options: &[&str], path: &Path) -> bool {
    let output = command(program).args(options).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}
