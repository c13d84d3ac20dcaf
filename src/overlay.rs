//! Overlays in which programs and the kernel work on a volume: what they write goes to a file, and the volume
//! stays as it is.
//!
//! The file has no name, so that it is gone when klon is. klon serves the volume over FUSE, as one file that can
//! be written. Where that is mounted, and whatever else is mounted in there, only a process of its own sees: the
//! room, klon's own program in a mount namespace of its own. When that has ended nothing of it is left, however
//! klon or the room ended: the kernel unmounts, and gives the loop device back. The room has no descriptor of what
//! klon serves. So when klon is killed, all requests that wait are ended with an error.

mod job;
mod namespace;
mod room;
mod scratch;
mod served;
mod session;
mod shrink;
mod tool;
mod work;

pub use job::Job;
pub use room::run as run_room;
pub use scratch::Scratch;
pub use session::{Ended, run};
pub use shrink::number_behind;
