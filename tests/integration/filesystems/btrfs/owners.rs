//! Owners of bytes against btrfs-progs' dump of all trees, and its search by logical address.

use super::tool::{chunks, dump_all, key};
use super::variant::Variant;
use super::{AGE, ImageFile, filesystem, lacks_root, run, script};
use crate::filesystems::owned::{Places, assert_owned, survival};
use crate::support::Mount;
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

const FILL: &str = "
    cd \"$0\"; d=home/deep; for i in $(seq 40); do d=$d/$i; done; mkdir -p $d; seq 99 > $d/bottom
    btrfs -q subvolume create $d/nested; seq 20000 > $d/nested/file
    mkdir links; for i in $(seq 1 2 39); do ln home/$i home/link-$i; done
    cp --reflink=always large home/again || true
    btrfs -q subvolume snapshot home home/within; echo more >> home/within/1
    rm home/3; sync -f .";

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

/// Every place of file contents, by tree and inode.
fn places(file: &Path, subvolumes: &HashMap<String, String>) -> Places {
    let chunks = chunks(file);
    let mut places = Places::new();
    let mut add = |start: u64, len: u64, name: &str| {
        let byte = Extent::new(start, 1).unwrap();
        let chunk = chunks.iter().find(|chunk| chunk.logical.contains(byte));
        let chunk = chunk.unwrap();
        for copy in &chunk.copies {
            let place = copy + start - chunk.logical.offset_bytes();
            places.push((Extent::new(place, len).unwrap(), name.to_owned()));
        }
    };
    let (mut tree, mut leaf, mut item) = (None, 0, (0, 0));
    // Empty but for items of extents.
    let mut name = String::new();
    let (mut disk, mut part) = ((0, 0), (0, 0));
    for line in dump_all(file).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |index: usize| number(words[index]);
        if line.starts_with("leaf ") && words.get(2) == Some(&"items") {
            leaf = word(1);
        } else if !line.starts_with(char::is_whitespace) && line.contains(" tree key (") {
            let (_, id) = line.split_once("key (").unwrap();
            let id = id.split(' ').next().unwrap().replace("FS_TREE", "5");
            tree = subvolumes.contains_key(&id).then_some(id);
        } else if let Some([inode, kind, _]) = key(line) {
            name = match &tree {
                Some(tree) if kind == "EXTENT_DATA" => format!("{tree} {inode}"),
                _ => String::new(),
            };
            item = (word(words.len() - 3), word(words.len() - 1));
        } else if name.is_empty() {
        } else if words.starts_with(&["inline", "extent"]) {
            add(leaf + 101 + item.0 + 21, item.1 - 21, &name);
        } else if words.get(2) == Some(&"disk") {
            disk = (word(4), word(6));
        } else if words.get(2) == Some(&"offset") {
            part = (word(3), word(5));
            if words[0] == "prealloc" && disk.0 != 0 {
                add(disk.0 + part.0, part.1, &name);
            }
        } else if words.get(1) == Some(&"compression") && disk.0 != 0 {
            match words[2] {
                "0" => add(disk.0 + part.0, part.1, &name),
                _ => add(disk.0, disk.1, &name),
            }
        }
    }
    places
}

/// Paths of subvolumes by the ids of their trees.
fn subvolumes(mount: &Mount) -> HashMap<String, String> {
    let text = run(
        "btrfs",
        &["subvolume", "list", mount.path().to_str().unwrap()],
    );
    let parse = |line: &str| {
        let (head, path) = line.split_once(" path ").unwrap();
        let id = head.split(' ').nth(1).unwrap().to_owned();
        (id, format!("/{path}"))
    };
    let top = ("5".to_owned(), String::new());
    text.lines().map(parse).chain([top]).collect()
}

/// Tree and inode of each path.
fn names(mount: &Mount, subvolumes: &HashMap<String, String>) -> HashMap<String, String> {
    let point = mount.path().to_str().unwrap();
    let text = run("find", &[point, "-printf", "%i /%P\\n"]);
    let parse = |line: &str| {
        let (inode, path) = line.split_once(' ').unwrap();
        let holds = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let holding = subvolumes.iter().filter(|(_, prefix)| holds(prefix));
        let (tree, _) = holding.max_by_key(|(_, prefix)| prefix.len()).unwrap();
        (path.to_owned(), format!("{tree} {inode}"))
    };
    text.lines().map(parse).collect()
}

#[test]
fn owners_are_those_of_btrfs_progs() {
    if lacks_root() {
        return;
    }
    for name in ["default", "mixed", "single", "old", "xxhash"] {
        let variant = Variant::named(name);
        let directory = tempfile::tempdir().unwrap();
        let file = variant.make(directory.path());
        let mount = variant.mount(&file);
        script(&mount, AGE);
        script(&mount, FILL);
        drop(mount);
        let mount = Mount::new(&file, &directory.path().join("ro"), "loop,ro");
        let subvolumes = subvolumes(&mount);
        assert!(subvolumes.len() >= 6, "{subvolumes:?}");
        let names = names(&mount, &subvolumes);
        let places = places(&file, &subvolumes);
        let device = ImageFile::open(&file);
        let filesystem = filesystem(&device);
        println!("{name}: {} places", places.len());
        assert_owned(&device, &*filesystem, &places, |path| {
            let name = names.get(path);
            Some(name.unwrap_or_else(|| panic!("no {path}")).clone())
        });
        if ["default", "old"].contains(&name) {
            assert_resolved(&file, &mount, &names);
        }
        drop(mount);
        let survival = survival(&device, &*filesystem, 4096);
        assert!(survival.rounds > 5);
        if name == "default" {
            // There are two copies of each tree block.
            assert_eq!(survival.found_all, survival.rounds);
        }
    }
}

/// The kernel's own way back from bytes to files.
fn assert_resolved(file: &Path, mount: &Mount, names: &HashMap<String, String>) {
    let device = ImageFile::open(file);
    let filesystem = filesystem(&device);
    let point = mount.path().to_str().unwrap();
    let mut resolved = 0;
    for chunk in chunks(file).iter().filter(|chunk| chunk.copies.len() == 1) {
        for logical in chunk
            .logical
            .split(chunk.logical.len_bytes() / 40 / 4096 * 4096)
        {
            let start = logical.offset_bytes();
            let place = chunk.copies[0] + start - chunk.logical.offset_bytes();
            let set = ExtentMap::from(Extent::new(place, 1).unwrap());
            assert!(set.end_bytes() <= device.geometry().size_bytes);
            let arguments = [
                "inspect-internal",
                "logical-resolve",
                "-P",
                &start.to_string(),
                point,
            ];
            let output = crate::support::tool::output("btrfs", &arguments);
            let text = String::from_utf8(output.stdout).unwrap();
            // inode 257 offset 0 root 5
            let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let expected: BTreeSet<String> = words
                .map(|words| format!("{} {}", words[5], words[1]))
                .collect();
            let owners = filesystem.owners(&device, &set, usize::MAX).files;
            let found: BTreeSet<String> = owners
                .iter()
                .map(|owner| names[&owner.path].clone())
                .collect();
            assert_eq!(found, expected, "{start}");
            resolved += usize::from(!expected.is_empty());
        }
    }
    assert!(resolved > 5, "{resolved}");
}
