//! klon's own files and what it leaves on drives, with flipped bits and cut short: each is refused,
//! or right. A short replay of what `scripts/fuzz` does.

use crate::support::dice::Dice;
use fuzzed::seeds::all;
use std::path::Path;

#[path = "../../imaging/fuzz/src/lib.rs"]
#[allow(unreachable_pub)] // It is a crate of its own as well.
mod fuzzed;

/// What a fuzz target does, and how many damaged copies of each of its seeds it gets here.
fn target(name: &str) -> (fn(&[u8]), usize) {
    match name {
        "record" => (fuzzed::record::check, 300),
        "intent" => (fuzzed::intent::check, 300),
        "evidence" => (fuzzed::evidence::check, 300),
        "identities" => (fuzzed::identities::check, 1000),
        "mark" => (fuzzed::mark::check, 3000),
        "nbd" => (fuzzed::nbd::check, 300),
        "stage" => (fuzzed::stage::check, 60),
        "image" => (fuzzed::image::check, 100),
        "snapshot" => (fuzzed::image::check_snapshot, 100),
        "map" => (fuzzed::map::check, 15),
        "plan" => (fuzzed::plan::check, 300),
        "partclone" => (fuzzed::partclone::check, 300),
        "foreign" => (fuzzed::foreign::check, 1000),
        "bmap" => (fuzzed::foreign::check_bmap, 1000),
        "qcow2" => (fuzzed::qcow2::check, 300),
        other => panic!("{other} is no fuzz target"),
    }
}

/// The bytes with a few changed, or cut short.
fn damaged(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    if dice.below(5) == 0 {
        damaged.truncate(dice.below(bytes.len()));
        return damaged;
    }
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        damaged[at] = match dice.below(3) {
            0 => bytes[at] ^ (1 << dice.below(8)),
            1 => 0xff,
            _ => dice.below(256).to_le_bytes()[0],
        };
    }
    damaged
}

#[test]
fn damaged_files_are_refused_or_right() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let mut dice = Dice::new(1);
    let seeds = all(&images);
    assert!(seeds.len() > 12, "{}", seeds.len());
    for seed in seeds {
        println!("{}: {}", seed.target, seed.name);
        let (check, copies) = target(seed.target);
        check(&seed.bytes);
        for _ in 0..copies {
            check(&damaged(&seed.bytes, &mut dice));
        }
    }
}
