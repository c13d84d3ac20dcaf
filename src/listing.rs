//! Lists in texts: the first items are named, and the others are counted.

use crate::human;
use klon_partition::{Extent, ExtentMap};

/// How many things are named; the counts are always of all.
pub const NAMED_MAX: usize = 20;

/// How many of `all` things are not named: `3 more files`. `None` when all are. `one` is what one of
/// them is called.
pub fn more(all: usize, one: &str) -> Option<String> {
    let others = all.saturating_sub(NAMED_MAX);
    (others > 0).then(|| human::count(others, &format!("more {one}")))
}

/// Where an extent lies, its last byte included: `bytes 4096 to 8191`.
pub fn span(extent: Extent) -> String {
    let last = extent.end_bytes().saturating_sub(1);
    format!("bytes {} to {last}", extent.offset_bytes())
}

/// A line for each of the first extents of `map` and one for the others, all of them with `start`
/// before them.
pub fn extents(start: &str, map: &ExtentMap) -> String {
    let named = map.iter().take(NAMED_MAX).map(span);
    let more = more(map.extents().len(), "extent").map(|more| format!("and {more}"));
    let lines = named.chain(more);
    lines.map(|line| format!("{start}{line}\n")).collect()
}

/// The first places of a map, in one line.
pub fn places(map: &ExtentMap) -> String {
    let named = map.iter().take(NAMED_MAX).map(span);
    let more = more(map.extents().len(), "place");
    named.chain(more).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{NAMED_MAX, extents, more};
    use klon_partition::{Extent, ExtentMap};

    #[test]
    fn the_others_are_counted() {
        assert_eq!(more(NAMED_MAX, "file"), None);
        assert_eq!(more(NAMED_MAX + 1, "file").as_deref(), Some("1 more file"));
        assert_eq!(more(NAMED_MAX + 2, "file").as_deref(), Some("2 more files"));
    }

    #[test]
    fn an_extent_is_named_by_its_first_and_last_byte() {
        let map: ExtentMap = (0..22).filter_map(|at| Extent::new(at * 10, 5)).collect();
        let text = extents("  partition 2, ", &map);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), NAMED_MAX + 1);
        assert_eq!(lines[1], "  partition 2, bytes 10 to 14");
        assert_eq!(lines[NAMED_MAX], "  partition 2, and 2 more extents");
        assert_eq!(extents("", &ExtentMap::new()), "");
    }
}
