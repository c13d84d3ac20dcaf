//! The system that the tests run on, with loop devices.

use crate::device::loop_device::{LoopDevice, Mount, lacks_root, run};
use crate::device::{WriteAt, open_target, read_vec};
use crate::error::Error;
use crate::extent::Extent;
use crate::system::{Relation, System, Transport, Use, lock, relation, tell_kernel};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn sparse(directory: &Path, size_bytes: u64) -> PathBuf {
    let path = directory.join("disk.img");
    File::create(&path).unwrap().set_len(size_bytes).unwrap();
    path
}

fn part(number: u32, start_bytes: u64, len_bytes: u64) -> (u32, Extent) {
    (number, Extent::new(start_bytes, len_bytes).unwrap())
}

#[test]
fn the_running_system_can_be_read() {
    let system = System::current().unwrap();
    for disk in system.disks() {
        assert!(
            disk.size_bytes > 0 && disk.logical_sector_bytes >= 512,
            "{disk:?}"
        );
    }
}

#[test]
fn loop_devices_are_seen_through() {
    if lacks_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let path = sparse(directory.path(), 8 * MIB);
    let device = LoopDevice::attach(&path, 4096, &["--offset", "1048576"]);
    let link = directory.path().join("link");
    symlink(device.path(), &link).unwrap();
    let system = System::current().unwrap();
    let of_file = system.locate(&path).unwrap();
    let of_link = system.locate(&link).unwrap();
    assert_eq!(of_link, system.locate(device.path()).unwrap());
    assert_eq!(relation(&of_link, &of_file), Relation::Inside);
    assert_eq!(of_link.extent, Extent::new(MIB, 7 * MIB));
    let disk = system.disk_of(&link).unwrap().unwrap();
    assert_eq!(
        (disk.transport, disk.logical_sector_bytes),
        (Transport::Loop, 4096)
    );
    assert_eq!(disk.loop_file.as_deref(), Some(path.as_path()));
    let shown = Use::LoopBacked {
        name: device.name().to_owned(),
    };
    assert_eq!(system.uses(&path).unwrap(), [shown]);
    assert_eq!(system.uses(device.path()).unwrap(), []);
}

#[test]
fn a_mounted_volume_is_in_use() {
    if lacks_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let path = sparse(directory.path(), 8 * MIB);
    run("mkfs.ext4", &["-q", "-F", path.to_str().unwrap()]);
    let device = LoopDevice::attach(&path, 512, &[]);
    let at = directory.path().join("a b");
    fs::create_dir(&at).unwrap();
    {
        let _mount = Mount::new(device.path(), &at);
        let uses = System::current().unwrap().uses(device.path()).unwrap();
        let expected = Use::Mounted {
            at: at.clone(),
            read_only: false,
            on: device.name().to_owned(),
        };
        assert_eq!(uses, [expected]);
        assert!(uses[0].changes_source());
        assert!(uses[0].to_string().contains("a b"));
    }
    assert_eq!(System::current().unwrap().uses(device.path()).unwrap(), []);
}

fn shown(device: &LoopDevice) -> Vec<(u32, Extent)> {
    let system = System::current().unwrap();
    let disk = system.disk_of(device.path()).unwrap().unwrap();
    disk.partitions
        .iter()
        .map(|part| (part.number, part.extent))
        .collect()
}

/// What is told, and that the nodes show the right bytes, with and without table scanning.
fn check_kernel_table(sector_bytes: u32, options: &[&str]) {
    let directory = TempDir::new().unwrap();
    let path = sparse(directory.path(), 32 * MIB);
    let device = LoopDevice::attach(&path, sector_bytes, options);
    let first = [part(1, MIB, 4 * MIB), part(5, 8 * MIB, 8 * MIB)];
    tell_kernel(device.path(), &first).unwrap();
    assert_eq!(shown(&device), first);
    let node = PathBuf::from(format!("{}p5", device.path().display()));
    open_target(device.path())
        .unwrap()
        .write_all_at(b"here", 8 * MIB)
        .unwrap();
    let partition = crate::device::open_source(&node).unwrap();
    assert_eq!(read_vec(&partition, 0, 4).unwrap(), b"here");
    drop(partition);
    let refused = tell_kernel(&node, &first).unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");

    // Nor can the disk be claimed while its partition is.
    let held = open_target(&node).unwrap();
    let refused = open_target(device.path());
    assert!(matches!(refused, Err(Error::RefusedUnless { .. })));

    // A partition that stays may be in use, one that goes may not.
    let second = [part(2, 2 * MIB, MIB), part(5, 8 * MIB, 8 * MIB)];
    tell_kernel(device.path(), &second).unwrap();
    assert_eq!(shown(&device), second);
    let refused = tell_kernel(device.path(), &[part(5, 8 * MIB, 4 * MIB)]).unwrap_err();
    assert!(
        matches!(&refused, Error::Refused(why) if why.contains("partition 5")),
        "{refused}"
    );
    drop(held);
    tell_kernel(device.path(), &[]).unwrap();
    assert_eq!(shown(&device), []);
    assert!(!node.exists());
}

#[test]
fn the_kernel_is_told_of_partitions_however_it_was_built() {
    if lacks_root() {
        return;
    }
    check_kernel_table(512, &[]);
    check_kernel_table(4096, &[]);
    check_kernel_table(512, &["--partscan"]);
}

#[test]
fn a_lock_keeps_others_off_until_it_is_dropped() {
    if lacks_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let path = sparse(directory.path(), 8 * MIB);
    let device = LoopDevice::attach(&path, 512, &[]);
    let locked = lock(device.path()).unwrap();
    // The target is opened under the lock.
    open_target(device.path()).unwrap().sync().unwrap();
    assert!(matches!(lock(device.path()), Err(Error::Refused(_))));
    drop(locked);
    lock(device.path()).unwrap();
    let _unneeded = (lock(&path).unwrap(), lock(&path).unwrap());
}

#[test]
fn what_a_path_is_written_to_is_found_through_loop_devices() {
    if lacks_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let path = sparse(directory.path(), 8 * MIB);
    let device = LoopDevice::attach(&path, 512, &[]);
    let system = System::current().unwrap();
    let opened = File::open(directory.path()).unwrap();
    let number = system.superblock_of(&opened).unwrap().number;
    let beneath = |path: &Path| system.superblocks_beneath(path).unwrap();
    for path in [
        &path,
        device.path(),
        &directory.path().join("not/there/yet"),
    ] {
        assert!(beneath(path).contains(&number), "{path:?}");
    }
    assert!(!beneath(Path::new("/proc/self/status")).contains(&number));
    // The name is another file's now, and the loop device still shows the first.
    let moved = directory.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, b"another").unwrap();
    assert!(beneath(device.path()).contains(&number));
    let link = directory.path().join("dangling");
    symlink("/nowhere/at/all", &link).unwrap();
    system.superblocks_beneath(&link).unwrap_err();
}
