//! NTFS volumes made by mkfs.ntfs and filled through ntfs-3g, against partclone, ntfsinfo,
//! ntfsfix and blkid.

mod handmade;
mod owners;
mod volume;

use super::image_file::ImageFile;
use crate::support::tool::command;
use crate::support::{lacks_root, run};
use handmade::{restart_page, split_bitmap, write_log};
use klon_partition::filesystem::{self, Basis, Hazard, Kind, Usage};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use volume::Volume;

/// Creates and deletes files until free space and large files are in pieces.
const AGE: &str = r#"
    mkdir -p one/two empty
    for i in $(seq 120); do head -c $((i * 150)) /dev/urandom > "one/file $i"; done
    for i in $(seq 60); do echo $i > one/two/$i; done
    rm one/*[13579]
    head -c 900000 /dev/urandom > large
    for i in $(seq 40); do head -c $((i * 90)) /dev/urandom > "again $i"; done
    head -c 200000 /dev/urandom > shorter
    truncate -s 70000 shorter
    truncate -s 3000000 hole; printf end >> hole
    ln large one/hard
"#;

fn usage(volume: &Volume) -> Usage {
    filesystem::usage(&ImageFile::open(&volume.image)).unwrap()
}

fn hazards(volume: &Volume) -> Vec<Hazard> {
    let usage = usage(volume);
    let size_bytes = fs::metadata(&volume.image).unwrap().len();
    assert_eq!(usage.used(), ExtentMap::whole(size_bytes));
    let is_warning = matches!(
        usage.basis,
        Basis::Whole {
            is_warning: true,
            ..
        }
    );
    assert!(is_warning, "{:?}", usage.basis);
    usage.summary.unwrap().hazards
}

/// Klon's answers against all others'; a copy of the used bytes alone is sound and equal.
fn check(volume: &Volume) {
    let usage = usage(volume);
    let summary = usage.summary.as_ref().unwrap();
    assert_eq!(usage.basis, Basis::Map, "{:?}", summary.hazards);
    assert_eq!(summary.kind, Kind::Ntfs);
    assert_eq!(summary.uuid, volume.blkid("UUID"));
    assert_eq!(summary.label, volume.blkid("LABEL"));
    let cluster_bytes = u64::from(summary.block_size_bytes);
    assert_eq!(cluster_bytes, volume.figure("Cluster Size:"));
    let clusters = volume.figure("Volume Size in Clusters:");
    let free_bytes = summary.size_bytes - summary.used_bytes.unwrap();
    assert_eq!(free_bytes, volume.figure("Free Clusters:") * cluster_bytes);
    let size_bytes = fs::metadata(&volume.image).unwrap().len();
    // Partclone leaves out what lies after the last cluster, the backup boot sector with it.
    let tail = Extent::between(clusters * cluster_bytes, size_bytes).unwrap();
    assert_eq!(usage.used(), volume.partclone_used().union(&tail.into()));
    check_metadata(volume, &usage);
    check_copy(volume, &usage);
}

/// The metadata is in use, and all the rest is contents of files.
fn check_metadata(volume: &Volume, usage: &Usage) {
    let device = ImageFile::open(&volume.image);
    let filesystem = filesystem::probe(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    assert!(metadata.difference(&usage.used()).is_empty());
    assert!(metadata.contains(Extent::new(0, 512).unwrap()));
    assert_eq!(filesystem.change_token(&device).unwrap(), None);
}

fn check_copy(volume: &Volume, usage: &Usage) {
    let copy = volume.copy_of(&usage.used());
    let report = run("ntfsfix", &["-n", copy.text()]);
    assert!(report.contains("alternate boot sector... OK"), "{report}");
    assert!(report.contains("processed successfully"), "{report}");
    // Reads the run lists of all files and compares them with the bitmap.
    run("ntfsresize", &["--info", "--force", copy.text()]);
    let mounts = [volume.mount("ro"), copy.mount("ro")];
    let trees = mounts.each_ref().map(|mount| {
        let list = "find . -printf '%p %s %m %T@ %n\\n' | sort";
        let at = mount.path().to_str().unwrap();
        run("sh", &["-e", "-c", &format!("cd '{at}' && {list}")])
    });
    assert!(trees[0].lines().count() > 1);
    assert_eq!(trees[0], trees[1]);
    let paths = mounts
        .each_ref()
        .map(|mount| mount.path().to_str().unwrap());
    run("diff", &["-r", paths[0], paths[1]]);
}

macro_rules! variants {
    ($($name:ident: $size_mib:literal, $options:expr;)*) => {
        $(#[test]
        fn $name() {
            if lacks_root() {
                return;
            }
            let volume = Volume::make($size_mib, &$options);
            volume.change("rw", AGE);
            check(&volume);
        })*
    };
}

variants! {
    clusters_of_512_bytes: 12, ["-c", "512", "-L", "half a kibi"];
    clusters_of_4096_bytes: 24, ["-L", "Gr\u{f6}\u{df}e \u{1f600}"];
    sectors_of_4096_bytes: 24, ["-s", "4096", "-c", "4096"];
    sectors_of_1024_bytes_and_clusters_of_64k: 48, ["-s", "1024", "-c", "65536"];
    clusters_of_256k: 96, ["-c", "262144"];
}

/// Freshly made, over all cluster sizes; the largest are encoded as exponents.
#[test]
fn every_cluster_size_that_can_be_made() {
    for sector in [512, 1024, 2048, 4096_u64] {
        for shift in 9..=21 {
            let cluster = 1_u64 << shift;
            if cluster < sector || cluster > 32 * sector && cluster < 1 << 20 && sector != 512 {
                continue;
            }
            let options = ["-s", &sector.to_string(), "-c", &cluster.to_string()];
            let volume = Volume::make(if shift > 18 { 64 } else { 8 }, &options);
            let usage = usage(&volume);
            assert_eq!(usage.basis, Basis::Map, "{options:?}");
            let summary = usage.summary.unwrap();
            assert_eq!(u64::from(summary.block_size_bytes), cluster);
            let free_bytes = summary.size_bytes - summary.used_bytes.unwrap();
            assert_eq!(free_bytes, volume.figure("Free Clusters:") * cluster);
        }
    }
}

#[test]
fn clusters_of_2_mebibytes() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(160, &["-c", "2097152"]);
    volume.change(
        "rw",
        "head -c 5000000 /dev/urandom > large; echo small > small",
    );
    check(&volume);
}

#[test]
fn compressed_and_sparse_files() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(24, &["-C"]);
    let script = "
        mkdir packed
        setfattr -h -v 0x00000800 -n system.ntfs_attrib_be packed
        for i in $(seq 12); do seq $((i * 3000)) > packed/$i; done
        rm packed/*[02468]
        truncate -s 5M packed/hole";
    volume.change("compression", script);
    volume.change("compression", AGE);
    check(&volume);
}

/// The second half of `$Bitmap` is moved behind the first.
#[test]
fn a_bitmap_in_pieces() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(12, &["-c", "512"]);
    volume.change("rw", AGE);
    let before = usage(&volume).used();
    let free = before.complement(12 << 20);
    let free = free
        .iter()
        .rev()
        .find(|extent| extent.len_bytes() > 1 << 14);
    let mut bytes = fs::read(&volume.image).unwrap();
    let target = free.unwrap().offset_bytes() / 512 + 8;
    split_bitmap(&mut bytes, usize::try_from(target).unwrap());
    fs::write(&volume.image, bytes).unwrap();
    assert_eq!(volume.runs("6"), (2, false));
    check(&volume);
    // Three clusters have been freed and three others taken.
    let after = usage(&volume).used();
    assert_eq!(before.difference(&after).total_bytes(), 3 * 512);
    assert_eq!(after.difference(&before).total_bytes(), 3 * 512);
}

/// Files of nothing fill the table, whose free space is in pieces: its run list needs more
/// records than one, and an attribute list.
#[test]
fn a_master_file_table_in_pieces() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(10, &["-c", "512"]);
    let script = "
        (i=0; while head -c 1100 /dev/zero > f$i; do i=$((i + 1)); done) 2> /dev/null
        ls | grep '[02468]$' | xargs rm
        mkdir d
        (i=0; while touch d/$i; do i=$((i + 1)); done) 2> /dev/null
        ls | grep '[15]$' | xargs rm";
    volume.change("rw", script);
    let (runs, has_list) = volume.runs("0");
    assert!(runs > 40 && has_list, "{runs} runs");
    check(&volume);
}

#[test]
fn a_dirty_volume_is_copied_whole() {
    let volume = Volume::make(8, &[]);
    // Ntfsfix asks Windows to check the volume.
    run("ntfsfix", &[volume.text()]);
    let found = hazards(&volume);
    assert!(
        matches!(found[..], [Hazard::NotCleanlyUnmounted(_)]),
        "{found:?}"
    );
    run("ntfsfix", &["--clear-dirty", volume.text()]);
    assert_eq!(usage(&volume).basis, Basis::Map);
}

#[test]
fn a_hibernated_windows_is_seen_as_ntfs_3g_sees_it() {
    if lacks_root() {
        return;
    }
    for (content, is_asleep, probe) in [("hibr", true, 14), ("HIBR", true, 14), ("\\0", false, 0)] {
        let volume = Volume::make(8, &[]);
        // So many names that the root directory has index blocks.
        let fill = "for i in $(seq 300); do : > a_rather_long_name_$i; done";
        let script = format!("{fill}; (printf '{content}'; head -c 9000 /dev/zero) > hiberfil.sys");
        volume.change("rw", &script);
        assert_eq!(volume.probe(), Some(probe));
        if is_asleep {
            assert!(matches!(hazards(&volume)[..], [Hazard::Hibernated(_)]));
        } else {
            assert_eq!(usage(&volume).basis, Basis::Map);
        }
    }
}

/// Restart pages as Windows writes them, in the place of the emptied log.
#[test]
fn the_log_is_read_as_ntfs_3g_reads_it() {
    let (no_client, one_client) = (0xffff, 0);
    // Eight mebibytes have a log of 256 KiB.
    for (clients, flags, is_clean) in [
        (no_client, 0, true),
        (one_client, 2, true),
        (one_client, 0, false),
    ] {
        let volume = Volume::make(8, &[]);
        let page = restart_page(clients, flags);
        write_log(&volume, &[&page[..], &page[..]].concat());
        let probe = volume.probe();
        assert_eq!(probe == Some(0), is_clean, "{probe:?}");
        if is_clean {
            assert_eq!(usage(&volume).basis, Basis::Map);
        } else {
            assert!(matches!(hazards(&volume)[..], [Hazard::NeedsRecovery(_)]));
        }
    }
}

/// Ntfs-3g leaves no mark on a volume while it is mounted, so a copy of a busy one can't be told
/// by a flag. It is either in itself complete or seen to be torn.
#[test]
fn a_copy_of_a_busy_volume_is_never_short_of_a_file_that_it_names() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(24, &["-c", "1024"]);
    let mount = volume.mount("rw");
    let writer = Writer::start(&volume, mount.path());
    for number in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(400));
        let image = volume.directory.path().join(format!("torn{number}.img"));
        fs::copy(&volume.image, &image).unwrap();
        let device = ImageFile::open(&image);
        let usage = filesystem::usage(&device).unwrap();
        match usage.basis {
            Basis::Map => {
                let copy = Volume::make(2, &[]);
                fs::copy(&image, &copy.image).unwrap();
                let target = copy.copy_of(&usage.used());
                // All run lists lie in used clusters: both list the same ones.
                let report = |volume: &Volume| {
                    let text = run("ntfsinfo", &["-m", volume.text()]);
                    text.lines()
                        .filter(|line| !line.contains("evice"))
                        .collect::<String>()
                };
                assert_eq!(report(&copy), report(&target));
            }
            Basis::Whole { is_warning, .. } => {
                assert!(is_warning);
                assert_eq!(usage.used().total_bytes(), device.geometry().size_bytes);
            }
            Basis::Contained { reason } => panic!("{reason}"),
        }
    }
    drop(writer);
    drop(mount);
    check(&volume);
}

/// Creates, overwrites and deletes files until it is dropped.
struct Writer {
    stop: PathBuf,
    shell: Child,
}

impl Writer {
    fn start(volume: &Volume, at: &Path) -> Self {
        let stop = volume.directory.path().join("stop");
        let script = "
            j=0
            while [ ! -e \"$1\" ] && [ $j -lt 500 ]; do
                j=$((j + 1))
                for i in $(seq 30); do head -c $((i * 900 + j)) /dev/urandom > \"$0/f$i\"; done
                rm -f \"$0\"/f*[0369]
            done";
        let shell = command("sh")
            .args(["-e", "-c", script])
            .args([at, &stop])
            .spawn()
            .unwrap();
        Self { stop, shell }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let stopped = File::create(&self.stop);
        let ended = self.shell.wait();
        if !std::thread::panicking() {
            stopped.unwrap();
            ended.unwrap();
        }
    }
}

/// A cluster that a file names and the bitmap has as free.
#[test]
fn a_bitmap_that_lacks_clusters_of_a_file_proves_nothing() {
    if lacks_root() {
        return;
    }
    let volume = Volume::make(8, &[]);
    volume.change("rw", "head -c 50000 /dev/urandom > file; sync");
    assert_eq!(usage(&volume).basis, Basis::Map);
    let used = usage(&volume).used();
    let text = run("ntfsinfo", &["-v", "-F", "file", volume.text()]);
    let field = |text: &str| {
        let runs = text
            .split("Runlist:")
            .nth(1)
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .to_owned();
        let lcn = runs
            .split_whitespace()
            .nth(1)
            .unwrap()
            .trim_start_matches("0x")
            .to_owned();
        u64::from_str_radix(&lcn, 16).unwrap()
    };
    let data = text.split("Dumping attribute $DATA").nth(1).unwrap();
    let file_lcn = field(data);
    assert!(used.contains(Extent::new(file_lcn * 4096, 50_000).unwrap()));
    let bitmap = run("ntfsinfo", &["-v", "-i", "6", volume.text()]);
    let bitmap_lcn = field(bitmap.split("Dumping attribute $DATA").nth(1).unwrap());
    let file = File::options()
        .read(true)
        .write(true)
        .open(&volume.image)
        .unwrap();
    let mut byte = [0];
    let at = bitmap_lcn * 4096 + file_lcn / 8;
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] &= !(1 << (file_lcn % 8));
    file.write_all_at(&byte, at).unwrap();
    let found = usage(&volume);
    let Basis::Whole {
        reason,
        is_warning: true,
    } = found.basis
    else {
        panic!("{:?}", found.basis);
    };
    assert!(reason.contains("$Bitmap"), "{reason}");
}
