//! Paths from links. A link says which directory has a file, and by which name.

use crate::text::sealed_bytes;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// Directories deeper than this are taken for a loop.
const DEPTH_MAX: usize = 1024;
/// The most bytes of one path.
const PATH_LEN_MAX: usize = 1 << 15;
/// The most bytes of all names that are held.
const NAMES_LEN_MAX: usize = 64 << 20;
/// The most links that are held.
const LINKS_MAX: usize = 1 << 20;
/// The most bytes of all paths that are made.
const PATHS_LEN_MAX: usize = 64 << 20;

/// One name for each of many files, by their numbers.
pub(in crate::filesystem) struct Links<K> {
    root: K,
    names: Vec<u8>,
    links: HashMap<K, Link<K>>,
    paths_len: usize,
}

#[derive(Clone, Copy)]
struct Link<K> {
    parent: K,
    start: usize,
    len: usize,
}

impl<K: Copy + Eq + Hash> Links<K> {
    /// No links yet. The root directory needs none.
    pub(in crate::filesystem) fn new(root: K) -> Self {
        Self {
            root,
            names: Vec::new(),
            links: HashMap::new(),
            paths_len: 0,
        }
    }

    /// Notes that directory `parent` has `file` as `name`, unless the file has a name already.
    /// Whether there was room for it.
    pub(in crate::filesystem) fn add(&mut self, file: K, parent: K, name: &[u8]) -> bool {
        let start = self.names.len();
        if start.saturating_add(name.len()) > NAMES_LEN_MAX || self.links.len() >= LINKS_MAX {
            return false;
        }
        if let Entry::Vacant(slot) = self.links.entry(file) {
            let len = name.len();
            slot.insert(Link { parent, start, len });
            self.names.extend_from_slice(name);
        }
        true
    }

    /// The directory that has `file`, if one is known.
    pub(in crate::filesystem) fn parent(&self, file: K) -> Option<K> {
        self.links.get(&file).map(|link| link.parent)
    }

    /// The path of `file`. A file or directory without a name is called by its `number`, and the path
    /// begins there.
    pub(in crate::filesystem) fn path(&mut self, file: K, number: impl Fn(K) -> u64) -> String {
        let mut names: Vec<String> = Vec::new();
        let (mut at, mut len) = (file, 0_usize);
        while at != self.root {
            let room = PATHS_LEN_MAX.saturating_sub(self.paths_len);
            let is_sane = names.len() < DEPTH_MAX && len < PATH_LEN_MAX.min(room);
            let link = self.links.get(&at).filter(|_| is_sane);
            let Some(link) = link else {
                names.push(format!("<{}>", number(at)));
                break;
            };
            let end = link.start.saturating_add(link.len);
            let name = self.names.get(link.start..end).unwrap_or_default();
            let name = sealed_bytes(name);
            len = len.saturating_add(name.len()).saturating_add(1);
            names.push(name);
            at = link.parent;
        }
        self.paths_len = self.paths_len.saturating_add(len);
        names.reverse();
        format!("/{}", names.join("/"))
    }
}
