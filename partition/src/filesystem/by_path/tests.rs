//! Paths over a filesystem that is made up.

use super::{Directories, Listing, Node, NodeKind, Paths, Run};
use crate::device::Patches;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

/// Directories by number, and what is in them: a name, what it stands for, and its contents.
struct MadeUp;

const TREE: [(u64, &str, u64, NodeKind, &str); 6] = [
    (1, "etc", 2, NodeKind::Directory, ""),
    (2, "fstab", 3, NodeKind::File, "a line"),
    (2, "mtab", 4, NodeKind::Link, "../etc/./fstab"),
    (1, "round", 5, NodeKind::Link, "/round"),
    (1, "conf", 6, NodeKind::Link, "etc"),
    (1, "lost", 7, NodeKind::Link, "/no/such"),
];

impl Directories for MadeUp {
    fn root(&self) -> Result<Node> {
        Ok(Node {
            number: 1,
            kind: NodeKind::Directory,
            size_bytes: 0,
        })
    }

    fn names(&self, directory: &Node, names_max: usize) -> Result<Listing> {
        let own = TREE.iter().filter(|it| it.0 == directory.number);
        Ok(Listing::first(own.map(|it| it.1.to_owned()), names_max))
    }

    fn child(&self, directory: &Node, name: &str) -> Result<Option<Node>> {
        let found = TREE
            .iter()
            .find(|it| it.0 == directory.number && it.1 == name);
        Ok(found.map(|it| Node {
            number: it.2,
            kind: it.3,
            size_bytes: it.4.len() as u64,
        }))
    }

    fn contents(&self, node: &Node, len_max: usize) -> Result<Vec<u8>> {
        let found = TREE.iter().find(|it| it.2 == node.number);
        let bytes = found.map_or(&[][..], |it| it.4.as_bytes());
        Ok(bytes.iter().take(len_max).copied().collect())
    }

    /// Each file in two parts: its first 4 bytes, and the others.
    fn runs(&self, file: &Node, _: usize) -> Result<Option<Vec<Run>>> {
        let run = |file_offset_bytes, offset_bytes, len_bytes| Run {
            file_offset_bytes,
            extent: Extent::new(offset_bytes, len_bytes).unwrap(),
        };
        let runs = vec![run(0, 8000 + file.number, 4), run(4, 9000, 512)];
        Ok((file.number == 3).then_some(runs))
    }
}

#[test]
fn a_change_of_a_file_is_one_of_the_places_where_it_lies() {
    let paths = Paths::new(MadeUp);
    let file = paths.locate("etc/mtab", 99).unwrap().unwrap();
    let mut patches = Patches::new();
    assert!(file.change(b"a LINe", &mut patches).unwrap());
    let expected: ExtentMap = [(8005, 2), (9000, 1)]
        .iter()
        .filter_map(|&(at, len)| Extent::new(at, len))
        .collect();
    assert_eq!(patches.extents(), expected);
    assert_eq!(file.first_bytes(), Some(8003));
    assert!(paths.locate("etc", 99).unwrap().is_none());
}

#[test]
fn paths_are_followed_over_links_and_upwards() {
    let paths = Paths::new(MadeUp);
    for path in [
        "/etc/fstab",
        "etc//fstab",
        "conf/mtab",
        "/../etc/../conf/fstab",
    ] {
        assert_eq!(paths.read(path, 99).unwrap().unwrap(), b"a line", "{path}");
    }
    assert_eq!(paths.read("etc/fstab", 3).unwrap().unwrap(), b"a l");
}

#[test]
fn a_list_of_names_ends_where_it_is_to_and_says_so() {
    let paths = Paths::new(MadeUp);
    let listed = |names_max| paths.list("/conf", names_max).unwrap().unwrap();
    let listing = |names: &[&str], is_whole| Listing {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        is_whole,
    };
    assert_eq!(listed(3), listing(&["fstab", "mtab"], true));
    assert_eq!(listed(2), listing(&["fstab", "mtab"], true));
    assert_eq!(listed(1), listing(&["fstab"], false));
    assert_eq!(listed(0), listing(&[], false));
    assert_eq!(paths.list("/", 9).unwrap().unwrap().names.len(), 4);
}

#[test]
fn what_leads_nowhere_is_nothing() {
    let paths = Paths::new(MadeUp);
    for path in ["/round", "/lost", "/etc/fstab/x", "/etc/none", "none/fstab"] {
        assert_eq!(paths.find(path).unwrap(), None, "{path}");
    }
    assert_eq!(paths.read("/etc", 9).unwrap(), None);
    assert_eq!(paths.list("/etc/fstab", 9).unwrap(), None);
}
