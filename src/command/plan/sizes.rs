//! How large the volumes of a plan are, could be and become, in lines.

use crate::human;
use klon_partition::planner::VolumeSizes;

/// A line for each volume, and why a least size is not known.
pub fn told(sizes: &[VolumeSizes]) -> String {
    let lines = sizes.iter().map(|one| {
        let used = match one.used_bytes {
            Some(bytes) => human::size(bytes),
            None => "all".to_owned(),
        };
        let minimum = match (one.minimum_bytes, &one.minimum_unknown_because) {
            (Some(bytes), _) => human::size(bytes),
            (None, why) => format!(
                "not known ({})",
                why.as_deref().unwrap_or("no tool was asked")
            ),
        };
        let size = human::size(one.size_bytes);
        let source = human::size(one.source_bytes);
        let chosen = match one.size_bytes.cmp(&one.source_bytes) {
            _ if one.is_shrunk => format!("{size}, shrunk from {source}"),
            std::cmp::Ordering::Less => {
                format!("{size} of {source}, to the end of its filesystem or more")
            }
            std::cmp::Ordering::Equal => format!("{size}, as its source"),
            std::cmp::Ordering::Greater => format!("{size}, more than the {source} of its source"),
        };
        format!(
            "{}: {used} in use; chosen: {chosen}; least: {minimum}\n",
            one.volume
        )
    });
    lines.collect()
}
