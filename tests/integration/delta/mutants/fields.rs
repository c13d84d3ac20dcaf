//! Each field of an inode counts by itself: a change that shows in it alone is seen, and missed by a rule
//! that doesn't look there. What is masked is not read in vain.

use super::{Case, prepare};
use crate::delta::forged::{edit_xfs, ext_inode, write};
use crate::delta::past;
use crate::delta::state::{State, now};
use crate::delta::volumes::{Made, named};
use crate::support::lacks_root;
use klon_imaging::change::proven::{Horizon, Rule};
use klon_partition::ExtentMap;
use klon_partition::filesystem::files::Stamp;
use std::ops::Range;
use std::path::Path;

/// A field, where it lies, and bits of one of its bytes.
type Field = (&'static str, Range<usize>, (usize, u8));

/// Of `struct ext4_inode`.
const EXT: &[Field] = &[
    ("i_mode", 0x00..0x02, (0x00, 1)),
    ("i_uid", 0x02..0x04, (0x02, 1)),
    ("i_size_lo", 0x04..0x08, (0x04, 1)),
    ("i_ctime", 0x0c..0x10, (0x0c, 1)),
    ("i_mtime", 0x10..0x14, (0x10, 1)),
    ("i_gid", 0x18..0x1a, (0x18, 1)),
    ("i_links_count", 0x1a..0x1c, (0x1a, 2)),
    ("i_blocks_lo", 0x1c..0x20, (0x1c, 8)),
    // `EXT4_NODUMP_FL`
    ("i_flags", 0x20..0x24, (0x20, 0x40)),
    ("l_i_version", 0x24..0x28, (0x24, 1)),
    ("i_generation", 0x64..0x68, (0x64, 1)),
    ("i_size_high", 0x6c..0x70, (0x6c, 1)),
    ("i_obso_faddr", 0x70..0x74, (0x70, 1)),
    ("l_i_uid_high", 0x78..0x7a, (0x78, 1)),
    ("l_i_gid_high", 0x7a..0x7c, (0x7a, 1)),
    ("i_ctime_extra", 0x84..0x88, (0x84, 4)),
    ("i_mtime_extra", 0x88..0x8c, (0x88, 4)),
    ("i_crtime", 0x90..0x94, (0x90, 1)),
    ("i_crtime_extra", 0x94..0x98, (0x94, 4)),
    ("i_version_hi", 0x98..0x9c, (0x98, 1)),
    ("i_projid", 0x9c..0xa0, (0x9c, 1)),
];
/// Of them what is masked.
const EXT_MASKED: &[Field] = &[
    ("i_atime", 0x08..0x0c, (0x08, 1)),
    ("i_atime_extra", 0x8c..0x90, (0x8c, 4)),
];
/// Of `struct xfs_dinode`, which is big-endian.
const XFS: &[Field] = &[
    ("di_mode", 2..4, (3, 1)),
    ("di_uid", 8..12, (11, 1)),
    ("di_gid", 12..16, (15, 1)),
    ("di_nlink", 16..20, (19, 2)),
    ("di_projid_lo", 20..22, (21, 1)),
    ("di_mtime", 40..48, (47, 1)),
    ("di_ctime", 48..56, (55, 1)),
    ("di_size", 56..64, (63, 1)),
    ("di_extsize", 72..76, (75, 1)),
    // `XFS_DIFLAG_NODUMP`
    ("di_flags", 90..92, (91, 0x80)),
    ("di_gen", 92..96, (95, 1)),
    ("di_cowextsize", 128..132, (131, 1)),
    ("di_crtime", 144..152, (151, 1)),
];
const XFS_MASKED: &[Field] = &[
    ("di_atime", 32..40, (39, 1)),
    ("di_lsn", 112..120, (119, 1)),
];

type Change = fn(&Path, u64, (usize, u8));

fn change_ext(image: &Path, inode: u64, (at, bits): (usize, u8)) {
    let at = ext_inode(image, inode) + at;
    let byte = std::fs::read(image).unwrap()[at];
    write(image, at, &[byte ^ bits]);
}

fn change_xfs(image: &Path, inode: u64, (at, bits): (usize, u8)) {
    edit_xfs(image, inode, |raw, _| raw[at] ^= bits);
}

fn each_field_counts(volume: &str, (fields, masked): (&[Field], &[Field]), change: Change) {
    if lacks_root() {
        return;
    }
    let made = Made::new(named(volume));
    let names = fields.iter().chain(masked).map(|field| field.0);
    let noise = names.map(|name| format!("noise {name} 48K\n"));
    let inodes = prepare(&made, &noise.collect::<String>());
    let image = made.image();
    let before = std::fs::read(&image).unwrap();
    for (name, _, bits) in fields.iter().chain(masked) {
        change(&image, inodes[*name], *bits);
    }
    for (name, ..) in fields {
        past::write(&image, (inodes[*name], 8192), name);
    }
    let after = std::fs::read(&image).unwrap();
    // Whatever a stamp becomes, it is none of the last moments.
    let horizon = Horizon::at(Stamp {
        seconds: now().seconds + 1000,
        nanoseconds: 0,
    });
    let first = State::of_bytes(before.clone(), None, &Rule::default(), horizon);
    let second = State::of_bytes(after.clone(), Some(&first), &Rule::default(), horizon);
    for (name, ..) in masked {
        let runs = past::place(&after, inodes[*name]).runs;
        let mut runs = runs.iter().map(|(_, run)| *run);
        assert!(runs.all(|run| second.found.proven.contains(run)), "{name}");
    }
    let case = Case {
        before,
        after,
        horizon,
        unread: ExtentMap::new(),
    };
    let paths: Vec<String> = fields.iter().map(|field| format!("/{}", field.0)).collect();
    let victims: Vec<[&str; 1]> = paths.iter().map(|path| [&**path]).collect();
    let rules = fields
        .iter()
        .map(|field| Rule::blind_to(std::slice::from_ref(&field.1)));
    let mutants: Vec<(Rule, &[&str])> = rules.zip(victims.iter().map(|it| &it[..])).collect();
    case.assert_kills(&mutants);
}

#[test]
fn each_field_counts_on_ext() {
    each_field_counts("no-checksums", (EXT, EXT_MASKED), change_ext);
}

#[test]
fn each_field_counts_on_xfs() {
    each_field_counts("xfs", (XFS, XFS_MASKED), change_xfs);
}
