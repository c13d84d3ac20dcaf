//! The files that hold given bytes: those that are hit where bytes are lost or differ.

use crate::listing::{self, NAMED_MAX};
use klon_imaging::clone::FillTexts;
use klon_partition::device::{KnownBad, Window};
use klon_partition::filesystem::{self, Owners};
use klon_partition::table::Table;
use klon_partition::text::{quoted, resealed};
use klon_partition::{Extent, ExtentMap, ReadAt};

/// Files that are named.
const FILES_MAX: usize = 1 << 16;

/// The files with bytes in `bad`, by the filesystem on `clone`, which has zeroes there. On a disk with a
/// `table`, each path begins with the number of its partition and a colon.
pub fn files(clone: &dyn ReadAt, table: Option<&Table>, bad: &ExtentMap) -> Owners {
    owners(clone, table, bad, bad)
}

/// The files with bytes in `wanted`, where the clone lacks what is `bad`.
pub fn owners(
    clone: &dyn ReadAt,
    table: Option<&Table>,
    wanted: &ExtentMap,
    bad: &ExtentMap,
) -> Owners {
    let known = KnownBad::new(clone, bad.clone());
    let partitions = table.map(partitions);
    owners_in(&known, partitions.as_deref(), wanted)
}

/// The partitions of a table: number, and where each lies.
pub fn partitions(table: &Table) -> Vec<(u32, Extent)> {
    let partitions = table.partitions.iter();
    partitions
        .map(|partition| (partition.number, partition.extent))
        .collect()
}

/// The files with bytes in `extents`. Of a disk with `partitions`, the number of the partition and
/// a colon stand before each path.
pub fn owners_in(
    device: &dyn ReadAt,
    partitions: Option<&[(u32, Extent)]>,
    extents: &ExtentMap,
) -> Owners {
    let Some(partitions) = partitions else {
        return filesystem::owners(device, extents, FILES_MAX);
    };
    let mut all = Owners::default();
    for &(number, partition) in partitions {
        let start_bytes = partition.offset_bytes();
        let within = extents.in_part(partition);
        let Ok(window) = Window::new(device, partition) else {
            continue;
        };
        if within.is_empty() {
            continue;
        }
        let found = filesystem::owners(&window, &within, FILES_MAX - all.files.len());
        for mut file in found.files {
            file.path = format!("{number}:{}", file.path);
            file.extent = file.extent.shifted(start_bytes).unwrap_or(file.extent);
            all.files.push(file);
        }
        let gaps = found
            .gaps
            .iter()
            .map(|gap| format!("partition {number}: {gap}"));
        all.gaps.extend(gaps);
    }
    all
}

/// What stands on a clone in the place of bad sectors.
pub fn stands_for_bad(fill: &FillTexts) -> String {
    if fill.is_empty() {
        return "now zeroes".to_owned();
    }
    let texts: Vec<String> = fill.iter().map(|text| quoted(&resealed(text))).collect();
    let texts = texts.join(" or ");
    format!("now filled with {texts}, the filesystem's own structures with zeroes")
}

/// The first of the files that bad sectors belong to.
pub fn hit(owners: &Owners) -> String {
    let mut text = String::new();
    for file in owners.files.iter().take(NAMED_MAX) {
        text.push_str(&format!(
            "  bad: {} from byte {}\n",
            file.path, file.file_offset_bytes
        ));
    }
    for gap in owners.gaps.iter().take(NAMED_MAX) {
        text.push_str(&format!("  more files may be hit: {gap}\n"));
    }
    let others = [
        listing::more(owners.files.len(), "file"),
        listing::more(owners.gaps.len(), "reason").map(|more| {
            // Each of them is a part of the volume that could not be looked at.
            format!("{more} why other files may be hit")
        }),
    ];
    for more in others.into_iter().flatten() {
        text.push_str(&format!("  and {more}; --json names all of them\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{NAMED_MAX, hit, stands_for_bad};
    use klon_partition::Extent;
    use klon_partition::filesystem::{Owner, Owners};
    use klon_partition::text::printable;

    #[test]
    fn bad_sectors_are_zeroes_or_the_text_that_fills_them() {
        let of = |texts: &[&str]| stands_for_bad(&texts.iter().copied().collect());
        assert_eq!(of(&[]), "now zeroes");
        let filled = printable(&of(&["BAD\n", "X"]));
        assert!(
            filled.starts_with("now filled with \"BAD\\n\" or \"X\","),
            "{filled}"
        );
    }

    #[test]
    fn files_that_are_hit_and_what_hides_others_have_a_line_each() {
        let owners = Owners {
            files: vec![Owner {
                path: "/a".to_owned(),
                file_offset_bytes: 4096,
                extent: Extent::new(0, 512).unwrap(),
                inline_sha256: None,
            }],
            gaps: vec!["no map".to_owned()],
        };
        let wanted = "  bad: /a from byte 4096\n  more files may be hit: no map\n";
        assert_eq!(hit(&owners), wanted);
    }

    #[test]
    fn no_list_of_files_or_reasons_is_endless() {
        let owner = |number: usize| Owner {
            path: format!("/{number}"),
            file_offset_bytes: 0,
            extent: Extent::new(0, 512).unwrap(),
            inline_sha256: None,
        };
        let owners = Owners {
            files: (0..NAMED_MAX + 7).map(owner).collect(),
            gaps: (0..NAMED_MAX + 3)
                .map(|number| number.to_string())
                .collect(),
        };
        let text = hit(&owners);
        assert_eq!(text.lines().count(), 2 * NAMED_MAX + 2);
        assert!(text.contains("  and 7 more files; --json names all of them\n"));
        assert!(text.ends_with(
            "  and 3 more reasons why other files may be hit; --json names all of them\n"
        ));
    }
}
