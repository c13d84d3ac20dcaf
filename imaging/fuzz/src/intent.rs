//! Write-intent logs.

use super::{SCRATCH, number, seal};
use klon_imaging::intent::{IntentLog, Interrupted, Start};
use std::path::Path;

/// Reads `data` as a write-intent log, as it is and with right checksums.
pub fn check(data: &[u8]) {
    SCRATCH.with(|directory| {
        let path = directory.path().join("fuzzed.klonlog");
        read(&path, data);
        read(&path, &sealed(data.to_vec()));
    });
}

fn read(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a scratch file");
    let Ok(Some(interrupted)) = Interrupted::load(path) else {
        return;
    };
    let done = done(&interrupted);
    let start = Start {
        run: interrupted.run,
        meta: &interrupted.meta,
        data: &interrupted.wanted,
        zero: &klon_partition::ExtentMap::new(),
        earlier: Some(&interrupted),
        staged: &interrupted.staged,
    };
    let next = path.with_extension("next");
    drop(IntentLog::begin(next.clone(), &start).expect("a log that goes on from this one"));
    let again = Interrupted::load(&next)
        .expect("a log that was just written")
        .expect("it is whole");
    assert_eq!(again.wanted, interrupted.wanted);
    assert_eq!(again.touched, interrupted.touched);
    assert_eq!(again.staged, interrupted.staged);
    let known: Vec<u64> = done_of(&again);
    assert!(known.iter().all(|number| done.contains(number)));
}

fn done(interrupted: &Interrupted) -> std::collections::BTreeSet<u64> {
    done_of(interrupted).into_iter().collect()
}

fn done_of(interrupted: &Interrupted) -> Vec<u64> {
    let items = interrupted.done().expect("the file is there");
    items.map(|item| item.expect("what is whole").0).collect()
}

/// The log with right checksums, or no input would ever get past them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let _ = seal_all(&mut bytes);
    bytes
}

fn seal_all(bytes: &mut [u8]) -> Option<()> {
    seal(bytes, 0, 60)?;
    let mut at = 64_usize;
    loop {
        let start = at.checked_add(8)?;
        let end = start.checked_add(number(bytes, at.checked_add(4)?, 4)?)?;
        seal(bytes, at, end)?;
        at = end.checked_add(4)?;
    }
}
