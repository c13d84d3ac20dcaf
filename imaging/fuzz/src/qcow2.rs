//! qcow2 images.

use super::scratch;
use klon_imaging::image::export::qcow2::Qcow2File;
use klon_imaging::image::export::{NewFile, Piece, Sink};
use klon_imaging::image::import::qcow2::Qcow2;
use klon_partition::device::{MemoryDevice, read_vec};
use klon_partition::{Extent, ExtentMap, ReadAt};

const SIZE_BYTES: u64 = 300_000;
/// Of what an image claims to be, so much is read.
const READ_BYTES_MAX: u64 = 8 << 20;

/// Reads `data` as an image.
pub fn check(data: &[u8]) {
    let Ok(image) = Qcow2::open(MemoryDevice::new(data.to_vec(), 512)) else {
        return;
    };
    let Some(all) = image.geometry().extent() else {
        return;
    };
    let Ok(map) = image.data(all) else {
        return;
    };
    assert!(map.end_bytes() <= all.end_bytes());
    let mut left = READ_BYTES_MAX;
    for part in map.iter().flat_map(|extent: Extent| extent.split(1 << 16)) {
        let _ = read_vec(&image, part.offset_bytes(), part.len_bytes() as usize);
        left = left.saturating_sub(part.len_bytes());
        if left == 0 {
            return;
        }
    }
}

/// A small image, compressed with a level.
#[must_use]
pub fn seed(level: Option<i32>) -> Vec<u8> {
    let directory = scratch();
    let path = directory.path().join("seed.qcow2");
    let file = NewFile::create(&path, 2 << 20, false).expect("a scratch file");
    let wanted = ExtentMap::whole(SIZE_BYTES);
    let mut writer = Qcow2File::new(&file, wanted, SIZE_BYTES, level).expect("a small disk");
    let content: Vec<u8> = (0..SIZE_BYTES)
        .map(|at| if at >> 16 == 1 { 0 } else { (at % 251) as u8 })
        .collect();
    let piece = Piece {
        chunk: Extent::new(0, SIZE_BYTES).expect("not empty"),
        content: content.into(),
    };
    writer.put(&piece).expect("room in a scratch file");
    let len_bytes = writer.finish().expect("room in a scratch file");
    file.into_place(len_bytes).expect("a scratch file");
    std::fs::read(path).expect("a scratch file")
}
