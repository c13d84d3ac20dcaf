//! Each part of the rule is needed: without it, a change is missed that the rule notices.

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
