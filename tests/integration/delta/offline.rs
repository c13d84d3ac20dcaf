//! Tools that change an unmounted volume: checks, repairs, new names, new sizes.

use super::changes::On;
use super::sound::{assert_nothing_missed, assert_sound};
use super::state::State;
use super::volumes::{Made, VOLUMES};
use crate::support::lacks_root;
use klon_imaging::change::proven::Rule;

/// What is run, and whether files stay where they are.
const EXT: &[(&str, bool)] = &[
    ("e2fsck -fyD \"$1\" >/dev/null || [ $? = 1 ]", true),
    ("tune2fs -L other \"$1\"", true),
    (
        "e2fsck -fy \"$1\" >/dev/null; tune2fs -f -U random \"$1\" </dev/null",
        true,
    ),
    (SHRINK, false),
    ("truncate -s 96M \"$1\"; resize2fs -f \"$1\"", true),
    (
        "debugfs -w -R 'rm changes/mode/f' \"$1\"; e2fsck -fy \"$1\" >/dev/null || [ $? = 1 ]",
        true,
    ),
];
/// Below what is in use above it, so that some of it must move.
const SHRINK: &str = r#"
e2fsck -fy "$1" >/dev/null || [ $? = 1 ]
least=$(resize2fs -P "$1" 2>/dev/null); resize2fs -f "$1" $((${least##*: } + 1500))"#;
const XFS: &[(&str, bool)] = &[
    ("xfs_repair \"$1\"", true),
    ("xfs_admin -L other \"$1\"", true),
    ("xfs_admin -U generate \"$1\"", true),
    ("xfs_repair -L \"$1\"", true),
];

fn tools_are_seen_on(on: On, tools: &[(&str, bool)]) {
    if lacks_root() {
        return;
    }
    let rule = Rule::default();
    for volume in VOLUMES.iter().filter(|volume| volume.on == on).step_by(2) {
        let mut made = Made::new(volume);
        made.prepare();
        let mut before = State::of(&made, None, &rule);
        // The tool warns that it was hardly tried on such, and leaves counters that don't fit.
        let can_be_resized = volume.name != "bigalloc";
        let fits = |script: &str| can_be_resized || !script.contains("resize2fs");
        for (script, stays) in tools.iter().filter(|(script, _)| fits(script)) {
            made.offline(&format!("({script}) >&2"));
            let after = State::of(&made, Some(&before), &rule);
            assert_nothing_missed(&made, &before, &after, script);
            if *stays {
                assert_sound(&made, &before, &after, script);
            }
            before = after;
        }
    }
}

#[test]
fn tools_for_ext() {
    tools_are_seen_on(On::Ext, EXT);
}

#[test]
fn tools_for_xfs() {
    tools_are_seen_on(On::Xfs, XFS);
}
