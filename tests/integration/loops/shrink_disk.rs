//! Disks in images that come back to smaller ones: their filesystems are shrunk on the way, and tables and boot
//! code are those of the original.

use crate::support::klon::number;
use crate::support::overlay::{alone, assert_nothing_stays};
use crate::support::tool::run_with_input;
use crate::support::tree::{Tree, add_specials, fill, noise};
use crate::support::{Klon, MIB, Mount, image, lacks_root, run};
use std::fs;
use std::os::unix::fs::FileExt;

/// An ext4 of `size_mib` with files all over it.
fn volume(klon: &Klon, name: &str, size_mib: u64) {
    image::sparse(&klon.path(name), size_mib * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", &klon.text(name)]);
    let mount = Mount::new(klon.path(name), &klon.path("mnt"), "loop");
    let spread = |number: u64| mount.path().join(format!("spread {number}"));
    for number in 0..18 {
        fs::write(spread(number), noise(number, 16 << 20)).unwrap();
        run("sync", &["-f", mount.path().to_str().unwrap()]);
    }
    for number in (0..18).filter(|number| number % 6 != 5) {
        fs::remove_file(spread(number)).unwrap();
    }
    fill(mount.path(), 3, 6);
    add_specials(mount.path());
}

fn tree(klon: &Klon, name: &str, offset_bytes: u64) -> Tree {
    let options = format!("loop,ro,offset={offset_bytes}");
    let mount = Mount::new(klon.path(name), &klon.path("mnt"), &options);
    Tree::read(mount.path()).without_numbers()
}

/// What `sfdisk` says of the partitions, but for places and sizes.
fn names(klon: &Klon, name: &str) -> Vec<serde_json::Value> {
    let mut table = image::sfdisk(&klon.text(name));
    let mut partitions = table["partitions"].take();
    for one in partitions.as_array_mut().unwrap() {
        for key in ["node", "start", "size"] {
            one.as_object_mut().unwrap().remove(key);
        }
    }
    partitions.as_array().unwrap().clone()
}

fn places(klon: &Klon, name: &str) -> Vec<(u64, u64)> {
    let table = image::sfdisk(&klon.text(name));
    let partitions = table["partitions"].as_array().unwrap().clone();
    partitions
        .iter()
        .map(|one| (number(one, "start") * 512, number(one, "size") * 512))
        .collect()
}

#[test]
fn a_gpt_disk_comes_back_to_one_that_is_too_small_for_it() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    image::fat(&klon.path("esp"), 40, 512);
    volume(&klon, "root", 900);
    image::ext4(&klon.path("recovery"), 30, 4);
    image::sparse(&klon.path("disk"), 1000 * MIB);
    let table = "label: gpt\n1MiB,40MiB,U\nstart=41MiB,size=900MiB,type=L,name=\"Root\"\nstart=941MiB,size=30MiB,type=L,name=\"Recovery\"\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], table);
    for (name, at) in [("esp", 1), ("root", 41), ("recovery", 941)] {
        image::put(&klon.path(name), &klon.path("disk"), at * MIB);
    }
    klon.ok(&["image", "disk", "i.klon"]);
    let before = run("sha256sum", &[&klon.text("i.klon")]);
    image::sparse(&klon.path("small"), 600 * MIB);
    klon.refused(
        &["restore", "i.klon", "small"],
        &["is too small", "--shrink", "Nothing was written"],
    );
    let restore = ["restore", "i.klon", "small", "--shrink"];
    klon.ok(&[&restore[..], &["--dry-run"]].concat())
        .says(&["was shrunk to"]);
    assert_eq!(
        image::allocated_bytes(&klon.path("small")),
        0,
        "a dry run writes nothing"
    );
    klon.ok(&restore)
        .says(&["was shrunk to", "nothing is written to it"]);
    assert_eq!(run("sha256sum", &[&klon.text("i.klon")]), before);
    image::check_gpt(&klon.text("small"));
    assert_eq!(
        names(&klon, "small"),
        names(&klon, "disk"),
        "names, types and PARTUUIDs"
    );
    let at = places(&klon, "small");
    assert_eq!(at[0], (MIB, 40 * MIB));
    assert!(at[1].1 < 530 * MIB && at[1].1 > 480 * MIB, "{at:?}");
    assert_eq!(at[2].1, 30 * MIB, "what has room keeps its size");
    tree(&klon, "small", at[1].0).assert_same(&tree(&klon, "disk", 41 * MIB));
    tree(&klon, "small", at[2].0).assert_same(&tree(&klon, "disk", 941 * MIB));
    let esp = image::read_range(klon.path("small"), MIB, 40 * MIB);
    assert!(esp == image::read_range(klon.path("disk"), MIB, 40 * MIB));
    // Again, over what is there.
    klon.ok(&[&restore[..], &["--yes", "--confirm", &klon.text("small")]].concat());
    tree(&klon, "small", at[1].0).assert_same(&tree(&klon, "disk", 41 * MIB));
    // What has no room however small it is made is refused with the size that would do.
    image::sparse(&klon.path("tiny"), 200 * MIB);
    let tiny = ["restore", "i.klon", "tiny", "--shrink"];
    klon.refused(&tiny, &["is too small for", "The disk must have at least"]);
    assert_eq!(image::allocated_bytes(&klon.path("tiny")), 0);
    assert_nothing_stays();
}

#[test]
fn an_mbr_disk_comes_back_with_its_loader_and_its_numbers() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    image::ext4(&klon.path("boot"), 40, 4);
    volume(&klon, "root", 900);
    image::sparse(&klon.path("disk"), 1000 * MIB);
    let table =
        "label: dos\nlabel-id: 0x1234abcd\n1MiB,40MiB,L,*\n41MiB,950MiB,Ex\n42MiB,900MiB,L\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], table);
    for (name, at) in [("boot", 1), ("root", 42)] {
        image::put(&klon.path(name), &klon.path("disk"), at * MIB);
    }
    let file = fs::File::options()
        .write(true)
        .open(klon.path("disk"))
        .unwrap();
    file.write_all_at(&noise(1, 440), 0).unwrap();
    file.write_all_at(&noise(2, 50_000), 512).unwrap();
    drop(file);
    klon.ok(&["image", "disk", "i.klon"]);
    image::sparse(&klon.path("small"), 600 * MIB);
    klon.ok(&["restore", "i.klon", "small", "--shrink"]).says(&[
        "loader before the first partition come back",
        "when the image was made",
    ]);
    run("sfdisk", &["--verify", &klon.text("small")]);
    assert_eq!(
        names(&klon, "small"),
        names(&klon, "disk"),
        "types and the active one"
    );
    let code = |name: &str| image::read_range(klon.path(name), 0, 440);
    assert!(code("small") == code("disk"));
    let loader = |name: &str| image::read_range(klon.path(name), 512, 50_000);
    assert!(loader("small") == loader("disk"));
    let at = places(&klon, "small");
    tree(&klon, "small", at[0].0).assert_same(&tree(&klon, "disk", MIB));
    tree(&klon, "small", at[2].0).assert_same(&tree(&klon, "disk", 42 * MIB));
    run(
        "e2fsck",
        &["-fn", &format!("{}?offset={}", klon.text("small"), at[2].0)],
    );
    assert_nothing_stays();
}

#[test]
fn what_partitions_do_not_carry_is_left_out_only_when_asked() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    image::ext4(&klon.path("data"), 600, 4);
    image::sparse(&klon.path("disk"), 700 * MIB);
    run_with_input(
        "sfdisk",
        &["-q", &klon.text("disk")],
        "label: gpt\n1MiB,600MiB,L\n",
    );
    image::put(&klon.path("data"), &klon.path("disk"), MIB);
    let file = fs::File::options().write(true).open(klon.path("disk"));
    // Where a look here and there would not find it.
    file.unwrap()
        .write_all_at(b"kept", 683 * MIB + 12_345)
        .unwrap();
    klon.ok(&["image", "disk", "i.klon"]);
    image::sparse(&klon.path("small"), 450 * MIB);
    let restore = ["restore", "i.klon", "small", "--shrink"];
    klon.refused(&restore, &["data in no partition", "--outside none"]);
    assert_eq!(image::allocated_bytes(&klon.path("small")), 0);
    klon.ok(&[&restore[..], &["--outside", "none"]].concat())
        .says(&["data in no partition"]);
    image::check_gpt(&klon.text("small"));
    // A file that is made has room for all of it.
    klon.ok(&["restore", "i.klon", "fresh", "--shrink"]);
    let images = [klon.text("disk"), klon.text("fresh")];
    run("cmp", &["--bytes=600M", &images[0], &images[1]]);
    // The image is no target for what is in it.
    let own = ["restore", "i.klon", "raw:i.klon", "--shrink", "--yes"];
    klon.refused(&own, &["klon image"]);
    assert_nothing_stays();
}
