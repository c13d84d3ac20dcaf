//! Partitions as sources, by node and by what they are recognized by.

use crate::support::image::{own_boot_disk, sparse};
use crate::support::{Klon, LoopDevice, MIB, lacks_root, run};

#[test]
fn a_partition_of_a_disk_is_planned_and_found_again_by_its_guid() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    // Of its own, because other tests attach disks like it.
    sparse(&klon.path("drive"), 256 * MIB);
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let drive = LoopDevice::new(&klon.path("drive"), 512);
    disk.scan();
    let source = format!("Root={}", disk.part(3));
    let plan = klon.json(&["plan", "--drive", drive.text(), &source, "-o", "plan"]);
    let identity = plan["volumes"][0]["source"]["identity"].as_str().unwrap();
    assert!(identity.starts_with("partuuid:"), "{plan:#}");
    let confirm = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &confirm]);
    klon.ok(&["clone", "plan"]);
    run("e2fsck", &["-fn", &drive.part(1)]);
    klon.ok(&["verify", "plan", "--against-source"]);
    // Through another device the partition is the same.
    drop(disk);
    klon.refused(&["clone", "plan"], &["no attached disk has"]);
    let _elsewhere = LoopDevice::new(&klon.path("disk"), 512);
    let again = klon.json(&["clone", "plan"]);
    assert_eq!(
        (&again["rung"], &again["written_bytes"]),
        (&"digest".into(), &0.into())
    );
}

#[test]
fn a_copy_beside_its_original_is_not_taken_for_it() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    disk.scan();
    let identity = klon.json(&["devices", disk.text()])["volumes"][1]["identity"].clone();
    let tag = identity.as_str().unwrap().replace("partuuid:", "PARTUUID=");
    klon.ok(&["map", &tag]);
    std::fs::copy(klon.path("disk"), klon.path("copy")).unwrap();
    let _copy = LoopDevice::new(&klon.path("copy"), 512);
    klon.refused(&["map", &tag], &["several disks", disk.text()]);
}
