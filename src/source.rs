//! Sources, opened, with what of them is in use.

pub mod bad_sectors;
pub mod clone_end;
pub mod contained;
pub mod damaged_image;
pub mod fit;
pub mod open;
pub mod packed;
pub mod resized;
pub mod unread;
pub mod warnings;
pub mod watch;
