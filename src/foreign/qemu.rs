//! Virtual disks that qemu-nbd reads. This program of QEMU serves one image, read-only, to klon alone, and
//! ends with klon.
//!
//! klon is connected before the program starts: qemu-nbd gets a listening socket with the connections
//! already waiting, as systemd does it. The socket has no name any more when qemu-nbd starts, so nobody
//! else reads what klon reads, and nothing is left behind. qemu-nbd ends when its last client has left, but
//! takes no notice of clients that leave before they have agreed on anything. So the shell that starts it
//! waits for the end of a pipe that klon holds, and ends qemu-nbd then, however klon ended.

use anyhow::{Context as _, Result};
use klon_imaging::foreign::NbdDisk;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt};
use std::ffi::OsString;
use std::io::{PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

const PROGRAM: &str = "qemu-nbd";
/// Requests that are under way at the same time.
const CONNECTIONS: usize = 4;
/// What is kept of the program's messages.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// How long the program may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// The socket comes as standard input, the pipe as standard output, and both are given other numbers: the
/// socket is descriptor 3 of the program. Its number and the process are named in the environment
/// (`sd_listen_fds(3)`), which only the process itself can do. While qemu-nbd starts it forgets a signal that
/// asks it to end, and it has nothing to bring to an end that only reads.
const START: &str = "exec 3<&0 4<&1 </dev/null >/dev/null
/bin/sh -c 'export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"' sh \"$@\" 4<&- &
exec 3<&-
read -r _ <&4
kill -KILL $! 2>/dev/null";

/// The program, where it is installed.
pub(super) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(usual);
    places.find_map(|place| Some(place.join(PROGRAM)).filter(|program| program.is_file()))
}

/// The disk in an image that qemu-nbd reads.
pub(super) struct QemuDisk {
    /// Closed before the program is waited for.
    disk: Option<NbdDisk>,
    program: Program,
}

struct Program {
    child: Child,
    /// What keeps it running.
    pipe: Option<PipeWriter>,
    messages: Option<JoinHandle<String>>,
}

impl QemuDisk {
    /// Starts the program for an image that QEMU's `driver` reads.
    ///
    /// # Errors
    /// What qemu-nbd says when it can't read the image.
    pub(super) fn start(program: &Path, driver: &str, path: &Path) -> Result<Self> {
        // A colon in a relative name would be taken for a protocol.
        let path = path.canonicalize()?;
        let (listener, connections) = connected().context("making a socket for qemu-nbd")?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", START, "sh"]).arg(program);
        command.arg("--read-only");
        command.arg(format!("--shared={CONNECTIONS}"));
        match options(driver, &path) {
            Some(options) => command.args(["--image-opts", "--"]).arg(options),
            None => command.args(["--format", driver, "--"]).arg(&path),
        };
        // Ctrl-C is for klon, which ends it in its own time.
        command.process_group(0);
        let (until_closed, pipe) = std::io::pipe().context("making a pipe for qemu-nbd")?;
        command.stdin(OwnedFd::from(listener));
        command.stdout(until_closed).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting qemu-nbd")?;
        drop(command);
        let messages = child.stderr.take().map(gather);
        let mut program = Program {
            child,
            pipe: Some(pipe),
            messages,
        };
        match NbdDisk::open(connections) {
            Ok(disk) => Ok(Self {
                disk: Some(disk),
                program,
            }),
            Err(error) => {
                program.end();
                let said = program.said();
                let reason = if said.is_empty() {
                    error.to_string()
                } else {
                    said
                };
                Err(super::unsupported(reason))
            }
        }
    }
}

/// How QEMU is told of an image whose driver must be told more than its name. Without `force_size_calc` QEMU
/// takes the size of a dynamic VHD from cylinders, heads and sectors, unless its own programs or Hyper-V made
/// it, and these round it down.
fn options(driver: &str, path: &Path) -> Option<OsString> {
    let options = match driver {
        "vpc" => "driver=vpc,force_size_calc=current_size,file.driver=file,file.filename=",
        _ => return None,
    };
    // A comma ends a value, two of them are one in it.
    let parts: Vec<&[u8]> = (path.as_os_str().as_bytes())
        .split(|&byte| byte == b',')
        .collect();
    let name = OsString::from_vec(parts.join(&b",,"[..]));
    let mut text = OsString::from(options);
    text.push(name);
    Some(text)
}

/// A socket, and connections to it that wait to be accepted. It has no name any more.
fn connected() -> std::io::Result<(UnixListener, Vec<UnixStream>)> {
    let directory = tempfile::Builder::new().prefix("klon-").tempdir()?;
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path)?;
    let connections = (0..CONNECTIONS).map(|_| UnixStream::connect(&path));
    let connections = connections.collect::<std::io::Result<Vec<_>>>()?;
    directory.close()?;
    Ok((listener, connections))
}

/// Reads what the program says, and keeps the first of it.
fn gather(mut stderr: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = (&mut stderr)
            .take(MESSAGE_BYTES_MAX)
            .read_to_end(&mut bytes);
        // It must not wait for someone who reads.
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        let text = String::from_utf8_lossy(&bytes);
        let lines = text
            .lines()
            .map(|line| line.trim_start_matches("qemu-nbd: "));
        let printable = |line: &str| {
            line.escape_debug()
                .to_string()
                .replace("\\'", "'")
                .replace("\\\"", "\"")
        };
        lines.map(printable).collect::<Vec<_>>().join("; ")
    })
}

impl Program {
    /// Waits until it has ended by itself, else ends it.
    fn end(&mut self) {
        self.pipe = None;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it said, once it has ended.
    fn said(&mut self) -> String {
        let messages = self.messages.take().map(JoinHandle::join);
        messages
            .and_then(std::result::Result::ok)
            .unwrap_or_default()
    }
}

impl Drop for QemuDisk {
    fn drop(&mut self) {
        self.disk = None;
        self.program.end();
    }
}

impl QemuDisk {
    fn disk(&self) -> klon_partition::Result<&NbdDisk> {
        let gone = || Error::Refused("qemu-nbd was ended".to_owned());
        self.disk.as_ref().ok_or_else(gone)
    }
}

impl ReadAt for QemuDisk {
    fn geometry(&self) -> Geometry {
        let disk = self.disk.as_ref().map(ReadAt::geometry);
        disk.unwrap_or_else(|| Geometry::new(0, 512))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        self.disk()?.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        self.disk()?.data(within)
    }
}
