//! Parts: what is written to them reads as one.

use super::super::append::Append;
use super::super::prune::Punch;
use super::{FilesAppend, ImageFiles};
use klon_partition::Extent;
use klon_partition::device::read_vec;
use std::fs::{self, File};
use std::path::Path;

fn content(name: &Path) -> Vec<u8> {
    let device = ImageFiles::find(name).unwrap().open().unwrap();
    let len = usize::try_from(device.geometry().size_bytes).unwrap();
    read_vec(&*device, 0, len).unwrap()
}

/// The first file, as those open it who write.
pub(in crate::image) fn first(files: &ImageFiles) -> File {
    let mut options = File::options();
    options.read(true).write(true).open(files.first()).unwrap()
}

#[test]
fn parts_read_as_one_and_are_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("a.klon");
    let all: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut output = FilesAppend::create(&name, 16384 + 77).unwrap();
    output.append(&all[..100_000]).unwrap();
    output.sync().unwrap();
    drop(output);
    assert!(content(&name) == all[..100_000]);
    assert!(content(&directory.path().join("a.klon.000")) == all[..100_000]);
    let files = ImageFiles::find(&name).unwrap();
    assert_eq!(files.paths().count(), 7);
    // Cut off within the last part, within one before, at the end of one, and not at all.
    for position in [100_000, 99_000, 50_000, 32768] {
        let files = ImageFiles::find(&name).unwrap();
        let mut output = FilesAppend::resume(&files, first(&files), position, None).unwrap();
        let from = usize::try_from(position).unwrap();
        assert!(content(&name) == all[..from], "{position}");
        output.append(&all[from..120_000]).unwrap();
        output.sync().unwrap();
        drop(output);
        assert!(content(&name) == all[..120_000], "{position}");
        for path in ImageFiles::find(&name).unwrap().paths() {
            assert!(fs::metadata(path).unwrap().len() <= 16384);
        }
    }
}

#[test]
fn a_missing_part_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("a.klon");
    let mut output = FilesAppend::create(&name, 4096).unwrap();
    output.append(&[1; 4 * 4096 + 1]).unwrap();
    output.sync().unwrap();
    let part = |number: u32| directory.path().join(format!("a.klon.{number:03}"));
    fs::rename(part(2), part(90)).unwrap();
    let error = ImageFiles::find(&name).unwrap_err().to_string();
    assert!(error.contains("a.klon.002"), "{error}");
    fs::rename(part(90), part(2)).unwrap();
    assert_eq!(ImageFiles::find(&name).unwrap().missing(), None);
    fs::remove_file(part(4)).unwrap();
    let files = ImageFiles::find(&name).unwrap();
    assert_eq!(files.missing(), Some(part(4)));
    assert!(FilesAppend::resume(&files, first(&files), 4 * 4096, None).is_err());
    assert!(FilesAppend::create(&name, 4096).is_err(), "it exists");
}

#[test]
fn what_only_has_the_name_of_a_part_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("a.klon");
    let mut output = FilesAppend::create(&name, 4096).unwrap();
    output.append(&[1; 2 * 4096 + 1]).unwrap();
    output.sync().unwrap();
    let foreign = directory.path().join("a.klon.003");
    fs::write(&foreign, [7; 5000]).unwrap();
    let files = ImageFiles::find(&name).unwrap();
    assert_eq!(files.paths().count(), 3);
    let error = files.open().err().unwrap().to_string();
    let words = ["a.klon.002", "a.klon.003", "1 bytes", "4096"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert!(FilesAppend::resume(&files, first(&files), 4096, None).is_err());
    assert_eq!(fs::read(&foreign).unwrap(), [7; 5000]);
    // A run that was killed may leave an empty part.
    fs::write(&foreign, []).unwrap();
    assert_eq!(ImageFiles::find(&name).unwrap().paths().count(), 4);
}

#[test]
fn holes_go_through_all_parts() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("a.klon");
    let mut output = FilesAppend::create(&name, 65536).unwrap();
    output.append(&[7; 300_000]).unwrap();
    output.sync().unwrap();
    let files = ImageFiles::find(&name).unwrap();
    let punch = files.punch().unwrap();
    punch
        .punch(Extent::new(40960, 200 * 1024).unwrap())
        .unwrap();
    punch.sync().unwrap();
    let content = content(&name);
    assert!(content[..40960].iter().all(|&byte| byte == 7));
    assert!(
        content[40960..40960 + 200 * 1024]
            .iter()
            .all(|&byte| byte == 0)
    );
    assert!(content[40960 + 200 * 1024..].iter().all(|&byte| byte == 7));
    let device = files.open().unwrap();
    let data = device.data(Extent::new(0, 300_000).unwrap()).unwrap();
    assert_eq!(data.total_bytes(), 300_000 - 200 * 1024);
}
