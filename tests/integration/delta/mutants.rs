//! Each part of the rule is needed: without it, a change is missed that the rule notices.
//!
//! A mutant is the rule without one part. Each is killed by a change that it misses, in a file that no
//! other part protects:
//!
//! | part | the mutant | is killed by | test |
//! |---|---|---|---|
//! | `Regular` | takes folders for files | new checksums of folders, by `tune2fs -U` | `folders_are_no_files` |
//! | `Internal` | takes the file of orphans for a user's | a write that the kernel does not stamp | `what_a_filesystem_keeps_for_itself_is_no_file` |
//! | `Immutable` | takes `chattr +i` for nothing | a boot loader's write to the blocks | `each_part_of_the_rule_is_needed_on_ext`, `each_part_of_the_rule_is_needed_on_xfs` |
//! | `Unstamped` | takes pagefile.sys for a file like others | a write without a stamp | `what_windows_writes_without_a_stamp_is_always_read` |
//! | `Changes` | takes any count of changes for one of reads | a write with both stamps set back | `each_part_of_the_rule_is_needed_on_xfs` |
//! | `Mapping` | does not look where a file lies | a block moved to one that another file had | `each_part_of_the_rule_is_needed_on_ext` |
//! | `State` | takes unwritten blocks for written ones | a block of zeroes by its map that gets content | `each_part_of_the_rule_is_needed_on_ext` |
//! | `Written` | proves what was never written | a write to a preallocated block | `each_part_of_the_rule_is_needed_on_ext` |
//! | `End` | proves what lies behind the end | a write to a block behind the size | `each_part_of_the_rule_is_needed_on_ext` |
//! | `Horizon` | believes stamps of the last moment | a second write in the tick of the run | `each_part_of_the_rule_is_needed_on_ext` |
//! | `Signatures` | takes swap for a file | a page written out | `each_part_of_the_rule_is_needed_on_ext` |
//! | `Described` | proves what the record has not | a block that could not be read then | `each_part_of_the_rule_is_needed_on_ext`, `sectors_without_checksums_may_be_written_in_place` |
//! | `Owners` | asks one owner of a block | a write by a file that has the same block | `each_part_of_the_rule_is_needed_on_ext`, `each_part_of_the_rule_is_needed_on_xfs` |
//! | `Places` | does not look where an extent lies | two chunks that change places | `extents_elsewhere_are_told_by_their_places` |
//! | `Generation` | takes checksums for content | content of the same CRC-32C | `contents_of_the_same_checksum_are_told_by_the_transaction` |
//! | `Checksums` | takes the transaction for content | an earlier state, brought back, that went another way | `another_past_is_told_by_checksums_alone` |
//! | `Summed` | proves sectors without checksums | a write in place with `nodatacow` | `sectors_without_checksums_may_be_written_in_place` |
//! | `Intact` | proves sectors that were damaged | a scrub that repairs a copy | `a_scrub_of_a_damaged_copy_is_told_by_the_damage` |
//!
//! Mutants that mask one more field of an inode are in `fields`, each with its own change. With stamps of
//! changes masked as well, the horizon is the last guard (`each_part_of_the_rule_is_needed_on_ext`, `racy`).

mod btrfs;
mod fields;
mod table;

use super::forged::{
    EXT_CTIME, EXT_MTIME, EXT_VERSION, XFS_TIMES, ext_inode, mark_written, move_block,
    set_back_ext, set_back_xfs, write,
};
use super::past::{self, place};
use super::state::{State, now};
use super::volumes::{Made, named, script};
use crate::support::lacks_root;
use klon_imaging::change::proven::{Guard, Horizon, Rule};
use klon_partition::ExtentMap;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::thread::sleep;
use std::time::Duration;

/// A volume before and after changes, each of which one part of the rule alone notices.
struct Case {
    before: Vec<u8>,
    after: Vec<u8>,
    horizon: Horizon,
    /// What could not be read when the record was made.
    unread: ExtentMap,
}

impl Case {
    /// The files of which a rule misses changes.
    fn missed_by(&self, rule: &Rule) -> Vec<String> {
        let mut before = State::of_bytes(self.before.clone(), None, rule, self.horizon);
        before.described = before.described.difference(&self.unread);
        for extent in self.unread.iter() {
            let [start, end] = [extent.offset_bytes(), extent.end_bytes()];
            before.bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(0);
        }
        let after = State::of_bytes(self.after.clone(), Some(&before), rule, self.horizon);
        let missed = after.missed(&before);
        match missed.is_empty() {
            true => Vec::new(),
            false => after.owners(&missed),
        }
    }

    /// The rule misses nothing; each mutant misses a change of that file, and of no other one.
    fn assert_kills(&self, mutants: &[(Rule, &[&str])]) {
        let sound = self.missed_by(&Rule::default());
        assert!(sound.is_empty(), "the rule misses {sound:?}");
        for (rule, victims) in mutants {
            let mut missed = self.missed_by(rule);
            missed.sort();
            assert_eq!(&missed, victims, "{rule:?}");
        }
    }
}

/// Prepares files and gives their inodes.
fn prepare(made: &Made, text: &str) -> BTreeMap<String, u64> {
    let mount = made.mount();
    script(mount.path(), text);
    let files = std::fs::read_dir(mount.path()).unwrap();
    let files = files.map(|entry| entry.unwrap());
    let inode = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, entry.metadata().unwrap().ino())
    };
    files.map(inode).collect()
}

fn change(made: &Made, text: &str) {
    script(made.mount().path(), text);
}

const EXT: &str = r#"
for file in bad clock uncounted freed cross crossed cut immutable; do noise $file 48K; done
pieces marked 20; xfs_io -c 'falloc 8k 4k' marked
pieces moved 20
chattr +i immutable
{ echo '# GRUB Environment Block'; printf '#%.0s' {1..999}; } >environment
head -c 256K /dev/urandom >swap; chmod 600 swap; mkswap -q swap 2>/dev/null
xfs_io -f -c 'falloc 0 64k' never; put never 0 4K"#;

/// An ext4 without checksums, on which fields can be written by hand.
fn ext() -> Case {
    let made = Made::new(named("no-checksums"));
    prepare(&made, EXT);
    sleep(Duration::from_millis(50));
    let horizon = Horizon::at(now());
    sleep(Duration::from_millis(50));
    let inodes = prepare(&made, "noise racy 48K");
    let image = made.image();
    let inode = |name: &str| inodes[name];
    write(
        &image,
        ext_inode(&image, inode("cut")) + 4,
        &4096_u32.to_le_bytes(),
    );
    // The first extent in the inode, and in it the lower half of its block.
    let first = |name: &str| ext_inode(&image, inode(name)) + 0x28 + 12 + 8;
    let crossed = std::fs::read(&image).unwrap()[first("crossed")..][..4].to_vec();
    write(&image, first("cross"), &crossed);
    let before = std::fs::read(&image).unwrap();
    change(
        &made,
        "for file in clock uncounted cross; do put $file 8K 4K; done; rm freed",
    );
    set_back_ext(&image, &before, inode("clock"), &[EXT_CTIME, EXT_MTIME]);
    set_back_ext(
        &image,
        &before,
        inode("uncounted"),
        &[EXT_VERSION, EXT_MTIME],
    );
    mark_written(&image, inode("marked"));
    let freed = place(&before, inode("freed")).runs[0].1;
    move_block(&image, inode("moved"), freed.offset_bytes());
    for (name, offset_bytes) in [
        ("immutable", 8192),
        ("environment", 100),
        ("swap", 65_536),
        ("never", 32_768),
        ("cut", 20_480),
        ("racy", 8192),
    ] {
        past::write(&image, (inode(name), offset_bytes), name);
    }
    Case {
        after: std::fs::read(&image).unwrap(),
        unread: place(&before, inode("bad"))
            .runs
            .iter()
            .map(|(_, run)| *run)
            .collect(),
        before,
        horizon,
    }
}

#[test]
fn each_part_of_the_rule_is_needed_on_ext() {
    if lacks_root() {
        return;
    }
    let mut stampless = Rule::without(Guard::Horizon);
    stampless.also_volatile = EXT_CTIME.to_vec();
    ext().assert_kills(&[
        (Rule::without(Guard::Immutable), &["/immutable"]),
        (Rule::without(Guard::Mapping), &["/marked", "/moved"]),
        (Rule::without(Guard::State), &["/marked"]),
        (Rule::without(Guard::Written), &["/never"]),
        (Rule::without(Guard::End), &["/cut"]),
        (Rule::without(Guard::Horizon), &["/racy"]),
        // The environment's only block is in doubt by itself, whatever file has it.
        (Rule::without(Guard::Signatures), &["/swap"]),
        (Rule::without(Guard::Described), &["/bad"]),
        (Rule::without(Guard::Owners), &["/cross", "/crossed"]),
        // A later stamp is no earlier than the horizon, so one of the two would do.
        (stampless, &["/racy", "/uncounted"]),
        (Rule::blind_to(EXT_VERSION), &["/clock"]),
    ]);
}

#[test]
fn each_part_of_the_rule_is_needed_on_xfs() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("xfs"));
    let text = "noise clock 48K; noise fixed 48K; cp --reflink=always fixed shared; \
                chattr +i fixed; noise gone 48K; cp --reflink=always gone stays; chattr +i gone";
    let inodes = prepare(&made, text);
    sleep(Duration::from_millis(50));
    let horizon = Horizon::at(now());
    let image = made.image();
    let before = std::fs::read(&image).unwrap();
    past::write(&image, (inodes["gone"], 8192), "gone");
    change(&made, "put clock 8K 4K; chattr -i gone; rm gone");
    set_back_xfs(&image, &before, inodes["clock"], XFS_TIMES);
    past::write(&image, (inodes["fixed"], 8192), "fixed");
    let case = Case {
        before,
        after: std::fs::read(&image).unwrap(),
        horizon,
        unread: ExtentMap::new(),
    };
    case.assert_kills(&[
        (Rule::without(Guard::Changes), &["/clock"]),
        (
            Rule::without(Guard::Owners),
            &["/fixed", "/shared", "/stays"],
        ),
        (
            Rule::without(Guard::Immutable),
            &["/fixed", "/shared", "/stays"],
        ),
    ]);
}

/// `tune2fs` gives the filesystem another UUID, and with it new checksums to blocks of folders, whose
/// inodes stay as they are.
#[test]
fn folders_are_no_files() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("orphan-file"));
    prepare(&made, "noise f 48K; mkdir folder; : >folder/file");
    let before = std::fs::read(made.image()).unwrap();
    made.offline("e2fsck -fy \"$1\" >/dev/null; tune2fs -f -U random \"$1\"");
    let case = Case {
        before,
        after: std::fs::read(made.image()).unwrap(),
        horizon: Horizon::at(now()),
        unread: ExtentMap::new(),
    };
    let sound = case.missed_by(&Rule::default());
    assert!(sound.is_empty(), "the rule misses {sound:?}");
    let folders = case.missed_by(&Rule::without(Guard::Regular));
    assert!(folders.contains(&"/folder".to_owned()), "{folders:?}");
}

/// The kernel writes the file of orphans without a new stamp.
#[test]
fn what_a_filesystem_keeps_for_itself_is_no_file() {
    let made = Made::new(named("orphan-file"));
    let image = made.image();
    let before = std::fs::read(&image).unwrap();
    past::write(&image, (12, 1100), "the file of orphans");
    // mkfs stamps seconds alone.
    sleep(Duration::from_millis(1100));
    let case = Case {
        before,
        after: std::fs::read(&image).unwrap(),
        horizon: Horizon::at(now()),
        unread: ExtentMap::new(),
    };
    case.assert_kills(&[(Rule::without(Guard::Internal), &["/<12>"])]);
}
