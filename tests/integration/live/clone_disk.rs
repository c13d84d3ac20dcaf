//! Clones of whole disks in use: partitions that are mounted and written to, swapped to, or neither; needs root.

use super::busy_disk::{Busy, DISK_BYTES, check, make};
use super::database::Database;
use super::writers::Writers;
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, image, lacks_root};
use serde_json::Value;
use std::fs;

#[test]
fn a_disk_in_use_is_cloned_as_it_was_frozen() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    let database = Database::start(busy.at(2));
    let writers: Vec<Writers> = [2, 3, 4]
        .map(|number| Writers::start(busy.at(number)))
        .into();
    image::sparse(&klon.path("target"), DISK_BYTES);
    let target = &klon.text("target");
    let clone = ["clone", disk.text(), target, "--yes", "--json"];
    let clone = [&clone[..], &["--freeze-max", "120s"]].concat();
    let mut committed = 0;
    for round in ["first", "second"] {
        committed = database.committed();
        let cloned = busy.keeping_frozen(&clone).expect(0).last();
        let volume = &cloned["volumes"][0];
        assert_eq!(volume["consistency"], "frozen", "{round}: {cloned}");
        let freezes = volume["freezes"].as_array().unwrap();
        // What is read at rest is what changed, and not all of it again.
        let last = number(freezes.last().unwrap(), "read_bytes");
        assert!(last < 200 * MIB, "{round}: {cloned}");
        busy.assert_cloned();
    }
    klon.ok(&["verify", target]);
    drop((writers, database));
    fs::write(busy.at(3).join("later"), noise(5, 1 << 20)).unwrap();
    let verify = ["verify", target, disk.text(), "--json"];
    let verify = [&verify[..], &["--freeze-max", "120s"]].concat();
    let verified = klon.run(&verify).expect(1).last();
    assert_eq!(verified["consistency"], "frozen", "{verified}");
    assert_eq!(verified["is_in_use"], Value::Null, "{verified}");
    check(&klon, committed);
}

#[test]
fn a_disk_in_use_is_cloned_to_a_larger_one() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    let database = Database::start(busy.at(2));
    let committed = database.committed();
    image::sparse(&klon.path("target"), DISK_BYTES + 100 * MIB);
    let target = &klon.text("target");
    klon.ok(&["clone", disk.text(), target, "--yes", "--freeze-max", "60s"]);
    image::check_gpt(target);
    check(&klon, committed);
}

#[test]
fn a_disk_in_use_is_compared_with_a_snapshot_of_it() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    fs::write(busy.at(4).join("same"), noise(4, 3 << 20)).unwrap();
    klon.ok(&["image", disk.text(), "x.klon", "--freeze-max", "60s"]);
    fs::write(busy.at(4).join("later"), noise(5, 1 << 20)).unwrap();
    let diff = [
        "diff",
        "x.klon",
        disk.text(),
        "--freeze-max",
        "60s",
        "--json",
    ];
    let line = klon.run(&diff).expect(1).last();
    assert_eq!(line["is_in_use"], true, "{line}");
    // The mounted volumes are clean at rest, so that not all of them is compared.
    let differing = number(&line, "differing_bytes");
    assert!((1 << 20..40 << 20).contains(&differing), "{line}");
}
