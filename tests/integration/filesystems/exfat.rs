//! exFAT volumes made by mkfs.exfat and filled through exfat-fuse and the kernel's own driver,
//! against partclone, dump.exfat, fsck.exfat and blkid.

mod guest;
mod volume;

use super::image_file::ImageFile;
use crate::support::{MIB, lacks_root, run};
use klon_partition::filesystem::{self, Basis, Hazard, Kind, Usage};
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use volume::Volume;

/// Creates and deletes files until free space and large files are in pieces.
const AGE: &str = r#"
    mkdir -p one/two empty
    for i in $(seq 120); do head -c $((i * 150)) /dev/urandom > "one/file $i"; done
    for i in $(seq 60); do echo $i > one/two/$i; done
    rm one/*[13579]
    head -c 1900000 /dev/urandom > large
    rm one/*[26] one/two/*[48]
    head -c 900000 /dev/urandom >> large
    for i in $(seq 40); do head -c $((i * 90)) /dev/urandom > "again $i"; done
    head -c 200000 /dev/urandom > shorter
    truncate -s 70000 shorter
    truncate -s 0 emptied
    truncate -s 300000 longer
    mkdir "directory of rather many"
    for i in $(seq 150); do : > "directory of rather many/with a rather long name, number $i"; done
    mv one/two/1 "one/two/renamed with a rather longer name than before"
"#;

/// Writes until nothing more fits, then makes room in many places, and fills it with one file.
const BRIM: &str = r#"
    (i=0; while head -c 9000 /dev/urandom > f$i; do i=$((i + 1)); done) 2> /dev/null
    rm f*[258]
    cat /dev/urandom > pieces 2> /dev/null || :
    rm f*4
"#;

fn usage(volume: &Volume) -> Usage {
    filesystem::usage(&ImageFile::open(&volume.image)).unwrap()
}

/// That the volume is copied whole, with a warning.
fn whole(volume: &Volume) -> (Vec<Hazard>, String) {
    let usage = usage(volume);
    let size_bytes = fs::metadata(&volume.image).unwrap().len();
    assert_eq!(usage.used(), ExtentMap::whole(size_bytes));
    let Basis::Whole {
        reason,
        is_warning: true,
    } = usage.basis
    else {
        panic!("{:?}", usage.basis);
    };
    (usage.summary.unwrap().hazards, reason)
}

/// Klon's answers against all others'; a copy of the used bytes alone is sound and equal.
fn check(volume: &Volume) {
    let usage = check_answers(volume);
    let copy = volume.copy_of(&usage.used());
    let (is_clean, report) = copy.fsck();
    assert!(is_clean && report.contains(": clean."), "{report}");
    let mounts = [volume.mount("ro"), copy.mount("ro")];
    let trees = mounts
        .each_ref()
        .map(|mount| mount.shell("find . -printf '%p %s %m %T@\\n' | sort"));
    assert!(trees[0].lines().count() > 1);
    assert_eq!(trees[0], trees[1]);
    let paths = mounts
        .each_ref()
        .map(|mount| mount.path().to_str().unwrap());
    run("diff", &["-r", paths[0], paths[1]]);
}

fn check_answers(volume: &Volume) -> Usage {
    let usage = usage(volume);
    let summary = usage.summary.as_ref().unwrap();
    assert_eq!(usage.basis, Basis::Map, "{:?}", summary.hazards);
    assert_eq!(usage.token, None);
    assert_eq!(summary.kind, Kind::Exfat);
    assert_eq!(summary.uuid, volume.blkid("UUID"));
    assert_eq!(summary.label, volume.blkid("LABEL"));
    let cluster_bytes = u64::from(summary.block_size_bytes);
    assert_eq!(cluster_bytes, volume.figure("Cluster size:"));
    let free_bytes = summary.size_bytes - summary.used_bytes.unwrap();
    assert_eq!(free_bytes, volume.figure("Free Clusters:") * cluster_bytes);
    // Partclone leaves out the excess space after the last cluster.
    let partclone = volume.partclone_used();
    let sector_bytes = 1 << volume.figure("Sector Size Bits:");
    let heap_bytes = volume.figure("Cluster Heap Offset (sector offset):") * sector_bytes;
    let heap_end_bytes = heap_bytes + volume.figure("Cluster Count:") * cluster_bytes;
    let tail = Extent::between(heap_end_bytes, summary.size_bytes);
    assert_eq!(usage.used(), partclone.union(&tail.into_iter().collect()));
    check_metadata(volume, &usage, heap_bytes);
    usage
}

/// The metadata is in use, and holds what comes before the clusters.
fn check_metadata(volume: &Volume, usage: &Usage, heap_bytes: u64) {
    let device = ImageFile::open(&volume.image);
    let filesystem = filesystem::probe(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&usage.used()).is_empty());
    assert!(metadata.contains(Extent::new(0, heap_bytes).unwrap()));
}

macro_rules! variants {
    ($($name:ident: $size_bytes:expr, $sector_bytes:literal, $options:expr, $script:expr;)*) => {
        $(#[test]
        fn $name() {
            if lacks_root() {
                return;
            }
            let volume = Volume::make($size_bytes, $sector_bytes, &$options);
            volume.change($script);
            assert!(volume.chained_files() > 0 || volume.figure("Cluster size:") > 8192);
            check(&volume);
        })*
    };
}

variants! {
    defaults: 24 * MIB, 512, ["-L", "Gr\u{f6}\u{df}e \u{3042}"], AGE;
    clusters_of_512_bytes: 12 * MIB, 512, ["-c", "512", "-L", "half a kibi"], AGE;
    clusters_of_64k_and_excess_space: 48 * MIB - 512, 512, ["-c", "64K", "-b", "64K"], AGE;
    sectors_of_4096_bytes: 24 * MIB, 4096, ["-c", "4096"], AGE;
    sectors_of_2048_bytes_and_excess_space: 24 * MIB - 2048, 2048, ["-c", "8K", "-b", "8K"], AGE;
    a_bitmap_in_front_of_the_heap: 16 * MIB, 512, ["--pack-bitmap"], AGE;
    filled_to_the_brim: 8 * MIB, 512, ["-c", "1K", "-b", "1K"], BRIM;
}

/// Freshly made, over all sector and cluster sizes.
#[test]
fn every_cluster_size_that_can_be_made() {
    if lacks_root() {
        return;
    }
    for sector_bytes in [512, 1024, 2048, 4096_u32] {
        for shift in sector_bytes.ilog2()..=25 {
            let cluster_bytes = 1_u64 << shift;
            let size_bytes = (32 * MIB).max(cluster_bytes * 9);
            let options = ["-c", &cluster_bytes.to_string()];
            let volume = Volume::make(size_bytes, sector_bytes, &options);
            let usage = usage(&volume);
            assert_eq!(usage.basis, Basis::Map, "{options:?}");
            let summary = usage.summary.unwrap();
            assert_eq!(u64::from(summary.block_size_bytes), cluster_bytes);
            let free_bytes = summary.size_bytes - summary.used_bytes.unwrap();
            let free_clusters = volume.figure("Free Clusters:");
            assert_eq!(free_bytes, free_clusters * cluster_bytes);
        }
    }
}

#[test]
fn clusters_of_32_mebibytes() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(320 * MIB, 512, &["-c", "32M"]);
    volume.change("head -c 33600000 /dev/zero > large; echo small > small; mkdir d; rm large");
    check_answers(&volume);
}

/// The device may be longer than the volume.
#[test]
fn what_lies_behind_the_volume_is_not_its_own() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(8 * MIB, 512, &[]);
    volume.change("echo text > file");
    let before = usage(&volume);
    let file = File::options().write(true).open(&volume.image).unwrap();
    file.write_all_at(&[1; 4096], 9 * MIB).unwrap();
    let after = usage(&volume);
    assert_eq!(after.basis, Basis::Map);
    assert_eq!(before.used(), after.used());
    // Cut short, it is damaged.
    file.set_len(8 * MIB - 512).unwrap();
    assert!(matches!(whole(&volume).0[..], [Hazard::Damaged(_)]));
}

/// exfat-fuse sets VolumeDirty while a volume is mounted for writing.
#[test]
fn a_copy_of_a_mounted_volume_is_dirty_and_cloned_whole() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(16 * MIB, 512, &[]);
    let mount = volume.mount("rw");
    mount.shell(AGE);
    mount.shell("sync");
    let torn = Volume::make(MIB * 16, 512, &[]);
    fs::copy(&volume.image, &torn.image).unwrap();
    let (hazards, _) = whole(&torn);
    assert!(
        matches!(hazards[..], [Hazard::NotCleanlyUnmounted(_)]),
        "{hazards:?}"
    );
    let clone = torn.copy_of(&usage(&torn).used());
    let recovered = clone.mount("ro");
    let paths = [&mount, &recovered].map(|mount| mount.path().to_str().unwrap());
    run("diff", &["-r", paths[0], paths[1]]);
    drop(recovered);
    drop(mount);
    check(&volume);
}

/// A cluster that a file names and the bitmap has as free.
#[test]
fn a_bitmap_that_lacks_clusters_of_a_file_proves_nothing() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(8 * MIB, 512, &["-c", "4096", "-b", "4096"]);
    volume.change("head -c 50000 /dev/urandom > file");
    let file = File::options()
        .read(true)
        .write(true)
        .open(&volume.image)
        .unwrap();
    let heap_bytes = volume.figure("Cluster Heap Offset (sector offset):") * 512;
    // The bitmap is in the first cluster; those of bitmap, table and root directory come first.
    assert_eq!(volume.figure("Bitmap start cluster:"), 2);
    let mut byte = [0];
    file.read_exact_at(&mut byte, heap_bytes + 1).unwrap();
    assert_eq!(byte, [0xff]);
    file.write_all_at(&[0xef], heap_bytes + 1).unwrap();
    let (hazards, reason) = whole(&volume);
    assert_eq!(hazards, []);
    assert!(reason.contains("allocation bitmap"), "{reason}");
    let (is_clean, report) = volume.fsck();
    assert!(!is_clean, "{report}");
}

#[test]
fn bytes_are_traced_to_their_files() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(12 * MIB, 512, &["-c", "1024"]);
    volume.change(AGE);
    volume.change("mkdir -p 'a b/\u{e9}'; cp large 'a b/\u{e9}/copy'; rm large");
    let content = {
        let mount = volume.mount("ro");
        fs::read(mount.path().join("a b/\u{e9}/copy")).unwrap()
    };
    let image = fs::read(&volume.image).unwrap();
    let marker = &content[1_234_567..][..64];
    let places: Vec<u64> = (0_u64..)
        .zip(image.windows(64))
        .filter_map(|(at, window)| (window == marker).then_some(at))
        .collect();
    let device = ImageFile::open(&volume.image);
    let filesystem = filesystem::probe(&device).unwrap().unwrap();
    let used = usage(&volume).used();
    let mut found = Vec::new();
    // The deleted file's bytes may be there still.
    for at in places {
        let wanted = Extent::new(at, 4).unwrap();
        let owners = filesystem.owners(&device, &wanted.into(), 9).files;
        assert_eq!(owners.len(), usize::from(used.contains(wanted)));
        found.extend(owners);
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, "/a b/\u{e9}/copy");
    assert_eq!(found[0].file_offset_bytes, 1_234_567);
}
