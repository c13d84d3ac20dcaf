//! No change is missed, on any volume: what is proven is what it was, byte by byte.

use super::changes::{On, PAST, all};
use super::past;
use super::state::State;
use super::volumes::{Made, STILL_MIB, VOLUMES, Volume};
use crate::support::{MIB, lacks_root};
use klon_imaging::change::proven::Rule;

/// Fails when a proven byte is not what it was, or hardly anything is proven.
pub(super) fn assert_sound(made: &Made, before: &State, after: &State, what: &str) {
    let name = made.volume.name;
    let missed = after.missed(before);
    if !missed.is_empty() {
        let owners = after.owners(&missed);
        panic!(
            "{name}, {what}: {} bytes missed of {owners:?}",
            missed.total_bytes()
        );
    }
    let free = after.found.proven.difference(&after.used);
    assert!(
        free.is_empty(),
        "{name}, {what}: {free:?} is proven and free"
    );
    let still_bytes = STILL_MIB as u64 * MIB;
    let proven_bytes = after.found.proven.total_bytes();
    let files = &after.found.files;
    assert!(
        proven_bytes * 10 >= still_bytes * 9,
        "{name}, {what}: {proven_bytes} bytes proven of {still_bytes} that stayed: {files:?}"
    );
}

/// Prepares a volume and makes all changes of the table; the states before and after.
pub(super) fn changed(volume: &'static Volume, rule: &Rule) -> (Made, State, State) {
    let mut made = Made::new(volume);
    made.prepare();
    let before = State::of(&made, None, rule);
    let failed = made.change();
    let is_whole = matches!(volume.name, "ext4" | "xfs");
    assert!(
        failed.is_empty() || !is_whole,
        "{}: {failed:?}",
        volume.name
    );
    let allowed = if volume.on == On::Xfs { 14 } else { 12 };
    assert!(failed.len() <= allowed, "{}: {failed:?}", volume.name);
    for &(change, offset_bytes) in PAST {
        if let Some(&inode) = made.inodes.get(change) {
            past::write(&made.image(), (inode, offset_bytes), change);
        }
    }
    let after = State::of(&made, Some(&before), rule);
    (made, before, after)
}

fn no_change_is_missed_on(volumes: &[&'static Volume]) {
    if lacks_root() {
        return;
    }
    for &volume in volumes {
        let (made, before, after) = changed(volume, &Rule::default());
        assert_sound(&made, &before, &after, "all changes");
        for change in all(volume.on).filter(|change| change.keeps) {
            let runs = past::place(&after.bytes, made.inodes[change.name]).runs;
            let is_proven = runs
                .iter()
                .all(|(_, run)| after.found.proven.contains(*run));
            assert!(
                is_proven,
                "{}: {} is read in vain",
                volume.name, change.name
            );
        }
        let idle = State::of(&made, Some(&after), &Rule::default());
        assert_sound(&made, &after, &idle, "no change");
        if volume.name == "bigalloc" {
            // 96 KiB are two clusters of 64 KiB.
            let proven_bytes = idle.found.proven.total_bytes();
            let still_bytes = STILL_MIB as u64 * MIB * 4 / 3;
            assert!(
                proven_bytes >= still_bytes,
                "{proven_bytes} bytes proven of {still_bytes}"
            );
        }
        assert!(made.change().len() < 80);
        let again = State::of(&made, Some(&idle), &Rule::default());
        assert_sound(&made, &idle, &again, "all changes once more");
    }
}

fn some(on: On, remainder: usize) -> Vec<&'static Volume> {
    let volumes = VOLUMES.iter().filter(|volume| volume.on == on);
    volumes.skip(remainder).step_by(3).collect()
}

#[test]
fn ext_first_third() {
    no_change_is_missed_on(&some(On::Ext, 0));
}

#[test]
fn ext_second_third() {
    no_change_is_missed_on(&some(On::Ext, 1));
}

#[test]
fn ext_last_third() {
    no_change_is_missed_on(&some(On::Ext, 2));
}

#[test]
fn xfs_first_third() {
    no_change_is_missed_on(&some(On::Xfs, 0));
}

#[test]
fn xfs_second_third() {
    no_change_is_missed_on(&some(On::Xfs, 1));
}

#[test]
fn xfs_last_third() {
    no_change_is_missed_on(&some(On::Xfs, 2));
}
