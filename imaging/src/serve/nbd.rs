//! The network block device protocol, as a server that only reads: fixed newstyle negotiation,
//! structured replies, block status. Names and numbers are those of the protocol's description,
//! `doc/proto.md` of <https://github.com/NetworkBlockDevice/nbd>.
//!
//! Everything that comes from a client is bounded before it sizes anything: options by
//! [`OPTION_BYTES_MAX`], reads by [`PAYLOAD_BYTES_MAX`], which are done in pieces of a mebibyte.

mod batch;
mod negotiate;
mod option;
mod reply;
mod request;
mod server;
mod status;
mod transmit;

pub use option::{ClientOption, ContextQueries, InfoRequest, OptionHeader};
pub use request::{Command, Request};
pub use server::{Listener, Server};

use super::export::Exports;
use std::io::{self, Read, Write};
use std::time::Duration;

/// The longest data of an option that klon reads.
pub const OPTION_BYTES_MAX: u32 = 64 << 10;
/// Longest read that is answered, and longest write that is read before it is refused.
pub const PAYLOAD_BYTES_MAX: u32 = 32 << 20;
/// Longest name of anything.
const STRING_BYTES_MAX: usize = 4096;
/// Options before a client must be done with them.
const OPTIONS_MAX: usize = 10_000;
/// What a client may take to agree on what it reads, and to send the rest of what it began.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client, as bytes.
pub trait Connection: Read + Write {
    /// From now on reads fail when what they wait for takes longer than this all in all; `None` for
    /// reads that wait for as long as it takes.
    ///
    /// # Errors
    /// What the system says.
    fn limit(&mut self, time: Option<Duration>) -> io::Result<()>;

    /// Whether something can be read without waiting. The default never knows of any, and requests
    /// are answered one by one then.
    fn is_ready(&mut self) -> bool {
        false
    }
}

/// Serves one client until it leaves.
///
/// # Errors
/// What the system says of the connection; [`io::ErrorKind::InvalidData`] when the client does not
/// speak the protocol, and [`io::ErrorKind::TimedOut`] when it takes too long.
pub fn converse(client: &mut impl Connection, exports: &dyn Exports) -> io::Result<()> {
    client.limit(Some(PATIENCE))?;
    match negotiate::negotiate(client, exports)? {
        Some(session) => batch::transmit(client, &session),
        None => Ok(()),
    }
}

fn violation(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
