//! What is done to a Btrfs as a whole: balances, scrubs, snapshots, other sizes and devices, tools.

use super::sound::{assert_nothing_missed, assert_sound};
use super::state::State;
use super::volumes::{Made, Volume, named};
use crate::delta::changes::SHELL;
use crate::support::{lacks_root, run};
use klon_imaging::change::proven::Rule;

/// What is run in the mounted volume, and whether what was there stays where it was.
const MOUNTED: &[(&str, bool)] = &[
    ("btrfs scrub start -B .", true),
    ("btrfs filesystem sync .; fstrim . || :", true),
    (
        "btrfs -q subvolume snapshot . snap; for i in $(seq 0 9); do put snap/still/$i 0 8K; done",
        true,
    ),
    (
        "btrfs -q subvolume delete -C snap; btrfs subvolume sync .",
        true,
    ),
    (
        "btrfs quota enable .; btrfs quota rescan -w .; put still/3 0 4K; btrfs quota disable .",
        true,
    ),
    ("btrfs filesystem label . other", true),
    (
        "mount -o remount,ro .; mount -o remount,rw,clear_cache .; put still/4 0 4K",
        true,
    ),
    ("btrfs balance start -m . || [ -n \"$mixed\" ]", true),
    (
        "btrfs balance start -dusage=40 . || [ -n \"$mixed\" ]",
        false,
    ),
    ("btrfs balance start --full-balance .", false),
    ("btrfs filesystem defragment -r -f .", false),
    ("btrfs filesystem defragment -r -f -czstd still", false),
    ("btrfs filesystem resize -40M .", false),
    ("put still/5 0 4K; btrfs filesystem resize max .", true),
    (OTHER_DEVICE, true),
    (
        "btrfs balance start -f -dconvert=dup . || [ -n \"$mixed\" ]",
        false,
    ),
    (
        "btrfs balance start -f -dconvert=single . || [ -n \"$mixed\" ]",
        false,
    ),
];
/// Some of what is new goes to another device for a while.
const OTHER_DEVICE: &str = r#"
other=$(mktemp "$0.XXXXXX"); truncate -s 200M "$other"; device=$(losetup --find --show "$other")
trap 'losetup --detach "$device"; rm "$other"' EXIT
btrfs device add -f "$device" .; noise more 30M; put still/6 0 8K; sync .; btrfs device remove "$device" ."#;

/// The same of the unmounted volume, `$1`.
const OFFLINE: &[(&str, bool)] = &[
    ("btrfs check \"$1\"", true),
    ("btrfs check --force --repair \"$1\"", true),
    ("btrfs check --force --init-csum-tree \"$1\"", true),
    ("btrfs check --force --clear-space-cache v1 \"$1\"", true),
    ("btrfstune -f -u \"$1\"", true),
    ("btrfstune -f -m \"$1\"", true),
    ("btrfs filesystem label \"$1\" third", true),
];

fn mounted(made: &Made, script: &str) {
    let mount = made.mount();
    let mixed = if made.volume.name.contains("mixed") {
        "mixed"
    } else {
        ""
    };
    let text = format!("{SHELL}\nset -eu; mixed={mixed}; cd \"$1\"; ({script}) >&2");
    run(
        "bash",
        &[
            "-c",
            &text,
            mount.path().to_str().unwrap(),
            mount.path().to_str().unwrap(),
        ],
    );
}

fn no_change_of_the_whole_is_missed_on(volume: &'static Volume) {
    if lacks_root() {
        return;
    }
    let rule = Rule::default();
    let made = Made::new(volume);
    mounted(
        &made,
        "mkdir still; for i in $(seq 0 319); do noise still/$i 96K; done",
    );
    let mut before = State::of(&made, None, &rule);
    let mounts = MOUNTED.iter().map(|step| (true, step));
    // The tool fails where data is among metadata, or has no checksums.
    let is_usual = volume.is_summed && !volume.name.contains("mixed");
    let fits = |step: &&(&str, bool)| is_usual || !step.0.contains("init-csum-tree");
    let offline = OFFLINE.iter().filter(fits).map(|step| (false, step));
    for (is_mounted, (script, stays)) in mounts.chain(offline) {
        match is_mounted {
            true => mounted(&made, script),
            false => made.offline(&format!("({script}) >&2")),
        }
        let after = State::of(&made, Some(&before), &rule);
        let proven_bytes = after.found.proven.total_bytes();
        println!(
            "{}, {script}: {proven_bytes} {:?}",
            volume.name, after.extents
        );
        assert_nothing_missed(&made, &before, &after, script);
        if *stays {
            assert_sound(&made, &before, &after, script);
        }
        before = after;
    }
}

#[test]
fn of_data_that_lies_once() {
    no_change_of_the_whole_is_missed_on(named("btrfs"));
}

#[test]
fn of_data_that_lies_twice() {
    no_change_of_the_whole_is_missed_on(named("btrfs-twice"));
}

#[test]
fn of_data_among_metadata() {
    no_change_of_the_whole_is_missed_on(named("btrfs-mixed"));
}

#[test]
fn of_an_old_cache_of_free_space() {
    no_change_of_the_whole_is_missed_on(named("btrfs-old-cache"));
}

#[test]
fn of_data_without_checksums() {
    no_change_of_the_whole_is_missed_on(named("btrfs-in-place"));
}
