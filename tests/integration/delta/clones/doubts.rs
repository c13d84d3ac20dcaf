//! Whatever speaks against leaving files unread makes the run one that reads everything, and says so.

use super::{Pair, WORD};
use crate::delta::changes::On;
use crate::support::{lacks_root, run};
use std::fs;

#[test]
fn what_was_kept_counts_only_when_it_is_whole_and_of_this_record() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(On::Ext);
    pair.by_metadata(&[]);
    let path = pair.evidence();
    let earlier = fs::read(&path).unwrap();
    pair.change("put f 8K 4K");
    fs::remove_file(&path).unwrap();
    pair.by_digest(&[WORD], "the last run kept nothing of the files");
    pair.by_metadata(&[]);
    // A run that is killed between its record and its evidence leaves the earlier evidence.
    pair.change("put f 16K 4K");
    fs::write(&path, &earlier).unwrap();
    pair.by_digest(&[WORD], "it belongs to another record");
    pair.assert_equal();
    let whole = fs::read(&path).unwrap();
    // In the header, in the identities, in the last section; cut there.
    for at in [30, 120, whole.len() / 2, whole.len() - 9] {
        for is_cut in [false, true] {
            pair.change("put f 24K 4K");
            let mut bytes = fs::read(&path).unwrap();
            match is_cut {
                true => bytes.truncate(at),
                false => bytes[at] ^= 1,
            }
            fs::write(&path, bytes).unwrap();
            pair.by_digest(&[WORD], "what the last run kept of the files can't be used");
        }
    }
    pair.assert_equal();
    pair.by_metadata(&[]);
}

#[test]
fn nobodys_word_and_a_doubtful_volume_mean_that_all_is_read() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(On::Ext);
    let done = pair.by_digest(&[], "nothing shows that the power never failed");
    let remedy = done["remedy"].as_str().unwrap();
    assert!(remedy.contains(WORD), "{remedy}");
    let asked = pair.by_digest(
        &["--rung", "metadata"],
        "metadata is not possible: nothing shows",
    );
    assert!(asked["remedy"].is_string());
    pair.by_metadata(&[]);
    let source = pair.klon.text("source");
    run(
        "bash",
        &[
            "-c",
            &format!("e2fsck -fy '{source}' >/dev/null || [ $? = 1 ]"),
        ],
    );
    pair.by_digest(&[WORD], "was checked since the last run");
    pair.by_metadata(&[]);
    let early = fs::read(&source).unwrap();
    pair.change("put f 8K 4K");
    pair.by_metadata(&[]);
    fs::write(&source, early).unwrap();
    pair.by_digest(&[WORD], "an earlier state of the source was brought back");
    pair.assert_equal();
    for rung in ["digest", "compare", "full"] {
        let done = pair.clone(&["--rung", rung, WORD]);
        assert_eq!(done["rung"], rung, "{done:#}");
        // Whatever a run reads, the next need not read all.
        pair.by_metadata(&[]);
    }
    fs::remove_file(pair.klon.only_record()).unwrap();
    let clone = [
        "clone",
        "source",
        "target",
        WORD,
        "--yes",
        "--confirm",
        "target",
        "--json",
    ];
    let done = pair.klon.ok(&clone).last();
    assert_eq!(done["rung"], "compare", "{done:#}");
    pair.by_metadata(&[]);
}

#[test]
fn everything_is_read_as_often_as_the_user_wants() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(On::Ext);
    pair.by_digest(
        &[WORD, "--full-every", "0d"],
        "the last run that read everything was 0 days ago",
    );
    for _ in 0..2 {
        for _ in 0..2 {
            pair.by_metadata(&["--full-every", "3"]);
        }
        pair.by_digest(
            &[WORD, "--full-every", "3"],
            "1 run of 3 is to read everything",
        );
    }
    pair.by_metadata(&["--full-every", "never"]);
    pair.by_digest(
        &[WORD, "--full-every", "1"],
        "every run is to read everything",
    );
}
