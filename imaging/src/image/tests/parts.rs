//! Images in parts: captured, added to, torn, pruned.

use super::super::parts::tests::first;
use super::super::{
    Adopted, FilesAppend, Image, ImageFiles, ImageWriter, forget, forget_from, plan_prune,
    punch_unused,
};
use super::check::check_all;
use super::{MIB, World, content, header};
use crate::change::RungChoice;
use crate::progress::Silent;
use std::fs;
use std::path::Path;

fn image(name: &Path) -> Image {
    Image::open(ImageFiles::find(name).unwrap().open().unwrap()).unwrap()
}

fn room(name: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = ImageFiles::find(name).unwrap();
    let blocks = files
        .paths()
        .map(|path| fs::metadata(path).unwrap().blocks());
    blocks.sum::<u64>() * 512
}

#[test]
fn an_image_in_parts_is_taken_added_to_torn_and_pruned() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("p.klon");
    let mut world = World::small();
    let mut contents = Vec::new();
    for index in 0..3 {
        // Both chunks change.
        world.content[index] ^= 1;
        world.content[MIB + index] ^= 1;
        let mut writer = match index {
            0 => {
                let output = FilesAppend::create(&name, 300_000).unwrap();
                ImageWriter::create(output, header(1 << 20)).unwrap()
            }
            _ => resumed(&name),
        };
        let previous = (index > 0).then(|| image(&name).snapshot(None).unwrap());
        world
            .capture(&mut writer, previous.as_ref(), RungChoice::Auto, &Silent)
            .unwrap();
        contents.push(world.expected());
        if index == 1 {
            tear(&name, &contents, &world);
        }
    }
    let whole = image(&name);
    assert!(check_all(&whole).is_whole);
    let files = ImageFiles::find(&name).unwrap();
    assert!(files.paths().count() > 8 && files.missing().is_none());
    for (number, expected) in (1..).zip(&contents) {
        assert!(&content(&whole, number).unwrap() == expected, "{number}");
    }
    let before = room(&name);
    let plan = plan_prune(&whole, &[1, 2]).unwrap();
    let output = FilesAppend::resume(
        &files,
        first(&files),
        forget_from(&whole, &plan).unwrap(),
        None,
    )
    .unwrap();
    forget(&whole, &plan, output).unwrap();
    let punch = ImageFiles::find(&name).unwrap().punch().unwrap();
    let freed = punch_unused(&image(&name), "p", &punch, &Silent).unwrap();
    assert!(freed > 2 * MIB as u64, "{freed}");
    assert!(before - room(&name) > 2 * MIB as u64);
    let pruned = image(&name);
    assert!(check_all(&pruned).is_whole);
    assert!(content(&pruned, 3).unwrap() == contents[2]);
}

fn resumed(name: &Path) -> ImageWriter<FilesAppend> {
    let image = image(name);
    let adopted = Adopted::find(image.device(), image.header(), image.tail()).unwrap();
    let files = ImageFiles::find(name).unwrap();
    let output = FilesAppend::resume(&files, first(&files), adopted.end, None).unwrap();
    ImageWriter::resume(output, &image, &adopted).unwrap()
}

/// Cuts the end off, and takes the snapshot again.
fn tear(name: &Path, contents: &[Vec<u8>], world: &World) {
    let files = ImageFiles::find(name).unwrap();
    let last = files.paths().last().unwrap().to_owned();
    let file = fs::File::options().write(true).open(&last).unwrap();
    // Within the frame of the second chunk.
    file.set_len(file.metadata().unwrap().len() - 60_000)
        .unwrap();
    assert_eq!(image(name).catalog().snapshots.len(), 1);
    let previous = image(name).snapshot(None).unwrap();
    let mut writer = resumed(name);
    let summary = world
        .capture(&mut writer, Some(&previous), RungChoice::Auto, &Silent)
        .unwrap();
    // Most of it was there.
    assert!(
        summary.added_bytes < MIB as u64 / 2,
        "{}",
        summary.added_bytes
    );
    assert!(content(&image(name), 2).unwrap() == contents[1]);
}
