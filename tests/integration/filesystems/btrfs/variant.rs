//! Volumes of every shape that mkfs.btrfs makes for one device.

use crate::support::{MIB, Mount, image, run};
use std::path::{Path, PathBuf};

/// How to make a volume.
pub(super) struct Variant {
    pub(super) name: &'static str,
    size_mib: u64,
    /// Of mkfs.btrfs.
    options: &'static [&'static str],
    /// Of mount.
    mounted: &'static str,
}

impl Variant {
    const fn new(
        name: &'static str,
        size_mib: u64,
        options: &'static [&'static str],
        mounted: &'static str,
    ) -> Self {
        Self {
            name,
            size_mib,
            options,
            mounted,
        }
    }

    /// The one of that name.
    pub(super) fn named(name: &str) -> &'static Self {
        VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap()
    }

    /// Makes the volume, without files, in a file of `directory`.
    pub(super) fn make(&self, directory: &Path) -> PathBuf {
        let file = directory.join(format!("{}.img", self.name));
        image::sparse(&file, self.size_mib * MIB);
        let arguments = [
            &["-q", "-L", "klon"],
            self.options,
            &[file.to_str().unwrap()],
        ];
        run("mkfs.btrfs", &arguments.concat());
        file
    }

    /// Mounts the volume in `file`.
    pub(super) fn mount(&self, file: &Path) -> Mount {
        self.mount_with(file, self.mounted)
    }

    /// Mounts the volume in `file` with other options.
    pub(super) fn mount_with(&self, file: &Path, options: &str) -> Mount {
        let options = format!("loop,{options}");
        Mount::new(file, &file.with_extension("mount"), &options)
    }
}

/// All of them; the first is what distributions make by default.
pub(super) const VARIANTS: &[Variant] = &[
    Variant::new("default", 320, &[], "defaults"),
    Variant::new("mixed", 64, &["--mixed"], "compress-force=lzo"),
    Variant::new(
        "single",
        128,
        &["-m", "single", "-n", "4096"],
        "compress-force=zstd",
    ),
    Variant::new(
        "old",
        300,
        &[
            "-m",
            "dup",
            "-O",
            "^skinny-metadata,^no-holes,^extref",
            "-R",
            "^free-space-tree",
        ],
        "space_cache=v1",
    ),
    // Block groups below 100 MiB have no space cache.
    Variant::new(
        "v1-cache",
        8192,
        &["-R", "^free-space-tree"],
        "space_cache=v1",
    ),
    Variant::new(
        "xxhash",
        256,
        &["-d", "dup", "--csum", "xxhash"],
        "nodatasum",
    ),
    Variant::new(
        "sha256",
        200,
        &["--csum", "sha256", "-R", "quota"],
        "nodatacow",
    ),
    Variant::new(
        "blake2",
        256,
        &["--csum", "blake2", "-n", "65536"],
        "autodefrag",
    ),
];
