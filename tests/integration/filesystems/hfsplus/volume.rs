//! Images made by `scripts/images/hfsplus.py`, and what tools say of them.

use super::super::image_file::ImageFile;
use crate::support::{oracle, run};
use klon_partition::ExtentMap;
use klon_partition::filesystem::{self, Basis, Hazard, Usage};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn tool() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/images/hfsplus.py").to_owned()
}

/// An image in a directory of its own.
pub(in super::super) struct Volume {
    pub(super) directory: TempDir,
    pub(in super::super) image: PathBuf,
}

impl Volume {
    pub(super) fn empty() -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("volume.img");
        Self { directory, image }
    }

    pub(in super::super) fn make(size_bytes: u64, options: &[&str]) -> Self {
        let volume = Self::empty();
        let (tool, size) = (tool(), size_bytes.to_string());
        let start = [tool.as_str(), "make", volume.text(), &size];
        run("python3", &[&start[..], options].concat());
        volume
    }

    /// The same volume inside of an HFS wrapper.
    pub(super) fn wrap(&self) -> Self {
        let wrapped = Self::empty();
        run("python3", &[&tool(), "wrap", self.text(), wrapped.text()]);
        wrapped
    }

    pub(in super::super) fn text(&self) -> &str {
        self.image.to_str().unwrap()
    }

    pub(super) fn size_bytes(&self) -> u64 {
        fs::metadata(&self.image).unwrap().len()
    }

    pub(super) fn usage(&self) -> Usage {
        filesystem::usage(&ImageFile::open(&self.image)).unwrap()
    }

    pub(super) fn known_bad(&self) -> ExtentMap {
        filesystem::known_bad(&ImageFile::open(&self.image)).unwrap()
    }

    pub(super) fn metadata(&self) -> ExtentMap {
        let device = ImageFile::open(&self.image);
        let filesystem = filesystem::probe(&device).unwrap().unwrap();
        filesystem.metadata(&device).unwrap().unwrap()
    }

    /// Why the volume is copied whole, with a warning.
    pub(super) fn reason(&self) -> String {
        let usage = self.usage();
        assert_eq!(usage.used(), ExtentMap::whole(self.size_bytes()));
        match usage.basis {
            Basis::Whole {
                reason,
                is_warning: true,
            } => reason,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn hazards(&self) -> Vec<Hazard> {
        self.reason();
        self.usage().summary.unwrap().hazards
    }

    /// What the script reads from the allocation file.
    pub(super) fn marked(&self) -> ExtentMap {
        let json = run("python3", &[&tool(), "used", self.text()]);
        serde_json::from_str(&json).unwrap()
    }

    pub(super) fn blkid(&self, tag: &str) -> Option<String> {
        oracle::blkid(&self.image, tag)
    }

    /// What partclone would copy.
    pub(super) fn partclone_used(&self) -> ExtentMap {
        oracle::partclone_used("hfsplus", &self.image)
    }

    /// Copies what is in use onto noise.
    pub(super) fn copy_to(&self, copy: &Path) {
        let noise = crate::support::tree::noise(11, usize::try_from(self.size_bytes()).unwrap());
        fs::write(copy, noise).unwrap();
        let (input, output) = (
            File::open(&self.image).unwrap(),
            File::options().write(true).open(copy).unwrap(),
        );
        for extent in self.usage().used().iter() {
            let mut buffer = vec![0; usize::try_from(extent.len_bytes()).unwrap()];
            input
                .read_exact_at(&mut buffer, extent.offset_bytes())
                .unwrap();
            output.write_all_at(&buffer, extent.offset_bytes()).unwrap();
        }
    }
}
