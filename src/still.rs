//! How sources that others write to are brought to rest: mounted volumes are frozen, or read-only for the
//! moment, with a watchdog that lets them go whatever happens to klon; volumes of LVM are read from snapshots.
//!
//! [`Freezer`] and [`Remount`] stand on [`keeper`], which holds volumes and lets them go; [`watchdog`] is the
//! other process, [`guard`] the thread that listens to it. [`in_the_way`] finds what klon itself would write to
//! a volume at rest, and [`Hooks`] run what others need before and after. [`snapshot`] makes and removes those
//! of LVM, and [`ways`] says which way a source of a run is brought to rest.

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

pub use freezer::{Freezer, Frozen};
pub use hooks::Hooks;
pub use moments::Moments;
pub use obstacles::{Role, in_the_way, refusal};
pub use remount::Remount;
pub use volume::{How, can_be_frozen};
