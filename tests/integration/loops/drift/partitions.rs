//! The table around a partition that is a clone: its volume is what it was.

use crate::support::image::{ext4, read_range, sparse};
use crate::support::{Klon, LoopDevice, MIB, lacks_root, run};
use klon_partition::device::open_source;
use klon_partition::filesystem::usage;
use serde_json::Value;

struct Drive {
    device: LoopDevice,
    klon: Klon,
}

impl Drive {
    fn new() -> Self {
        let klon = Klon::new();
        ext4(&klon.path("source"), 48, 4);
        sparse(&klon.path("drive"), 160 * MIB);
        let place = ["-n", "1:2048:+48M", "-c", "1:clone", &klon.text("drive")];
        run("sgdisk", &place);
        let device = LoopDevice::new(&klon.path("drive"), 512);
        device.scan();
        let drive = Self { device, klon };
        assert_eq!(drive.clone(&[])["rung"], "full");
        drive
    }

    fn clone(&self, options: &[&str]) -> Value {
        let part = self.device.part(1);
        let clone = ["clone", "source", &part];
        let mut done = self.klon.json(&[&clone[..], options].concat());
        done["volumes"][0].take()
    }

    fn change(&self, options: &[&str]) {
        run("sgdisk", &[options, &[self.device.text()]].concat());
        self.device.scan();
    }

    fn check_exact(&self) {
        let source = self.klon.path("source");
        let used = usage(&open_source(&source).unwrap()).unwrap().extents;
        run("blockdev", &["--flushbufs", self.device.text()]);
        for extent in used.iter() {
            let (at, len) = (extent.offset_bytes(), extent.len_bytes());
            let found = read_range(self.klon.path("drive"), MIB + at, len);
            assert!(read_range(&source, at, len) == found, "{extent} differs");
        }
        run("e2fsck", &["-fn", &self.device.part(1)]);
    }
}

#[test]
fn edits_of_the_table_around_a_clone_leave_it_believed_and_exact() {
    if lacks_root() {
        return;
    }
    let drive = Drive::new();
    let edits: [&[&str]; 4] = [
        &["-c", "1:other name"],
        &["-t", "1:8302"],
        &["-A", "1:set:60"],
        &["-n", "2:0:+30M", "-c", "2:neighbor"],
    ];
    for edit in edits {
        drive.change(edit);
        let done = drive.clone(&[]);
        let found = (&done["rung"], &done["written_bytes"]);
        assert_eq!(found, (&"digest".into(), &0.into()), "{edit:?}: {done:#}");
        drive.check_exact();
    }
}

#[test]
fn a_partition_that_was_resized_or_made_anew_is_compared() {
    if lacks_root() {
        return;
    }
    let drive = Drive::new();
    let table = drive.klon.json(&["devices", drive.device.text()]);
    let guid = table["volumes"][0]["partition"]["guid"].clone();
    assert!(guid.is_string(), "{table:#}");
    let guid = format!("1:{}", guid.as_str().unwrap());
    drive.change(&["-d", "1", "-n", "1:2048:+60M", "-u", &guid]);
    let done = drive.clone(&[]);
    assert_eq!(done["rung"], "compare", "{done:#}");
    let reason = done["reason"].as_str().unwrap();
    assert!(reason.contains("changed its size"), "{reason}");
    drive.check_exact();
    // Another GUID: another partition, of which there is no record.
    drive.change(&["-u", "1:R"]);
    let part = drive.device.part(1);
    drive
        .klon
        .refused(&["clone", "source", &part], &["would overwrite"]);
    let identity = drive.klon.json(&["devices", drive.device.text()]);
    let guid = identity["volumes"][0]["partition"]["guid"]
        .as_str()
        .unwrap();
    let confirm = format!("partuuid:{}", guid.to_lowercase());
    let done = drive.clone(&["--yes", "--confirm", &confirm]);
    assert_eq!(done["rung"], "compare", "{done:#}");
    assert_eq!(done["written_bytes"], 0, "{done:#}");
    drive.check_exact();
}
