//! Disks of which a partition is mounted and written to, cloned as one by a plan; needs root.

use crate::support::tool::run;
use crate::support::{Klon, LoopDevice, MIB, Mount, image, lacks_root};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The nodes of a disk's partitions, until dropped.
pub(super) struct Nodes<'a>(&'a LoopDevice);

impl<'a> Nodes<'a> {
    pub(super) fn new(disk: &'a LoopDevice) -> Self {
        // klon may have told the kernel of them.
        let told = Command::new("partx")
            .args(["--delete", disk.text()])
            .output();
        drop(told.unwrap());
        run("partx", &["--add", disk.text()]);
        Self(disk)
    }

    pub(super) fn of(&self, number: u32) -> PathBuf {
        format!("{}p{number}", self.0.text()).into()
    }
}

impl Drop for Nodes<'_> {
    fn drop(&mut self) {
        run("partx", &["--delete", self.0.text()]);
    }
}

#[test]
fn a_disk_in_use_is_cloned_as_one() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::own_boot_disk(&klon.path("disk"), 512);
    image::sparse(&klon.path("drive"), 500 * MIB);
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let drive = LoopDevice::new(&klon.path("drive"), 512);
    let nodes = Nodes::new(&disk);
    let mount = Mount::new(nodes.of(3), &klon.path("root"), "rw");
    let of = format!("System={}", disk.text());
    let planned = klon.ok(&["plan", "--drive", drive.text(), &of, "-o", "plan"]);
    // Its journal is in use, and that is as it should be.
    assert!(!planned.stderr.contains("recovery"), "{}", planned.stderr);
    klon.ok(&["prepare", "plan", "--yes", "--confirm", drive.text()]);
    for round in ["first", "second"] {
        fs::write(mount.path().join(round), round.repeat(100_000)).unwrap();
        let summary = klon.json(&["clone", "plan", "--yes", "--freeze-max", "60s"]);
        let volumes = summary["volumes"].as_array().unwrap().clone();
        let root = volumes
            .iter()
            .find(|volume| volume["consistency"] == "frozen");
        let root = root.unwrap_or_else(|| panic!("{volumes:#?}"));
        assert_eq!(volumes.len(), 2, "{volumes:#?}");
        assert!(!root["freezes"].as_array().unwrap().is_empty(), "{root}");
        if round == "second" {
            assert_eq!(root["rung"], "metadata", "{root}");
        }
        klon.ok(&["verify", "plan"]);
    }
    drop(mount);
    let clones = Nodes::new(&drive);
    run("e2fsck", &["-fn", clones.of(2).to_str().unwrap()]);
    run("fsck.fat", &["-n", clones.of(1).to_str().unwrap()]);
    run(
        "cmp",
        &[
            nodes.of(1).to_str().unwrap(),
            clones.of(1).to_str().unwrap(),
        ],
    );
    let there = Mount::new(clones.of(2), &klon.path("there"), "ro");
    for round in ["first", "second"] {
        let content = fs::read_to_string(there.path().join(round)).unwrap();
        assert!(content == round.repeat(100_000), "{round} is not whole");
    }
}
