//! Owners of bytes against ntfscluster.

use super::volume::Volume;
use super::{AGE, ImageFile};
use crate::filesystems::owned::{Noise, survival};
use crate::support::{lacks_root, run};
use klon_partition::filesystem::{Filesystem, probe};
use klon_partition::{Extent, ReadAt};
use std::collections::{BTreeSet, HashMap};

/// Streams, names of Windows and of DOS, deep directories, many files.
const FILL: &str = r#"
    setfattr -n user.stream -v "$(seq 3000)" large
    setfattr -n user.small -v resident large
    echo a-resident-marker > 'one/a rather long name.txt'
    setfattr -h -n system.ntfs_dos_name -v 'ARATHE~1.TXT' 'one/a rather long name.txt'
    d=deep; for i in $(seq 30); do d=$d/$i; done; mkdir -p $d; seq 2000 > $d/bottom
    mkdir many; cd many; seq 9000 | split -l 10 -a 3 - a-file-with-a-name-; rm ./*[aei]
    for i in $(seq 400); do ln ../shorter a-link-with-a-long-name-$i; done
    for i in $(seq 30); do seq $((i * 300)) > data-$i; done
"#;

fn filled(size_mib: u64, options: &[&str]) -> Volume {
    let volume = Volume::make(size_mib, options);
    volume.change("rw", AGE);
    volume.change("rw", FILL);
    volume
}

fn open(device: &ImageFile) -> Box<dyn Filesystem> {
    probe(device).unwrap().unwrap()
}

/// Files that have clusters in a range: number of the record, and name of the stream.
fn by_tool(volume: &Volume, first: u64, last: u64) -> BTreeSet<(String, String)> {
    let range = format!("{first}-{last}");
    let text = run("ntfscluster", &["-c", &range, volume.text()]);
    let parse = |line: &str| {
        let rest = line.strip_prefix("Inode ")?;
        let (record, rest) = rest.split_once(' ').unwrap();
        // Of a record that goes on with another's attributes the tool prints no more.
        if rest.is_empty() {
            return None;
        }
        let (_, attribute) = rest.rsplit_once("/$").unwrap_or_else(|| panic!("{line}"));
        let stream = attribute.split_once('(').map(|(_, name)| name);
        let stream = stream.unwrap_or_default().trim_end_matches(')');
        let stream = if stream == "$I30" { "" } else { stream };
        Some((record.to_owned(), stream.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}

/// Records by path, those of the filesystem's own files included.
fn records(volume: &Volume) -> HashMap<String, String> {
    let mount = volume.mount("ro,show_sys_files");
    let point = mount.path().to_str().unwrap();
    let text = run("find", &[point, "-printf", "%i /%P\n"]);
    let parse = |line: &str| {
        let (record, path) = line.split_once(' ').unwrap();
        (path.to_owned(), record.to_owned())
    };
    let mut records: HashMap<_, _> = text.lines().map(parse).collect();
    records.insert("/$MFT".to_owned(), "0".to_owned());
    records
}

fn named(path: &str, records: &HashMap<String, String>) -> (String, String) {
    let (file, stream) = match records.get(path) {
        Some(_) => (path, ""),
        None => path.rsplit_once(':').unwrap_or((path, "")),
    };
    let record = records.get(file).unwrap_or_else(|| panic!("no {path}"));
    (record.clone(), stream.to_owned())
}

fn assert_same_as_tool(volume: &Volume, cluster_bytes: u64) {
    let records = records(volume);
    let device = ImageFile::open(&volume.image);
    let filesystem = open(&device);
    let clusters = device.geometry().size_bytes / cluster_bytes - 1;
    let mut noise = Noise(3);
    let mut compared = 0;
    for round in 0..120 {
        let (first, count) = match round {
            0 => (0, clusters),
            _ => (noise.below(clusters), 1 << noise.below(9)),
        };
        let last = (first + count).min(clusters) - 1;
        let mut expected = by_tool(volume, first, last);
        // Of the table, each record is its file's here.
        let table = ("0".to_owned(), String::new());
        let has_records = expected.contains(&table);
        expected.remove(&table);
        let start = first * cluster_bytes + noise.below(cluster_bytes);
        let set = Extent::between(start, last * cluster_bytes + 1 + start % cluster_bytes);
        let Some(set) = set else { continue };
        let owners = filesystem.owners(&device, &set.into(), usize::MAX);
        assert_eq!(owners.gaps, [""; 0]);
        let files = owners.files.iter();
        let mut found: BTreeSet<_> = files.map(|file| named(&file.path, &records)).collect();
        if has_records {
            // Owners of records come on top.
            found.remove(&table);
            assert!(expected.is_subset(&found), "{set}: {expected:?} {found:?}");
        } else {
            assert_eq!(found, expected, "{set}");
        }
        compared += expected.len();
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn owners_are_those_of_ntfscluster() {
    if lacks_root() {
        return;
    }
    for (size_mib, cluster) in [(16, "512"), (24, "4096"), (64, "65536")] {
        let volume = filled(size_mib, &["-c", cluster]);
        println!("{cluster}");
        assert_same_as_tool(&volume, cluster.parse().unwrap());
    }
}

#[test]
fn resident_files_and_all_their_names() {
    if lacks_root() {
        return;
    }
    let volume = filled(24, &[]);
    let device = ImageFile::open(&volume.image);
    let bytes = std::fs::read(&volume.image).unwrap();
    let marker = b"a-resident-marker";
    let at = bytes
        .windows(marker.len())
        .position(|window| window == marker);
    let extent = Extent::new(at.unwrap() as u64 + 2, 3).unwrap();
    let filesystem = open(&device);
    let owners = filesystem.owners(&device, &extent.into(), 9).files;
    assert_eq!(owners.len(), 1, "{owners:?}");
    // Not by its name for DOS.
    assert_eq!(owners[0].path, "/one/a rather long name.txt");
    assert_eq!((owners[0].file_offset_bytes, owners[0].extent), (2, extent));
    let all = klon_partition::ExtentMap::whole(device.geometry().size_bytes);
    let owners = filesystem.owners(&device, &all, usize::MAX).files;
    let has = |path: &str| owners.iter().any(|owner| owner.path == path);
    assert!(has("/large:stream") && has("/large:small") && has("/$Secure:$SDS"));
    let deep: String = (1..=30).map(|number| format!("/{number}")).collect();
    assert!(has(&format!("/deep{deep}/bottom")));
}

#[test]
fn owners_are_found_around_bad_sectors() {
    if lacks_root() {
        return;
    }
    let volume = filled(24, &[]);
    let device = ImageFile::open(&volume.image);
    let survival = survival(&device, &*open(&device), 4096);
    assert!(survival.rounds > 10, "{}", survival.rounds);
    assert!(survival.found_most * 10 >= survival.rounds * 9);
}
