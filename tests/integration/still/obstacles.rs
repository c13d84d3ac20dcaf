//! What klon would write to a volume at rest is found before anything is frozen.

use super::Volume;
use crate::support::image::sparse;
use crate::support::{Klon, LoopDevice, MIB, lacks_root, run};
use std::fs::{self, File};
use std::os::unix::fs::symlink;

#[test]
fn what_lies_on_the_volume_is_refused_with_the_way_out() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(&klon, "ext4", "volume", "rw");
    let at = volume.at();
    sparse(&volume.path("target.img"), 8 * MIB);
    let device = LoopDevice::new(&volume.path("target.img"), 512);
    symlink(volume.path("target.img"), klon.path("link")).unwrap();
    for target in [device.text(), "link", "volume/not/there/yet"] {
        let arguments = ["hold", at, "--target", target];
        klon.refused(
            &arguments,
            &["the target", "Name a target that is elsewhere"],
        );
    }
    let records = [
        "hold",
        at,
        "--target",
        "elsewhere",
        "--records",
        "volume/records",
    ];
    klon.refused(&records, &["the directory of the records", "--records DIR"]);
    let arguments = ["hold", at, "--image", "elsewhere"];
    let mut command = klon.command(&arguments);
    let output = command.env("TMPDIR", at).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("temporary files") && said.contains("TMPDIR=/dev/shm"),
        "{said}"
    );
    let mut command = klon.command(&["hold", at]);
    let log = File::create(volume.path("log")).unwrap();
    let output = command.stdout(log).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("standard output") && said.contains("| cat >FILE"),
        "{said}"
    );
    assert_eq!(fs::read(volume.path("log")).unwrap(), b"");
    // What is elsewhere is in nobody's way.
    let elsewhere = ["hold", at, "--target", "elsewhere", "--image", "other"];
    klon.ok(&elsewhere).shows(&["at rest"]);
}

#[test]
fn overlays_are_seen_through_and_what_can_t_be_frozen_is_told() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(&klon, "ext4", "volume", "rw");
    for name in ["lower", "upper", "work"] {
        fs::create_dir(volume.path(name)).unwrap();
    }
    let [lower, upper, work] =
        ["lower", "upper", "work"].map(|name| volume.path(name).to_str().unwrap().to_owned());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let at = klon.path("merged");
    fs::create_dir(&at).unwrap();
    let name = at.to_str().unwrap();
    run("mount", &["-t", "overlay", "-o", &options, "none", name]);
    let image = at.join("image.klon");
    let arguments = ["hold", volume.at(), "--image", image.to_str().unwrap()];
    let through = klon.run(&arguments);
    let cannot = klon.run(&["hold", name, "--still", "freeze"]);
    run("umount", &[name]);
    through.expect(3).says(&["the image", "lies on the volume"]);
    cannot
        .expect(3)
        .says(&["is overlay, which can't be frozen"]);
}
