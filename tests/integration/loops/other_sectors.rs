//! Disks of 512-byte sectors onto disks of 4096, and back: tables in the target's sectors, FAT laid out anew, boot
//! sectors of NTFS and exFAT made anew, everything else as it is, and refused where that can't be used.

use crate::support::image::{check_gpt, ext4, fat, fat_files, put, sfdisk, sparse};
use crate::support::tool::run_with_input;
use crate::support::tree::{Tree, fill};
use crate::support::{Klon, LoopDevice, MIB, Mount, NtfsMount, lacks_root, run};
use std::fs;
use std::path::Path;

const SIZE_MIB: u64 = 700;

fn digest(path: &Path) -> String {
    run("sha256sum", &[path.to_str().unwrap()])
}

/// A GPT disk with an ESP, an ext4, a Btrfs, an exFAT and a swap volume in slots 1, 3, 4, 6 and 9.
fn disk(klon: &Klon) {
    sparse(&klon.path("disk"), SIZE_MIB * MIB);
    let script = "label: gpt\nlabel-id: 6A0DD0C6-3F6B-4F5A-9A50-9F1B5E4B7E01\n\
        1: start=2048, size=204800, type=U, name=\"EFI system\", uuid=AAAAAAAA-0001-4000-8000-00000000F001\n\
        3: start=206848, size=409600, type=L, name=\"root äß\", attrs=\"GUID:59\"\n\
        4: start=616448, size=409600, type=L, name=\"data\"\n\
        6: start=1026048, size=131072, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name=\"stick\"\n\
        9: start=1157120, size=65536, type=S, name=\"swap\"\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    run("sgdisk", &["-G", &klon.text("disk")]);
    fat(&klon.path("esp"), 100, 512);
    ext4(&klon.path("root"), 200, 20);
    sparse(&klon.path("data"), 200 * MIB);
    let tree = klon.path("tree");
    fill(&tree, 7, 20);
    run(
        "mkfs.btrfs",
        &[
            "-q",
            "--rootdir",
            tree.to_str().unwrap(),
            &klon.text("data"),
        ],
    );
    sparse(&klon.path("stick"), 64 * MIB);
    run("mkfs.exfat", &["-L", "STICK", &klon.text("stick")]);
    sparse(&klon.path("swap"), 32 * MIB);
    run("mkswap", &["-q", "-L", "swapped", &klon.text("swap")]);
    for (name, at) in [
        ("esp", 1),
        ("root", 101),
        ("data", 301),
        ("stick", 501),
        ("swap", 565),
    ] {
        put(&klon.path(name), &klon.path("disk"), at * MIB);
    }
}

/// Its entries without where they lie: the sectors are others.
fn entries(table: &serde_json::Value, sector_bytes: u64) -> Vec<serde_json::Value> {
    let partitions = table["partitions"].as_array().unwrap().iter();
    let one = |one: &serde_json::Value| {
        let mut one = one.clone();
        for key in ["start", "size"] {
            one[key] = (one[key].as_u64().unwrap() * sector_bytes).into();
        }
        let node = one["node"].as_str().unwrap().to_owned();
        let digits = node.trim_start_matches(|c: char| !c.is_ascii_digit());
        one["node"] = digits
            .rsplit('p')
            .next()
            .unwrap_or(digits)
            .chars()
            .last()
            .unwrap()
            .to_string()
            .into();
        one
    };
    partitions.map(one).collect()
}

fn files(klon: &Klon, volume: &str, to: &str) -> Tree {
    fat_files(volume, &klon.path(to));
    Tree::read(&klon.path(to)).without_times().without_numbers()
}

/// Every volume of a disk is sound and has what it had.
fn check(klon: &Klon, device: &LoopDevice, name: &str, sector_bytes: u64) {
    check_gpt(device.text());
    run("sfdisk", &["--verify", device.text()]);
    let esp = device.part(1);
    run("fsck.fat", &["-n", &esp]);
    let seen = run(
        "blkid",
        &["-p", "-s", "UUID", "-s", "LABEL", "-s", "TYPE", &esp],
    );
    assert!(seen.contains("1234-ABCD") && seen.contains("EFI"), "{seen}");
    let boot = fs::read(&esp).unwrap();
    assert_eq!(
        u64::from(u16::from_le_bytes([boot[11], boot[12]])),
        sector_bytes
    );
    drop(boot);
    let was = files(klon, &klon.text("esp"), &format!("{name}-was-files"));
    files(klon, &esp, &format!("{name}-files")).assert_same(&was);
    run("e2fsck", &["-fn", &device.part(3)]);
    run("btrfs", &["check", "--readonly", &device.part(4)]);
    run("fsck.exfat", &["-n", &device.part(6)]);
    let swap = run("swaplabel", &[&device.part(9)]);
    assert!(swap.contains("swapped"), "{swap}");
}

#[test]
fn a_disk_goes_to_4096_byte_sectors_and_back() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    disk(&klon);
    let before = digest(&klon.path("disk"));
    let was = sfdisk(&klon.text("disk"));
    sparse(&klon.path("native"), SIZE_MIB * MIB);
    let native = LoopDevice::new(&klon.path("native"), 4096);
    let said = [
        "was made for sectors of 512 bytes. klon lays it out anew for sectors of 4096",
        "its exfat was made for sectors of 512 bytes. klon makes its boot sectors anew",
    ];
    let clone = ["clone", "disk", native.text()];
    klon.ok(&[&clone[..], &["--dry-run"]].concat()).says(&said);
    klon.ok(&clone).says(&said);
    check(&klon, &native, "there", 4096);
    let now = sfdisk(native.text());
    assert_eq!(now["id"], was["id"]);
    assert_eq!(entries(&now, 4096), entries(&was, 512));
    assert!(
        digest(&klon.path("disk")) == before,
        "the source was written to"
    );
    // And back, to a disk of emulated sectors.
    sparse(&klon.path("emulated"), SIZE_MIB * MIB);
    let emulated = LoopDevice::new(&klon.path("emulated"), 512);
    klon.ok(&["clone", native.text(), emulated.text()]);
    check(&klon, &emulated, "back", 512);
    assert_eq!(entries(&sfdisk(emulated.text()), 512), entries(&was, 512));
    // From an image, and out of a plan's drive.
    klon.ok(&["image", "disk", "i.klon"]);
    // A second disk with the identities of one that is attached is made by nobody who wants to boot.
    drop(emulated);
    run("wipefs", &["-qa", native.text()]);
    klon.ok(&[
        "restore",
        "i.klon",
        native.text(),
        "--yes",
        "--confirm",
        &klon.text("native"),
    ])
    .says(&said);
    check(&klon, &native, "restored", 4096);
    // Again: the table stays, and so do the volumes.
    let again = klon.ok(&[&clone[..], &["--yes", "--confirm", &klon.text("native")]].concat());
    again.shows(&["its table is as that of the original already"]);
    check(&klon, &native, "again", 4096);
}

#[test]
fn what_sectors_of_4096_bytes_can_t_have_is_refused_before_anything_is_written() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("target"), 400 * MIB);
    let target = LoopDevice::new(&klon.path("target"), 4096);
    let before = digest(&klon.path("target"));
    let make = |name: &str, size_mib: u64, command: &[&str]| {
        sparse(&klon.path(name), size_mib * MIB);
        run(command[0], &[&command[1..], &[&*klon.text(name)]].concat());
    };
    make("small-blocks", 64, &["mke2fs", "-q", "-F", "-b", "1024"]);
    make("xfs", 320, &["mkfs.xfs", "-q", "-s", "size=512"]);
    make("ntfs", 64, &["mkntfs", "-q", "-F", "-f"]);
    for (name, why) in [
        (
            "small-blocks",
            "blocks of 1024 bytes does not mount on sectors of 4096",
        ),
        (
            "xfs",
            "its xfs was made for sectors of 512 bytes and does not mount on sectors of 4096",
        ),
        ("ntfs", "the file records of its ntfs have 1024 bytes"),
    ] {
        let words = [why, "Nothing was written", "--sectors keep"];
        klon.refused(&["clone", name, target.text()], &words);
        assert!(
            digest(&klon.path("target")) == before,
            "the target was written to"
        );
    }
    klon.ok(&["clone", "small-blocks", target.text(), "--sectors", "keep"]);
}

#[test]
fn an_ntfs_of_large_records_goes_to_512_byte_sectors_and_back() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 100 * MIB);
    let native = LoopDevice::new(&klon.path("source"), 4096);
    let make = [
        "-q",
        "-F",
        "-f",
        "-s",
        "4096",
        "-c",
        "4096",
        "-L",
        "Windows",
        native.text(),
    ];
    run("mkntfs", &make);
    let mount = NtfsMount::new(native.path(), &klon.path("mnt"), "rw");
    fill(mount.path(), 3, 8);
    drop(mount);
    // As it is on the disk, and not in the memory of who wrote it.
    let mount = NtfsMount::new(native.path(), &klon.path("mnt"), "ro");
    let whole = Tree::read(mount.path()).without_numbers();
    drop(mount);
    let before = digest(&klon.path("source"));
    sparse(&klon.path("emulated"), 100 * MIB);
    let emulated = LoopDevice::new(&klon.path("emulated"), 512);
    let outcome = klon.ok(&["clone", native.text(), emulated.text()]);
    outcome
        .says(&["its ntfs was made for sectors of 4096 bytes. klon makes its boot sectors anew"]);
    let look = |device: &LoopDevice, sector: &str| {
        let info = run("ntfsinfo", &["-m", device.text()]);
        let line = info
            .lines()
            .find(|line| line.contains("Sector Size"))
            .unwrap();
        assert!(line.ends_with(sector), "{line}");
        run("ntfsfix", &["-n", device.text()]);
        let mount = NtfsMount::new(device.path(), &klon.path("mnt"), "ro");
        Tree::read(mount.path())
            .without_numbers()
            .assert_same(&whole);
    };
    look(&emulated, "512");
    sparse(&klon.path("back"), 100 * MIB);
    let back = LoopDevice::new(&klon.path("back"), 4096);
    klon.ok(&["clone", emulated.text(), back.text()]);
    look(&back, "4096");
    assert!(
        digest(&klon.path("source")) == before,
        "the source was written to"
    );
    // Nothing but the boot sectors differs.
    klon.ok(&["verify", emulated.text(), native.text()]);
}

#[test]
fn clones_of_a_plan_are_made_for_the_sectors_of_their_drive() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    disk(&klon);
    sparse(&klon.path("drive"), 2 * SIZE_MIB * MIB);
    let drive = LoopDevice::new(&klon.path("drive"), 4096);
    let plan = [
        "plan",
        "--drive",
        drive.text(),
        "Boot=disk",
        "-o",
        "plan.toml",
    ];
    klon.ok(&plan)
        .says(&["klon lays it out anew for sectors of 4096"]);
    klon.ok(&[
        "prepare",
        "plan.toml",
        "--yes",
        "--confirm",
        &klon.text("drive"),
    ]);
    klon.ok(&["clone", "plan.toml"])
        .says(&["klon lays it out anew for sectors of 4096"]);
    run("fsck.fat", &["-n", &drive.part(1)]);
    run("fsck.exfat", &["-n", &drive.part(4)]);
    run("e2fsck", &["-fn", &drive.part(2)]);
    klon.ok(&["verify", "plan.toml"]);
    klon.ok(&["verify", "plan.toml", "--against-source"]);
    let mount = Mount::new(drive.part(2), &klon.path("mnt"), "ro");
    assert!(fs::read_dir(mount.path()).unwrap().count() > 1);
    drop(mount);
    // Back to a disk of the sectors that it came from.
    fs::rename(klon.path("disk"), klon.path("lost")).unwrap();
    sparse(&klon.path("new"), SIZE_MIB * MIB);
    let new = LoopDevice::new(&klon.path("new"), 512);
    klon.ok(&["restore", "plan.toml", &format!("Boot={}", new.text())]);
    check(&klon, &new, "new", 512);
}
