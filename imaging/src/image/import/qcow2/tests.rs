//! What klon writes it reads, and damage ends with an error.

use super::Qcow2;
use crate::image::export::qcow2::Qcow2File;
use crate::image::export::{NewFile, Piece, Sink};
use klon_partition::device::{MemoryDevice, read_vec};
use klon_partition::{Extent, ExtentMap, ReadAt};

const SIZE: u64 = (5 << 20) + 4096;

fn content() -> Vec<u8> {
    let mut state = 7_u64;
    (0..SIZE)
        .map(|at| match at >> 18 {
            // Noise, zeroes, text.
            0 | 9 => {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            }
            1..4 | 12.. if at < SIZE - 4096 => 0,
            _ => (at % 251) as u8,
        })
        .collect()
}

fn write(level: Option<i32>) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.qcow2");
    let file = NewFile::create(&path, 64 << 20, false).unwrap();
    let all = content();
    let mut writer = Qcow2File::new(&file, ExtentMap::whole(SIZE), SIZE, level).unwrap();
    for chunk in Extent::new(0, SIZE).unwrap().split(1 << 20) {
        let range = chunk.offset_bytes() as usize..chunk.end_bytes() as usize;
        let content = all[range].to_vec().into();
        writer.put(&Piece { chunk, content }).unwrap();
    }
    let len = writer.finish().unwrap();
    file.into_place(len).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn what_is_written_is_read() {
    for level in [None, Some(3)] {
        let image = Qcow2::open(MemoryDevice::new(write(level), 512)).unwrap();
        assert_eq!(image.geometry().size_bytes, SIZE);
        assert!(read_vec(&image, 0, SIZE as usize).unwrap() == content());
        assert!(read_vec(&image, 70_000, 200_000).unwrap() == content()[70_000..270_000]);
        let data = image.data(Extent::new(0, SIZE).unwrap()).unwrap();
        assert!(data.total_bytes() < SIZE - (1 << 20), "{data:?}");
    }
}

#[test]
fn damage_ends_with_an_error_or_other_bytes_and_never_in_a_panic() {
    let image = write(Some(3));
    for at in (0..200).chain((65_536..image.len()).step_by(977)) {
        let mut damaged = image.clone();
        damaged[at] ^= 0x81;
        damaged.truncate(image.len() - at % 3 * 40_000);
        if let Ok(image) = Qcow2::open(MemoryDevice::new(damaged, 512)) {
            let size = image.geometry().size_bytes.min(SIZE);
            let _ = read_vec(&image, 0, size as usize);
            let _ = Extent::new(0, size).map(|all| image.data(all));
        }
    }
}
