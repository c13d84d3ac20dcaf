//! Directories as Clonezilla lays them out, built from the same tools.

use super::{cmp, data, restore, save};
use crate::support::image::{boot_disk, check_gpt, ext4, fat, put, read_range, sfdisk, sparse};
use crate::support::{Klon, MIB, run, tree};
use std::fs;
use std::path::Path;

const SWAP_UUID: &str = "12345678-1234-4321-8765-123456789abc";

/// Saves the table of `disk` into the directory `saved` as that of sda.
fn save_table(klon: &Klon, disk: &str) {
    let (disk, saved) = (klon.text(disk), klon.path("saved"));
    fs::create_dir(&saved).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(saved.join(name), bytes).unwrap();
    let as_sda = |text: String| text.replace(&disk, "/dev/sda").into_bytes();
    write("disk", b"sda\n");
    write("sda-pt.sf", &as_sda(run("sfdisk", &["-d", &disk])));
    let parted = run("parted", &["-s", &disk, "unit", "s", "print"]);
    write("sda-pt.parted", &as_sda(parted));
    write("sda-mbr", &read_range(&disk, 0, 512));
}

fn save_gpt(klon: &Klon, disk: &str) {
    let (disk, saved) = (klon.path(disk), klon.path("saved"));
    let end = fs::metadata(&disk).unwrap().len();
    fs::write(saved.join("sda-gpt-1st"), read_range(&disk, 0, 34 * 512)).unwrap();
    let second = read_range(&disk, end - 33 * 512, 33 * 512);
    fs::write(saved.join("sda-gpt-2nd"), second).unwrap();
}

/// Saves a volume with partclone, packs and splits it, and restores it into `expected`.
fn save_part(klon: &Klon, (kind, program): (&str, &str), name: &str, at: u64) {
    save(kind, klon, name, "image", &[]);
    let size_bytes = fs::metadata(klon.path(name)).unwrap().len();
    sparse(&klon.path("restored"), size_bytes);
    restore(klon, "image", "restored");
    put(&klon.path("restored"), &klon.path("expected"), at);
    let prefix = klon.path("saved").join(name);
    let command = format!(
        "{program} -c '{}' | split -a 2 -b 2MB - '{}'.",
        klon.text("image"),
        prefix.display()
    );
    run("sh", &["-c", &command]);
}

fn swap_info(saved: &Path, partition: &str) {
    let text = format!("UUID=\"{SWAP_UUID}\"\nLABEL=\"Swap\"\n");
    fs::write(saved.join(format!("swappt-{partition}.info")), text).unwrap();
}

fn mkswap(klon: &Klon, size_bytes: u64, at: u64) {
    sparse(&klon.path("swap"), size_bytes);
    let swap = klon.text("swap");
    run("mkswap", &["-U", SWAP_UUID, "-L", "Swap", &swap]);
    put(&klon.path("swap"), &klon.path("expected"), at);
}

#[test]
fn a_gpt_disk_of_four_partitions_is_as_restored() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    sparse(&klon.path("new"), 96 * MIB);
    let new = klon.text("new");
    let layout = "label: gpt\nstart=2048, size=34816, type=U, name=\"EFI, system\"\n\
                  start=36864, size=81920, type=L\nstart=118784, size=16384, type=S\n\
                  start=135168, size=2048, type=L, attrs=\"GUID:59\"\n";
    let command = format!("printf '{layout}' | sfdisk -q '{new}'");
    run("sh", &["-c", &command]);
    fat(&klon.path("sda1.vfat-ptcl-img.zst"), 17, 512);
    ext4(&klon.path("sda2.ext4-ptcl-img.gz"), 40, 6);
    save_table(&klon, "new");
    save_gpt(&klon, "new");
    sparse(&klon.path("expected"), 96 * MIB);
    put(&klon.path("new"), &klon.path("expected"), 0);
    save_part(&klon, ("fat", "zstd -q"), "sda1.vfat-ptcl-img.zst", MIB);
    save_part(
        &klon,
        ("extfs", "gzip -1"),
        "sda2.ext4-ptcl-img.gz",
        18 * MIB,
    );
    let saved = klon.path("saved");
    swap_info(&saved, "sda3");
    mkswap(&klon, 8 * MIB, 58 * MIB);
    let raw = tree::noise(9, MIB as usize);
    fs::write(klon.path("raw"), &raw).unwrap();
    put(&klon.path("raw"), &klon.path("expected"), 66 * MIB);
    let packed = saved.join("sda4.dd-img.aa");
    let command = format!("xz -0 -c '{}' > '{}'", klon.text("raw"), packed.display());
    run("sh", &["-c", &command]);
    fs::write(saved.join("parts"), "sda1 sda2 sda3 sda4\n").unwrap();
    klon.ok(&["import", "saved", "a.klon"]);
    klon.ok(&["export", "a.klon", "out"]);
    cmp(&klon, "out", "expected");
    check_gpt(&klon.text("out"));
    let info = klon.json(&["info", "a.klon"]);
    assert_eq!(info["partitions"].as_array().unwrap().len(), 4);
    assert_eq!(info["partitions"][0]["name"], "EFI, system");
    assert_eq!(info["partitions"][1]["filesystem"]["kind"], "ext4");
    klon.ok(&["export", "a.klon:2", "root"]);
    run("e2fsck", &["-fn", &klon.text("root")]);
    // Without what dd saved, the table is made from sfdisk's dump: the same one.
    fs::remove_file(saved.join("sda-gpt-1st")).unwrap();
    klon.ok(&["import", "saved", "a.klon"]);
    klon.ok(&["export", "a.klon", "out", "--force"]);
    check_gpt(&klon.text("out"));
    let table = |disk: &str| {
        let text = sfdisk(&klon.text(disk)).to_string();
        text.replace(&klon.text(disk), "disk")
    };
    assert_eq!(table("out"), table("new"));
    assert!(!data(&klon, "a.klon").is_empty());
    // A part that fails its checks is named, and adds no snapshot.
    fs::write(saved.join("sda4.dd-img.aa"), "short").unwrap();
    let failed = klon.run(&["import", "saved", "a.klon"]).expect(5);
    failed.says(&["sda4.dd-img.aa"]);
    fs::remove_file(saved.join("sda4.dd-img.aa")).unwrap();
    let failed = klon.run(&["import", "saved", "a.klon"]).expect(2);
    failed.says(&["sda4 was saved", "Clonezilla"]);
    assert_eq!(klon.json(&["info", "a.klon"])["snapshot"], 2);
}

#[test]
fn an_mbr_disk_keeps_boot_code_hidden_data_and_logical_partitions() {
    let klon = Klon::new();
    sparse(&klon.path("new"), 80 * MIB);
    let layout = "label: dos\nlabel-id: 0xabcd1234\nstart=2048, size=81920, type=83, bootable\n\
                  start=83968, size=79872, type=5\nstart=86016, size=20480, type=82\n\
                  start=108544, size=40960, type=83\n";
    let command = format!("printf '{layout}' | sfdisk -q '{}'", klon.text("new"));
    run("sh", &["-c", &command]);
    let hidden = tree::noise(4, 2047 * 512);
    fs::write(klon.path("boot"), tree::noise(6, 440)).unwrap();
    let boot = klon.path("boot");
    put(&boot, &klon.path("new"), 0);
    fs::write(klon.path("hidden"), &hidden).unwrap();
    put(&klon.path("hidden"), &klon.path("new"), 512);
    save_table(&klon, "new");
    let saved = klon.path("saved");
    fs::write(saved.join("sda-hidden-data-after-mbr"), &hidden).unwrap();
    fs::write(saved.join("parts"), "sda1 sda5 sda6\n").unwrap();
    sparse(&klon.path("expected"), 80 * MIB);
    put(&klon.path("new"), &klon.path("expected"), 0);
    for (name, mib, at) in [("sda1", 40, MIB), ("sda6", 20, 53 * MIB)] {
        let image = format!("{name}.ext4-ptcl-img.lz4");
        ext4(&klon.path(&image), mib, 3);
        save_part(&klon, ("extfs", "lz4 -q"), &image, at);
    }
    swap_info(&saved, "sda5");
    mkswap(&klon, 10 * MIB, 42 * MIB);
    klon.ok(&["import", "saved", "a.klon"]);
    klon.ok(&["export", "a.klon", "out"]);
    let table = |disk: &str| {
        let text = sfdisk(&klon.text(disk)).to_string();
        text.replace(&klon.text(disk), "disk")
    };
    assert_eq!(table("out"), table("new"));
    let start = |disk: &str| read_range(klon.path(disk), 0, 41 * MIB);
    let (found, expected) = (start("out"), start("expected"));
    let first = (0..found.len()).find(|&at| found[at] != expected[at]);
    assert_eq!(first, None);
    for (at, len) in [(42, 10), (53, 20)] {
        let part = |disk: &str| read_range(klon.path(disk), at * MIB, len * MIB);
        assert!(part("out") == part("expected"), "{at}");
    }
}

/// A directory of an MBR disk with boot code, a loader behind it, and one partition at 1 MiB.
fn boot_directory(klon: &Klon) -> Vec<u8> {
    sparse(&klon.path("new"), 8 * MIB);
    let layout = "label: dos\nlabel-id: 0xabcd1234\nstart=2048, size=4096, type=83, bootable\n";
    let command = format!("printf '{layout}' | sfdisk -q '{}'", klon.text("new"));
    run("sh", &["-c", &command]);
    fs::write(klon.path("boot"), tree::noise(6, 440)).unwrap();
    put(&klon.path("boot"), &klon.path("new"), 0);
    save_table(klon, "new");
    let hidden = tree::noise(4, 2047 * 512);
    let saved = klon.path("saved");
    fs::write(saved.join("sda-hidden-data-after-mbr"), &hidden).unwrap();
    fs::write(saved.join("parts"), "sda1\n").unwrap();
    fs::write(saved.join("sda1.dd-img"), tree::noise(9, 2 << 20)).unwrap();
    hidden
}

#[test]
fn what_is_missing_to_boot_is_said() {
    let klon = Klon::new();
    let hidden = boot_directory(&klon);
    let saved = klon.path("saved");
    let name = saved.join("sda-hidden-data-after-mbr");
    let import = || {
        let done = klon.ok(&["import", "saved", "a.klon"]);
        klon.ok(&["export", "a.klon", "out", "--force"]);
        (done.stderr, read_range(klon.path("out"), 0, 4 * MIB))
    };
    let (told, whole) = import();
    assert!(!told.contains("warning"), "{told}");
    assert!(whole[512..1 << 20] == hidden[..]);
    // More than there is room for: what fits, and never over a partition.
    let mut longer = hidden.clone();
    longer.extend([0xee; 5000]);
    fs::write(&name, &longer).unwrap();
    let (told, found) = import();
    assert!(told.contains("1048064 of it are in the image"), "{told}");
    assert!(found == whole);
    // A piece of a sector at the end.
    fs::write(&name, &hidden[..700]).unwrap();
    let (told, found) = import();
    assert!(told.contains("512 of it are in the image"), "{told}");
    assert!(found[512..1024] == hidden[..512] && found[1024..1 << 20].iter().all(|&b| b == 0));
    // None.
    fs::remove_file(&name).unwrap();
    let (told, found) = import();
    assert!(
        told.contains("there is no sda-hidden-data-after-mbr"),
        "{told}"
    );
    assert!(found[..440] == whole[..440]);
    // A first sector that is cut short, or not there.
    let sector = fs::read(saved.join("sda-mbr")).unwrap();
    for (len, words) in [
        (446, "its boot code is in the image"),
        (100, "no boot code"),
    ] {
        fs::write(saved.join("sda-mbr"), &sector[..len]).unwrap();
        let (told, found) = import();
        assert!(
            told.contains(words) && told.contains(&format!("{len} of 512")),
            "{told}"
        );
        assert_eq!(found[..440] == whole[..440], len == 446);
    }
    fs::remove_file(saved.join("sda-mbr")).unwrap();
    let (told, _) = import();
    assert!(told.contains("there is no sda-mbr"), "{told}");
}
