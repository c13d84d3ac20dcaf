//! Drives that hold something already, and drives with an MBR.

use crate::support::image::{check_gpt, ext4, own_boot_disk, read_range, sfdisk, sparse};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs;

/// A drive, and two volumes as sources; the drive is detached before the files go.
struct Small {
    drive: LoopDevice,
    klon: Klon,
}

fn small() -> Small {
    let klon = Klon::new();
    ext4(&klon.path("one"), 32, 4);
    ext4(&klon.path("two"), 24, 3);
    sparse(&klon.path("drive"), 160 * MIB);
    let drive = LoopDevice::new(&klon.path("drive"), 512);
    Small { drive, klon }
}

impl Small {
    fn prepare(&self, options: &[&str]) {
        let planning = [
            "plan",
            "--drive",
            self.drive.text(),
            "One=one",
            "Two=two",
            "-o",
            "plan",
        ];
        self.klon.ok(&[&planning[..], options].concat());
        let drive = self.klon.text("drive");
        self.klon
            .ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    }

    fn check_clones(&self, numbers: [u64; 2]) {
        for number in numbers {
            run("e2fsck", &["-fn", &self.drive.part(number)]);
            let mount = Mount::new(self.drive.part(number), &self.klon.path("mnt"), "ro,noload");
            assert!(mount.path().join("documents/39").exists());
        }
        self.klon.ok(&["verify", "plan"]);
        self.klon.ok(&["verify", "plan", "--against-source"]);
    }
}

#[test]
fn a_partition_that_is_there_stays_as_it_is() {
    if lacks_root() {
        return;
    }
    let small = small();
    let drive = small.drive.text();
    run(
        "sgdisk",
        &[
            "-n",
            "2:40960:+20M",
            "-c",
            "2:precious",
            "-A",
            "2:set:60",
            drive,
        ],
    );
    small.drive.scan();
    run("mkfs.ext4", &["-q", "-L", "precious", &small.drive.part(2)]);
    let mount = Mount::new(small.drive.part(2), &small.klon.path("mnt"), "rw");
    fs::write(mount.path().join("letter"), "dear").unwrap();
    drop(mount);
    let kept = |drive: &str| {
        sfdisk(drive)["partitions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|part| part["name"] == "precious")
            .unwrap()
            .clone()
    };
    let (entry, bytes) = (kept(drive), read_range(small.drive.part(2), 0, 20 * MIB));
    small.prepare(&[]);
    small.klon.ok(&["clone", "plan"]);
    check_gpt(drive);
    assert_eq!(kept(drive), entry);
    assert!(read_range(small.drive.part(2), 0, 20 * MIB) == bytes);
    assert_eq!(sfdisk(drive)["partitions"].as_array().unwrap().len(), 3);
    small.check_clones([1, 3]);

    // Replacing the table is the user's word, and its loss is shown.
    let again = [
        "plan",
        "--drive",
        drive,
        "One=one",
        "--replace-table",
        "-o",
        "new",
    ];
    small.klon.ok(&again);
    let words = ["would overwrite", "precious", "--yes --confirm"];
    small.klon.refused(&["prepare", "new"], &words);
    assert_eq!(kept(drive), entry);
}

#[test]
fn a_drive_with_an_mbr_is_prepared_and_cloned_to() {
    if lacks_root() {
        return;
    }
    let small = small();
    small.prepare(&["--table", "mbr"]);
    let table = sfdisk(small.drive.text());
    assert_eq!(table["label"], "dos");
    let partitions = table["partitions"].as_array().unwrap();
    let types: Vec<_> = partitions.iter().map(|part| part["type"].clone()).collect();
    assert_eq!(types, ["83", "83"]);
    run("sfdisk", &["--verify", small.drive.text()]);
    small.klon.ok(&["clone", "plan"]);
    small.check_clones([1, 2]);
    let done = small.klon.json(&["clone", "plan"]);
    assert_eq!(
        (&done["rung"], &done["written_bytes"]),
        (&"digest".into(), &0.into())
    );
    small.prepare_again();
}

/// Five volumes are more than an MBR has slots: some become logical partitions.
#[test]
fn an_mbr_with_logical_partitions_is_prepared_and_cloned_to() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("drive"), 200 * MIB);
    let drive = LoopDevice::new(&klon.path("drive"), 512);
    let names = ["A", "B", "C", "D", "E"];
    let mut planning = vec!["plan".to_owned(), "--drive".into(), drive.text().into()];
    for (index, name) in names.iter().enumerate() {
        ext4(&klon.path(name), 16 + 2 * index as u64, 1);
        planning.push(format!("{name}={name}"));
    }
    planning.extend(["--table", "mbr", "-o", "plan"].map(str::to_owned));
    let planning: Vec<&str> = planning.iter().map(String::as_str).collect();
    let plan = klon.json(&planning);
    let drive_file = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive_file]);
    run("sfdisk", &["--verify", drive.text()]);
    klon.ok(&["clone", "plan"]);
    let table = sfdisk(drive.text());
    let found = table["partitions"].as_array().unwrap();
    assert!(found.iter().any(|part| part["type"] == "f"), "{table:#}");
    for volume in plan["volumes"].as_array().unwrap() {
        let node = drive.part(volume["number"].as_u64().unwrap());
        let part = found.iter().find(|part| part["node"] == node).unwrap();
        let [start, size] = ["start", "size"].map(|key| part[key].as_u64().unwrap() * 512);
        assert_eq!(volume["extent"], serde_json::json!([start, size]));
        run("e2fsck", &["-fn", &node]);
    }
    klon.ok(&["verify", "plan", "--against-source"]);
    let again = klon.json(&["clone", "plan"]);
    assert_eq!(
        (&again["rung"], &again["written_bytes"]),
        (&"digest".into(), &0.into())
    );
    assert!(
        klon.ok(&["prepare", "plan"])
            .stdout
            .contains("Nothing to do")
    );
}

#[test]
fn a_whole_disk_is_cloned_to_a_disk_and_its_partitions_appear() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("drive"), 256 * MIB);
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let drive = LoopDevice::new(&klon.path("drive"), 512);
    klon.ok(&["clone", disk.text(), drive.text()]);
    check_gpt(drive.text());
    run("fsck.fat", &["-n", &drive.part(1)]);
    run("e2fsck", &["-fn", &drive.part(3)]);
    klon.ok(&["verify", drive.text(), disk.text()]);
    let again = klon.json(&["clone", disk.text(), drive.text()]);
    assert_eq!(again["written_bytes"], 0, "{again:#}");
    // Mounted at a partition, it is no target.
    let mount = Mount::new(drive.part(3), &klon.path("mnt"), "ro,noload");
    klon.refused(&["clone", disk.text(), drive.text()], &["mounted"]);
    drop(mount);
    drop(drive);

    let other = LoopDevice::new(&klon.path("drive"), 4096);
    let confirm = klon.text("drive");
    let clone = [
        "clone",
        disk.text(),
        other.text(),
        "--yes",
        "--confirm",
        &confirm,
    ];
    klon.ok(&clone)
        .says(&["klon lays it out anew for sectors of 4096"]);
    check_gpt(other.text());
    run("fsck.fat", &["-n", &other.part(1)]);
    run("e2fsck", &["-fn", &other.part(3)]);
}

impl Small {
    fn prepare_again(&self) {
        let planning = ["plan", "--drive", self.drive.text(), "One=one", "Two=two"];
        let said = self
            .klon
            .ok(&[&planning[..], &["--table", "mbr", "-o", "plan"]].concat());
        assert!(
            said.stdout.contains("as planned already"),
            "{}",
            said.stdout
        );
        assert!(
            self.klon
                .ok(&["prepare", "plan"])
                .stdout
                .contains("Nothing to do")
        );
    }
}
