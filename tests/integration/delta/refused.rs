//! What makes all of what was kept useless: another filesystem, a check, an earlier state.

use super::state;
use super::volumes::{Made, named, script};
use crate::support::lacks_root;
use klon_imaging::change::proven::{Refusal, Stamped, refusal};
use std::thread::sleep;
use std::time::Duration;

fn stamped(made: &Made) -> Stamped {
    state::stamped(&std::fs::read(made.image()).unwrap())
}

fn after(made: &Made, then: &Stamped) -> Option<Refusal> {
    refusal(then, &stamped(made), true)
}

/// An ordinary mount is none, and going back before it is.
fn goes_on_and_back(made: &Made) -> Stamped {
    script(made.mount().path(), "noise f 48K");
    let first = stamped(made);
    assert_eq!(after(made, &first), None);
    let early = std::fs::read(made.image()).unwrap();
    script(made.mount().path(), "put f 4K 20K; noise g 3M");
    assert_eq!(after(made, &first), None);
    let second = stamped(made);
    assert_eq!(refusal(&first, &second, false), Some(Refusal::NoLedger));
    let late = std::fs::read(made.image()).unwrap();
    std::fs::write(made.image(), early).unwrap();
    assert_eq!(after(made, &second), Some(Refusal::WentBack));
    std::fs::write(made.image(), late).unwrap();
    second
}

#[test]
fn another_ext_is_told_apart() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("ext4"));
    sleep(Duration::from_millis(1100));
    let then = goes_on_and_back(&made);
    made.offline("debugfs -w -R 'ssv state 0' \"$1\"");
    assert_eq!(after(&made, &then), Some(Refusal::IsNotClean));
    made.offline("e2fsck -fy \"$1\" >/dev/null || [ $? = 1 ]");
    assert_eq!(after(&made, &then), Some(Refusal::Checked));
    made.offline("tune2fs -O ^dir_index \"$1\"");
    assert_eq!(after(&made, &then), Some(Refusal::Features));
    made.offline("truncate -s 200M \"$1\"; resize2fs \"$1\"");
    assert_eq!(after(&made, &then), Some(Refusal::Geometry));
    made.offline("e2fsck -fy \"$1\" >/dev/null; tune2fs -f -U random \"$1\"");
    assert_eq!(after(&made, &then), Some(Refusal::Another));
}

/// What changes where things are is seen extent by extent, and needs no refusal.
#[test]
fn another_btrfs_is_told_apart() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("btrfs"));
    let then = goes_on_and_back(&made);
    made.offline("truncate -s 500M \"$1\"");
    script(made.mount().path(), "btrfs filesystem resize max . >&2");
    script(
        made.mount().path(),
        "btrfs balance start --full-balance . >&2",
    );
    made.offline("btrfs check --force --clear-space-cache v2 \"$1\" >&2");
    script(made.mount().path(), "chattr +c .; seq 9999 >packed");
    assert_eq!(after(&made, &then), None);
    made.offline("btrfstune -f -u \"$1\" >&2");
    assert_eq!(after(&made, &then), Some(Refusal::Another));
    made.offline("mkfs.btrfs -q -f -n 32k \"$1\"");
    assert_eq!(after(&made, &then), Some(Refusal::Another));
}

#[test]
fn another_xfs_is_told_apart() {
    if lacks_root() {
        return;
    }
    let made = Made::new(named("xfs"));
    let then = goes_on_and_back(&made);
    made.offline("truncate -s 400M \"$1\"");
    let grow = "said=$(xfs_growfs .) && [ -n \"$said\" ]";
    script(made.mount().path(), grow);
    assert_eq!(after(&made, &then), Some(Refusal::Geometry));
    made.offline("xfs_admin -U generate \"$1\"");
    assert_eq!(after(&made, &then), Some(Refusal::Another));
}
