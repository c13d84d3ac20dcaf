//! Brings a source to rest while other programs use it. klon freezes mounted volumes or makes them read-only for the
//! moment, and a watchdog lets them go whatever happens to klon. It reads volumes of LVM from snapshots.
//!
//! [`Freezer`] and [`Remount`] stand on [`keeper`], which holds volumes and lets them go. [`watchdog`] is the
//! other process, and [`guard`] the thread that listens to it. [`in_the_way`] finds what klon itself would write
//! to a volume at rest. [`Hooks`] run the user's programs before and after. [`snapshot`] makes and removes
//! snapshots of LVM, and [`ways`] chooses the way for each source of a run.

mod freezer;
mod guard;
mod held;
mod hooks;
mod keeper;
mod memory;
mod moments;
mod mounted;
mod obstacles;
mod protocol;
mod remount;
pub mod snapshot;
mod volume;
pub mod watchdog;
pub mod ways;
mod writers;

pub use freezer::{Freezer, Frozen};
pub use hooks::Hooks;
pub use moments::Moments;
pub use obstacles::{Role, in_the_way, refusal};
pub use remount::Remount;
pub use volume::{How, can_be_frozen};
pub use writers::writers;
