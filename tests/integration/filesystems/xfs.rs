//! XFS against xfsprogs, partclone and the kernel.

mod frozen;
mod metadata;
mod oracle;
mod owners;
mod refusals;
mod shapes;
mod variant;

use super::image_file::ImageFile;
use crate::support::oracle::{copy_onto_noise, partclone_used};
use crate::support::tree::{Tree, add_specials, fill};
use crate::support::{Mount, lacks_root, run};
use klon_partition::filesystem::{Basis, ChangeToken, Filesystem, Hazard, Kind, probe, usage};
use oracle::Oracle;
use std::fs::File;
use std::path::Path;
use variant::{VARIANTS, Variant, mkfs};

fn filesystem(image: &Path) -> Box<dyn Filesystem> {
    probe(&ImageFile::open(image)).unwrap().expect("an XFS")
}

fn hazards(image: &Path) -> Vec<Hazard> {
    filesystem(image).summary().hazards.clone()
}

fn token(image: &Path) -> Option<ChangeToken> {
    let filesystem = filesystem(image);
    filesystem.change_token(&ImageFile::open(image)).unwrap()
}

/// Every byte that klon says is in use is so by `xfs_db` too, and the other way round.
fn assert_agrees(image: &Path, name: &str) {
    run("xfs_repair", &["-n", image.to_str().unwrap()]);
    let usage = usage(&ImageFile::open(image)).unwrap();
    assert_eq!(usage.basis, Basis::Map, "{name}");
    let oracle = Oracle::ask(image);
    let summary = usage.summary.clone().unwrap();
    assert_eq!(summary.size_bytes, oracle.size_bytes, "{name}");
    let missing = oracle.used.difference(&usage.used());
    let extra = usage.used().difference(&oracle.used);
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{name}: missing {:?}, extra {:?}",
        missing.extents().first(),
        extra.extents().first()
    );
}

fn names(image: &Path, variant: &Variant) {
    let filesystem = filesystem(image);
    let summary = filesystem.summary();
    assert_eq!(summary.kind, Kind::Xfs, "{}", variant.name);
    assert_eq!(summary.label.as_deref(), Some("klon"), "{}", variant.name);
    let tag = |tag| {
        run(
            "blkid",
            &["-p", "-o", "value", "-s", tag, image.to_str().unwrap()],
        )
    };
    assert_eq!(summary.uuid.as_deref(), Some(tag("UUID").trim()));
    assert_eq!(summary.kind.to_string(), tag("TYPE").trim());
    let used = filesystem.used(&ImageFile::open(image)).unwrap().unwrap();
    // A few blocks in reserve are in use here and free in the superblock's counter.
    let counted = summary.used_bytes.unwrap();
    let slack_bytes = used.total_bytes().abs_diff(counted);
    assert!(slack_bytes < 8 << 20, "{}: {slack_bytes}", variant.name);
}

#[test]
fn used_maps_are_those_of_xfs_db() {
    for variant in VARIANTS {
        let directory = tempfile::tempdir().unwrap();
        let image = variant.make(directory.path());
        assert_agrees(&image, variant.name);
        names(&image, variant);
        if variant.kernel_mounts && !lacks_root() {
            variant.age(&image, directory.path());
            assert_agrees(&image, &format!("{} aged", variant.name));
        }
    }
}

/// Partclone takes the blocks that groups hold in reserve for free.
#[test]
fn partclone_copies_the_same_blocks_but_for_the_reserve() {
    for name in ["default", "v4-512", "many-groups"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        if variant.kernel_mounts && !lacks_root() {
            variant.age(&image, directory.path());
        }
        let klon = usage(&ImageFile::open(&image)).unwrap().used();
        let reserve = Oracle::ask(&image).reserve;
        let partclone = partclone_used("xfs", &image);
        assert_eq!(klon, partclone.union(&reserve), "{name}");
        assert_eq!(klon.difference(&partclone), reserve, "{name}");
    }
}

/// A copy of what is in use, onto noise, checks.
fn a_copy_checks(image: &Path, directory: &Path) {
    let copy = directory.join("copy.img");
    let used = usage(&ImageFile::open(image)).unwrap().used();
    copy_onto_noise(image, &copy, &used);
    run("xfs_repair", &["-n", copy.to_str().unwrap()]);
}

/// Free space is really not needed: a copy with noise in it checks and reads as the original.
#[test]
fn a_copy_of_the_used_bytes_alone_is_sound() {
    for name in ["default", "many-groups", "4k-sectors", "v4-512"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        let copy = directory.path().join("copy.img");
        let point = directory.path().join("mnt");
        if !variant.kernel_mounts || lacks_root() {
            a_copy_checks(&image, directory.path());
            continue;
        }
        let mount = Mount::new(&image, &point, "loop");
        fill(&mount.path().join("tree"), 7, 9);
        add_specials(&mount.path().join("tree"));
        drop(mount);
        variant.age(&image, directory.path());
        let read = |image: &Path| {
            let mount = Mount::new(image, &point, "loop,ro");
            Tree::read(mount.path())
        };
        let expected = read(&image);
        expected.assert_rich();
        a_copy_checks(&image, directory.path());
        let used = |image: &Path| usage(&ImageFile::open(image)).unwrap().used();
        assert_eq!(used(&copy), used(&image), "{name}");
        read(&copy).assert_same(&expected);
    }
}

fn assert_dirty(image: &Path, name: &str) {
    let found = hazards(image);
    let is_dirty = matches!(&found[..], [Hazard::NeedsRecovery(_)]);
    assert!(is_dirty, "{name}: {found:?}");
    let usage = usage(&ImageFile::open(image)).unwrap();
    let is_whole = matches!(
        usage.basis,
        Basis::Whole {
            is_warning: true,
            ..
        }
    );
    assert!(is_whole, "{name}");
    let size_bytes = image.metadata().unwrap().len();
    assert_eq!(usage.used().total_bytes(), size_bytes, "{name}");
    assert_eq!(token(image), None, "{name}");
}

/// A copy of a mounted volume is dirty; after the kernel's replay it has what was synced and its
/// map is right.
#[test]
fn a_copy_of_a_mounted_volume_is_dirty() {
    if lacks_root() {
        return;
    }
    for name in ["default", "many-groups", "64k-blocks", "log-stripes"] {
        let directory = tempfile::tempdir().unwrap();
        let image = Variant::named(name).make(directory.path());
        let copy = directory.path().join("copy.img");
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let busy = "
            for i in $(seq 200); do echo $i > \"$0\"/$i; done
            rm \"$0\"/*7
            head -c 3000000 /dev/zero | tr '\\0' y > \"$0\"/synced
            sync -f \"$0\"
            for i in $(seq 50); do mkdir \"$0\"/new$i; done
            rm -r \"$0\"/a
            cp --sparse=always \"$1\" \"$2\"";
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let paths = [text(mount.path()), text(&image), text(&copy)];
        run("sh", &["-ec", busy, &paths[0], &paths[1], &paths[2]]);
        drop(mount);
        assert_dirty(&copy, name);
        assert_eq!(hazards(&image), [], "{name} unmounted");
        let mount = Mount::new(&copy, &directory.path().join("mnt"), "loop,nouuid");
        let synced = std::fs::read(mount.path().join("synced")).unwrap();
        assert_eq!(synced, vec![b'y'; 3_000_000], "{name}");
        assert!(!mount.path().join("17").exists() && mount.path().join("18").exists());
        drop(mount);
        assert_agrees(&copy, &format!("{name} replayed"));
    }
}

/// However far the log has come: also when it has gone around several times.
#[test]
fn logs_that_went_around_are_told_apart() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("small-log.img");
    File::create(&image).unwrap().set_len(300 << 20).unwrap();
    let path = image.to_str().unwrap();
    let options = ["-q", "-b", "size=1024", "-d", "agcount=2", "-l", "size=5m"];
    mkfs(&[&options[..], &[path]].concat());
    let copy = directory.path().join("copy.img");
    for round in 0..8 {
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let script = "
            mkdir -p \"$0\"/d\"$3\"
            for i in $(seq 1500); do echo > \"$0\"/d\"$3\"/$i; done
            sync -f \"$0\"
            rm -r \"$0\"/d\"$3\"
            cp --sparse=always \"$1\" \"$2\"";
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let round = round.to_string();
        let paths = [text(mount.path()), text(&image), text(&copy)];
        let [point, source, target] = paths.each_ref().map(String::as_str);
        run("sh", &["-ec", script, point, source, target, &round]);
        drop(mount);
        assert_dirty(&copy, &round);
        assert_agrees(&image, &round);
    }
    let log = run("xfs_logprint", &["-t", path]);
    assert!(log.contains("<CLEAN>"), "{log}");
}

#[test]
fn a_volume_that_went_down_is_dirty() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = Variant::named("default").make(directory.path());
    let before = token(&image);
    for command in ["shutdown -f", "shutdown", "freeze"] {
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let point = mount.path().to_str().unwrap();
        run(
            "sh",
            &[
                "-ec",
                "mkdir -p \"$0\"/new; sync -f \"$0\"; rmdir \"$0\"/new",
                point,
            ],
        );
        let copy = directory.path().join("frozen.img");
        run("xfs_io", &["-x", "-c", command, point]);
        if command == "freeze" {
            std::fs::copy(&image, &copy).unwrap();
            run("xfs_io", &["-x", "-c", "thaw", point]);
            drop(mount);
            // All that is in its log is the superblock: its map is what it is after a recovery.
            let found = hazards(&copy);
            assert!(found.is_empty(), "{command}: {found:?}");
            let used = |image: &Path| usage(&ImageFile::open(image)).unwrap().used();
            let frozen = used(&copy);
            drop(Mount::new(&copy, &directory.path().join("mnt"), "loop"));
            assert_eq!(frozen, used(&copy));
            run("xfs_repair", &["-n", copy.to_str().unwrap()]);
        } else {
            drop(mount);
            assert_dirty(&image, command);
            run("xfs_repair", &["-L", image.to_str().unwrap()]);
            assert_agrees(&image, &format!("{command}, its log zeroed"));
            assert_ne!(token(&image), before);
        }
    }
}

#[test]
fn tokens_change_with_every_writer_and_with_no_reader() {
    let directory = tempfile::tempdir().unwrap();
    let image = Variant::named("default").make(directory.path());
    let path = image.to_str().unwrap();
    let mut before = token(&image).unwrap();
    let mut moves = |name: &str, does: bool| {
        let now = token(&image).unwrap();
        assert_eq!(now != before, does, "{name}");
        before = now;
    };
    if !lacks_root() {
        let point = directory.path().join("mnt");
        for (options, does) in [("loop,ro", false), ("loop", true), ("loop", true)] {
            drop(Mount::new(&image, &point, options));
            moves(options, does);
        }
        drop(Mount::new(&image, &point, "loop,ro"));
        moves("loop,ro", false);
        let mount = Mount::new(&image, &point, "loop");
        std::fs::write(mount.path().join("a/file-3"), [1; 50_000]).unwrap();
        drop(mount);
        moves("a write in place", true);
        run("xfs_repair", &[path]);
        moves("xfs_repair", true);
    }
    run("xfs_repair", &["-n", path]);
    run("xfs_db", &["-r", "-c", "freesp", path]);
    moves("readers", false);
    // A script of xfsprogs' that takes no path with a space.
    let admin = |change: &str| {
        let script = format!("cd \"$0\"; xfs_admin {change} default.img");
        run("sh", &["-ec", &script, directory.path().to_str().unwrap()]);
    };
    admin("-L other");
    moves("xfs_admin -L", true);
    admin("-U generate");
    moves("xfs_admin -U", true);
    assert_agrees(&image, "with another UUID");
}
