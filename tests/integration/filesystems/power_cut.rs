//! F2FS and HFS+ volumes in use when the power goes, and F2FS unmounted, as Linux' own drivers
//! leave them; and how those read what klon makes of them.

use super::f2fs::volume::Volume;
use super::hfsplus::volume::Volume as HfsPlus;
use super::image_file::ImageFile;
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, lacks_root, run};
use klon_partition::filesystem::{Basis, Hazard, usage};
use klon_partition::{Extent, ExtentMap};
use std::fs;
use std::path::Path;

/// Lists all files but one of nine gibibytes, most of it a hole.
const LIST: &str = r#"
    list() {
        echo "== $1"
        (cd $1 && find . -type f ! -name far -exec md5sum {} +)
    }
"#;

/// Two volumes are unmounted. The other two are in use at the end: all that is listed of them was
/// synced before, on F2FS each file by itself after the last checkpoint. Of HFS+ Linux leaves out
/// some of the catalog then, so that not even the driver finds all of the files again.
const FILL: &str = r#"
    fill() {
        mkdir -p "$1/one/two"
        for i in $(seq 60); do head -c $((i * 300)) /dev/urandom > "$1/one/file $i"; done
        head -c 900000 /dev/urandom > "$1/large"
        rm "$1"/one/*[13579]
        for i in $(seq 100); do echo $i > "$1/one/two/with a rather long name, number $i"; done
    }
    mkdir a b c d
    mount -t f2fs /dev/vda a
    mount -t f2fs /dev/vdb b
    mount -t f2fs /dev/vdc c
    mount -t hfsplus /dev/vdd d
    for disk in a b c d; do fill $disk; done
    for disk in a b; do
        head -c 13000000 /dev/urandom > $disk/indirect
        echo far | dd of=$disk/far bs=4k seek=2300000 2>/dev/null
        ln -s large $disk/soft
        mkfifo $disk/pipe
        list $disk
        umount $disk
    done
    sync
    for disk in c d; do
        for i in $(seq 30); do
            head -c $((i * 2100)) /dev/urandom > $disk/new$i
            sync $disk/new$i
        done
        head -c 5000 /dev/urandom >> $disk/large
        sync $disk/large
        head -c 4096 /dev/urandom | dd of=$disk/large bs=4096 seek=3 conv=notrunc,fsync 2>/dev/null
        [ $disk = c ] || sync
        list $disk
        echo later > $disk/later
    done
"#;

/// Linux mounts no HFS+ read-write that was in use, and Debian has no checker that mends it.
const READ: &str = r#"
    mkdir a b c d
    mount -t f2fs -o ro /dev/vda a
    mount -t f2fs -o ro /dev/vdb b
    mount -t f2fs /dev/vdc c
    mount -t hfsplus -o ro /dev/vdd d
    for disk in a b c d; do list $disk; done
    for disk in a b; do
        echo "== far $disk"
        dd if=$disk/far bs=4k skip=2300000 2>/dev/null
        echo "== where $disk"
        find $disk -type f -exec filefrag -b512 -v {} +
        umount $disk
    done
    echo after > c/after
    umount c
    echo "== end"
"#;

fn guest(script: &str, directory: &Path, images: [&str; 4]) -> String {
    let path = directory.join("script");
    fs::write(&path, format!("{LIST}{script}")).unwrap();
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/guest");
    let modules = "f2fs hfsplus nls_utf8 quota_v2";
    let start = [
        "--modules",
        modules,
        "--with",
        "filefrag",
        path.to_str().unwrap(),
    ];
    run(guest, &[&start[..], &images[..]].concat())
}

/// The lines between a mark and the next, in order.
fn section<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    let rest = text.split_once(&format!("== {mark}\n")).expect(mark).1;
    let mut lines: Vec<&str> = rest.split("== ").next().unwrap().lines().collect();
    lines.sort_unstable();
    lines
}

/// Where files are, as `filefrag -b512 -v` prints it, but for what is kept in inodes.
fn contents(lines: &[&str]) -> ExtentMap {
    let found = lines.iter().filter_map(|line| {
        let mut fields = line.split(':').map(str::trim);
        fields.next()?.parse::<u64>().ok()?;
        let (first, last) = fields.nth(1)?.split_once("..")?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Extent::between(first * 512, (last + 1) * 512).filter(|_| !line.contains("inline"))
    });
    found.collect()
}

/// Clones a volume that was in use onto noise, whole and with a warning.
fn clone_whole(klon: &Klon, source: &Path, target: &str, hazard: &str) -> String {
    let volume = fs::read(source).unwrap();
    fs::write(klon.path(target), noise(5, volume.len())).unwrap();
    let source = source.to_str().unwrap();
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
    outcome.says(&["warning", hazard, "copies all of it"]);
    assert_eq!(number(&outcome.last(), "used_bytes"), volume.len() as u64);
    assert!(fs::read(klon.path(target)).unwrap() == volume, "{target}");
    klon.text(target)
}

/// A copy of what is in use, and what of that is contents of files.
fn clone_used(volume: &Volume) -> (Volume, ExtentMap) {
    let device = ImageFile::open(&volume.image);
    let used = usage(&device).unwrap();
    assert_eq!(used.basis, Basis::Map);
    let metadata = volume.metadata();
    assert!(metadata.difference(&used.extents).is_empty());
    (
        volume.copy_of(&used.extents),
        used.extents.difference(&metadata),
    )
}

#[test]
fn f2fs_and_hfsplus_after_a_power_cut_and_a_clean_unmount() {
    if lacks_root() {
        return;
    }
    let features = "extra_attr,inode_checksum,inode_crtime,flexible_inline_xattr,quota,lost_found";
    let clean = [
        Volume::format(64, &[]),
        Volume::format(72, &["-O", features]),
    ];
    let busy = Volume::format(64, &[]);
    let hfsplus = HfsPlus::make(12 * MIB, &[]);
    let klon = Klon::new();
    let images = [
        clean[0].text(),
        clean[1].text(),
        busy.text(),
        hfsplus.text(),
    ];
    let made = guest(FILL, klon.directory(), images);
    let found = usage(&ImageFile::open(&busy.image))
        .unwrap()
        .summary
        .unwrap()
        .hazards;
    assert!(
        matches!(found[..], [Hazard::NotCleanlyUnmounted(_)]),
        "{found:?}"
    );
    let clones = clean.each_ref().map(clone_used);
    let recovered = clone_whole(&klon, &busy.image, "f2fs", "not cleanly unmounted");
    let readable = clone_whole(&klon, &hfsplus.image, "hfsplus", "not cleanly unmounted");
    let images = [
        clones[0].0.text(),
        clones[1].0.text(),
        &recovered,
        &readable,
    ];
    let read = guest(READ, klon.directory(), images);
    for (disk, (_, found)) in ["a", "b"].iter().zip(&clones) {
        let files = section(&made, disk);
        assert!(files.len() > 130, "{made}");
        assert_eq!(section(&read, disk), files);
        let far = section(&read, &format!("far {disk}"));
        assert_eq!(far, ["far"], "{read}");
        let expected = contents(&section(&read, &format!("where {disk}")));
        assert!(expected.total_bytes() > 13_000_000, "{read}");
        assert_eq!(found, &expected, "{disk}");
    }
    for disk in ["c", "d"] {
        let found = section(&read, disk);
        let files = section(&made, disk);
        assert!(files.len() > 160, "{made}");
        for file in files {
            assert!(found.contains(&file), "{disk}: {file}");
        }
    }
    // Recovered and unmounted, it has a map.
    assert_eq!(
        usage(&ImageFile::open(&klon.path("f2fs"))).unwrap().basis,
        Basis::Map
    );
    run("fsck.f2fs", &["--dry-run", "-f", &recovered]);
}
