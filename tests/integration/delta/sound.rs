//! No change is missed, on any volume: what is proven is what it was, byte by byte.

use super::changes::{On, PAST, all};
use super::past;
use super::state::State;
use super::volumes::{Made, STILL_MIB, VOLUMES, Volume};
use crate::support::{MIB, lacks_root};
use klon_imaging::change::proven::Rule;

/// Fails when a proven byte is not what it was.
pub(super) fn assert_nothing_missed(made: &Made, before: &State, after: &State, what: &str) {
    let missed = after.missed(before);
    if !missed.is_empty() {
        panic!(
            "{}, {what}: {} bytes missed of {:?}",
            made.volume.name,
            missed.total_bytes(),
            after.owners(&missed)
        );
    }
}

/// Fails when a proven byte is not what it was, or hardly anything is proven.
pub(super) fn assert_sound(made: &Made, before: &State, after: &State, what: &str) {
    let name = made.volume.name;
    assert_nothing_missed(made, before, after, what);
    let free = after.found.proven.difference(&after.used);
    assert!(
        free.is_empty(),
        "{name}, {what}: {free:?} is proven and free"
    );
    let proven_bytes = after.found.proven.total_bytes();
    let (files, extents) = (&after.found.files, &after.extents);
    if made.volume.on == On::Btrfs && !made.volume.is_summed {
        assert!(proven_bytes < MIB, "{name}, {what}: {extents:?}");
        return;
    }
    let still_bytes = STILL_MIB as u64 * MIB;
    assert!(
        proven_bytes * 10 >= still_bytes * 9,
        "{name}, {what}: {proven_bytes} bytes proven of {still_bytes} that stayed: {files:?}, {extents:?}"
    );
}

/// Prepares a volume and makes all changes of the table; the states before and after.
pub(super) fn changed(volume: &'static Volume, rule: &Rule) -> (Made, State, State) {
    let mut made = Made::new(volume);
    made.prepare();
    let before = State::of(&made, None, rule);
    let failed = made.change();
    let impossible: &[&str] = match volume.name {
        "ext4" | "xfs" => &[],
        "btrfs" => &[
            "collapsed",
            "inserted",
            "collapsed-and-inserted",
            "unshared",
        ],
        _ => &failed,
    };
    assert_eq!(failed, impossible, "{}", volume.name);
    let allowed = if volume.on == On::Ext { 12 } else { 14 };
    assert!(failed.len() <= allowed, "{}: {failed:?}", volume.name);
    for &(change, offset_bytes) in PAST {
        // What is written past Btrfs is damage, and told as such.
        if let Some(&inode) = made.inodes.get(change)
            && volume.on != On::Btrfs
        {
            past::write(&made.image(), (inode, offset_bytes), change);
        }
    }
    let after = State::of(&made, Some(&before), rule);
    (made, before, after)
}

/// Fails when a file of a change that leaves it as it was is read all the same.
fn assert_kept(after: &State, change: &str) {
    if after.found.proven.is_empty() {
        return;
    }
    let read = after.owners(&after.used.difference(&after.found.proven));
    let file = format!("/changes/{change}/f");
    assert!(!read.contains(&file), "{change} is read in vain");
}

fn no_change_is_missed_on(volumes: &[&'static Volume]) {
    if lacks_root() {
        return;
    }
    for &volume in volumes {
        let (made, before, after) = changed(volume, &Rule::default());
        assert_sound(&made, &before, &after, "all changes");
        for change in all(volume.on).filter(|change| change.keeps) {
            if volume.on == On::Btrfs {
                assert_kept(&after, change.name);
                continue;
            }
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
        assert!(made.change().len() < 90);
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

#[test]
fn btrfs_first_third() {
    no_change_is_missed_on(&some(On::Btrfs, 0));
}

#[test]
fn btrfs_second_third() {
    no_change_is_missed_on(&some(On::Btrfs, 1));
}

#[test]
fn btrfs_last_third() {
    no_change_is_missed_on(&some(On::Btrfs, 2));
}
