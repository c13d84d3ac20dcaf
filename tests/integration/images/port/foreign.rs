//! Files of other programs as sources: read as the disks in them, or refused; never taken for raw disks.

use super::{cmp, volume};
use crate::support::image::{boot_disk, ext4, fat, sparse};
use crate::support::tool::output;
use crate::support::{Klon, MIB, run};
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

/// A small disk with a table and noise.
fn disk(klon: &Klon) {
    sparse(&klon.path("disk"), 16 * MIB);
    let text = klon.text("disk");
    let command = format!("printf 'label: dos\\n2048,16384,83\\n' | sfdisk -q \"{text}\"");
    run("sh", &["-c", &command]);
    let noise = klon.path("noise");
    fs::write(&noise, crate::support::tree::noise(5, 3_000_000)).unwrap();
    crate::support::image::put(&noise, &klon.path("disk"), 2 * MIB);
}

fn convert(klon: &Klon, format: &str, options: &[&str], target: &str) {
    let (source, target) = (klon.text("disk"), klon.text(target));
    let arguments = [
        &["convert", "-f", "raw", "-O", format],
        options,
        &[&source, &target],
    ];
    run("qemu-img", &arguments.concat());
}

/// Nothing serves an image any more.
fn assert_no_server(klon: &Klon) {
    let directory = klon.directory().to_str().unwrap();
    let is_there = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| {
                let line = String::from_utf8_lossy(&line);
                line.contains("qemu-nbd") && line.contains(directory)
            })
    };
    for _ in 0..200 {
        if !is_there() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("qemu-nbd is still there");
}

#[test]
fn virtual_disks_are_cloned_and_imaged_as_what_is_in_them() {
    let klon = Klon::new();
    disk(&klon);
    for (index, (format, options)) in [
        ("qcow2", &["-c"][..]),
        ("qcow", &[]),
        ("qed", &[]),
        ("vdi", &[]),
        ("vhdx", &[]),
        ("vpc", &["-o", "force_size"]),
        ("vpc", &["-o", "subformat=fixed,force_size"]),
        ("parallels", &[]),
        ("vmdk", &[]),
        ("vmdk", &["-o", "subformat=streamOptimized"]),
        ("vmdk", &["-o", "subformat=monolithicFlat"]),
        ("vmdk", &["-o", "subformat=twoGbMaxExtentSparse"]),
    ]
    .iter()
    .enumerate()
    {
        // Names that a shell, or QEMU, would take for something else.
        let (name, out) = (format!("a: {index},b.x"), format!("out{index}"));
        convert(&klon, format, options, &name);
        klon.ok(&["clone", &name, &out]);
        cmp(&klon, "disk", &out);
        klon.ok(&["image", &name, "a.klon"]);
        klon.ok(&["export", "a.klon", &out, "--force"]);
        cmp(&klon, "disk", &out);
        klon.ok(&["verify", &out, &name]);
        let map = klon.json(&["map", &name]);
        assert_eq!(map["size_bytes"], 16 * MIB);
        let found = klon.json(&["devices", &name]);
        assert_eq!(found["table"], "mbr", "{found:#}");
        assert!(found["container"].is_string());
        klon.ok(&["clone", &format!("{name}:1"), "part"]);
        fs::remove_file(klon.path("part")).unwrap();
    }
    assert_no_server(&klon);
    // It is one disk, however it is wrapped.
    let info = klon.json(&["info", "a.klon"]);
    assert_eq!(info["run"]["added_bytes"], 0, "{info:#}");
}

#[test]
fn a_virtual_disk_is_planned_for_and_compared() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    convert(&klon, "vdi", &[], "disk.vdi");
    klon.ok(&["import", "disk.vdi", "a.klon"]);
    klon.ok(&["diff", "a.klon", "disk.vdi"]);
    sparse(&klon.path("drive"), 600 * MIB);
    let planned = klon.ok(&[
        "plan",
        "--drive",
        "drive",
        "Boot=disk.vdi",
        "-o",
        "plan.toml",
    ]);
    assert!(!planned.stdout.contains("unknown"), "{}", planned.stdout);
    let plan = fs::read_to_string(klon.path("plan.toml")).unwrap();
    assert!(
        plan.contains("ext4") || plan.contains("BootClone"),
        "{plan}"
    );
}

#[test]
fn what_qemu_says_is_told_and_nothing_stays_behind() {
    let klon = Klon::new();
    disk(&klon);
    convert(&klon, "vmdk", &[], "whole.vmdk");
    // The directory of the grains is gone.
    let bytes = fs::read(klon.path("whole.vmdk")).unwrap();
    fs::write(klon.path("cut.vmdk"), &bytes[..2048]).unwrap();
    let failed = klon.run(&["clone", "cut.vmdk", "out"]).expect(5);
    failed.says(&["cut.vmdk", "vmdk image", "2048 bytes: the file is cut"]);
    // What only QEMU knows of is said in its words, and in no shell's.
    fs::write(klon.path("wrong.vmdk"), {
        let mut wrong = bytes.clone();
        wrong[44..48].fill(0xff);
        wrong
    })
    .unwrap();
    let failed = klon.run(&["clone", "wrong.vmdk", "out"]).expect(5);
    failed.says(&["wrong.vmdk", "a vmdk image", "qemu-nbd can't read it"]);
    assert!(!failed.stderr.contains("kill"), "{}", failed.stderr);
    assert!(!klon.path("out").exists());
    assert_no_server(&klon);
    // Where qemu-nbd is not installed, and where it is no program of QEMU's.
    let mut command = klon.command(&["clone", "whole.vmdk", "out"]);
    let broken = klon.path("bin");
    fs::create_dir(&broken).unwrap();
    fs::write(
        broken.join("qemu-nbd"),
        "#!/bin/sh\necho no luck >&2\nexit 1\n",
    )
    .unwrap();
    run("chmod", &["+x", broken.join("qemu-nbd").to_str().unwrap()]);
    let output = command.env("PATH", &broken).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no luck"));
}

#[test]
fn the_server_ends_when_klon_is_killed() {
    let klon = Klon::new();
    sparse(&klon.path("disk"), 256 * MIB);
    let noise = klon.path("noise");
    fs::write(&noise, crate::support::tree::noise(5, 60_000_000)).unwrap();
    crate::support::image::put(&noise, &klon.path("disk"), 2 * MIB);
    convert(
        &klon,
        "vmdk",
        &["-o", "subformat=streamOptimized"],
        "disk.vmdk",
    );
    for wait in [5, 40, 120, 300] {
        let mut command = klon.command(&["clone", "disk.vmdk", "out"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_no_server(&klon);
    }
    let temporary = output("sh", &["-c", "ls -d \"${TMPDIR:-/tmp}\"/klon-*/socket"]);
    assert!(temporary.stdout.is_empty(), "{temporary:?}");
}

/// Files that hold no disk, made by the programs that make such.
fn make_files(klon: &Klon) {
    volume("ntfs", &klon.path("ntfs"));
    ext4(&klon.path("ext"), 8, 1);
    let text = |name: &str| klon.text(name);
    let (ntfs, ext) = (text("ntfs"), text("ext"));
    run("ntfsclone", &["-q", "-s", "-o", &text("ntfs.nc"), &ntfs]);
    run("e2image", &[&ext, &text("ext.e2i")]);
    run("img2simg", &[&ext, &text("ext.simg")]);
    for command in [
        "tar -cf x.tar ext",
        "zip -q x.zip ext",
        "echo ext | cpio -o --quiet -H newc >x.cpio",
        "lzop -c ext >x.lzo",
        "gzip -c ext >x.gz",
    ] {
        let directory = klon.directory().display();
        run("sh", &["-c", &format!("cd \"{directory}\" && {command}")]);
    }
}

#[test]
fn what_is_no_disk_is_refused_with_what_makes_one() {
    let klon = Klon::new();
    make_files(&klon);
    sparse(&klon.path("drive"), 64 * MIB);
    for (name, advice) in [
        ("ntfs.nc", "ntfsclone --restore-image"),
        ("ext.e2i", "none of its files"),
        ("ext.simg", "simg2img ext.simg ext.simg.raw"),
        ("x.tar", "a tar archive"),
        ("x.zip", "a zip archive"),
        ("x.cpio", "a cpio archive"),
        ("x.lzo", "lzop -d"),
        ("x.gz", "klon import x.gz FILE.klon"),
    ] {
        let raw = format!("raw:{name}");
        for command in ["clone", "image", "import", "map", "diff"] {
            if command == "import" && name == "x.gz" {
                continue;
            }
            let mut arguments = vec![command, name];
            arguments.extend((command != "map").then_some("out.klon"));
            klon.run(&arguments).expect(5).says(&[advice, &raw]);
        }
        klon.run(&["plan", "--drive", "drive", &format!("X={name}")])
            .expect(5);
        assert!(!klon.path("out.klon").exists());
        // Nothing is beyond being cloned.
        klon.ok(&["clone", &raw, "copy"]);
        cmp(&klon, name, "copy");
        klon.ok(&["image", &raw, "raw.klon"]);
        klon.ok(&["export", "raw.klon", "exported", "--force"]);
        cmp(&klon, name, "exported");
        fs::remove_file(klon.path("copy")).unwrap();
        fs::remove_file(klon.path("raw.klon")).unwrap();
    }
}

#[test]
fn raw_disks_whose_first_bytes_look_like_something_are_raw() {
    let klon = Klon::new();
    for (index, magic) in [
        &b"QFI\xfb"[..],
        b"KDMV",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
        b"PK\x03\x04",
        b"\x28\xb5\x2f\xfd",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("disk{index}");
        disk(&klon);
        fs::rename(klon.path("disk"), klon.path(&name)).unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(klon.path(&name))
            .unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, magic, 0).unwrap();
        klon.ok(&["clone", &name, "out"]);
        cmp(&klon, &name, "out");
        fs::remove_file(klon.path("out")).unwrap();
    }
    // Volumes of all kinds that tests make, and boot disks.
    fat(&klon.path("fat"), 17, 512);
    ext4(&klon.path("ext"), 8, 1);
    boot_disk(&klon.path("boot"), 512);
    for kind in ["ntfs", "xfs"] {
        volume(kind, &klon.path(kind));
    }
    for name in ["fat", "ext", "boot", "ntfs", "xfs"] {
        let found = klon.json(&["devices", name]);
        assert!(
            found["container"].is_null() && found["error"].is_null(),
            "{found:#}"
        );
        klon.ok(&["clone", name, &format!("{name}.copy")]);
    }
}

#[test]
fn a_target_that_is_a_virtual_disk_is_named_before_consent() {
    let klon = Klon::new();
    disk(&klon);
    convert(&klon, "qcow2", &[], "target.qcow2");
    let refused = klon.run(&["clone", "raw:target.qcow2", "target.qcow2"]);
    refused.expect(3);
    sparse(&klon.path("small"), 64 << 10);
    fs::write(klon.path("small"), [9; 64 << 10]).unwrap();
    klon.refused(&["clone", "small", "target.qcow2"], &["a qcow2 image"]);
}

#[test]
fn snapshots_in_qcow2_are_named() {
    let klon = Klon::new();
    disk(&klon);
    convert(&klon, "qcow2", &[], "a.qcow2");
    for name in ["first", "before the\nupdate"] {
        run("qemu-img", &["snapshot", "-c", name, &klon.text("a.qcow2")]);
    }
    for arguments in [["clone", "a.qcow2", "out"], ["import", "a.qcow2", "a.klon"]] {
        let done = klon.ok(&arguments);
        done.says(&[
            "holds 2 QEMU snapshots",
            "\"first\"",
            "\"before the\\nupdate\"",
        ]);
    }
    cmp(&klon, "disk", "out");
}

#[test]
fn names_promise_no_other_format() {
    let klon = Klon::new();
    disk(&klon);
    klon.ok(&["image", "disk", "a.klon"]);
    for name in [
        "out.vmdk",
        "out.VDI",
        "out.vhdx",
        "out.vhd",
        "out.img.gz",
        "out.dmg",
    ] {
        let failed = klon.run(&["export", "a.klon", name]).expect(2);
        failed.says(&["its name promises"]);
        klon.run(&["extract", "a.klon", name]).expect(2);
    }
    let failed = klon.run(&["export", "a.klon", "out.vhd"]).expect(2);
    failed.says(&["qemu-img convert -O vpc"]);
    klon.run(&["export", "a.klon", "out.qcow2", "--format", "raw"])
        .expect(2);
    klon.ok(&["export", "a.klon", "out.qcow2"]);
    klon.ok(&["export", "a.klon", "out.raw"]);
    cmp(&klon, "disk", "out.raw");
    // Unknown content is imported, and named.
    fs::write(klon.path("bytes"), [1, 2, 3, 4]).unwrap();
    let done = klon.ok(&["import", "bytes", "b.klon"]);
    done.says(&["bytes: unknown content"]);
}

/// Cuts a file, sees that nothing is made of it, and mends it.
fn refuse_cut(klon: &Klon, name: &str, part: &str, len_bytes: u64) {
    let whole = fs::read(klon.path(part)).unwrap();
    let len = usize::try_from(len_bytes).unwrap();
    fs::write(klon.path(part), &whole[..len]).unwrap();
    let found = format!("{len_bytes} bytes: the file is cut");
    for arguments in [
        ["clone", name, "new"],
        ["image", name, "new.klon"],
        ["import", name, "new.klon"],
    ] {
        let failed = klon.run(&arguments).expect(5);
        failed.says(&["length of the file", "at least", &found]);
        assert!(!failed.stderr.contains("kill"), "{}", failed.stderr);
    }
    assert!(!klon.path("new").exists());
    fs::write(klon.path(part), whole).unwrap();
}

#[test]
fn virtual_disks_that_are_cut_are_refused() {
    let klon = Klon::new();
    disk(&klon);
    for (format, options, part) in [
        ("vmdk", &[][..], "a.x"),
        ("vmdk", &["-o", "subformat=streamOptimized"], "a.x"),
        ("vmdk", &["-o", "subformat=monolithicFlat"], "a-flat.x"),
        (
            "vmdk",
            &["-o", "subformat=twoGbMaxExtentSparse"],
            "a-s001.x",
        ),
        ("vmdk", &["-o", "subformat=twoGbMaxExtentFlat"], "a-f001.x"),
        ("vdi", &[], "a.x"),
        ("vdi", &["-o", "static=on"], "a.x"),
        ("qcow", &[], "a.x"),
        ("qed", &[], "a.x"),
        ("qed", &["-o", "cluster_size=4k"], "a.x"),
        ("parallels", &[], "a.x"),
        ("parallels", &["-o", "cluster_size=64k"], "a.x"),
    ] {
        convert(&klon, format, options, "a.x");
        let len_bytes = fs::metadata(klon.path(part)).unwrap().len();
        // Behind the last packed grain there may be zeroes that nothing is lost with.
        let tail_bytes = match options.contains(&"subformat=streamOptimized") {
            true => len_bytes / 16,
            false => 1536,
        };
        for cut in [len_bytes - tail_bytes, len_bytes / 2, MIB + 7] {
            refuse_cut(&klon, "a.x", part, cut);
        }
        klon.ok(&["clone", "a.x", "out"]);
        cmp(&klon, "disk", "out");
        fs::remove_file(klon.path("out")).unwrap();
    }
    assert_no_server(&klon);
}

#[test]
fn a_qcow2_image_that_is_cut_is_called_damaged() {
    let klon = Klon::new();
    disk(&klon);
    for options in [&[][..], &["-o", "cluster_size=4k"], &["-o", "compat=0.10"]] {
        convert(&klon, "qcow2", options, "a.qcow2");
        let whole = fs::read(klon.path("a.qcow2")).unwrap();
        for len in [whole.len() - 5000, whole.len() / 2, 300_000] {
            fs::write(klon.path("cut.qcow2"), &whole[..len]).unwrap();
            for arguments in [
                ["clone", "cut.qcow2", "new"],
                ["image", "cut.qcow2", "new.klon"],
                ["import", "cut.qcow2", "other.klon"],
            ] {
                let failed = klon.run(&arguments).expect(5);
                failed.says(&["qcow2", &format!("{len} bytes: the file is cut")]);
            }
        }
    }
}
