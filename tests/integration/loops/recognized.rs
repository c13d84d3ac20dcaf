//! Devices that only their content recognizes, and names that the kernel escapes.

use crate::support::faulty_disk::FaultyDisk;
use crate::support::image::{ext4, own_boot_disk, sparse};
use crate::support::klon::number;
use crate::support::{Klon, LoopDevice, MIB, lacks_root, run};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// Clones to a device without anything lasting: the record is found by verify and by the next run.
fn found_again(klon: &Klon, source: &str, target: &str) {
    klon.ok(&["clone", source, target]);
    klon.ok(&["verify", target]);
    let again = klon.json(&["clone", source, target]);
    assert_ne!(again["rung"], "full", "{again}");
    assert_eq!(number(&again, "written_bytes"), 0, "{again}");
    klon.ok(&["verify", target]);
    run("cmp", &["-n", "8388608", &klon.text(source), target]);
}

/// A window of `size_mib` on a new file: the kernel shows only a part of it.
fn window(klon: &Klon, name: &str, size_mib: u64) -> LoopDevice {
    sparse(&klon.path(name), (size_mib + 1) * MIB);
    LoopDevice::window(&klon.path(name), MIB, size_mib * MIB)
}

#[test]
fn a_volume_on_a_part_of_a_file() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    let device = window(&klon, "file", 24);
    found_again(&klon, "source", device.text());
}

#[test]
fn a_disk_on_a_part_of_a_file() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("source"), 512);
    let size_mib = fs::metadata(klon.path("source")).unwrap().len() / MIB;
    let device = window(&klon, "file", size_mib);
    found_again(&klon, "source", device.text());
}

#[test]
fn a_device_whose_file_was_deleted() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    sparse(&klon.path("file"), 24 * MIB);
    let device = LoopDevice::new(&klon.path("file"), 512);
    fs::remove_file(klon.path("file")).unwrap();
    found_again(&klon, "source", device.text());
}

#[test]
fn a_device_that_bore_something_else() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("earlier"), 24, 1);
    let device = window(&klon, "file", 24);
    fs::copy(klon.path("earlier"), device.path()).unwrap();
    let said = klon.run(&["clone", "source", device.text()]).expect(3);
    let confirm = said.stderr.split("--confirm ").nth(1).unwrap().trim();
    klon.ok(&[
        "clone",
        "source",
        device.text(),
        "--yes",
        "--confirm",
        confirm,
    ]);
    found_again(&klon, "source", device.text());
}

#[test]
fn a_blank_memory_disk() {
    if lacks_root() {
        return;
    }
    let number = fs::read_to_string("/sys/class/zram-control/hot_add").unwrap();
    let number = number.trim();
    let device = format!("/dev/zram{number}");
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    fs::write(format!("/sys/block/zram{number}/disksize"), "25165824").unwrap();
    let done = std::panic::catch_unwind(|| found_again(&klon, "source", &device));
    fs::write(format!("/sys/block/zram{number}/reset"), "1").unwrap();
    fs::write("/sys/class/zram-control/hot_remove", number).unwrap();
    done.unwrap();
}

/// What the kernel writes as octal numbers, and what it writes as it is.
const ODD: [&[u8]; 4] = [
    b"a b\tc\nd\\e#f",
    b"\xff\xe9",
    b"back\\040slash",
    b"gone (deleted)",
];

#[test]
fn volumes_that_are_mounted_at_odd_places_are_guarded() {
    if lacks_root() {
        return;
    }
    for name in ODD {
        let klon = Klon::new();
        ext4(&klon.path("source"), 24, 2);
        ext4(&klon.path("image"), 24, 1);
        let file = klon.directory().join(OsStr::from_bytes(name));
        fs::rename(klon.path("image"), &file).unwrap();
        let mut at = OsString::from(OsStr::from_bytes(name));
        at.push(" mnt");
        let at = klon.directory().join(at);
        fs::create_dir(&at).unwrap();
        let mount = |options: &str| {
            let mut command = Command::new("mount");
            command.args(["-o", options]).arg(&file).arg(&at);
            assert!(command.status().unwrap().success(), "{name:?}");
        };
        let klon_of = |arguments: &[&OsStr]| {
            let output = klon.command(&[]).args(arguments).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                !said
                    .trim_end()
                    .contains(|c: char| c.is_control() && c != '\n'),
                "{said:?}"
            );
            (output.status.code(), said)
        };
        let word = OsStr::new;
        mount("loop");
        let outcomes = [
            klon_of(&[
                word("clone"),
                word("source"),
                file.as_os_str(),
                word("--yes"),
            ]),
            klon_of(&[word("clone"), file.as_os_str(), word("copy")]),
        ];
        run_umount(&at);
        for (code, said) in outcomes {
            assert_eq!(code, Some(3), "{name:?}: {said}");
        }
        assert!(!klon.path("copy").exists(), "{name:?}");
        mount("loop,ro");
        let (code, said) = klon_of(&[word("clone"), file.as_os_str(), word("copy")]);
        run_umount(&at);
        assert_eq!(code, Some(0), "{name:?}: {said}");
        // The loop device stands for its file, whatever that is called.
        let shown = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&file)
            .output();
        let device = String::from_utf8(shown.unwrap().stdout).unwrap();
        let device = device.trim();
        let clone = [word("clone"), file.as_os_str(), word(device), word("--yes")];
        let (code, said) = klon_of(&clone);
        let listed = klon.run(&["devices", device, "--json"]);
        run("losetup", &["--detach", device]);
        assert_eq!(code, Some(3), "{name:?}: {said}");
        let identity = listed.expect(0).last();
        let found = identity["identity"].as_str().unwrap().to_owned();
        let path = file.as_os_str().as_bytes();
        match identity["identity_bytes"].as_str() {
            Some(hex) => assert!(hex.ends_with(&hex_of(path)), "{hex}"),
            None => assert_eq!(found.as_bytes(), [b"path:", path].concat()),
        }
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run_umount(at: &std::path::Path) {
    let status = Command::new("umount").arg(at).status().unwrap();
    assert!(status.success());
}

#[test]
fn who_may_not_open_a_disk_is_told_so_once() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("file"), 24, 1);
    let device = LoopDevice::new(&klon.path("file"), 512);
    let program = klon.path("klon");
    fs::copy(env!("CARGO_BIN_EXE_klon"), &program).unwrap();
    for path in [klon.directory(), &program] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let as_user = |arguments: &[&str]| {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(klon.directory());
        command.env("KLON_RECORDS", klon.records());
        let output = command.uid(65534).gid(65534).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    for command in ["devices", "verify", "map"] {
        let (code, said) = as_user(&[command, device.text()]);
        assert_eq!(code, Some(4), "{command}: {said}");
        let expected = format!(
            "klon: {}: open for reading: Permission denied. Only root may read and write disks: \
             run klon as root\n",
            device.text()
        );
        assert_eq!(said, expected, "{command}");
    }
    let (code, said) = as_user(&["devices"]);
    assert_eq!(code, Some(0), "{said}");
    let mut lines = said
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{} ", device.text())));
    let own: Vec<&str> = lines.by_ref().take(2).collect();
    assert!(!own[0].contains("no partition table"), "{own:?}");
    assert!(own[1].contains("run klon as root"), "{own:?}");
    assert!(!said.contains("os error"), "{said}");
}

#[test]
fn a_disk_that_was_pulled_out_does_not_end_the_list() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    for name in ["dead", "alive"] {
        ext4(&klon.path(name), 24, 1);
    }
    let alive = LoopDevice::new(&klon.path("alive"), 512);
    let mut dead = FaultyDisk::new(&klon.path("dead"));
    dead.pull_out();
    let lines = klon.ok(&["devices", "--json"]).lines();
    let of = |node: &str| lines.iter().find(|line| line["path"] == node).unwrap();
    assert!(of(alive.text())["error"].is_null());
    assert_eq!(number(of(dead.text()), "size_bytes"), 24 * MIB);
    let error = of(dead.text())["error"].as_str().unwrap();
    assert!(error.contains("can't be read"), "{error}");
    // Who names it gets an error.
    klon.run(&["devices", dead.text()]).expect(4);
}
