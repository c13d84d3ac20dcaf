//! Sources that were not unmounted cleanly: their journals are replayed in an overlay, and the clone is what
//! debugfs and the kernel make of a copy.

use crate::support::busy::{Host, Kept, check, snapshots};
use crate::support::klon::number;
use crate::support::tree::{Tree, noise};
use crate::support::{Klon, MIB, Mount, image, lacks_root, run, tool};
use klon_partition::device::{look_at, read_vec};
use klon_partition::filesystem::{Basis, Usage, usage};
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const SIZE_MIB: u64 = 128;

/// Feature sets and mount options whose logs are written in different forms.
const SETS: &[(&str, &[&str], &str)] = &[
    ("ext4", &["-t", "ext4", "-b", "4096"], "data=ordered"),
    (
        "journal",
        &["-t", "ext4", "-b", "1024", "-J", "size=4"],
        "data=journal",
    ),
    (
        "version-1",
        &[
            "-t",
            "ext4",
            "-b",
            "4096",
            "-O",
            "^metadata_csum",
            "-J",
            "size=4",
        ],
        "journal_checksum",
    ),
    (
        "async",
        &["-t", "ext4", "-b", "2048", "-O", "^64bit"],
        "journal_async_commit,data=writeback",
    ),
    (
        "orphans",
        &[
            "-t",
            "ext4",
            "-b",
            "4096",
            "-O",
            "orphan_file,bigalloc",
            "-C",
            "16384",
        ],
        "data=ordered",
    ),
    ("ext3", &["-t", "ext3", "-b", "1024"], "data=ordered"),
];

/// How many instants of each volume are looked at: one, or as many as the environment says.
fn cuts() -> usize {
    let set = std::env::var("KLON_REPLAY_CUTS").ok();
    set.map_or(1, |text| text.parse().expect("a number of cuts"))
}

/// A volume in use at several instants, and what was durable at each.
fn cut_volumes(klon: &Klon, (make, mounted): (&[&str], &str)) -> (Host, Vec<(String, Kept)>) {
    let host = Host::new(klon.directory());
    let volume = host.path("volume");
    image::sparse(&volume, SIZE_MIB * MIB);
    let quiet = ["-q", "-F"];
    let path = volume.to_str().unwrap();
    run("mke2fs", &[&quiet[..], make, &[path]].concat());
    let names: Vec<String> = (0..cuts()).map(|cut| format!("cut-{cut}")).collect();
    let names_text: Vec<&str> = names.iter().map(String::as_str).collect();
    let kept = snapshots(&host, "volume", mounted, &names_text);
    (host, names.into_iter().zip(kept).collect())
}

fn digest(path: &Path) -> String {
    run("sha256sum", &[path.to_str().unwrap()])
}

fn used(path: &Path) -> Usage {
    let usage = usage(&look_at(path).unwrap()).unwrap();
    assert_eq!(usage.basis, Basis::Map, "{}", path.display());
    usage
}

fn clone(klon: &Klon, source: &str, target: &str) -> serde_json::Value {
    let clone = [
        "clone",
        source,
        target,
        "--yes",
        "--confirm",
        target,
        "--json",
    ];
    let outcome = klon.ok(&clone);
    outcome.last()["volumes"][0].take()
}

/// The superblock and the journal's, in which tools keep times and counters.
fn counters(klon: &Klon, name: &str) -> ExtentMap {
    let journal = run("debugfs", &["-R", "bmap <8> 0", &klon.text(name)]);
    let block: u64 = journal.trim().parse().unwrap();
    let header = run("dumpe2fs", &["-h", &klon.text(name)]);
    let size = header
        .lines()
        .find_map(|line| line.strip_prefix("Block size:"));
    let size: u64 = size.unwrap().trim().parse().unwrap();
    [Extent::new(1024, 1024), Extent::new(block * size, size)]
        .into_iter()
        .flatten()
        .collect()
}

/// Fails unless a clone is in all that is in use what e2fsprogs make of a copy of its source. `e2fsck -E
/// journal_only` would delete orphans, too.
fn assert_as_tool(klon: &Klon, source: &Path, target: &str) {
    fs::copy(source, klon.path("oracle")).unwrap();
    let tried = tool::output(
        "debugfs",
        &["-w", "-R", "journal_run", &klon.text("oracle")],
    );
    println!("{}", String::from_utf8_lossy(&tried.stderr));
    if run("dumpe2fs", &["-h", &klon.text("oracle")]).contains("needs_recovery") {
        // debugfs wants bitmaps that fit their descriptors even before.
        let options = ["-y", "-E", "journal_only"];
        let checked = tool::output("e2fsck", &[&options[..], &[&klon.text("oracle")]].concat());
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.code().unwrap() <= 1, "{said}");
        if said.contains("orphan") {
            println!("e2fsck deleted orphans, so its answer is another one");
            return;
        }
    }
    let [oracle, found] = ["oracle", target].map(|name| used(&klon.path(name)));
    let only = |a: &Usage, b: &Usage| a.extents.difference(&b.extents).iter().next();
    let differing = [only(&oracle, &found), only(&found, &oracle)];
    assert_eq!(differing, [None, None], "in use after debugfs, after klon");
    let devices = ["oracle", target].map(|name| look_at(&klon.path(name)).unwrap());
    let log = oracle.blank(&devices[0]);
    assert!(!log.is_empty(), "the journal of the oracle is not empty");
    let compared = oracle.extents.difference(&log);
    let compared = compared.difference(&counters(klon, "oracle"));
    for extent in compared.iter().flat_map(|extent| extent.split(MIB)) {
        let len = usize::try_from(extent.len_bytes()).unwrap();
        let [a, b] = devices
            .each_ref()
            .map(|it| read_vec(it, extent.offset_bytes(), len).unwrap());
        assert!(a == b, "{extent} differs");
    }
}

/// Fails unless the kernel makes the same of a clone and of a copy of its source, with all `kept` files.
fn assert_as_kernel(klon: &Klon, source: &Path, target: &str, (mounted, kept): (&str, &Kept)) {
    fs::copy(source, klon.path("oracle")).unwrap();
    let before = tool::output("e2fsck", &["-fn", &klon.text(target)]);
    let [oracle, found] = ["oracle", target].map(|name| {
        fs::copy(klon.path(name), klon.path("mounted")).unwrap();
        let options = format!("loop,{mounted}");
        let mount = Mount::new(klon.path("mounted"), &klon.path("mnt"), &options);
        check(mount.path(), kept);
        let tree = Tree::read(mount.path()).without_times();
        drop(mount);
        run("e2fsck", &["-fn", &klon.text("mounted")]);
        tree
    });
    oracle.assert_same(&found);
    if !before.status.success() {
        // Orphans are all that may be left.
        let said = String::from_utf8_lossy(&before.stdout).into_owned();
        // One that still has a name was being truncated, and the kernel went on with that above.
        let words = ["orphan", "dtime", "i_size is"];
        let is_orphan = words.iter().any(|word| said.contains(word));
        assert!(is_orphan, "{said}");
    }
}

fn run_set(name: &str) {
    if lacks_root() {
        return;
    }
    let (_, make, mounted) = SETS.iter().find(|(it, ..)| *it == name).unwrap();
    let klon = Klon::new();
    let (host, cuts) = cut_volumes(&klon, (make, mounted));
    for (cut, kept) in &cuts {
        let source = host.path(cut);
        let before = digest(&source);
        fs::write(klon.path("target"), noise(5, (SIZE_MIB * MIB) as usize)).unwrap();
        let done = clone(&klon, source.to_str().unwrap(), "target");
        assert_eq!(done["replayed"], true, "{done:#}");
        assert!(number(&done, "used_bytes") < SIZE_MIB * MIB / 2, "{done:#}");
        assert!(digest(&source) == before, "the source was written to");
        assert_as_tool(&klon, &source, "target");
        assert_as_kernel(&klon, &source, "target", (mounted, kept));
        klon.ok(&["verify", "target"]);
        klon.ok(&["verify", "target", source.to_str().unwrap()]);
    }
}

#[test]
fn ext4() {
    run_set("ext4");
}

#[test]
fn data_journal_with_blocks_of_1_kib_in_a_log_that_wraps() {
    run_set("journal");
}

#[test]
fn checksums_of_version_1() {
    run_set("version-1");
}

#[test]
fn asynchronous_commits() {
    run_set("async");
}

#[test]
fn orphan_file_and_clusters() {
    run_set("orphans");
}

#[test]
fn ext3() {
    run_set("ext3");
}

/// A volume in use, whose log was not written to its places.
fn dirty(klon: &Klon, name: &str) {
    let source = klon.text("source");
    image::sparse(&klon.path("source"), 64 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "4096", &source]);
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    for number in 0..200_u64 {
        fs::write(mount.path().join(number.to_string()), noise(number, 9000)).unwrap();
    }
    run("sync", &["-f", mount.path().to_str().unwrap()]);
    // What is durable is on the device behind the file, at once.
    fs::copy(klon.path("source"), klon.path(name)).unwrap();
    drop(mount);
}

#[test]
fn the_next_run_is_a_usual_one_and_reads_everything_once() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    dirty(&klon, "dirty");
    let first = klon.ok(&["clone", "dirty", "target", "--json", "--strict"]);
    first.says(&[
        "replayed its journal in an overlay",
        "nothing is written to it",
    ]);
    assert_eq!(first.last()["volumes"][0]["replayed"], true);
    let record = fs::read(klon.only_record()).unwrap();
    assert!(record.windows(15).any(|it| it == b"\"replayed\":true"));
    // Still as it was left: the replay is the same, and no evidence was kept.
    let again = clone(&klon, "dirty", "target");
    assert_eq!(
        (&again["rung"], number(&again, "written_bytes")),
        (&"digest".into(), 0)
    );
    let asked = [
        "clone",
        "dirty",
        "target",
        "--rung",
        "metadata",
        "--assume-clean-since-record",
    ];
    let asked = klon.json(&asked);
    assert_eq!(asked["rung"], "digest", "{asked:#}");
    // It lives on.
    let mount = Mount::new(klon.path("dirty"), &klon.path("mnt"), "loop");
    fs::write(mount.path().join("7"), "other").unwrap();
    fs::remove_file(mount.path().join("8")).unwrap();
    drop(mount);
    let later = clone(&klon, "dirty", "target");
    assert_eq!(later["rung"], "digest", "{later:#}");
    assert!(later["replayed"].is_null() && number(&later, "written_bytes") > 0);
    klon.ok(&["verify", "target", "dirty"]);
    run("e2fsck", &["-fn", &klon.text("target")]);
}

#[test]
fn images_maps_comparisons_and_disks_have_the_replayed_state() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    dirty(&klon, "dirty");
    let [map, whole] = ["auto", "never"].map(|when| klon.json(&["map", "dirty", "--replay", when]));
    assert!(number(&map, "used_bytes") < 32 * MIB && whole["journals"].is_null());
    assert_eq!(number(&whole, "used_bytes"), 64 * MIB);
    assert!(
        map["journals"][0]
            .as_str()
            .unwrap()
            .contains("replayed its journal"),
        "{map:#}"
    );
    klon.ok(&["image", "dirty", "image.klon"]);
    klon.ok(&["info", "image.klon"])
        .shows(&["klon replayed its journal"]);
    klon.ok(&["verify", "image.klon", "dirty"]);
    klon.ok(&["diff", "image.klon", "dirty"]);
    klon.run(&["diff", "image.klon", "dirty", "--replay", "never"])
        .expect(1);
    klon.ok(&["restore", "image.klon", "restored"]);
    run("e2fsck", &["-fn", &klon.text("restored")]);
    // The same as a partition, and as one of a disk; with a system that sleeps beside it, nothing is replayed.
    image::sparse(&klon.path("disk"), 80 * MIB);
    let table = "label: gpt\n2048,131072,L\n,,S\n";
    tool::run_with_input("sfdisk", &["-q", &klon.text("disk")], table);
    image::put(&klon.path("dirty"), &klon.path("disk"), MIB);
    for (source, target) in [("disk:1", "part"), ("disk", "whole")] {
        let done = klon.json(&["clone", source, target]);
        assert!(number(&done, "used_bytes") < 40 * MIB, "{done:#}");
        assert_eq!(done["volumes"][0]["replayed"], true);
        klon.ok(&["verify", target, source]);
    }
    run("cmp", &[&klon.text("part"), &klon.text("restored")]);
    let mut swap = vec![0; 4096];
    (swap[1024], swap[1028]) = (1, 255);
    swap[4086..].copy_from_slice(b"S1SUSPEND\0");
    let disk = fs::File::options()
        .write(true)
        .open(klon.path("disk"))
        .unwrap();
    disk.write_all_at(&swap, 65 * MIB).unwrap();
    let outcome = klon.ok(&["clone", "disk:1", "asleep", "--json"]);
    outcome.says(&["did not replay its journal", "hibernated"]);
    assert_eq!(number(&outcome.last(), "used_bytes"), 64 * MIB);
}
