//! klon's side of a room: starts the room, serves the volume to it, and waits for its end.

use super::served::Served;
use super::{Job, Scratch};
use crate::error::{Failure, INTERRUPTED};
use anyhow::{Context as _, Result};
use fuser::{Config, Session, SessionACL};
use klon_partition::WriteAt;
use klon_partition::text::sealed_bytes;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

/// The hidden command that is the room.
const COMMAND: &str = "overlay-room";
/// Threads that answer the kernel.
const THREADS: usize = 4;
/// How much klon keeps of the room's output.
const SAID_BYTES_MAX: u64 = 8192;
/// How long the kernel may take to unmount after the room has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the work in a room ended.
#[derive(Debug)]
pub enum Ended {
    /// All of it was done; what was asked for, where something was.
    Done(Option<u64>),
    /// Not all; why. What is in the overlay is good for nothing.
    Failed(String),
}

/// Lets `job` be done on `device`, which nobody else may read or write meanwhile.
///
/// # Errors
/// When no room can be had; with the exit code of an interruption when someone asked for that.
pub fn run(device: Arc<dyn WriteAt>, job: Job, scratch: &Scratch) -> Result<Ended> {
    work(vec![device], job, scratch)
}

/// As [`run`], with a `second` volume beside it.
///
/// # Errors
/// As of [`run`].
pub fn run_beside(
    device: Arc<dyn WriteAt>,
    second: Arc<dyn WriteAt>,
    job: Job,
    scratch: &Scratch,
) -> Result<Ended> {
    work(vec![device, second], job, scratch)
}

fn work(devices: Vec<Arc<dyn WriteAt>>, job: Job, scratch: &Scratch) -> Result<Ended> {
    let (ours, theirs) = UnixStream::pair().context("the overlay's socket")?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("klon").arg(COMMAND).arg(job.to_string());
    command
        .arg(std::process::id().to_string())
        .arg(scratch.directory()?);
    command
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().context("starting the overlay's room")?;
    // klon holds no end of the room's.
    drop(command);
    let fuse = receive(&ours);
    let served = match fuse {
        Ok(Some(fuse)) => serve(devices, fuse),
        // It says why.
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let served = match served {
        Ok(served) => served,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let (status, said) = wait(&mut child)?;
    // What the room wrote is with klon when the kernel has given up the mount, and that is soon.
    if let Some(ended) = served {
        let _ = ended.recv_timeout(PATIENCE);
    }
    outcome(status, said)
}

fn wait(child: &mut Child) -> Result<(ExitStatus, String)> {
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout.take(SAID_BYTES_MAX);
        stdout
            .read_to_end(&mut said)
            .context("what the room says")?;
    }
    let status = child.wait().context("waiting for the overlay's room")?;
    Ok((status, sealed_bytes(said.trim_ascii())))
}

fn outcome(status: ExitStatus, said: String) -> Result<Ended> {
    if status.success() {
        return Ok(Ended::Done(said.parse().ok()));
    }
    use nix::libc::{SIGHUP, SIGINT, SIGTERM};
    if status
        .signal()
        .is_some_and(|signal| [SIGHUP, SIGINT, SIGTERM].contains(&signal))
    {
        return Err(Failure {
            message: "klon was told to end while it worked on an overlay. Nothing was written"
                .to_owned(),
            code: INTERRUPTED,
        }
        .into());
    }
    let why = match said.is_empty() {
        true => format!("the process that works on the overlay ended ({status})"),
        false => said,
    };
    Ok(Ended::Failed(why))
}

/// Answers the kernel from now on; what is returned tells when it has given up the mount.
fn serve(devices: Vec<Arc<dyn WriteAt>>, fuse: OwnedFd) -> Result<Option<Receiver<()>>> {
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    config.acl = SessionACL::All;
    let session = Session::from_fd(Served::new(devices), fuse, SessionACL::All, config);
    let session = session.context("serving the overlay over FUSE")?;
    let (end, ended) = sync_channel(1);
    thread::Builder::new()
        .name("overlay".to_owned())
        .spawn(move || {
            // The end of the mount is an error like others here; what failed was told to who asked.
            let _ = session.run();
            let _ = end.send(());
        })
        .context("the thread that serves the overlay")?;
    Ok(Some(ended))
}

/// The descriptor that the room sends once it has mounted; `None` when it ended before.
fn receive(socket: &UnixStream) -> Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        flags,
    )
    .context("the overlay's socket")?;
    let mut found = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(found.next())
}

#[cfg(test)]
mod tests {
    use super::{Ended, outcome};
    use crate::error::{INTERRUPTED, exit_code};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{ExitCode, ExitStatus};

    #[test]
    fn how_a_room_ends_is_told() {
        let ended = |status, said: &str| outcome(ExitStatus::from_raw(status), said.to_owned());
        assert!(matches!(ended(0, ""), Ok(Ended::Done(None))));
        assert!(matches!(ended(0, "4096"), Ok(Ended::Done(Some(4096)))));
        let Ok(Ended::Failed(why)) = ended(1 << 8, "mount: no") else {
            panic!("it failed");
        };
        assert_eq!(why, "mount: no");
        let Ok(Ended::Failed(why)) = ended(9, "") else {
            panic!("it was killed");
        };
        assert!(why.contains("signal: 9"), "{why}");
        let error = ended(2, "").unwrap_err();
        assert_eq!(
            format!("{:?}", exit_code(&error)),
            format!("{:?}", ExitCode::from(INTERRUPTED))
        );
    }
}
