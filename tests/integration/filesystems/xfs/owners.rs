//! Owners of bytes against the kernel's maps of files and of space.

use super::variant::Variant;
use super::{ImageFile, filesystem, lacks_root, run};
use crate::filesystems::owned::{Places, assert_owned, survival};
use crate::support::Mount;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Directories of every form, deep ones, hard links, shared blocks, attributes, links.
const FILL: &str = "
    mkdir \"$0\"/few \"$0\"/block \"$0\"/node \"$0\"/links; cd \"$0\"/node
    seq 60000 | split -l 20 -a 4 - a-file-with-a-rather-long-name-
    for i in $(seq 3) ; do echo $i > ../few/$i; done
    for i in $(seq 40) ; do seq $((i * 300)) > ../block/file-$i; done
    rm ./*[aeiou]
    for i in $(seq 1 4 40); do ln ../block/file-$i ../links/link-$i; done
    cp --reflink=auto ../large ../shared
    cp --reflink=auto ../block/file-40 ../few/again
    d=../deep; for i in $(seq 60); do d=$d/$i; done; mkdir -p $d; seq 99 > $d/bottom
    ln -s $(printf %0900d 1) ../few/long
    mkdir ../attributed
    setfattr -n user.of-directory -v $(printf %09000d 0) ../attributed
    mkdir ../gone; seq 9999 > ../gone/file; rm -r ../gone";

fn fill(image: &Path, variant: &Variant, directory: &Path) {
    variant.age(image, directory);
    let mount = Mount::new(image, &directory.join("mnt"), "loop");
    run("sh", &["-ec", FILL, mount.path().to_str().unwrap()]);
}

/// The inode of each path, and whether it is a regular file.
fn inodes(mount: &Mount) -> HashMap<String, (String, bool)> {
    let point = mount.path().to_str().unwrap();
    let text = run("find", &[point, "-printf", "%i %y /%P\\n"]);
    let parse = |line: &str| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let (inode, kind) = (words.next().unwrap(), words.next().unwrap());
        (words.next().unwrap(), (inode, kind == "f"))
    };
    text.lines().map(parse).collect()
}

fn sectors(first: &str, last: &str) -> Extent {
    let [first, last] = [first, last].map(|sector| sector.parse::<u64>().unwrap());
    Extent::between(first * 512, (last + 1) * 512).unwrap()
}

/// Where data and attributes of all inodes are, by the tree of reverse mappings.
fn by_space(mount: &Mount) -> Places {
    let text = run(
        "xfs_io",
        &["-c", "fsmap -m", mount.path().to_str().unwrap()],
    );
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let owner = fields[5].strip_prefix("inode_")?;
        let (inode, fork) = owner.split_once('_').unwrap();
        let is_content = fork == "data" || fork == "attr";
        is_content.then(|| (sectors(fields[3], fields[4]), inode.to_owned()))
    };
    text.lines().skip(1).filter_map(parse).collect()
}

/// Where data and attributes of all regular files are, file by file.
fn by_file(mount: &Mount, inodes: &HashMap<String, (String, bool)>) -> Places {
    let script = "find . -type f -print0 | xargs -0 xfs_io -r -c bmap -c 'bmap -a'";
    let point = mount.path().to_str().unwrap();
    let text = run("sh", &["-ec", &format!("cd \"$0\"; {script}"), point]);
    let mut places = Places::new();
    let mut inode = String::new();
    for line in text.lines() {
        if let Some((path, _)) = line.strip_prefix('.').and_then(|line| line.split_once(':')) {
            inode.clone_from(&inodes[path].0);
        } else if let Some((first, last)) = line.split(' ').next_back().unwrap().split_once("..") {
            places.push((sectors(first, last), inode.clone()));
        }
    }
    places
}

struct Filled {
    _directory: tempfile::TempDir,
    image: PathBuf,
    by_space: Option<Places>,
    by_file: Places,
    inodes: HashMap<String, (String, bool)>,
}

fn filled(name: &str) -> Filled {
    let directory = tempfile::tempdir().unwrap();
    let variant = Variant::named(name);
    let image = variant.make(directory.path());
    fill(&image, variant, directory.path());
    let mount = Mount::new(&image, &directory.path().join("mnt"), "loop,ro");
    let inodes = inodes(&mount);
    let has_reverse_mappings = variant
        .options
        .iter()
        .any(|option| option.contains("rmapbt"));
    Filled {
        by_space: has_reverse_mappings.then(|| by_space(&mount)),
        by_file: by_file(&mount, &inodes),
        inodes,
        image,
        _directory: directory,
    }
}

#[test]
fn owners_are_those_of_the_kernel() {
    if lacks_root() {
        return;
    }
    for name in ["default", "many-groups", "64k-blocks", "plain"] {
        let filled = filled(name);
        let device = ImageFile::open(&filled.image);
        let filesystem = filesystem(&filled.image);
        println!("{name}");
        assert_owned(&device, &*filesystem, &filled.by_file, |path| {
            let (inode, is_regular) = &filled.inodes[path];
            is_regular.then(|| inode.clone())
        });
        if let Some(places) = &filled.by_space {
            assert_owned(&device, &*filesystem, places, |path| {
                Some(filled.inodes[path].0.clone())
            });
        }
    }
}

/// Where no kernel helps: the files of the prototype.
#[test]
fn owners_of_version_4_are_the_files() {
    for name in ["v4", "v4-512", "v4-4k-sectors"] {
        let directory = tempfile::tempdir().unwrap();
        let image = Variant::named(name).make(directory.path());
        let device = ImageFile::open(&image);
        let all = ExtentMap::whole(device.geometry().size_bytes);
        let owners = filesystem(&image).owners(&device, &all, usize::MAX);
        assert_eq!(owners.gaps, [""; 0]);
        let paths = owners.files.iter().map(|file| file.path.as_str());
        let mut files: Vec<&str> = paths.filter(|path| path.contains("file")).collect();
        files.sort_unstable();
        let mut expected: Vec<String> = (0..20).map(|n| format!("/a/file-{n}")).collect();
        expected.sort_unstable();
        assert_eq!(files, expected, "{name}");
    }
}

#[test]
fn owners_are_found_around_bad_sectors() {
    if lacks_root() {
        return;
    }
    let filled = filled("many-groups");
    let device = ImageFile::open(&filled.image);
    let filesystem = filesystem(&filled.image);
    let survival = survival(&device, &*filesystem, 1024);
    assert!(survival.rounds > 10, "{}", survival.rounds);
    assert!(survival.found_most * 10 >= survival.rounds * 9);
}
