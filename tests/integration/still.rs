//! Mounted volumes that are brought to rest: what is frozen, in which order, and that nothing stays frozen;
//! needs root.

mod frozen;
mod guest;
mod kills;
mod obstacles;
mod remounted;
mod stacked;

use crate::support::image::sparse;
use crate::support::tool::watchdog_of;
use crate::support::{Klon, LoopDevice, MIB, Mount, run};
use klon_partition::system::rest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// The limit for what must come: it is for a test that would never end, and no measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A new filesystem, mounted from a file. It is thawed before it is unmounted, however the test ends.
struct Volume {
    thaw: File,
    mount: Mount,
    device: LoopDevice,
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = rest::thaw(&self.thaw);
        // Whoever waited for it has to end first.
        sleep(Duration::from_millis(20));
    }
}

impl Volume {
    /// Made by `mkfs.KIND` in the file of that name, mounted beside it.
    fn new(klon: &Klon, kind: &str, name: &str, options: &str) -> Self {
        let file = klon.path(&format!("{name}.img"));
        sparse(&file, 320 * MIB);
        Self::in_file(&file, kind, &klon.path(name), options)
    }

    fn in_file(file: &Path, kind: &str, at: &Path, options: &str) -> Self {
        run(&format!("mkfs.{kind}"), &["-q", file.to_str().unwrap()]);
        let device = LoopDevice::new(file, 512);
        let mount = Mount::new(device.path(), at, options);
        Self {
            thaw: File::open(mount.path()).unwrap(),
            mount,
            device,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    fn at(&self) -> &str {
        self.mount.path().to_str().unwrap()
    }

    /// Writes a file durably, in a thread: it says when that is done.
    fn write(&self, name: &str) -> Receiver<std::io::Result<()>> {
        let (done, receiver) = channel();
        let path = self.path(name);
        spawn(move || {
            let written = fs::write(&path, b"x").and_then(|()| File::open(&path)?.sync_all());
            let _ = done.send(written);
        });
        receiver
    }

    /// Waits until it can be written to.
    fn assert_thawed(&self, why: &str) {
        let written = self.write("probe").recv_timeout(PATIENCE);
        let thawed = rest::thaw(&self.thaw);
        assert!(
            written.is_ok(),
            "{why}: {} stays frozen ({thawed:?})",
            self.at()
        );
        written.unwrap().unwrap();
    }
}

/// `klon hold`, running.
struct Hold {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Hold {
    fn start(klon: &Klon, arguments: &[&str]) -> Self {
        let mut command: Command = klon.command(&[&["hold"], arguments].concat());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Waits until the volumes are at rest.
    fn at_rest(klon: &Klon, arguments: &[&str]) -> Self {
        let mut hold = Self::start(klon, arguments);
        let mut line = String::new();
        hold.stdout.read_line(&mut line).unwrap();
        if !line.starts_with("at rest: ") {
            panic!("{arguments:?}: {line:?}, {:?}", hold.ended());
        }
        hold
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(self.pid(), signal);
    }

    /// The process of its watchdog, if it has started that yet.
    fn watchdog(&self) -> Option<Pid> {
        watchdog_of(self.child.id())
    }

    /// Whether it comes to its end by itself.
    fn comes_to_its_end(&mut self) -> bool {
        self.signal(Signal::SIGCONT);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            sleep(Duration::from_millis(20));
        }
        false
    }

    /// The exit code, if it was not ended by a signal, and what it said.
    fn ended(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        let stderr = self.child.stderr.take();
        stderr.map(|mut stderr| stderr.read_to_string(&mut said).unwrap());
        (status.code(), said)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
