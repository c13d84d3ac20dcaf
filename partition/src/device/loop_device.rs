//! Loop devices for tests that need a real block device.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use std::{env, fs};

/// Whether a test that needs root must stop here: it says so, unless CI wants every test run.
pub(crate) fn lacks_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return false;
    }
    assert!(
        env::var_os("CI").is_none(),
        "this test needs root, and CI must run it"
    );
    eprintln!("needs root");
    true
}

/// Runs a tool and returns what it printed; panics with its complaint when it fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{program} could not be run: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A loop device, detached when dropped.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches `file` with sectors of `sector_bytes` and further `losetup` options.
    pub(crate) fn attach(file: &Path, sector_bytes: u32, options: &[&str]) -> Self {
        let sector_bytes = sector_bytes.to_string();
        let mut arguments = vec!["--find", "--show", "--sector-size", &sector_bytes];
        arguments.extend(options);
        arguments.push(file.to_str().unwrap());
        Self {
            path: run("losetup", &arguments).into(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The kernel's name, as in `loop3`.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().unwrap().to_str().unwrap()
    }

    /// The file that it shows, if it shows one.
    fn shown(&self) -> Option<String> {
        let file = format!("/sys/block/{}/loop/backing_file", self.name());
        let file = fs::read_to_string(file).ok()?;
        let file = file.trim_end();
        Some(file.strip_suffix(" (deleted)").unwrap_or(file).to_owned())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let shown = self.shown();
        let detached = Command::new("losetup")
            .arg("--detach")
            .arg(&self.path)
            .status();
        // A program that looks at all disks may hold it, and the kernel ends it only when nobody does.
        let is_gone = (0..600).any(|_| {
            shown.is_none() || self.shown() != shown || {
                sleep(Duration::from_millis(50));
                false
            }
        });
        if !std::thread::panicking() {
            let is_gone = is_gone && detached.unwrap().success();
            assert!(is_gone, "{} stays", self.path.display());
        }
    }
}

/// A mount on a directory, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    at: PathBuf,
}

impl Mount {
    pub(crate) fn new(device: &Path, at: &Path) -> Self {
        run("mount", &[device.to_str().unwrap(), at.to_str().unwrap()]);
        Self { at: at.to_owned() }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.at).status();
        if !std::thread::panicking() {
            assert!(unmounted.unwrap().success(), "{} stays", self.at.display());
        }
    }
}
