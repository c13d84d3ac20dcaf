//! Overlays in which programs and the kernel work on a volume: what they write goes to a file, and the volume
//! stays as it is.
//!
//! The file has no name, so it is gone when klon is. klon serves the volume over FUSE, as one file that can be
//! written. Only the room sees the mount: a process of klon's own program, in a mount namespace of its own. When
//! the room has ended, in whatever way, the kernel unmounts everything in there and gives the loop device back.
//! The room has no descriptor of what klon serves. So if klon is killed, the kernel ends all waiting requests with
//! an error.

mod copied;
mod job;
mod mounted;
mod namespace;
mod room;
mod scratch;
mod served;
mod session;
mod shrink;
mod tool;
mod trees;
mod work;

pub use job::Job;
pub use room::run as run_room;
pub use scratch::Scratch;
pub use session::{Ended, run, run_beside};
pub use shrink::number_behind;
