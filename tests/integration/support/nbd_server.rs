//! A server of network block devices that other programs bring, ended when dropped.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The server.
pub(crate) struct NbdServer(Child);

impl NbdServer {
    /// Starts a program that serves at a socket.
    pub(crate) fn at_socket(program: &str, arguments: &[&str], socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        Self::start(program, arguments, || UnixStream::connect(socket).is_ok())
    }

    /// Starts a program that serves at a port of this machine.
    pub(crate) fn at_port(program: &str, arguments: &[&str], port: u16) -> Self {
        let address = ("127.0.0.1", port);
        Self::start(program, arguments, || TcpStream::connect(address).is_ok())
    }

    fn start(program: &str, arguments: &[&str], is_ready: impl Fn() -> bool) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
        let server = Self(child);
        let is_up = (0..400).any(|_| {
            is_ready() || {
                sleep(Duration::from_millis(25));
                false
            }
        });
        assert!(is_up, "{program} {arguments:?} does not serve");
        server
    }
}

impl Drop for NbdServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
