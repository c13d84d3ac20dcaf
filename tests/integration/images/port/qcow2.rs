//! qcow2 images as qemu-img makes them.

use super::{assert_same_in, data, volume};
use crate::support::image::sparse;
use crate::support::{Klon, MIB, run};

#[test]
fn every_version_cluster_size_and_compression_gives_the_volume() {
    let klon = Klon::new();
    volume("extfs", &klon.path("volume"));
    let source = klon.text("volume");
    for (number, options) in [
        &["-o", "compat=0.10"][..],
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=2M", "-c"],
        &["-c"],
        &["-c", "-o", "compression_type=zstd"],
        &["-o", "preallocation=metadata"],
    ]
    .iter()
    .enumerate()
    {
        let file = format!("{number}.qcow2");
        let target = klon.text(&file);
        let arguments = ["convert", "-f", "raw", "-O", "qcow2"];
        run(
            "qemu-img",
            &[&arguments, *options, &[&source, &target]].concat(),
        );
        klon.ok(&["import", &file, "a.klon"]);
        klon.ok(&["export", "a.klon", "out", "--force"]);
        let used = data(&klon, "a.klon");
        assert_same_in(&klon.path("volume"), &klon.path("out"), &used);
        run("e2fsck", &["-fn", &klon.text("out")]);
    }
    // One volume, however it is wrapped.
    let info = klon.json(&["info", "a.klon"]);
    assert_eq!(info["snapshot"], 6);
    assert_eq!(info["filesystem"]["kind"], "ext4");
    assert_eq!(info["run"]["added_bytes"], 0, "{info:#}");
}

#[test]
fn what_is_not_read_says_what_to_do() {
    let klon = Klon::new();
    sparse(&klon.path("base"), MIB);
    let (base, top) = (klon.text("base"), klon.text("top.qcow2"));
    let arguments = [
        "create", "-q", "-f", "qcow2", "-F", "raw", "-b", &base, &top,
    ];
    run("qemu-img", &arguments);
    let failed = klon.run(&["import", "top.qcow2", "a.klon"]).expect(5);
    failed.says(&["backing file", "qemu-img convert -O raw"]);
    let arguments = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "extended_l2=on",
        &top,
        "1M",
    ];
    run("qemu-img", &arguments);
    let failed = klon.run(&["import", "top.qcow2", "a.klon"]).expect(5);
    failed.says(&["subclusters"]);
    assert!(!klon.path("a.klon").exists());
}
