//! Golden images with flipped bits and cut short: anything may be found, but nothing panics, and
//! nothing outside of the volume is said to be in use. A short replay of what `scripts/fuzz` does.

use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{probe, usage};
use klon_partition::inspect::{disk_usage, inspect};
use klon_partition::{ExtentMap, ReadAt, WriteAt};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Larger images hold more of the same, and take long in unoptimized builds.
const IMAGE_BYTES_MAX: usize = 4 << 20;

/// How many damaged copies of each image are read.
const COPIES: u32 = 150;

/// Numbers without a pattern, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

fn read_all(volume: &MemoryDevice) {
    let size_bytes = volume.geometry().size_bytes;
    if let Ok(Some(filesystem)) = probe(volume) {
        if let Ok(Some(used)) = filesystem.used(volume) {
            assert!(used.end_bytes() <= size_bytes);
        }
        if let Ok(Some(metadata)) = filesystem.metadata(volume) {
            assert!(metadata.end_bytes() <= size_bytes);
        }
        let _ = filesystem.change_token(volume);
        let _ = filesystem.owners(volume, &ExtentMap::whole(size_bytes), 100);
    }
    if let Ok(usage) = usage(volume) {
        assert!(usage.extents.end_bytes() <= size_bytes);
    }
    let _ = inspect(volume);
    if let Ok(disk) = disk_usage(volume) {
        assert!(disk.extents.end_bytes() <= size_bytes);
    }
}

/// Changes a few bytes where there is something, reads, and puts them back.
fn damage(image: &[u8], noise: &mut Noise) {
    let filled: Vec<usize> = (0..image.len()).filter(|&at| image[at] != 0).collect();
    let volume = MemoryDevice::new(image.to_vec(), 512);
    for _ in 0..COPIES {
        let places: Vec<usize> = (0..=noise.below(4))
            .map(|_| filled[noise.below(filled.len())])
            .collect();
        for &at in &places {
            let byte = match noise.below(3) {
                0 => image[at] ^ (1 << noise.below(8)),
                1 => 0xff,
                _ => noise.below(256) as u8,
            };
            volume.write_all_at(&[byte], at as u64).unwrap();
        }
        read_all(&volume);
        for &at in &places {
            volume.write_all_at(&image[at..=at], at as u64).unwrap();
        }
    }
}

#[test]
fn damaged_images_are_read_without_panic() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let mut noise = Noise(1);
    let mut images = 0;
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.extension().is_none_or(|extension| extension != "zst") {
            continue;
        }
        let image = zstd::decode_all(File::open(&path).unwrap()).unwrap();
        if image.len() > IMAGE_BYTES_MAX {
            continue;
        }
        images += 1;
        damage(&image, &mut noise);
        for _ in 0..20 {
            let len = noise.below(image.len());
            read_all(&MemoryDevice::new(image[..len].to_vec(), 512));
        }
    }
    assert!(images >= 12, "{images} images are small enough");
}
