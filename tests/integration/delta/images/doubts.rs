//! Whatever speaks against leaving files unread makes the run one that reads everything, and says so.

use super::{Imaged, copy};
use crate::delta::changes::On;
use crate::delta::clones::WORD;
use crate::support::{lacks_root, run};
use std::fs;

const OTHER: &str = "it belongs to another snapshot";

#[test]
fn what_was_kept_counts_only_when_it_is_whole_and_of_this_snapshot() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    imaged.by_metadata(&[]);
    let [path] = &imaged.evidence()[..] else {
        panic!("{:?}", imaged.evidence());
    };
    let earlier = fs::read(path).unwrap();
    imaged.pair.change("put f 8K 4K");
    fs::remove_file(path).unwrap();
    imaged.by_digest(&[WORD], "the last run kept nothing of the files");
    imaged.by_metadata(&[]);
    // A run that is killed between its commit and its evidence leaves the earlier evidence.
    imaged.pair.change("put f 16K 4K");
    fs::write(path, &earlier).unwrap();
    imaged.by_digest(&[WORD], OTHER);
    imaged.assert_equal("i.klon");
    let whole = fs::read(path).unwrap();
    // In the header, in the identities, in the last section; cut there.
    for at in [30, 120, whole.len() / 2, whole.len() - 9] {
        for is_cut in [false, true] {
            imaged.pair.change("put f 24K 4K");
            let mut bytes = fs::read(path).unwrap();
            match is_cut {
                true => bytes.truncate(at),
                false => bytes[at] ^= 1,
            }
            fs::write(path, bytes).unwrap();
            imaged.by_digest(&[WORD], "what the last run kept of the files can't be used");
        }
    }
    imaged.assert_equal("i.klon");
    imaged.by_metadata(&[]);
}

#[test]
fn nobodys_word_and_a_doubtful_volume_mean_that_an_image_reads_all() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let reason = "compared with snapshot 1; nothing shows that the power never failed";
    let done = imaged.by_digest(&[], reason);
    assert!(done["remedy"].as_str().unwrap().contains(WORD), "{done:#}");
    let source = imaged.pair.klon.text("source");
    let check = format!("e2fsck -fy '{source}' >/dev/null || [ $? = 1 ]");
    run("bash", &["-c", &check]);
    imaged.by_digest(&[WORD], "was checked since the last run");
    imaged.by_metadata(&[]);
    let early = fs::read(&source).unwrap();
    imaged.pair.change("put f 8K 4K");
    imaged.by_metadata(&[]);
    fs::write(&source, early).unwrap();
    imaged.by_digest(&[WORD], "an earlier state of the source was brought back");
    imaged.assert_equal("i.klon");
    for rung in ["digest", "compare", "full"] {
        imaged.pair.change("put f 32K 4K");
        let done = imaged.image(&["--rung", rung, WORD]);
        assert_eq!(done["rung"], rung, "{done:#}");
        // Whatever a run reads, the next need not read all.
        imaged.by_metadata(&[]);
        imaged.assert_equal("i.klon");
    }
}

#[test]
fn what_was_kept_goes_with_the_snapshot_wherever_its_image_is() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let klon = &imaged.pair.klon;
    imaged.pair.change("put f 8K 4K");
    imaged.by_metadata(&[]);
    // A copy of the image has the snapshot, and is another image from its next one on.
    copy(&imaged.pair, "i.klon", "copy.klon");
    imaged.pair.change("put f 16K 4K");
    let done = klon.json(&["image", "source", "copy.klon", WORD]);
    super::by_metadata(done);
    imaged.assert_equal("copy.klon");
    imaged.by_digest(&[WORD], OTHER);
    imaged.assert_equal("i.klon");
    // The image as it was is brought back: what was kept is of a snapshot that it does not have.
    copy(&imaged.pair, "i.klon", "earlier.klon");
    imaged.pair.change("put f 24K 4K");
    imaged.by_metadata(&[]);
    fs::rename(klon.path("earlier.klon"), klon.path("i.klon")).unwrap();
    imaged.by_digest(&[WORD], OTHER);
    imaged.assert_equal("i.klon");
    // An earlier one is removed, and its room is given back.
    klon.ok(&["prune", "i.klon@1", "--yes"]);
    imaged.pair.change("put f 32K 4K");
    imaged.by_metadata(&[]);
    imaged.assert_equal("i.klon");
    klon.ok(&["prune", "i.klon", "--compact", "--yes"]);
    imaged.by_digest(&[WORD], OTHER);
    imaged.by_metadata(&[]);
    imaged.assert_equal("i.klon");
    klon.ok(&["verify", "i.klon"]);
}

#[test]
fn names_tell_sources_apart_that_nothing_else_does() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let named = |name: &str| imaged.image(&[WORD, "--name", name]);
    for name in ["a", "b"] {
        assert_eq!(named(name)["rung"], "full");
    }
    imaged.pair.change("put f 8K 4K");
    for name in ["a", "b"] {
        super::by_metadata(named(name));
    }
    imaged.by_metadata(&[]);
    assert_eq!(imaged.evidence().len(), 3);
    imaged.assert_equal("i.klon");
}

#[test]
fn a_run_that_fails_leaves_what_was_kept() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let [path] = &imaged.evidence()[..] else {
        panic!("{:?}", imaged.evidence());
    };
    let before = fs::read(path).unwrap();
    imaged.pair.change("put f 8K 4K; noise more 20M");
    // No room for the new chunks.
    let line = format!(
        "ulimit -f $(($(stat -c %s i.klon) / 1024 + 4096)); trap '' XFSZ; $K image source i.klon {WORD}"
    );
    let failed = imaged.pair.klon.shell(&line);
    assert_ne!(failed.code, 0, "{}", failed.stdout);
    assert!(fs::read(path).unwrap() == before);
    let names: Vec<_> = fs::read_dir(imaged.pair.klon.records()).unwrap().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    imaged.by_metadata(&[]);
    imaged.assert_equal("i.klon");
}
