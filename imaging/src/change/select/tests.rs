//! A record is believed only when everything about it fits; else the run falls, and says why.

use super::{Doubt, Recorded, Situation, doubted, select};
use crate::change::RungChoice;
use crate::chunk::{CHUNK_BYTES, Digest};
use crate::hex::Hex;
use crate::mark::Mark;
use crate::record::{Manifest, Record, RecordStore, sample};
use crate::rung::Rung;
use klon_partition::filesystem::{ChangeToken, Kind, Summary};
use klon_partition::{ExtentMap, Identity};
use std::sync::Arc;

struct Kept {
    record: Arc<Record>,
    _directory: tempfile::TempDir,
}

fn kept(token: Option<[u8; 32]>) -> Kept {
    kept_with(token, None)
}

fn kept_with(token: Option<[u8; 32]>, metadata_digest: Option<Hex>) -> Kept {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Path("/target".to_owned());
    let manifest = Manifest {
        token: token.map(Hex),
        metadata_digest,
        ..sample::manifest(&target)
    };
    let mut writer = store.begin(&target, 1).unwrap();
    writer.push(Digest([0; 32])).unwrap();
    let (data, none) = (ExtentMap::whole(CHUNK_BYTES), ExtentMap::new());
    writer.into_place(&manifest, &data, &none, &none).unwrap();
    Kept {
        record: Arc::new(store.load(&target).unwrap().unwrap()),
        _directory: directory,
    }
}

fn summary(uuid: &str) -> Summary {
    Summary {
        kind: Kind::Ext4,
        label: None,
        uuid: Some(uuid.to_owned()),
        size_bytes: CHUNK_BYTES,
        block_size_bytes: 4096,
        used_bytes: None,
        hazards: Vec::new(),
    }
}

fn situation(source: &Identity) -> Situation<'_> {
    Situation {
        source,
        source_bytes: CHUNK_BYTES,
        source_summary: None,
        target_bytes: CHUNK_BYTES,
        target_summary: None,
        target_token: Some(ChangeToken([1; 32])),
        mark: None,
        interrupted: None,
        record: Recorded::Nothing,
        trusts_metadata: false,
    }
}

fn found(record: &Arc<Record>) -> Recorded {
    Recorded::Found(Arc::clone(record))
}

fn rung(situation: Situation<'_>, record: Recorded) -> (Rung, String) {
    let selection = select(
        RungChoice::Auto,
        Situation {
            record,
            ..situation
        },
    );
    (selection.rung(), selection.reason)
}

#[test]
fn only_a_record_that_fits_in_everything_is_believed() {
    let source = Identity::Path("/source".to_owned());
    let other = Identity::Path("/other".to_owned());
    let kept = kept(Some([1; 32]));
    let record = found(&kept.record);
    assert_eq!(rung(situation(&source), record.clone()).0, Rung::Digest);
    let mark = Mark::new("path:/source");
    let wrong = [
        (
            Situation {
                target_token: Some(ChangeToken([2; 32])),
                ..situation(&source)
            },
            "someone changed the target since",
        ),
        (
            Situation {
                target_token: None,
                ..situation(&source)
            },
            "someone changed the target since",
        ),
        (
            Situation {
                mark: Some(&mark),
                ..situation(&source)
            },
            "did not finish",
        ),
        (
            Situation {
                source_bytes: 7,
                ..situation(&source)
            },
            "its size",
        ),
        (
            Situation {
                target_bytes: 7,
                ..situation(&source)
            },
            "its size",
        ),
    ];
    let wrong = wrong.map(|(situation, words)| (situation, record.clone(), words));
    let damaged = Recorded::Damaged("bad CRC".to_owned());
    let damaged = [(situation(&source), damaged, "bad CRC")];
    for (situation, record, words) in wrong.into_iter().chain(damaged) {
        let (rung, reason) = rung(situation, record);
        assert_eq!(rung, Rung::Compare, "{reason}");
        assert!(reason.contains(words), "{reason}");
    }
    let (rung, reason) = rung(situation(&other), record);
    assert_eq!(
        (rung, reason.as_str()),
        (Rung::Full, "the target is a clone of path:/source")
    );
}

#[test]
fn a_record_without_a_token_is_never_believed() {
    let source = Identity::Path("/source".to_owned());
    let kept = kept(None);
    assert_eq!(
        rung(situation(&source), found(&kept.record)).0,
        Rung::Compare
    );
    let asked = select(
        RungChoice::Only(Rung::Digest),
        Situation {
            record: found(&kept.record),
            ..situation(&source)
        },
    );
    assert_eq!(asked.rung(), Rung::Compare);
    assert!(asked.reason.contains("not possible"), "{}", asked.reason);
}

#[test]
fn digests_of_metadata_stand_for_a_token_only_where_that_is_asked_for() {
    let source = Identity::Path("/source".to_owned());
    let (with, without) = (kept_with(None, Some(Hex([3; 32]))), kept(None));
    let trusting = || Situation {
        trusts_metadata: true,
        ..situation(&source)
    };
    let cases = [
        (trusting(), &with, Rung::Digest),
        (trusting(), &without, Rung::Compare),
        (situation(&source), &with, Rung::Compare),
    ];
    for (situation, kept, expected) in cases {
        assert_eq!(rung(situation, found(&kept.record)).0, expected);
    }
    let doubt = Doubt::until_now("nobody knows".to_owned());
    let doubted = |kept: &Kept| {
        let selection = doubted(RungChoice::Auto, Arc::clone(&kept.record), &doubt);
        assert!(selection.reason.contains("nobody knows"), "{selection:?}");
        selection.rung()
    };
    // The target was believed by the heuristic alone.
    assert_eq!(doubted(&with), Rung::Compare);
    assert_eq!(doubted(&kept(Some([1; 32]))), Rung::Digest);
}

#[test]
fn without_a_record_the_same_filesystem_is_compared_and_anything_else_is_written() {
    let source = Identity::Path("/source".to_owned());
    let (own, foreign) = (summary("A"), summary("B"));
    let with = |target| Situation {
        source_summary: Some(&own),
        target_summary: Some(target),
        ..situation(&source)
    };
    assert_eq!(rung(with(&own), Recorded::Nothing).0, Rung::Compare);
    assert_eq!(rung(with(&foreign), Recorded::Nothing).0, Rung::Full);
    assert_eq!(rung(situation(&source), Recorded::Nothing).0, Rung::Full);
}

#[test]
fn what_is_asked_for_is_done() {
    let source = Identity::Path("/source".to_owned());
    let kept = kept(Some([1; 32]));
    for rung in [Rung::Full, Rung::Compare, Rung::Digest] {
        let selected = select(
            RungChoice::Only(rung),
            Situation {
                record: found(&kept.record),
                ..situation(&source)
            },
        );
        assert_eq!(selected.rung(), rung);
    }
}
