//! Names of exports: `doc/uri.md` of <https://github.com/NetworkBlockDevice/nbd>.

use super::socket::Socket;
use klon_partition::Shown as _;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::PathBuf;

/// What stands where no port is named (IANA).
const PORT: u16 = 10809;

/// The name of an export of a server: `nbd://HOST[:PORT]/EXPORT` or `nbd+unix:///EXPORT?socket=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdUri {
    server: Server,
    /// The export; empty for the default one.
    pub(super) export: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Server {
    Tcp { host: String, port: u16 },
    Unix { socket: PathBuf },
}

impl NbdUri {
    /// Reads a name; `None` for what begins in no scheme of NBD.
    ///
    /// # Errors
    /// What is wrong with the name of an export.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            "nbd" => Some(tcp(rest)),
            "nbd+unix" => Some(unix(rest)),
            "nbds" | "nbds+unix" => Some(Err(
                "klon can't read an encrypted export. A tunnel (ssh -L) to the server's own socket can stand \
                 for it"
                    .to_owned(),
            )),
            "nbd+vsock" | "nbds+vsock" => {
                Some(Err("klon reads exports by TCP and Unix sockets only".to_owned()))
            }
            _ => None,
        }
    }

    /// Opens one stream to the server.
    ///
    /// # Errors
    /// What the system says, with the name of the server.
    pub(super) fn connect(&self) -> io::Result<Socket> {
        let stream = match &self.server {
            Server::Tcp { host, port } => Socket::tcp(host, *port),
            Server::Unix { socket } => Socket::unix(socket),
        };
        stream.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("no server answers at {}: {error}", self.server),
            )
        })
    }
}

impl Display for Server {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => {
                write!(formatter, "[{host}], port {port}")
            }
            Self::Tcp { host, port } => write!(formatter, "{host}, port {port}"),
            Self::Unix { socket } => write!(formatter, "the socket {}", socket.shown()),
        }
    }
}

fn tcp(rest: &str) -> Result<NbdUri, String> {
    let (place, export) = rest.split_once('/').unwrap_or((rest, ""));
    let (export, query) = export.split_once('?').unwrap_or((export, ""));
    if !query.is_empty() {
        return Err(format!("{query:?} means nothing here"));
    }
    // What stands before @ is a user name, which only TLS needs.
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').ok_or("a bracket is open")?;
            (host, port.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err("it names no host".to_owned());
    }
    let number = |port: &str| {
        let number = port.parse().ok().filter(|number| *number != 0);
        number.ok_or_else(|| format!("{port:?} is no port"))
    };
    let server = Server::Tcp {
        host: host.to_owned(),
        port: port.map_or(Ok(PORT), number)?,
    };
    let export = decoded(export)?;
    Ok(NbdUri { server, export })
}

fn unix(rest: &str) -> Result<NbdUri, String> {
    let export = rest.strip_prefix('/').ok_or("nbd+unix:/// names no host")?;
    let (export, query) = export.split_once('?').unwrap_or((export, ""));
    let socket = query
        .strip_prefix("socket=")
        .filter(|path| !path.is_empty());
    let socket = socket.ok_or("it names no socket (?socket=PATH)")?;
    let socket = decoded(socket)?.into();
    Ok(NbdUri {
        server: Server::Unix { socket },
        export: decoded(export)?,
    })
}

/// Decodes `%20`, as RFC 3986 has it.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not escaped as a URI is");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = after.split_at_checked(2).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = after;
    }
    // The protocol takes names of exports as UTF-8, of at most 4096 bytes.
    let text = String::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() <= 4096);
    text.filter(|text| !text.contains('\0')).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::{NbdUri, Server};

    fn read(text: &str) -> (Server, String) {
        let uri = NbdUri::parse(text).unwrap().unwrap();
        (uri.server, uri.export)
    }

    fn tcp(host: &str, port: u16) -> Server {
        let host = host.to_owned();
        Server::Tcp { host, port }
    }

    #[test]
    fn servers_are_named_as_people_look_for_them() {
        let named = |text| read(text).0.to_string();
        assert_eq!(named("nbd://host/x"), "host, port 10809");
        assert_eq!(named("nbd://[::1]:9/x"), "[::1], port 9");
        assert_eq!(named("nbd+unix:///x?socket=/run/a"), "the socket /run/a");
    }

    #[test]
    fn names_of_exports() {
        assert_eq!(read("nbd://host"), (tcp("host", 10809), String::new()));
        assert_eq!(read("nbd://h:9/a/b%20c"), (tcp("h", 9), "a/b c".to_owned()));
        assert_eq!(read("nbd://me@[::1]:9/"), (tcp("::1", 9), String::new()));
        assert_eq!(read("nbd://[fe80::2]/x").0, tcp("fe80::2", 10809));
        let socket = "/run/a b".into();
        let expected = (Server::Unix { socket }, "vm:2".to_owned());
        assert_eq!(read("nbd+unix:///vm:2?socket=/run/a%20b"), expected);
        for text in ["", "disk", "/dev/sda", "http://host/", "nbd:host:1"] {
            assert_eq!(NbdUri::parse(text), None, "{text}");
        }
        for text in [
            "nbd://",
            "nbd:///x",
            "nbd://h:0/",
            "nbd://h:70000/",
            "nbd://h:/",
            "nbd://[::1/",
            "nbd://h/%2",
            "nbd://h/%zz",
            "nbd://h/%ff",
            "nbd://h/%00",
            "nbd://h/x?tls=1",
            "nbds://h/x",
            "nbd+unix:///x",
            "nbd+unix://h/x?socket=/a",
            "nbd+vsock://1/x",
        ] {
            assert!(NbdUri::parse(text).unwrap().is_err(), "{text}");
        }
    }
}
