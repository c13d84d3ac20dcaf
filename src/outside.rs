//! Bytes that no one proved free, for people: how many there are, which are left out, and where.

use crate::human;
use crate::listing;
use crate::messages::say;
use crate::source::SourceEnd;
use klon_partition::filesystem::Usage;
use klon_partition::table::Table;
use klon_partition::{ExtentMap, Outside};

/// Names the bytes of a source that nobody proved free, before klon reads it.
pub fn announce(source: &SourceEnd, usage: &Usage, is_quiet: bool) {
    let table = source.table.as_ref();
    if let Some(words) = left_out(usage, table) {
        say(&format!("klon: {}: {words}", source.name));
    }
    // What is at the edges was always copied.
    let more = usage.unproven.difference(&usage.edges);
    if !more.is_empty() && !is_quiet {
        say(&format!(
            "klon: {}: no one proved {} free, so klon copies whatever is not zero there. --outside \
             edges leaves most of it out",
            source.name,
            where_it_is(&usage.unproven, table)
        ));
    }
}

/// What is left out, and where; `None` for nothing.
fn left_out(usage: &Usage, table: Option<&Table>) -> Option<String> {
    let map = &usage.left_out;
    let by = match usage.choice {
        Outside::All => "which the image does not have".to_owned(),
        choice => format!("by --outside {choice}"),
    };
    (!map.is_empty()).then(|| format!("left out, {by}: {}", named(map, table)))
}

/// Names the places of any map, by the partitions of a table.
pub fn named(map: &ExtentMap, table: Option<&Table>) -> String {
    format!("{} ({})", where_it_is(map, table), listing::places(map))
}

/// How much is left out, for the last line of a run; nothing for nothing.
pub fn summed(left_out: &ExtentMap) -> String {
    match left_out.total_bytes() {
        0 => String::new(),
        bytes => format!(", {} left out", human::size(bytes)),
    }
}

/// How much of it lies in no partition, and how much behind the end of a filesystem.
fn where_it_is(map: &ExtentMap, table: Option<&Table>) -> String {
    let Some(table) = table else {
        let size = human::size(map.total_bytes());
        return format!("{size} behind the filesystem's end");
    };
    let partitions = table.partitions.iter();
    let partitions: ExtentMap = partitions
        .filter(|partition| !partition.partition_type.is_extended())
        .map(|partition| partition.extent)
        .collect();
    let behind_bytes = map.intersection(&partitions).total_bytes();
    let between_bytes = map.total_bytes().saturating_sub(behind_bytes);
    let between = format!("{} in no partition", human::size(between_bytes));
    let behind = format!(
        "{} behind the ends of filesystems",
        human::size(behind_bytes)
    );
    match (between_bytes, behind_bytes) {
        (_, 0) => between,
        (0, _) => behind,
        _ => format!("{between} and {behind}"),
    }
}
