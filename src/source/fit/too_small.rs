//! Why a target is too small for a source, and what would help.

use crate::error::refused;
use crate::human;
use crate::named::open::OpenPlace;
use klon_partition::ReadAt;
use klon_partition::planner::parse_size;

/// What can be done about a disk with a partition that has no room.
pub(super) const fn way_out_of_disk(open: &OpenPlace) -> &'static str {
    match open.snapshot {
        Some(_) => ", unless klon shrinks partitions on their way (klon restore --shrink)",
        None => {
            ": klon clone shrinks no partition of a whole disk. Plan for the target (klon plan --shrink), or clone its \
             partitions one by one, with --shrink where one has to be smaller"
        }
    }
}

/// A size for a message that says how much is needed: never rounded down.
pub(super) fn exact(size_bytes: u64) -> String {
    let size = human::size(size_bytes);
    if parse_size(&size).is_ok_and(|shown_bytes| shown_bytes == size_bytes) {
        size
    } else {
        format!("{size} ({size_bytes} bytes)")
    }
}

/// Why a target is too small, and what would help.
pub(super) struct TooSmall<'a> {
    /// What of the source does not fit.
    pub(super) what: &'a str,
    /// The size that the target must have.
    pub(super) least_bytes: u64,
    /// What else can be done, after a full stop.
    pub(super) way_out: &'a str,
}

impl TooSmall<'_> {
    pub(super) fn error(&self, open: &OpenPlace, target_bytes: u64) -> anyhow::Error {
        let size_bytes = open.device.geometry().size_bytes;
        refused(format!(
            "the target ({}) is too small for {} ({}): {}. The target must have at least {}{}. Nothing was \
             written",
            exact(target_bytes),
            open.place.given,
            exact(size_bytes),
            self.what,
            exact(self.least_bytes),
            self.way_out
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::exact;

    #[test]
    fn bytes_are_named_only_where_the_size_is_rounded() {
        let shown = [100, 1536, 40 << 20, 1 << 40, (1 << 30) + (1 << 20)].map(exact);
        let expected = ["100 B", "1.50 KiB", "40 MiB", "1 TiB"];
        assert_eq!(shown[..4], expected);
        assert_eq!(shown[4], "1 GiB (1074790400 bytes)");
    }
}
