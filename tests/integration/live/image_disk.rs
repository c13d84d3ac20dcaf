//! Images of whole disks in use: partitions that are mounted and written to, swapped to, or neither; needs root.

use super::busy_disk::{Busy, GAP_BYTES, check, has_fat, make, same};
use super::database::Database;
use super::disk::Nodes;
use super::writers::Writers;
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, Mount, image, lacks_root, run};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

fn ways(told: &Value) -> Vec<(u64, String)> {
    let partitions = told["partitions"].as_array().unwrap();
    let way = |it: &Value| {
        let consistency = it["consistency"].as_str().unwrap_or("still");
        (number(it, "number"), consistency.to_owned())
    };
    partitions.iter().map(way).collect()
}

fn expected() -> Vec<(u64, String)> {
    let of_fat = if has_fat() { "read_only" } else { "still" };
    let ways = [of_fat, "frozen", "frozen", "frozen", "still", "still"];
    (1..).zip(ways.map(str::to_owned)).collect()
}

#[test]
fn a_disk_in_use_is_imaged_as_it_was_frozen() {
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
    let rounds = std::env::var("KLON_LIVE_ROUNDS").ok();
    let rounds: u64 = rounds.and_then(|it| it.parse().ok()).unwrap_or(2);
    for round in 0..=rounds {
        let committed = database.committed();
        let added = busy.image(&[]).expect(0).last();
        assert_eq!(added["consistency"], "frozen", "{added}");
        assert_eq!(ways(&added), expected(), "{added}");
        assert!(!added["freezes"].as_array().unwrap().is_empty(), "{added}");
        let rung = if round == 0 { "full" } else { "metadata" };
        assert_eq!(added["rung"], rung, "{added}");
        if round > 0 {
            assert!(number(&added, "skipped_bytes") > 40 * MIB, "{added}");
        }
        busy.assert_same();
        check(&klon, committed);
    }
    drop((writers, database));
    klon.ok(&["verify", "x.klon"]);
    let listed = klon.ok(&["list", "x.klon", "--json"]).lines();
    assert!(
        listed.iter().all(|line| ways(line) == expected()),
        "{listed:?}"
    );
    let info = klon.ok(&["info", "x.klon", "--json"]).last();
    assert_eq!(ways(&info), expected(), "{info}");
    let told = "its partitions 2, 3 and 4 were mounted, and frozen";
    klon.ok(&["list", "x.klon"]).shows(&[told]);
    klon.ok(&["info", "x.klon"]).shows(&[told]);
    busy.image(&["--still", "refuse"]).expect(3);
    drop(busy);
    // At rest, it is imaged as any other.
    let word = "--assume-clean-since-record";
    let still = klon.json(&["image", disk.text(), "x.klon", word]);
    assert_eq!(still["consistency"], "still", "{still}");
    assert_eq!(still["rung"], "metadata", "{still}");
}

/// A hook that runs `command` before each freeze but the first.
fn later(klon: &Klon, command: &str) -> String {
    let flag = klon.text("flag");
    format!("if [ -e '{flag}' ]; then {command}; fi; touch '{flag}'")
}

#[test]
fn what_is_written_between_two_freezes_past_all_filesystems_is_noticed() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    // So much that there is more than one pass.
    fs::write(busy.at(2).join("much"), noise(3, 120 << 20)).unwrap();
    fs::write(klon.path("content"), noise(9, 100 << 10)).unwrap();
    let dd = |to: &str, at_bytes: u64| {
        let content = klon.text("content");
        format!(
            "dd if='{content}' of='{to}' bs=4096 seek={} conv=notrunc oflag=direct",
            at_bytes >> 12
        )
    };
    let to_gap = later(&klon, &dd(disk.text(), GAP_BYTES));
    let added = busy.image(&["--before-freeze", &to_gap]).expect(0).last();
    assert!(added["freezes"].as_array().unwrap().len() > 1, "{added}");
    busy.assert_same();
    let mut gap = vec![0; 100 << 10];
    let target = File::open(klon.path("target")).unwrap();
    target.read_exact_at(&mut gap, GAP_BYTES).unwrap();
    assert!(gap == noise(9, 100 << 10), "the gap is as it was before");
    // A partition that nobody has mounted is not read again.
    fs::remove_file(klon.path("flag")).unwrap();
    fs::write(busy.at(2).join("much"), noise(4, 120 << 20)).unwrap();
    let node = busy.nodes.of(6);
    let to_partition = later(&klon, &dd(node.to_str().unwrap(), 40 << 20));
    let failed = busy.image(&["--before-freeze", &to_partition]);
    failed.says(&[
        "written to or discarded on the device",
        node.to_str().unwrap(),
    ]);
    assert_ne!(failed.code, 0);
    if cfg!(debug_assertions) {
        // Nor is the disk between its last look and the end.
        let mut command = klon.command(&["image", disk.text(), "x.klon"]);
        command.env("KLON_TEST_WHILE_FROZEN", dd(disk.text(), GAP_BYTES));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("written to it past its partitions"), "{said}");
    }
    assert_eq!(klon.ok(&["list", "x.klon", "--json"]).lines().len(), 1);
}

/// Bytes in use of a partition that nobody has mounted are written through the disk's own node, of which no account
/// of a partition tells.
#[test]
fn what_is_written_through_the_disk_into_a_volume_between_two_freezes_is_in_its_image() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    // So much that there is more than one pass.
    fs::write(busy.at(2).join("much"), noise(3, 120 << 20)).unwrap();
    fs::write(klon.path("content"), noise(9, 256 << 10)).unwrap();
    let at_bytes = busy.offset_of_still();
    let (to, content) = (disk.text(), klon.text("content"));
    let write = format!(
        "dd if='{content}' of='{to}' bs=1024 seek={} conv=notrunc oflag=direct",
        at_bytes >> 10
    );
    let hook = later(&klon, &write);
    let added = busy.image(&["--before-freeze", &hook]).expect(0).last();
    assert!(added["freezes"].as_array().unwrap().len() > 1, "{added}");
    busy.assert_same();
    let mut written = vec![0; 256 << 10];
    let target = File::open(klon.path("target")).unwrap();
    target.read_exact_at(&mut written, at_bytes).unwrap();
    assert!(written == noise(9, 256 << 10), "a part is as it was before");
}

#[test]
fn a_logical_partition_of_an_mbr_is_at_rest_for_the_image_of_its_disk() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::sparse(&klon.path("disk"), 120 * MIB);
    let table = "label: dos\nstart=2048,size=40960,type=83\nstart=43008,size=196608,type=5\n\
                 start=45056,size=163840,type=83\n";
    fs::write(klon.path("table"), table).unwrap();
    let (disk_file, table) = (klon.text("disk"), klon.text("table"));
    let written = format!("sfdisk --quiet '{disk_file}' <'{table}'");
    run("sh", &["-c", &written]);
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let nodes = Nodes::new(&disk);
    let node = nodes.of(5);
    run("mkfs.ext4", &["-q", "-F", node.to_str().unwrap()]);
    let mount = Mount::new(&node, &klon.path("at"), "rw");
    fs::write(mount.path().join("file"), noise(1, 3 << 20)).unwrap();
    let mut command = klon.command(&["image", disk.text(), "x.klon"]);
    let keep = format!("cp --sparse=always '{disk_file}' '{}'", klon.text("frozen"));
    command.env("KLON_TEST_WHILE_FROZEN", keep);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    image::sparse(&klon.path("target"), 120 * MIB);
    klon.ok(&["restore", "x.klon", &klon.text("target"), "--yes"]);
    if cfg!(debug_assertions) {
        same(&klon.path("frozen"), &klon.path("target"), &[5]);
    }
    let told = "its partition 5 was mounted, and frozen";
    klon.ok(&["info", "x.klon"]).shows(&[told]);
}

#[test]
fn a_disk_goes_on_when_klon_is_killed_while_it_is_at_rest() {
    if lacks_root() || !cfg!(debug_assertions) {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    let mut command = klon.command(&["image", disk.text(), "x.klon"]);
    command.env("KLON_TEST_WHILE_FROZEN", "kill -KILL $PPID");
    let began = Instant::now();
    let ended = command.output().unwrap();
    assert!(!ended.status.success());
    for number in 2..=4 {
        let file = busy.at(number).join("after");
        // What is read-only fails, and what is frozen waits.
        let is_written = || fs::write(&file, "text").is_ok();
        while !is_written() {
            assert!(began.elapsed() < Duration::from_secs(15), "{file:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        run("sync", &["-f", file.to_str().unwrap()]);
    }
    assert!(began.elapsed() < Duration::from_secs(15));
    klon.ok(&["image", disk.text(), "x.klon"]);
}

#[test]
fn what_of_a_disk_can_not_be_brought_to_rest_is_named() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    let open = File::create(busy.at(4).join("open")).unwrap();
    let read_only = ["image", disk.text(), "x.klon", "--still", "read-only"];
    klon.refused(&read_only, &["can't be made read-only", "open for writing"]);
    drop(open);
    // All that came to rest before goes on.
    fs::write(busy.at(2).join("after"), "text").unwrap();
    klon.ok(&read_only);
    fs::write(busy.at(2).join("after"), "text").unwrap();
    let info = klon.ok(&["info", "x.klon", "--json"]).last();
    assert_eq!(info["consistency"], "read_only", "{info}");
    // A volume on a partition of the disk, as one of LVM would be.
    let upper = LoopDevice::window(&klon.path("disk"), 860 * MIB, 60 * MIB);
    let above = Mount::new(upper.path(), &klon.path("above"), "rw");
    let at = above.path().to_str().unwrap().to_owned();
    klon.refused(
        &["image", disk.text(), "y.klon"],
        &["klon copies a disk in use when", &at],
    );
    drop((above, upper));
    // klon would bring what lies on top to rest.
    let covered = busy.at(2).to_str().unwrap().to_owned();
    image::ext4(&klon.path("over"), 24, 2);
    let cover = Mount::new(klon.path("over"), busy.at(2), "loop");
    let over = format!("something else is mounted over {covered}");
    let way_out = format!("Unmount that first: umount {covered}");
    klon.refused(&["image", disk.text(), "y.klon"], &[&over, &way_out]);
    drop(cover);
    let on_it = busy.at(3).join("x.klon");
    let arguments = ["image", disk.text(), on_it.to_str().unwrap()];
    klon.refused(&arguments, &["while it is at rest: the image"]);
    // The kernel knows partitions that the table has no more.
    run("sgdisk", &["-d2", disk.text()]);
    klon.refused(&["image", disk.text(), "x.klon"], &["partprobe"]);
}
