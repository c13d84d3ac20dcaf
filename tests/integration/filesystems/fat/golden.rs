//! The golden FAT images: their used extents are written down beside them.

use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::{self, Basis};
use klon_partition::{ExtentMap, filesystem::Summary};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// `images/NAME.used.json`.
#[derive(Deserialize)]
struct Expected {
    used: ExtentMap,
    kind: String,
    label: Option<String>,
    uuid: Option<String>,
}

fn images() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let entries = fs::read_dir(&directory).expect("images/ is there");
    let mut images: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable directory").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("fat") && name.ends_with(".img.zst")
        })
        .collect();
    images.sort();
    images
}

#[test]
fn golden_images_have_the_used_extents_written_beside_them() {
    let images = images();
    assert!(images.len() >= 4, "only {} golden images", images.len());
    for image in images {
        let packed = fs::read(&image).expect("read image");
        let bytes = zstd::decode_all(&*packed).expect("zstd data");
        let json = image.to_string_lossy().replace(".img.zst", ".used.json");
        let json = fs::read_to_string(json).expect("a .used.json beside each image");
        let expected: Expected = serde_json::from_str(&json).expect("JSON of the known shape");
        let usage = filesystem::usage(&MemoryDevice::new(bytes, 512)).expect("memory reads");
        let Summary {
            kind, label, uuid, ..
        } = usage.summary.expect("recognised");
        let name = image.display();
        assert_eq!(usage.basis, Basis::Map, "{name}");
        assert_eq!(usage.extents, expected.used, "{name}");
        assert_eq!(kind.to_string(), expected.kind, "{name}");
        assert_eq!((label, uuid), (expected.label, expected.uuid), "{name}");
    }
}
