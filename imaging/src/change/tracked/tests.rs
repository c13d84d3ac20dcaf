//! What someone else tells is believed only when it begins with the run that made the record.

use super::{Bitmap, Since, Tracked};
use crate::change::Rung;
use crate::change::proven::Faster;
use klon_partition::ExtentMap;
use uuid::Uuid;

const RUN: Uuid = Uuid::from_u128(7);

fn list(since: Since) -> Tracked {
    let changed = ExtentMap::whole(512);
    Tracked::List { changed, since }
}

fn named(export: &str, name: &str) -> Bitmap {
    Bitmap {
        export: export.to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn a_list_must_begin_with_the_run_of_the_record() {
    assert_eq!(list(Since::Run(RUN)).doubt(Some(RUN), None), None);
    assert_eq!(list(Since::Record).doubt(None, None), None);
    let doubts = [
        (Since::Run(Uuid::from_u128(8)), Some(RUN)),
        (Since::Run(RUN), None),
        (Since::Unsaid, Some(RUN)),
        (Since::Unsaid, None),
    ];
    for (since, run) in doubts {
        let doubt = list(since).doubt(run, None).unwrap();
        assert_eq!(doubt.remedy, Faster::NameRun, "{since:?}");
        let own = run.map_or("unknown".to_owned(), |run| run.to_string());
        assert!(
            doubt.reason.ends_with(&format!("of run {own}")),
            "{doubt:?}"
        );
    }
}

#[test]
fn a_bitmap_must_be_the_one_that_the_last_run_found() {
    let tracked = |bitmap| Tracked::Bitmap {
        changed: ExtentMap::new(),
        bitmap,
    };
    let own = named("nbd://host/disk", "since");
    let doubt = |bitmap: &Bitmap, kept| tracked(bitmap.clone()).doubt(Some(RUN), kept);
    assert_eq!(doubt(&own, Some(&own)), None);
    let others = [
        named("nbd://host/other", "since"),
        named("nbd://host/disk", "x"),
    ];
    for other in &others {
        assert!(
            doubt(&own, Some(other))
                .unwrap()
                .reason
                .contains("the last run found")
        );
    }
    assert!(doubt(&own, None).unwrap().reason.contains("did not ask"));
    let missing = Tracked::Missing("gone".to_owned());
    assert_eq!(missing.doubt(Some(RUN), Some(&own)).unwrap().reason, "gone");
    assert!(missing.changed().is_none() && missing.bitmap().is_none());
}

#[test]
fn the_rung_has_a_name_in_records() {
    let text = serde_json::to_string(&Rung::Tracked).unwrap();
    assert_eq!(text, "\"tracked\"");
    assert_eq!(serde_json::from_str::<Rung>(&text).unwrap(), Rung::Tracked);
}
