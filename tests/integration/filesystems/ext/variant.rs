//! Volumes of every shape that mke2fs makes.

use super::tool::run;
use klon_partition::filesystem::Kind::{self, Ext2, Ext3, Ext4};
use std::path::{Path, PathBuf};

/// How to make a volume, and what is true of it.
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    size: &'static str,
    options: &'static [&'static str],
    /// Whether the running kernel can mount it.
    pub(super) kernel_mounts: bool,
    /// Whether partclone can read it; it stops with "bitmap error" at bigalloc.
    pub(super) partclone_knows: bool,
}

impl Variant {
    /// The one of that name.
    pub(super) fn named(name: &str) -> &'static Self {
        VARIANTS
            .iter()
            .find(|variant| variant.name == name)
            .unwrap()
    }

    const fn new(
        name: &'static str,
        kind: Kind,
        size: &'static str,
        options: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            kind,
            size,
            options,
            kernel_mounts: true,
            partclone_knows: true,
        }
    }

    const fn without_mount(self) -> Self {
        Self {
            kernel_mounts: false,
            ..self
        }
    }

    const fn without_partclone(self) -> Self {
        Self {
            partclone_knows: false,
            ..self
        }
    }

    /// Makes the volume with some files in it, in a file of `directory`.
    pub(super) fn make(&self, directory: &Path) -> PathBuf {
        let tree = directory.join("tree");
        if !tree.exists() {
            populate(&tree);
        }
        let image = directory.join(format!("{}.img", self.name));
        let path = image.to_str().unwrap();
        run("truncate", &["-s", self.size, path]);
        let mut arguments = vec!["-q", "-F", "-L", "klon", "-d", tree.to_str().unwrap()];
        arguments.extend(self.options);
        arguments.push(path);
        run("mke2fs", &arguments);
        image
    }
}

fn populate(tree: &Path) {
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    for index in 0..40_usize {
        let bytes = vec![u8::try_from(index).unwrap(); index * 997];
        std::fs::write(tree.join(format!("a/file-{index}")), bytes).unwrap();
    }
    std::fs::write(tree.join("a/b/large"), vec![1; 3_000_000]).unwrap();
    std::os::unix::fs::symlink("a/b", tree.join("link")).unwrap();
}

/// All of them; the first is what distributions make by default.
pub(super) const VARIANTS: &[Variant] = &[
    Variant::new("ext4", Ext4, "64M", &["-t", "ext4", "-b", "4096"]),
    Variant::new("ext2", Ext2, "40M", &["-t", "ext2"]),
    Variant::new("ext3", Ext3, "40M", &["-t", "ext3"]),
    Variant::new("1k", Ext4, "100M", &["-t", "ext4", "-b", "1024"]),
    Variant::new("2k", Ext4, "100M", &["-t", "ext4", "-b", "2048"]),
    Variant::new("64k", Ext4, "400M", &["-t", "ext4", "-b", "65536"]).without_mount(),
    Variant::new("rev0", Ext2, "20M", &["-r", "0", "-O", "none"]),
    Variant::new("no-flex", Ext4, "300M", &["-t", "ext4", "-O", "^flex_bg"]),
    Variant::new(
        "uninit",
        Ext4,
        "300M",
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"],
    ),
    Variant::new(
        "uninit-32",
        Ext4,
        "300M",
        &[
            "-t",
            "ext4",
            "-O",
            "^metadata_csum,^64bit,uninit_bg,^flex_bg",
        ],
    ),
    Variant::new("32-byte", Ext4, "300M", &["-t", "ext4", "-O", "^64bit"]),
    Variant::new(
        "no-checksum",
        Ext4,
        "64M",
        &["-t", "ext4", "-O", "^metadata_csum,^uninit_bg"],
    ),
    Variant::new(
        "meta_bg",
        Ext4,
        "200M",
        &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"],
    ),
    Variant::new(
        "meta_bg-no-flex",
        Ext4,
        "600M",
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "meta_bg,^resize_inode,^flex_bg",
        ],
    ),
    Variant::new(
        "no-resize",
        Ext4,
        "100M",
        &["-t", "ext4", "-O", "^resize_inode"],
    ),
    Variant::new(
        "bigalloc",
        Ext4,
        "300M",
        &["-t", "ext4", "-O", "bigalloc", "-C", "65536"],
    )
    .without_partclone(),
    Variant::new(
        "bigalloc-1k",
        Ext4,
        "100M",
        &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384"],
    )
    .without_partclone(),
    Variant::new(
        "sparse_super2",
        Ext4,
        "300M",
        &["-t", "ext4", "-b", "1024", "-O", "sparse_super2"],
    ),
    Variant::new(
        "every-super",
        Ext4,
        "300M",
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^sparse_super,^resize_inode",
        ],
    ),
    Variant::new("small-inodes", Ext3, "64M", &["-t", "ext3", "-I", "128"]),
    Variant::new(
        "journals",
        Ext4,
        "64M",
        &["-t", "ext4", "-b", "1024", "-O", "orphan_file,fast_commit"],
    ),
    Variant::new("inline", Ext4, "64M", &["-t", "ext4", "-O", "inline_data"]),
    Variant::new("quota", Ext4, "64M", &["-t", "ext4", "-O", "quota,project"]).without_mount(),
    Variant::new(
        "names",
        Ext4,
        "64M",
        &[
            "-t",
            "ext4",
            "-O",
            "encrypt,casefold,ea_inode,large_dir,verity",
        ],
    )
    .without_mount(),
    Variant::new("mmp", Ext4, "64M", &["-t", "ext4", "-O", "mmp"]),
    Variant::new(
        "seed",
        Ext4,
        "64M",
        &["-t", "ext4", "-O", "metadata_csum_seed"],
    ),
    Variant::new(
        "many-groups",
        Ext4,
        "500M",
        &["-t", "ext4", "-b", "1024", "-g", "1024"],
    ),
    Variant::new(
        "odd-end",
        Ext4,
        "99999K",
        &["-t", "ext4", "-b", "1024", "-O", "^flex_bg"],
    ),
];
