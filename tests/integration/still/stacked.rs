//! Volumes that stand on each other, and one filesystem that is mounted in several places.

use super::Volume;
use crate::support::image::sparse;
use crate::support::{Klon, MIB, Mount, lacks_root, run};
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;

#[test]
fn what_stands_on_another_volume_is_frozen_before_it() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let lower = Volume::new(&klon, "ext4", "lower", "rw");
    sparse(&lower.path("middle.img"), 310 * MIB);
    let middle = Volume::in_file(
        &lower.path("middle.img"),
        "btrfs",
        &klon.path("middle"),
        "rw",
    );
    let upper_file = middle.path("upper.img");
    sparse(&upper_file, 64 * MIB);
    let upper = Volume::in_file(&upper_file, "ext4", &klon.path("upper"), "rw");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, mut file) = (Arc::clone(&stop), File::create(upper.path("x")).unwrap());
        spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                file.write_all(&[1; 1000]).unwrap();
                file.sync_data().unwrap();
            }
        })
    };
    // In the wrong order what is beneath would be frozen when the upper one wants to write to it.
    for order in [[&lower, &middle, &upper], [&upper, &lower, &middle]] {
        let at = order.map(Volume::at);
        let arguments = ["--together", "--freeze-max", "60s", "--for", "50ms"];
        klon.ok(&[&["hold"], &at[..], &arguments].concat());
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    // Where the loop devices' files are is not named, and the volume with them can be frozen alone.
    klon.ok(&["hold", lower.at(), "--for", "10ms"]);
    drop(upper);
    drop(middle);
}

#[test]
fn a_filesystem_with_several_mounts_is_frozen_once() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(&klon, "btrfs", "volume", "rw");
    for name in ["one", "two"] {
        let subvolume = volume.path(name);
        run(
            "btrfs",
            &["-q", "subvolume", "create", subvolume.to_str().unwrap()],
        );
    }
    let one = Mount::new(volume.device.path(), &klon.path("one"), "subvol=one");
    let two = Mount::new(volume.device.path(), &klon.path("two"), "subvol=two,ro");
    let at = [&one, &two].map(|mount| mount.path().to_str().unwrap());
    let arguments = [
        "hold",
        at[0],
        at[1],
        volume.at(),
        "--together",
        "--for",
        "10ms",
    ];
    klon.ok(&arguments).shows(&["frozen since"]);
    // A subvolume that is mounted nowhere by itself is on the same filesystem.
    let image = volume.path("one/image.klon");
    let arguments = ["hold", at[1], "--image", image.to_str().unwrap()];
    klon.refused(
        &arguments,
        &["the image", "/one/image.klon", "lies on the volume"],
    );
}
