//! Random changes by seed: as many rounds as `KLON_DELTA_ROUNDS` says, from seed `KLON_DELTA_SEED` on.

use super::sound::assert_sound;
use super::state::State;
use super::volumes::{Made, VOLUMES, script};
use crate::support::dice::Dice;
use crate::support::lacks_root;
use crate::support::tree::noise;
use klon_imaging::change::proven::Rule;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

const FILES: usize = 80;
const CHANGES: usize = 150;

/// A change; that it can't be made is none.
fn change(dice: &mut Dice, root: &Path) {
    let [one, other] = [(); 2].map(|()| root.join(format!("random/{}", dice.below(FILES))));
    let block = |dice: &mut Dice| dice.below(40) as i64 * 4096;
    let done = match dice.below(24) {
        0..=7 => open(&one).and_then(|file| {
            let content = noise(dice.below(usize::MAX) as u64, 1 + dice.below(20_000));
            file.write_all_at(&content, dice.below(200_000) as u64)
        }),
        8 => open(&one).and_then(|file| file.set_len(dice.below(200_000) as u64)),
        kind @ 9..=14 => {
            let flags = [
                FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE,
                FallocateFlags::FALLOC_FL_ZERO_RANGE,
                FallocateFlags::FALLOC_FL_KEEP_SIZE,
                FallocateFlags::empty(),
                FallocateFlags::FALLOC_FL_COLLAPSE_RANGE,
                FallocateFlags::FALLOC_FL_INSERT_RANGE,
            ][kind - 9];
            let (start, len) = (block(dice), 4096 + block(dice));
            open(&one).and_then(|file| Ok(fallocate(&file, flags, start, len)?))
        }
        15 => fs::rename(&one, &other),
        16 => fs::remove_file(&one),
        17 => fs::hard_link(&one, &other),
        18 => fs::copy(&one, &other).map(drop),
        19 => fs::set_permissions(&one, Permissions::from_mode(0o600 + dice.below(64) as u32)),
        20 => open(&one).and_then(|file| file.sync_data()),
        21 => fs::read(&one).map(drop),
        22 => open(&one).and_then(|file| file.set_times(FileTimes::new().set_modified(UNIX_EPOCH))),
        _ => {
            let [one, other] = [&one, &other].map(|path| path.to_str().unwrap());
            crate::support::tool::output("cp", &["--reflink=auto", one, other]);
            Ok(())
        }
    };
    drop(done);
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn no_random_change_is_missed() {
    if lacks_root() {
        return;
    }
    let first = number("KLON_DELTA_SEED", 1);
    for seed in first..first + number("KLON_DELTA_ROUNDS", 4) {
        let mut dice = Dice::new(seed);
        let volume = &VOLUMES[dice.below(VOLUMES.len())];
        println!("seed {seed}: {}", volume.name);
        let made = Made::new(volume);
        let still = "mkdir random still; for i in $(seq 0 255); do noise still/$i 96K; done";
        script(made.mount().path(), still);
        made.settle();
        let mut before = State::of(&made, None, &Rule::default());
        for round in 0..3 {
            let mount = made.mount();
            (0..CHANGES).for_each(|_| change(&mut dice, mount.path()));
            drop(mount);
            let after = State::of(&made, Some(&before), &Rule::default());
            assert_sound(
                &made,
                &before,
                &after,
                &format!("seed {seed}, round {round}"),
            );
            before = after;
        }
    }
}
