//! What a boot loader has before the first partition, on the way back.

use super::drill::{BOOT_CODE, card};
use crate::support::image::{check_gpt, ext4, put, read_range, sparse};
use crate::support::tool::run_with_input;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// As GRUB has its second part on disks with an MBR.
#[test]
fn a_loader_before_the_first_partition_comes_back_where_there_is_a_place_for_it() {
    let klon = Klon::new();
    card(&klon);
    let disk = OpenOptions::new().write(true).open(klon.path("disk"));
    let disk = disk.unwrap();
    let loader = noise(7, 60_000);
    disk.write_all_at(BOOT_CODE, 0).unwrap();
    disk.write_all_at(&loader, 512).unwrap();
    sparse(&klon.path("drive"), 300 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Pi=disk", "-o", "plan"]);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    // What the drive carries has it, too.
    for name in ["disk", "plan"] {
        fs::rename(klon.path(name), klon.path(&format!("{name}.lost"))).unwrap();
    }
    sparse(&klon.path("new"), 120 * MIB);
    let restore = ["restore", "drive", "Pi=new"];
    klon.ok(&restore)
        .says(&["the loader before the first partition come back"]);
    let first_mib = |name: &str| read_range(klon.path(name), 0, MIB);
    assert!(first_mib("new") == first_mib("disk.lost"));
    run("sfdisk", &["--verify", &klon.text("new")]);
    // As a run leaves it that was cut before.
    let new = OpenOptions::new().write(true).open(klon.path("new"));
    new.unwrap().write_all_at(&[0; 512], 4096).unwrap();
    let path = klon.text("new");
    klon.ok(&[&restore[..], &["--yes", "--confirm", &path]].concat());
    assert!(first_mib("new") == first_mib("disk.lost"));
    // What is larger than a plan can be is not carried, and that is said.
    disk.write_all_at(&noise(8, 300_000), 512).unwrap();
    fs::rename(klon.path("disk.lost"), klon.path("disk")).unwrap();
    let plan = ["plan", "--drive", "drive", "Pi=disk", "--replace-table"];
    klon.ok(&[&plan[..], &["-o", "plan"]].concat());
    assert!(
        !fs::read_to_string(klon.path("plan"))
            .unwrap()
            .contains("loader]")
    );
}

/// GRUB's second part has a partition, the first is in the first sector.
fn disk_with_bios_boot(klon: &Klon) {
    sparse(&klon.path("disk"), 60 * MIB);
    let script = "label: gpt\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\nsize=30MiB\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    let disk = OpenOptions::new().write(true).open(klon.path("disk"));
    let disk = disk.unwrap();
    disk.write_all_at(BOOT_CODE, 0).unwrap();
    disk.write_all_at(&noise(7, 60_000), MIB).unwrap();
    ext4(&klon.path("root"), 30, 2);
    put(&klon.path("root"), &klon.path("disk"), 2 * MIB);
}

#[test]
fn a_drive_boots_by_bios_where_everything_has_its_number_and_its_place() {
    let klon = Klon::new();
    disk_with_bios_boot(&klon);
    ext4(&klon.path("data"), 8, 1);
    sparse(&klon.path("drive"), 200 * MIB);
    let plan = ["plan", "--drive", "drive", "-o", "plan"];
    let warning = "no clone of it has";
    let planned = klon.ok(&[&plan[..], &["Boot=disk", "Data=data"]].concat());
    assert!(!planned.stderr.contains(warning), "{}", planned.stderr);
    klon.ok(&["prepare", "plan"]);
    klon.ok(&["clone", "plan"]);
    klon.ok(&["verify", "plan", "--against-source"]);
    let code = || read_range(klon.path("drive"), 0, 440);
    assert_eq!(code(), read_range(klon.path("disk"), 0, 440));
    let loader = |name: &str| read_range(klon.path(name), MIB, MIB);
    assert!(loader("drive") == loader("disk"));
    check_gpt(&klon.text("drive"));
    // As a run leaves it that was cut behind the table; what someone else has put there stays.
    let drive = OpenOptions::new().write(true).open(klon.path("drive"));
    let drive = drive.unwrap();
    drive.write_all_at(&[0; 440], 0).unwrap();
    klon.ok(&["prepare", "plan", "--dry-run"])
        .shows(&["write the BIOS boot code"]);
    assert_eq!(code(), [0; 440]);
    klon.ok(&["prepare", "plan"]).shows(&["is prepared"]);
    assert_eq!(code(), read_range(klon.path("disk"), 0, 440));
    klon.ok(&["verify", "plan"]);
    drive.write_all_at(b"another loader", 0).unwrap();
    klon.ok(&["prepare", "plan"]).shows(&["Nothing to do"]);
    assert!(code().starts_with(b"another loader"));
    // Under other numbers its loader would find another partition.
    sparse(&klon.path("drive"), 0);
    sparse(&klon.path("drive"), 200 * MIB);
    klon.ok(&[&plan[..], &["Data=data", "Boot=disk"]].concat())
        .says(&[warning]);
    klon.ok(&["prepare", "plan"]);
    assert_eq!(code(), [0; 440]);
}
