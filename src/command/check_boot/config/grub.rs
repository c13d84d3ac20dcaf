//! GRUB's configuration: kernels, and the volumes that it takes them from.

use super::{Entry, Reference, plain};
use std::collections::HashSet;
use std::rc::Rc;

/// The volume that a loader takes the files of an entry from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Root {
    /// The one that its configuration is on.
    #[default]
    Own,
    /// One that has this name.
    Named(Reference),
    /// The first one that has this file.
    WithFile(String),
    /// One that the configuration alone does not tell, as it says.
    Untold(String),
}

/// What a GRUB configuration starts, and the volumes that it searches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grub {
    /// Its kernels.
    pub entries: Vec<Entry>,
    /// What `search` looks for; each once.
    pub searched: Vec<Reference>,
}

/// Reads a `grub.cfg`. What variables stand for is not known, so names with one in them are left out.
pub fn grub(text: &str) -> Grub {
    let mut reader = Reader::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        reader.line(&words);
    }
    reader.found
}

#[derive(Default)]
struct Reader {
    found: Grub,
    searched: HashSet<Reference>,
    /// GRUB's variable `root`.
    root: Rc<Root>,
    /// What it was where each block began that is open: an entry of the menu keeps its own to itself.
    outer: Vec<Rc<Root>>,
}

impl Reader {
    fn line(&mut self, words: &[&str]) {
        match words {
            ["linux" | "linuxefi" | "linux16", kernel, options @ ..] => {
                self.found.entries.push(Entry {
                    kernel: plain(kernel),
                    initrds: Vec::new(),
                    options: options.join(" "),
                    root: self.root.clone(),
                });
            }
            ["initrd" | "initrdefi" | "initrd16", paths @ ..] => {
                if let Some(entry) = self.found.entries.last_mut() {
                    let paths = paths.iter().filter_map(|path| plain(path));
                    entry.initrds.extend(paths);
                }
            }
            ["search.fs_uuid", name, rest @ ..] => self.search(Some(Key::Uuid), name, sets(rest)),
            ["search.fs_label", name, rest @ ..] => self.search(Some(Key::Label), name, sets(rest)),
            ["search.file", name, rest @ ..] => self.search(Some(Key::File), name, sets(rest)),
            ["search", arguments @ ..] => {
                let search = Search::parse(arguments);
                if let Some(name) = search.name {
                    self.search(search.key, name, search.sets_root);
                }
            }
            ["set", assignment, ..] | [assignment] if assignment.starts_with("root=") => {
                if let Some(value) = assignment.strip_prefix("root=") {
                    self.root = Rc::new(Root::Untold(unquoted(value).to_owned()));
                }
            }
            [.., "{"] => self.outer.push(self.root.clone()),
            ["}", ..] => {
                if let Some(root) = self.outer.pop() {
                    self.root = root;
                }
            }
            _ => {}
        }
    }

    fn search(&mut self, key: Option<Key>, name: &str, sets_root: bool) {
        let root = match (key, plain(name)) {
            (Some(Key::Uuid), Some(uuid)) => Root::Named(Reference::Uuid(uuid)),
            (Some(Key::Label), Some(label)) => Root::Named(Reference::Label(label)),
            (Some(Key::File), Some(path)) => Root::WithFile(path),
            (None, _) | (_, None) => Root::Untold(unquoted(name).to_owned()),
        };
        if let Root::Named(reference) = &root
            && self.searched.insert(reference.clone())
        {
            self.found.searched.push(reference.clone());
        }
        if sets_root {
            self.root = Rc::new(root);
        }
    }
}

/// Whether a module's `search.…` sets `root`, by the words behind its name.
fn sets(rest: &[&str]) -> bool {
    matches!(rest, ["root", ..])
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(|c| c == '"' || c == '\'')
}

/// By what `search` looks for a volume.
#[derive(Clone, Copy)]
enum Key {
    Uuid,
    Label,
    File,
}

/// The arguments of `search`.
#[derive(Default)]
struct Search<'a> {
    key: Option<Key>,
    name: Option<&'a str>,
    sets_root: bool,
}

impl<'a> Search<'a> {
    fn parse(arguments: &[&'a str]) -> Self {
        let mut search = Self::default();
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            match argument {
                "--fs-uuid" | "-u" => search.key = Some(Key::Uuid),
                "--label" | "--fs-label" | "-l" => search.key = Some(Key::Label),
                "--file" | "-f" => search.key = Some(Key::File),
                // `root` is what is set where no variable is named.
                "--set" | "-s" | "--set=root" => search.sets_root = true,
                hint if hint.starts_with("--hint") && !hint.contains('=') => {
                    arguments.next();
                }
                option if option.starts_with('-') => {}
                name => search.name = Some(name),
            }
        }
        search
    }
}
