//! The way back as a drill: the source disk is gone, and one command brings it from the backup drive to a
//! new disk. Then the plan goes on as it is.

use crate::support::image::{
    ROOT_GUID, allocated_bytes, boot_disk, check_gpt, ext4, fat, own_boot_disk, put, read_range,
    sfdisk, sparse,
};
use crate::support::klon::number;
use crate::support::loop_device::lacks_root;
use crate::support::tool::run_with_input;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, run};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

pub(super) const BOOT_CODE: &[u8] = b"\xeb\x63\x90 a loader of BIOS systems";

/// A disk that was cloned by a plan, with boot code in its first sector.
fn cloned() -> Klon {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    let disk = OpenOptions::new().write(true).open(klon.path("disk"));
    disk.unwrap().write_all_at(BOOT_CODE, 0).unwrap();
    sparse(&klon.path("drive"), 300 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Boot=disk", "-o", "plan"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    klon
}

/// What sfdisk says of a disk's table, without the name of the disk and where the disk ends.
fn table(klon: &Klon, disk: &str) -> Value {
    let path = klon.text(disk);
    check_gpt(&path);
    let mut table = sfdisk(&path);
    for key in ["device", "lastlba"] {
        table.as_object_mut().unwrap().remove(key);
    }
    for partition in table["partitions"].as_array_mut().unwrap() {
        let node = partition["node"].as_str().unwrap().replace(&path, "");
        partition["node"] = node.into();
    }
    table
}

/// Checks the volumes by their own tools, and gives what is in them.
fn trees(klon: &Klon, disk: &str, root_mib: u64) -> String {
    let root_bytes = root_mib * MIB;
    for (name, offset, len) in [("esp", MIB, 33 * MIB), ("root", 36 * MIB, root_bytes)] {
        fs::write(klon.path(name), read_range(klon.path(disk), offset, len)).unwrap();
    }
    run("fsck.fat", &["-n", &klon.text("esp")]);
    run("e2fsck", &["-fn", &klon.text("root")]);
    let code = run(
        "mtype",
        &["-i", &klon.text("esp"), "::/EFI/a long name.txt"],
    );
    let dump = klon.path("dump");
    fs::create_dir(&dump).unwrap();
    let command = format!("rdump / \"{}\"", klon.text("dump"));
    run("debugfs", &["-R", &command, &klon.text("root")]);
    let listed = "cd dump && find . -printf '%p %y %m %U %G %s %l %T@\\n' | sort && \
                  find . -type f -print0 | sort -z | xargs -0 sha256sum";
    let listed = klon.shell(listed).expect(0).stdout;
    fs::remove_dir_all(&dump).unwrap();
    code + &listed
}

/// Puts a file into the root volume of a disk.
fn change(klon: &Klon, disk: &str, name: &str) {
    fs::write(klon.path("note"), name.repeat(1000)).unwrap();
    let write = format!("write \"{}\" {name}", klon.text("note"));
    let volume = format!("{}?offset={}", klon.text(disk), 36 * MIB);
    run("debugfs", &["-w", "-R", &write, &volume]);
}

#[test]
fn a_lost_disk_comes_back_to_a_new_one_and_the_plan_goes_on() {
    let klon = cloned();
    let (before, tree) = (table(&klon, "disk"), trees(&klon, "disk", 160));
    fs::rename(klon.path("disk"), klon.path("lost")).unwrap();
    sparse(&klon.path("new"), 200 * MIB);
    let shown = klon.ok(&["restore", "plan", "Boot=new", "--dry-run"]);
    shown.shows(&[
        "create partition 3 \"root äß\"",
        "BootClone back to partition 3",
    ]);
    shown.says(&["UEFI", "BIOS boot code of the first sector comes back"]);
    assert_eq!(allocated_bytes(&klon.path("new")), 0);
    klon.ok(&["restore", "plan", "Boot=new"]);
    assert_eq!(table(&klon, "new"), before);
    assert_eq!(trees(&klon, "new", 160), tree);
    assert!(read_range(klon.path("new"), 0, 512).starts_with(BOOT_CODE));
    // The new disk stands for the old one.
    fs::rename(klon.path("new"), klon.path("disk")).unwrap();
    change(&klon, "disk", "first");
    let again = klon.json(&["clone", "plan"]);
    assert_ne!(again["rung"], "compare", "{again:#}");
    assert!(number(&again, "written_bytes") < 4 * MIB, "{again:#}");
    klon.ok(&["verify", "plan", "--against-source"]);
    let twice = klon.json(&["clone", "plan"]);
    assert_eq!(number(&twice, "written_bytes"), 0, "{twice:#}");
}

#[test]
fn new_disks_may_be_larger_or_smaller() {
    let klon = cloned();
    let (before, tree) = (table(&klon, "disk"), trees(&klon, "disk", 160));
    fs::rename(klon.path("disk"), klon.path("lost")).unwrap();
    sparse(&klon.path("large"), 260 * MIB);
    klon.ok(&["restore", "plan", "Boot=large"]);
    assert_eq!(table(&klon, "large"), before);
    sparse(&klon.path("grown"), 260 * MIB);
    klon.ok(&["restore", "plan", "Boot=grown", "--size", "Boot=grow"]);
    let root = table(&klon, "grown")["partitions"][1].take();
    assert_eq!(
        (&root["start"], &root["uuid"]),
        (&(36 * 2048).into(), &ROOT_GUID.into())
    );
    assert!(number(&root, "size") > 220 * 2048, "{root:#}");
    assert_eq!(trees(&klon, "grown", 160), tree);
    // The filesystem fills what it had, and klon does not shrink it.
    sparse(&klon.path("small"), 190 * MIB);
    let reasons = ["too small", "partition 3 (160 MiB)", "at least 197 MiB"];
    klon.refused(&["restore", "plan", "Boot=small"], &reasons);
    assert_eq!(allocated_bytes(&klon.path("small")), 0);
}

#[test]
fn a_smaller_disk_takes_what_filesystems_reach_to_and_is_cloned_again() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    trees(&klon, "disk", 160);
    run("resize2fs", &[&klon.text("root"), "100M"]);
    let disk = OpenOptions::new().write(true).open(klon.path("disk"));
    let root = fs::read(klon.path("root")).unwrap();
    disk.unwrap().write_all_at(&root, 36 * MIB).unwrap();
    sparse(&klon.path("drive"), 300 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Boot=disk", "-o", "plan"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan", "--outside", "none"]);
    let tree = trees(&klon, "disk", 100);
    fs::remove_file(klon.path("disk")).unwrap();
    sparse(&klon.path("disk"), 150 * MIB);
    klon.ok(&["restore", "plan", "Boot=disk", "--outside", "none"]);
    let root = table(&klon, "disk")["partitions"][1].take();
    assert_eq!(
        (number(&root, "start"), number(&root, "size")),
        (36 * 2048, 113 * 2048)
    );
    assert_eq!(trees(&klon, "disk", 113), tree);
    change(&klon, "disk", "first");
    // Its size is another one, so that both are compared once.
    let again = klon.json(&["clone", "plan"]);
    assert!(number(&again, "written_bytes") < 4 * MIB, "{again:#}");
    klon.ok(&["verify", "plan", "--against-source"]);
    let twice = klon.json(&["clone", "plan"]);
    assert_eq!(number(&twice, "written_bytes"), 0, "{twice:#}");
}

#[test]
fn the_drive_alone_is_enough() {
    let klon = cloned();
    let (before, tree) = (table(&klon, "disk"), trees(&klon, "disk", 160));
    for lost in ["disk", "plan"] {
        fs::remove_file(klon.path(lost)).unwrap();
    }
    fs::remove_dir_all(klon.records()).unwrap();
    // Under another name, as on another computer.
    fs::rename(klon.path("drive"), klon.path("found")).unwrap();
    sparse(&klon.path("new"), 200 * MIB);
    klon.refused(&["restore", "new", "Boot=new"], &["carries no intact plan"]);
    klon.ok(&["restore", "found", "Boot=new"]);
    assert_eq!(table(&klon, "new"), before);
    assert_eq!(trees(&klon, "new", 160), tree);
    check_gpt(&klon.text("found"));
    // A damaged copy is none.
    crate::support::image::flip(&klon.path("found"), 520 * 1024);
    klon.refused(
        &["restore", "found", "Boot=new"],
        &["no intact plan of klon"],
    );
}

#[test]
fn a_disk_that_is_not_blank_is_asked_about_once_and_a_cut_run_goes_on() {
    let klon = cloned();
    let before = table(&klon, "disk");
    fs::remove_file(klon.path("disk")).unwrap();
    sparse(&klon.path("new"), 200 * MIB);
    let file = OpenOptions::new().write(true).open(klon.path("new"));
    let file = file.unwrap();
    for at in [0, 36 * MIB, 190 * MIB] {
        file.write_all_at(&noise(at, 4 << 20), at).unwrap();
    }
    let new = klon.text("new");
    let content = || read_range(&new, 0, 42 * MIB);
    let used = content();
    let asked = [
        "this would overwrite",
        "bring BootClone back",
        "--yes --confirm",
    ];
    klon.refused(&["restore", "plan", "Boot=new"], &asked);
    let other = ["restore", "plan", "Boot=new", "--yes", "--confirm", "drive"];
    klon.refused(&other, &["--confirm names"]);
    assert!(content() == used);
    let consent = ["restore", "plan", "Boot=new", "--yes", "--confirm", &new];
    klon.ok(&consent);
    assert_eq!(table(&klon, "new"), before);
    run("e2fsck", &["-fn", &format!("{new}?offset={}", 36 * MIB)]);
    // As a run leaves it that was cut after the table.
    file.write_all_at(&vec![0; 1 << 20], 40 * MIB).unwrap();
    file.write_all_at(&[0; 440], 0).unwrap();
    klon.ok(&[&consent[..], &["--rung", "compare"]].concat())
        .shows(&["as that of the original already"]);
    run("e2fsck", &["-fn", &format!("{new}?offset={}", 36 * MIB)]);
    assert!(read_range(klon.path("new"), 0, 512).starts_with(BOOT_CODE));
}

#[test]
fn what_a_plan_can_not_bring_back_is_said() {
    let klon = cloned();
    sparse(&klon.path("new"), 200 * MIB);
    let wrong = |arguments: &[&str], says: &str| {
        let given = [&["restore", "plan"], arguments].concat();
        klon.run(&given).expect(2).says(&[says]);
    };
    wrong(&["Other=new"], "it has Boot");
    wrong(&["new"], "is not NAME=DISK");
    wrong(&["Boot=new", "Boot=drive"], "given twice");
    wrong(&["Boot=new", "--skip-damaged"], "is for images");
    wrong(&["Boot=new", "--size", "Other=grow"], "it has Boot");
    wrong(&["Boot=disk:1"], "a whole disk");
    klon.refused(&["restore", "plan", "Boot=drive"], &["is the source"]);
    // Another clone's original is not lost for this one.
    boot_disk(&klon.path("precious"), 512);
    run("sgdisk", &["-G", &klon.text("precious")]);
    klon.ok(&["clone", "precious:3", "copy"]);
    let precious = klon.text("precious");
    let consent = ["--yes", "--confirm", &precious];
    let over = [&["restore", "plan", "Boot=precious"], &consent[..]].concat();
    klon.refused(&over, &["an original that is no source of this plan"]);
    // A plan of before does not know.
    let plan = fs::read_to_string(klon.path("plan")).unwrap();
    let before = plan.split("\n[[original]]\n").next().unwrap();
    fs::write(
        klon.path("plan"),
        before.replace("\nversion = 2", "\nversion = 1"),
    )
    .unwrap();
    klon.refused(
        &["restore", "plan", "Boot=new"],
        &["does not say which table", "klon clone"],
    );
    klon.ok(&["verify", "plan"]);
}

/// A card as of a Raspberry Pi, with logical partitions behind it.
pub(super) fn card(klon: &Klon) {
    sparse(&klon.path("disk"), 120 * MIB);
    let script = "label: dos\nlabel-id: 0xcafe1234\n2048,65536,c,*\n67584,40960,83\n108544,,5\n\
                  110592,40960,83\n153600,40960,83\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    fat(&klon.path("boot"), 32, 512);
    put(&klon.path("boot"), &klon.path("disk"), MIB);
    for (name, start) in [("root", 67584), ("five", 110_592), ("six", 153_600)] {
        ext4(&klon.path(name), 16, 1);
        put(&klon.path(name), &klon.path("disk"), start * 512);
        fs::remove_file(klon.path(name)).unwrap();
    }
}

#[test]
fn a_card_with_an_mbr_comes_back_with_its_signature_and_numbers() {
    let klon = Klon::new();
    card(&klon);
    let script = |disk: &str| {
        let path = klon.text(disk);
        run("sfdisk", &["--verify", &path]);
        run("sfdisk", &["-d", &path]).replace(&path, "")
    };
    let before = script("disk");
    sparse(&klon.path("drive"), 300 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Pi=disk", "-o", "plan"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    fs::rename(klon.path("disk"), klon.path("lost")).unwrap();
    let check = |disk: &str| {
        for partition in sfdisk(&klon.text(disk))["partitions"].as_array().unwrap() {
            let start_bytes = number(partition, "start") * 512;
            if partition["type"] == "83" {
                let volume = format!("{}?offset={start_bytes}", klon.text(disk));
                run("e2fsck", &["-fn", &volume]);
            }
        }
    };
    sparse(&klon.path("new"), 120 * MIB);
    klon.ok(&["restore", "plan", "Pi=new"]);
    assert_eq!(script("new"), before);
    check("new");
    // Each ext4 has 4 MiB behind its end.
    sparse(&klon.path("small"), 88 * MIB);
    klon.ok(&["restore", "plan", "Pi=small"]);
    let small = script("small");
    assert!(
        small.contains("label-id: 0xcafe1234") && small.contains("bootable"),
        "{small}"
    );
    assert_eq!(small.matches("type=83").count(), 3, "{small}");
    check("small");
    fs::rename(klon.path("new"), klon.path("disk")).unwrap();
    let again = klon.json(&["clone", "plan"]);
    assert_eq!(number(&again, "written_bytes"), 0, "{again:#}");
}

#[test]
fn partitions_of_one_disk_come_back_to_one() {
    let klon = Klon::new();
    card(&klon);
    sparse(&klon.path("drive"), 300 * MIB);
    let plan = [
        "plan", "--drive", "drive", "A=disk:2", "B=disk:5", "-o", "plan",
    ];
    klon.ok(&plan);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    for name in ["one", "two"] {
        sparse(&klon.path(name), 120 * MIB);
    }
    let apart = klon.run(&["restore", "plan", "A=one", "B=two"]).expect(2);
    apart.says(&["were on one disk"]);
    let lines = klon
        .ok(&["restore", "plan", "A=one", "B=one", "--json"])
        .lines();
    assert_eq!(lines[0]["event"], "prepared");
    let missing = lines[0]["missing"].as_array().unwrap();
    let numbers: Vec<u64> = missing.iter().map(|one| number(one, "number")).collect();
    assert_eq!(numbers, [1, 6]);
    let six = [
        "restore",
        "plan",
        "B=two",
        "--dry-run",
        "--json",
        "--make-empty",
    ];
    assert_eq!(klon.ok(&six).last()["empty"], serde_json::json!([1, 2, 6]));
    assert_eq!(allocated_bytes(&klon.path("two")), 0);
}

#[test]
fn the_kernel_knows_the_new_disk_and_the_plan_finds_it_by_its_partuuids() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("drive"), 300 * MIB);
    sparse(&klon.path("new"), 200 * MIB);
    let drive = LoopDevice::new(&klon.path("drive"), 512);
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let new = LoopDevice::new(&klon.path("new"), 512);
    let (boot, back) = (
        format!("Boot={}", disk.text()),
        format!("Boot={}", new.text()),
    );
    klon.ok(&["plan", "--drive", drive.text(), &boot, "-o", "plan"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    let twice = ["has the identity", "Detach it first. Nothing was written"];
    klon.refused(&["restore", "plan", &back], &twice);
    drop(disk);
    fs::remove_file(klon.path("disk")).unwrap();
    klon.ok(&["restore", "plan", &back]);
    run("e2fsck", &["-fn", &new.part(3)]);
    run("fsck.fat", &["-n", &new.part(1)]);
    let again = klon.run(&["clone", "plan", "--json"]).expect(0);
    again.says(&["is not attached", "is the source"]);
    assert_eq!(number(&again.last(), "written_bytes"), 0);
    klon.ok(&["verify", "plan", "--against-source"]);
}

#[test]
fn a_new_disk_that_was_never_filled_is_no_source() {
    let klon = cloned();
    fs::rename(klon.path("disk"), klon.path("lost")).unwrap();
    let original = read_range(klon.path("lost"), 36 * MIB, 4096);
    let was_cut = (0..5).any(|_| {
        sparse(&klon.path("new"), 200 * MIB);
        let mut restore = klon.command(&["restore", "plan", "Boot=new", "--yes"]);
        let restore = restore.stdout(Stdio::null()).stderr(Stdio::null());
        let mut restore = restore.spawn().unwrap();
        // The table is there, and nothing is in it yet, or not much.
        while read_range(klon.path("new"), 512, 8) != b"EFI PART"
            && restore.try_wait().unwrap().is_none()
        {
            sleep(Duration::from_millis(1));
        }
        restore.kill().unwrap();
        restore.wait().unwrap();
        let root = read_range(klon.path("new"), 36 * MIB, 4096);
        let is_marked = root.starts_with(b"klon-unfinished");
        assert!(
            is_marked || root == original,
            "an empty partition looks whole"
        );
        is_marked
    });
    assert!(was_cut, "it was always done already");
    fs::rename(klon.path("new"), klon.path("disk")).unwrap();
    let before = fs::read(klon.path("drive")).unwrap();
    klon.refused(&["clone", "plan", "--yes"], &["was not finished"]);
    assert!(fs::read(klon.path("drive")).unwrap() == before);
}
