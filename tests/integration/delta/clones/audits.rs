//! Audits: what changed without a trace in the metadata is found, named, and copied.

use super::{Pair, WORD};
use crate::delta::changes::On;
use crate::support::klon::number;
use crate::support::{MIB, lacks_root};

fn an_audit_finds(on: On) {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(on);
    pair.write_past("still/20", MIB / 2 + 8192);
    let arguments = [
        "clone", "source", "target", WORD, "--audit", "100%", "--json",
    ];
    let outcome = pair.klon.ok(&arguments);
    outcome.says(&[
        "klon: warning: target: something changed",
        "/still/20 from byte 532480",
    ]);
    let done = outcome.last()["volumes"][0].take();
    assert_eq!(
        (&done["rung"], &done["audit"]),
        (&"digest".into(), &"failed".into()),
        "{done:#}"
    );
    assert_eq!(done["audit_files"][0]["path"], "/still/20", "{done:#}");
    assert_eq!(done["audit_files"].as_array().unwrap().len(), 1, "{done:#}");
    let reason = done["reason"].as_str().unwrap();
    assert!(
        reason.contains("the audit found a change in /still/20"),
        "{reason}"
    );
    assert_eq!(number(&done, "changed_bytes"), 4096, "{done:#}");
    pair.assert_equal();
    let reason = "the audit of the last run found a change in /still/20";
    let next = pair.by_digest(&[WORD], reason);
    assert!(next["remedy"].is_null(), "{next:#}");
    let whole = pair.by_metadata(&["--audit", "100%"]);
    assert_eq!(whole["audit"], "passed", "{whole:#}");
    assert!(
        number(&whole, "audited_bytes") == number(&whole, "skipped_bytes"),
        "{whole:#}"
    );
}

#[test]
fn an_audit_finds_what_ext_did_not_see() {
    an_audit_finds(On::Ext);
}

#[test]
fn an_audit_finds_what_xfs_did_not_see() {
    an_audit_finds(On::Xfs);
}

#[test]
fn audits_go_round() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(On::Ext);
    pair.write_past("still/33", MIB);
    let mut audited_bytes = 0;
    for turn in 0.. {
        let done = pair.clone(&[WORD, "--audit", "8M"]);
        audited_bytes += number(&done, "audited_bytes");
        if done["audit"] == "failed" {
            assert_eq!(done["audit_files"][0]["path"], "/still/33", "{done:#}");
            break;
        }
        assert_eq!(done["rung"], "metadata", "{done:#}");
        assert!(turn < 9 && audited_bytes <= 80 * MIB, "{done:#}");
    }
    pair.assert_equal();
}
