//! Changes in the tick of the run before: only the horizon shows them.

use super::forged::EXT_VERSION;
use super::state::{State, now};
use super::volumes::{Made, named, script};
use crate::support::lacks_root;
use klon_imaging::change::proven::{Guard, Horizon, Rule, Verdict};
use klon_partition::filesystem::files::Stamp;

/// Inodes of 128 bytes store seconds alone, so a volume may be unmounted, read, mounted again and
/// changed, and have the same stamps.
#[test]
fn a_change_in_the_same_second_is_seen_by_the_horizon_alone() {
    if lacks_root() {
        return;
    }
    let uncounted = Rule::blind_to(EXT_VERSION);
    let mut blind = uncounted.clone();
    blind.without.push(Guard::Horizon);
    let made = Made::new(named("128-byte-inodes"));
    let rules = [uncounted, blind];
    let is_missed = |_| {
        script(made.mount().path(), "noise f 48K");
        let horizon = Horizon::unmounted(now());
        let before = std::fs::read(made.image()).unwrap();
        script(made.mount().path(), "lie f 8K 4K");
        let after = std::fs::read(made.image()).unwrap();
        let missed_bytes = |rule| {
            let before = State::of_bytes(before.clone(), None, rule, horizon);
            let after = State::of_bytes(after.clone(), Some(&before), rule, horizon);
            after.missed(&before).total_bytes()
        };
        assert_eq!(missed_bytes(&rules[0]), 0, "with the horizon");
        missed_bytes(&rules[1]) > 0
    };
    let missed = (0..20).any(is_missed);
    assert!(missed, "no two changes came in one second");
}

/// What changed no earlier than the horizon is read once more, and not after that.
#[test]
fn a_fresh_file_is_read_once_more() {
    if lacks_root() {
        return;
    }
    for name in ["ext4", "xfs"] {
        let made = Made::new(named(name));
        script(made.mount().path(), "noise f 48K");
        let rule = Rule::default();
        let early = Horizon::at(Stamp {
            seconds: now().seconds - 60,
            nanoseconds: 0,
        });
        let first = State::at(&made, None, &rule, early);
        let second = State::of(&made, Some(&first), &rule);
        let files = |state: &State, verdict| state.found.files.get(&verdict).map(|it| it.files);
        assert_eq!(files(&second, Verdict::Racy), Some(1), "{name}");
        let third = State::of(&made, Some(&second), &rule);
        assert_eq!(files(&third, Verdict::Unchanged), Some(1), "{name}");
        assert_eq!(third.found.proven.total_bytes(), 48 << 10, "{name}");
        let unknown = State::at(&made, None, &rule, Horizon::NEVER);
        let next = State::of(&made, Some(&unknown), &rule);
        assert!(next.found.proven.is_empty(), "{name}");
    }
}
