//! How the source of a snapshot was at rest, in words.

use klon_imaging::Consistency;
use klon_imaging::image::PartitionRest;

/// How it was; of a disk, how each of its partitions was that someone had mounted for writing. `None` when nobody
/// had anything of it mounted so.
pub fn told(source: Consistency, partitions: &[PartitionRest]) -> Option<String> {
    if partitions.is_empty() {
        return source.told().map(|told| format!("its source {told}"));
    }
    let ways = [
        Consistency::Frozen,
        Consistency::ReadOnly,
        Consistency::Snapshot,
        Consistency::ReadTwice,
    ];
    let told = ways.into_iter().filter_map(|way| of_way(way, partitions));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("its {}", told.join(", its ")))
}

/// The partitions that were at rest that way.
fn of_way(way: Consistency, partitions: &[PartitionRest]) -> Option<String> {
    let all = partitions.iter().filter(|it| it.consistency == way);
    let all: Vec<String> = all.map(|it| it.number.to_string()).collect();
    let told = way.told()?;
    let (last, others) = all.split_last()?;
    Some(match others {
        [] => format!("partition {last} {told}"),
        _ => {
            let told = told.strip_prefix("was ").unwrap_or(told);
            format!("partitions {} and {last} were {told}", others.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::told;
    use klon_imaging::Consistency::{Frozen, ReadOnly, Still};
    use klon_imaging::image::PartitionRest;

    #[test]
    fn each_partition_is_told_by_how_it_was_at_rest() {
        let partition = |(number, consistency)| PartitionRest {
            number,
            consistency,
        };
        let of = |all: &[_]| {
            told(
                Frozen,
                &all.iter().copied().map(partition).collect::<Vec<_>>(),
            )
        };
        assert_eq!(told(Still, &[]), None);
        assert_eq!(of(&[]).unwrap(), "its source was mounted, and frozen");
        let one = [(1, ReadOnly), (2, Frozen), (3, Still)];
        let said = "its partition 2 was mounted, and frozen, its partition 1 was mounted, and read-only for the moment";
        assert_eq!(of(&one).unwrap(), said);
        let several = [(2, Frozen), (5, Frozen), (6, Frozen)];
        let said = "its partitions 2, 5 and 6 were mounted, and frozen";
        assert_eq!(of(&several).unwrap(), said);
    }
}
