//! Which wanted volumes are on the drive already.

use super::ground::Ground;
use super::layout::Plan;
use super::size::human_size;
use super::wanted::Wanted;
use crate::error::{Error, Result};
use crate::table::{Partition, Scheme};

/// The partition that is there for each wanted volume; `None` for those to be made.
///
/// A partition is the volume's if it has the volume's name, or the previous plan put the volume
/// there; its type and size must suit, too.
///
/// # Errors
/// [`Error::Refused`] when a partition has the name but does not suit, or several have it.
pub(super) fn find<'a>(
    ground: &'a Ground,
    wanted: &[Wanted],
    previous: Option<&Plan>,
    may_shrink: bool,
) -> Result<Vec<Option<&'a Partition>>> {
    wanted
        .iter()
        .map(|one| {
            let is_its = |there: &&Partition| {
                (ground.scheme == Scheme::Gpt && there.name == one.name)
                    || previous.is_some_and(|plan| is_placed(plan, ground, one, there))
            };
            let mut found = ground.existing().iter().filter(is_its);
            match (found.next(), found.next()) {
                (Some(first), Some(second)) => Err(Error::Refused(format!(
                    "partitions {} and {} of the drive could both be {}. Rename or remove one",
                    first.number, second.number, one.name
                ))),
                (Some(there), None) => suits(there, one, may_shrink).map(|()| Some(there)),
                (None, _) => Ok(None),
            }
        })
        .collect()
}

fn is_placed(plan: &Plan, ground: &Ground, wanted: &Wanted, there: &Partition) -> bool {
    let Some(table) = &ground.table else {
        return false;
    };
    let is_same_table = plan.table.scheme == table.scheme
        && match table.scheme {
            Scheme::Gpt => plan.table.disk_guid == table.disk_guid,
            Scheme::Mbr => plan.table.disk_signature == table.disk_signature,
        };
    is_same_table
        && plan.volumes.iter().any(|volume| {
            volume.name == wanted.name
                && volume.number == there.number
                && volume.extent == there.extent
                && volume.guid == there.guid
        })
}

fn suits(there: &Partition, wanted: &Wanted, may_shrink: bool) -> Result<()> {
    let needed_bytes = wanted.suitable_bytes(may_shrink);
    let problem = if there.partition_type != wanted.partition_type {
        "has another partition type".to_owned()
    } else if there.extent.len_bytes() < needed_bytes {
        format!(
            "has {}, and {} are needed",
            human_size(there.extent.len_bytes()),
            human_size(needed_bytes)
        )
    } else {
        return Ok(());
    };
    Err(Error::Refused(format!(
        "partition {} of the drive is called {} already, but {problem}. klon does not move, \
         resize or retype partitions. Remove or rename the partition, give the source another name, \
         or replace the table",
        there.number, wanted.name
    )))
}
