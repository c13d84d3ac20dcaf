//! Contents that are worth nothing on a copy, left out: they are zero on the clone, and what remains is valid.

use crate::support::image::{read_range, sparse};
use crate::support::tree::{fill, noise};
use crate::support::{Klon, MIB, Mount, NtfsMount, lacks_root, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Makes a swap file with something swapped in it.
fn swap_file(path: &std::path::Path, pages: usize) {
    let mut bytes = noise(9, pages * 4096);
    bytes[..4096].fill(0);
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    run("mkswap", &["-q", "-L", "swapped", path.to_str().unwrap()]);
}

fn leaves_out(kind: &str, make: &[&str], check: &[&str]) {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 400 * MIB);
    run(make[0], &[&make[1..], &[&*klon.text("source")]].concat());
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    fill(mount.path(), 5, 8);
    swap_file(&mount.path().join("swap file"), 2048);
    // No swap file: it is shorter than it says, and one with a hole.
    let whole = fs::read(mount.path().join("swap file")).unwrap();
    fs::write(mount.path().join("cut"), whole).unwrap();
    let cut = fs::OpenOptions::new()
        .write(true)
        .open(mount.path().join("cut"))
        .unwrap();
    cut.set_len(40 * 4096).unwrap();
    drop((cut, mount));
    let before = run("sha256sum", &[&klon.text("source")]);
    sparse(&klon.path("target"), 400 * MIB);
    let clone = ["clone", "source", "target", "--skip", "memory"];
    let outcome = klon.ok(&clone);
    outcome.says(&[
        "the contents of /swap file (a swap file, ",
        "are left out, and zero on the copy",
    ]);
    assert!(!outcome.stderr.contains("/cut"), "{}", outcome.stderr);
    let look = |is_skipped: bool| {
        run(check[0], &[&check[1..], &[&*klon.text("target")]].concat());
        // Both have one UUID.
        let options = if kind == "xfs" {
            "loop,ro,nouuid"
        } else {
            "loop,ro"
        };
        let ours = Mount::new(klon.path("target"), &klon.path("ours"), options);
        let theirs = Mount::new(klon.path("source"), &klon.path("mnt"), options);
        for entry in fs::read_dir(theirs.path()).unwrap() {
            let name = entry.unwrap().file_name();
            let (ours, theirs) = (ours.path().join(&name), theirs.path().join(&name));
            if ours.is_file() && name != "swap file" {
                assert!(
                    fs::read(ours).unwrap() == fs::read(theirs).unwrap(),
                    "{name:?}"
                );
            }
        }
        let ours = ours.path().join("swap file");
        let (copy, own) = (
            fs::read(&ours).unwrap(),
            fs::read(theirs.path().join("swap file")).unwrap(),
        );
        assert_eq!(copy[..4096], own[..4096], "its header stays");
        match is_skipped {
            true => assert!(copy[4096..].iter().all(|&byte| byte == 0)),
            false => assert!(copy == own),
        }
        assert!(run("swaplabel", &[ours.to_str().unwrap()]).contains("swapped"));
    };
    look(true);
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "source"]);
    klon.ok(&[&clone[..], &["--yes", "--confirm", &klon.text("target")]].concat());
    look(true);
    // Without the option all of it comes.
    klon.ok(&["clone", "source", "target"]);
    look(false);
    klon.ok(&["verify", "target", "source"]);
    assert!(
        run("sha256sum", &[&klon.text("source")]) == before,
        "{kind} was written to"
    );
}

#[test]
fn a_swap_file_of_ext4_is_left_out() {
    leaves_out(
        "ext4",
        &["mke2fs", "-q", "-F", "-t", "ext4"],
        &["e2fsck", "-fn"],
    );
}

#[test]
fn a_swap_file_of_xfs_is_left_out() {
    leaves_out("xfs", &["mkfs.xfs", "-q"], &["xfs_repair", "-n"]);
}

#[test]
fn a_file_with_checksums_stays() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 400 * MIB);
    run("mkfs.btrfs", &["-q", &klon.text("source")]);
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    swap_file(&mount.path().join("no swap file"), 512);
    drop(mount);
    let outcome = klon.ok(&["clone", "source", "target", "--skip", "memory"]);
    assert!(!outcome.stderr.contains("left out"), "{}", outcome.stderr);
    run(
        "btrfs",
        &[
            "check",
            "--check-data-csum",
            "--readonly",
            &klon.text("target"),
        ],
    );
}

#[test]
fn the_memory_of_windows_is_left_out() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 200 * MIB);
    run("mkntfs", &["-q", "-F", "-f", &klon.text("source")]);
    let mount = NtfsMount::new(&klon.path("source"), &klon.path("mnt"), "rw");
    for (name, seed) in [
        ("pagefile.sys", 1),
        ("swapfile.sys", 2),
        ("hiberfil.sys", 3),
        ("pagefile.txt", 4),
    ] {
        fs::write(mount.path().join(name), noise(seed, 3 << 20)).unwrap();
    }
    fs::create_dir(mount.path().join("folder")).unwrap();
    fs::write(mount.path().join("folder/pagefile.sys"), noise(5, 1 << 20)).unwrap();
    drop(mount);
    let outcome = klon.ok(&["clone", "source", "target", "--skip", "memory"]);
    outcome.says(&[
        "/pagefile.sys (the page file of Windows, 3 MiB)",
        "/swapfile.sys",
        "/hiberfil.sys",
    ]);
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "source"]);
    let mount = NtfsMount::new(&klon.path("target"), &klon.path("mnt"), "ro");
    for name in ["pagefile.sys", "swapfile.sys", "hiberfil.sys"] {
        let copy = fs::read(mount.path().join(name)).unwrap();
        assert!(
            copy.len() == 3 << 20 && copy.iter().all(|&byte| byte == 0),
            "{name}"
        );
    }
    assert!(fs::read(mount.path().join("pagefile.txt")).unwrap() == noise(4, 3 << 20));
    assert!(fs::read(mount.path().join("folder/pagefile.sys")).unwrap() == noise(5, 1 << 20));
    drop(mount);
    // A Windows that sleeps keeps its memory.
    let mount = NtfsMount::new(&klon.path("source"), &klon.path("mnt"), "rw");
    let mut image = noise(3, 3 << 20);
    image[..4].copy_from_slice(b"hibr");
    fs::write(mount.path().join("hiberfil.sys"), &image).unwrap();
    drop(mount);
    let outcome = klon.ok(&["clone", "source", "asleep", "--skip", "memory"]);
    assert!(!outcome.stderr.contains("left out"), "{}", outcome.stderr);
    assert!(
        read_range(klon.path("asleep"), 0, 200 * MIB) == fs::read(klon.path("source")).unwrap()
    );
}
