//! Disks whose clones have a table of the other kind.

use crate::support::image::{boot_disk, check_gpt, ext4, fat, put, sfdisk, sparse};
use crate::support::tool::run_with_input;
use crate::support::{Klon, MIB, run};
use std::fs;

/// An MBR disk with a FAT, an ext4 and a logical ext4.
fn mbr(klon: &Klon) {
    let disk = klon.path("disk");
    sparse(&disk, 100 * MIB);
    let script = "label: dos\nlabel-id: 0x12345678\n\
                  2048,24576,ef,*\n28672,49152,83\n79872,65536,5\n81920,40960,83\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    fat(&klon.path("esp"), 12, 512);
    ext4(&klon.path("root"), 24, 4);
    ext4(&klon.path("more"), 20, 2);
    put(&klon.path("esp"), &disk, MIB);
    put(&klon.path("root"), &disk, 14 * MIB);
    put(&klon.path("more"), &disk, 40 * MIB);
}

#[test]
fn an_mbr_becomes_a_gpt_and_the_run_says_what_boots() {
    let klon = Klon::new();
    mbr(&klon);
    let before = fs::read(klon.path("disk")).unwrap();
    sparse(&klon.path("new"), 120 * MIB);
    let clone = ["clone", "disk", "new", "--table", "gpt"];
    let said = [
        "its table becomes a new GPT",
        "BIOS does not boot it then",
        "EFI system partition 1",
        "PARTUUIDs are others",
    ];
    // It is said before anything is done.
    klon.ok(&[&clone[..], &["--dry-run"]].concat()).says(&said);
    assert!(
        fs::read(klon.path("new"))
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
    klon.ok(&clone).says(&said);
    check_gpt(&klon.text("new"));
    let table = sfdisk(&klon.text("new"));
    assert_eq!(table["label"], "gpt");
    let partitions = table["partitions"].as_array().unwrap();
    let of =
        |key: &str| -> Vec<String> { partitions.iter().map(|one| one[key].to_string()).collect() };
    assert_eq!(of("start"), ["2048", "28672", "81920"]);
    assert_eq!(of("size"), ["24576", "49152", "40960"]);
    let numbers: Vec<_> = of("node")
        .iter()
        .map(|node| node.trim_matches('"').chars().last())
        .collect();
    assert_eq!(numbers, [Some('1'), Some('2'), Some('5')]);
    assert!(of("type")[0].contains("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
    for (number, checker, options) in [
        (1, "fsck.fat", "-n"),
        (2, "e2fsck", "-fn"),
        (5, "e2fsck", "-fn"),
    ] {
        let part = format!("part{number}");
        klon.ok(&["clone", &format!("new:{number}"), &part]);
        run(checker, &[options, &klon.text(&part)]);
    }
    assert!(
        fs::read(klon.path("disk")).unwrap() == before,
        "the source was written to"
    );
    // Again: the table is the same, and nothing differs.
    let again = klon.ok(&[&clone[..], &["--yes", "--confirm", &klon.text("new")]].concat());
    again.shows(&["its table is as that of the original already"]);
}

#[test]
fn a_gpt_becomes_an_mbr_where_that_has_room() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("new"), 200 * MIB);
    let said = [
        "its table becomes a new MBR",
        "Names, GUIDs and attributes",
        "PARTUUIDs are others",
    ];
    klon.ok(&["clone", "disk", "new", "--table", "mbr"])
        .says(&said);
    run("sfdisk", &["--verify", &klon.text("new")]);
    let table = sfdisk(&klon.text("new"));
    assert_eq!(table["label"], "dos");
    let partitions = table["partitions"].as_array().unwrap();
    let types: Vec<&str> = partitions
        .iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["ef", "83"]);
    klon.ok(&["clone", "new:3", "root"]);
    run("e2fsck", &["-fn", &klon.text("root")]);
    // And from an image.
    klon.ok(&["image", "disk", "i.klon"]);
    sparse(&klon.path("back"), 200 * MIB);
    klon.ok(&["restore", "i.klon", "back", "--table", "mbr"])
        .says(&said);
    assert_eq!(sfdisk(&klon.text("back"))["label"], "dos");
    // Of a partition, and of a file that is not there, it makes nothing.
    klon.run(&["clone", "disk:3", "back", "--table", "mbr"])
        .expect(2)
        .says(&["--table is for a whole disk"]);
    klon.run(&["clone", "disk", "none", "--table", "mbr"])
        .expect(2)
        .says(&["is not there"]);
}

#[test]
fn what_an_mbr_can_t_have_is_refused() {
    let klon = Klon::new();
    let disk = klon.path("disk");
    sparse(&disk, 60 * MIB);
    let disk = klon.text("disk");
    let five: Vec<String> = (1..=5)
        .map(|number| format!("{number}:{}:+2M", number * 8192))
        .collect();
    let arguments: Vec<&str> = five.iter().flat_map(|it| ["-n", it]).collect();
    run("sgdisk", &[&arguments[..], &[&disk]].concat());
    sparse(&klon.path("new"), 60 * MIB);
    let clone = ["clone", "disk", "new", "--table", "mbr"];
    klon.refused(
        &clone,
        &[
            "partition 5",
            "an MBR has without an extended one",
            "Keep the GPT",
        ],
    );
    run("sgdisk", &["-d", "5", "-t", "2:ef02", &disk]);
    klon.refused(
        &clone,
        &["partition 2", "BIOS boot partition, which only GPT has"],
    );
}

#[test]
fn what_a_table_that_is_written_anew_does_not_have_is_named() {
    let klon = Klon::new();
    let disk = klon.path("disk");
    boot_disk(&disk, 512);
    run("sgdisk", &["-h", "1", &klon.text("disk")]);
    let mut sector = fs::read(&disk).unwrap()[..512].to_vec();
    let protective = (0..4)
        .find(|entry| sector[446 + entry * 16 + 4] == 0xee)
        .unwrap();
    sector[446 + protective * 16] = 0x80;
    let file = fs::OpenOptions::new().write(true).open(&disk).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &sector, 0).unwrap();
    sparse(&klon.path("new"), 200 * MIB);
    let said = [
        "does not have the boot flag of its protective MBR",
        "does not have the entries of its hybrid MBR (1)",
    ];
    klon.ok(&["clone", "disk", "new", "--table", "mbr", "--dry-run"])
        .says(&said);
    // A clone of another size keeps them.
    sparse(&klon.path("larger"), 220 * MIB);
    klon.ok(&["clone", "disk", "larger"]);
    let kept = fs::read(klon.path("larger")).unwrap()[446..510].to_vec();
    assert_eq!(
        kept.chunks(16)
            .filter(|entry| entry[0] == 0x80 && entry[4] == 0xee)
            .count(),
        1
    );
    assert_eq!(kept.chunks(16).filter(|entry| entry[4] == 0xef).count(), 1);
}
