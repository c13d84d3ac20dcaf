//! Audits of images: what changed without a trace in the metadata is found, named, and stored.

use super::Imaged;
use crate::delta::changes::On;
use crate::delta::clones::WORD;
use crate::support::klon::number;
use crate::support::{MIB, lacks_root};

fn an_audit_finds(on: On) {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(on);
    imaged.pair.write_past("still/20", MIB / 2 + 8192);
    let all = [WORD, "--audit", "100%"];
    let image = [&["image", "source", "i.klon", "--json"][..], &all].concat();
    let outcome = imaged.pair.klon.ok(&image);
    outcome.says(&[
        "klon: warning: source: something changed",
        "/still/20 from byte 532480",
    ]);
    let done = outcome.last();
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
    assert_eq!(number(&done, "changed_bytes"), MIB, "{done:#}");
    imaged.assert_equal("i.klon@2");
    let reason = "the audit of the last run found a change in /still/20";
    let next = imaged.by_digest(&[WORD], reason);
    assert!(next["remedy"].is_null(), "{next:#}");
    let whole = imaged.by_metadata(&["--audit", "100%"]);
    assert_eq!(whole["audit"], "passed", "{whole:#}");
    assert_eq!(
        number(&whole, "audited_bytes"),
        number(&whole, "skipped_bytes")
    );
}

#[test]
fn an_audit_of_an_image_finds_what_ext_did_not_see() {
    an_audit_finds(On::Ext);
}

#[test]
fn an_audit_of_an_image_finds_what_xfs_did_not_see() {
    an_audit_finds(On::Xfs);
}

#[test]
fn audits_of_images_go_round() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    imaged.pair.write_past("still/33", MIB);
    let mut audited_bytes = 0;
    for turn in 0.. {
        let done = imaged.image(&[WORD, "--audit", "8M"]);
        audited_bytes += number(&done, "audited_bytes");
        if done["audit"] == "failed" {
            assert_eq!(done["audit_files"][0]["path"], "/still/33", "{done:#}");
            break;
        }
        assert_eq!(done["rung"], "metadata", "{done:#}");
        assert!(turn < 9 && audited_bytes <= 80 * MIB, "{done:#}");
    }
    imaged.assert_equal("i.klon");
}

#[test]
fn an_image_reads_everything_as_often_as_the_user_wants() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let reason = "the last run that read everything was 0 days ago";
    imaged.by_digest(&[WORD, "--full-every", "0d"], reason);
    for _ in 0..2 {
        imaged.by_metadata(&["--full-every", "3"]);
        imaged.by_metadata(&["--full-every", "3"]);
        let reason = "1 run of 3 is to read everything";
        imaged.by_digest(&[WORD, "--full-every", "3"], reason);
    }
    imaged.by_metadata(&["--full-every", "never"]);
}
