//! What went into an image comes out again, onto noise: golden volumes, real ones, disks.

use crate::support::image::{check_gpt, golden, put, sfdisk, sparse};
use crate::support::klon::number;
use crate::support::tree::{Tree, add_specials, fill, noise};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use klon_partition::device::look_at;
use klon_partition::filesystem::usage;
use klon_partition::{ExtentMap, ReadAt};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file as long as another, with noise wherever that is in use.
fn noise_under(used: &ExtentMap, size_bytes: u64, path: &Path) {
    sparse(path, size_bytes);
    let file = File::options().write(true).open(path).unwrap();
    let noise = noise(11, MIB as usize);
    for extent in used.iter().flat_map(|extent| extent.split(MIB)) {
        let part = &noise[..extent.len_bytes() as usize];
        file.write_all_at(part, extent.offset_bytes()).unwrap();
    }
}

fn assert_equal(used: &ExtentMap, a: &Path, b: &Path) {
    let [a_file, b_file] = [a, b].map(|path| File::open(path).unwrap());
    for extent in used.iter().flat_map(|extent| extent.split(MIB)) {
        let [x, y] = [&a_file, &b_file].map(|file| {
            let mut bytes = vec![0; extent.len_bytes() as usize];
            file.read_exact_at(&mut bytes, extent.offset_bytes())
                .unwrap();
            bytes
        });
        assert!(x == y, "{} and {} at {extent}", a.display(), b.display());
    }
}

/// Images `source` into `i.klon`, restores it onto noise, and compares what is in use.
fn round_trip(klon: &Klon, source: &str) {
    let device = look_at(&klon.path(source)).unwrap();
    let used = usage(&device).unwrap().extents;
    noise_under(&used, device.geometry().size_bytes, &klon.path("target"));
    klon.ok(&["image", source, "i.klon"]);
    let target = klon.text("target");
    klon.ok(&["restore", "i.klon", "target", "--yes", "--confirm", &target]);
    assert_equal(&used, &klon.path(source), &klon.path("target"));
    let verified = klon.json(&["verify", "target"]);
    assert_eq!(number(&verified, "differing_bytes"), 0);
}

#[test]
fn every_golden_volume_comes_back() {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let mut names: Vec<String> = std::fs::read_dir(images)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".img.zst").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 40);
    // All of them in one file: snapshots of many sources.
    let klon = Klon::new();
    for name in &names {
        golden(name, &klon.path(name));
        round_trip(&klon, name);
        std::fs::remove_file(klon.path(name)).unwrap();
        std::fs::remove_file(klon.path("target")).unwrap();
        std::fs::remove_dir_all(klon.records()).unwrap();
    }
    let list = klon.run(&["list", "i.klon", "--json"]).expect(0).lines();
    assert_eq!(list.len(), names.len());
}

/// A large volume with a rich tree, and what its checker says of the one that came back.
fn real(mkfs: &[&str], check: &[&str], options: &str) {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 4 << 30);
    let source = klon.text("source");
    run(mkfs[0], &[&mkfs[1..], &[&source]].concat());
    let mount = |volume: &str, how: &str| {
        let options = [options, how].concat();
        Mount::new(klon.path(volume), &klon.path("mnt"), &options)
    };
    let mounted = mount("source", "loop");
    fill(mounted.path(), 3, 60);
    add_specials(mounted.path());
    let before = Tree::read(mounted.path());
    drop(mounted);
    round_trip(&klon, "source");
    run(check[0], &[&check[1..], &[&klon.text("target")]].concat());
    before.assert_same(&Tree::read(mount("target", "loop,ro").path()));
}

#[test]
fn a_real_ext4_volume_comes_back() {
    real(&["mkfs.ext4", "-q"], &["e2fsck", "-fn"], "");
}

#[test]
fn a_real_xfs_volume_comes_back() {
    real(&["mkfs.xfs", "-q"], &["xfs_repair", "-n"], "nouuid,");
}

#[test]
fn a_real_btrfs_volume_comes_back() {
    real(
        &["mkfs.btrfs", "-q"],
        &["btrfs", "check", "--check-data-csum"],
        "",
    );
}

#[test]
fn a_disk_of_four_partitions_comes_back_also_on_a_larger_one() {
    let klon = Klon::new();
    disk_of_four(&klon);
    klon.ok(&["image", "disk", "i.klon"]);
    let info = klon.json(&["info", "i.klon"]);
    assert_eq!(info["partitions"].as_array().unwrap().len(), 4);
    for (target, size_mib) in [("same", 200), ("larger", 260)] {
        let noise = noise(7, (size_mib * MIB) as usize);
        std::fs::write(klon.path(target), noise).unwrap();
        let text = klon.text(target);
        klon.ok(&["restore", "i.klon", target, "--yes", "--confirm", &text]);
        check_gpt(&text);
        let [before, after] = [klon.text("disk"), text].map(|disk| sfdisk(&disk));
        assert_eq!(before["partitions"].as_array().unwrap().len(), 4);
        for (a, b) in before["partitions"]
            .as_array()
            .unwrap()
            .iter()
            .zip(after["partitions"].as_array().unwrap())
        {
            for key in ["start", "size", "type", "uuid", "name"] {
                assert_eq!(a[key], b[key]);
            }
        }
        for part in 1..=4 {
            klon.ok(&[
                "verify",
                &format!("{target}:{part}"),
                &format!("disk:{part}"),
            ]);
        }
    }
    // A disk that is too small is told so, and left alone.
    sparse(&klon.path("small"), 150 * MIB);
    klon.run(&["restore", "i.klon", "small"])
        .expect(3)
        .says(&["too small"]);
}

/// ESP, ext4, swap and NTFS.
fn disk_of_four(klon: &Klon) {
    let parts: [(&str, u64, &[&str]); 4] = [
        ("esp", 34, &["mkfs.fat", "-n", "EFI"]),
        ("root", 60, &["mkfs.ext4", "-q", "-L", "root"]),
        ("swap", 16, &["mkswap", "-q"]),
        ("data", 60, &["mkfs.ntfs", "-q", "-F", "-L", "data"]),
    ];
    sparse(&klon.path("disk"), 200 * MIB);
    let mut layout = String::from("label: gpt\n");
    let mut start_mib = 1;
    for (name, size_mib, _) in parts {
        layout.push_str(&format!(
            "start={start_mib}MiB,size={size_mib}MiB,name={name}\n"
        ));
        start_mib += size_mib;
    }
    let script = format!(
        "printf '{}' | sfdisk -q \"$0\"",
        layout.replace('\n', "\\n")
    );
    run("sh", &["-e", "-c", &script, &klon.text("disk")]);
    let mut start_mib = 1;
    for (name, size_mib, mkfs) in parts {
        sparse(&klon.path(name), size_mib * MIB);
        run(mkfs[0], &[&mkfs[1..], &[&klon.text(name)]].concat());
        put(&klon.path(name), &klon.path("disk"), start_mib * MIB);
        start_mib += size_mib;
    }
}

#[test]
fn a_loop_device_is_imaged_and_restored() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    for sector_bytes in [512, 4096] {
        crate::support::image::ext4(&klon.path("source"), 64, 10);
        sparse(&klon.path("target"), 64 * MIB);
        let source = LoopDevice::new(&klon.path("source"), sector_bytes);
        let target = LoopDevice::new(&klon.path("target"), sector_bytes);
        klon.ok(&["image", source.text(), "i.klon"]);
        klon.ok(&["restore", "i.klon", target.text()]);
        klon.ok(&["verify", target.text(), source.text()]);
        std::fs::remove_file(klon.path("i.klon")).unwrap();
    }
}
