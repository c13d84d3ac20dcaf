//! What configurations of boot loaders and systems name: kernels, volumes, options. Pure: text in, names out.

mod grub;
mod tables;
#[cfg(test)]
mod tests;

pub use grub::{Root, grub};
pub use tables::{crypttab, fstab};

use klon_partition::text::{sealed_bytes, unsealed};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

/// How a volume is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `UUID=…`
    Uuid(String),
    /// `LABEL=…`
    Label(String),
    /// `PARTUUID=…`
    PartUuid(String),
    /// `PARTLABEL=…`
    PartLabel(String),
    /// A path as `/dev/sda2` or `/dev/mapper/root`.
    Device(String),
}

impl Reference {
    /// A volume as fstab(5), crypttab(5) and the kernel's `root=` name it; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches('"');
        if let Some((directory, link)) = text
            .strip_prefix("/dev/disk/by-")
            .and_then(|it| it.split_once('/'))
            && let Some(of) = Self::tagged(&directory.to_ascii_uppercase())
        {
            return Some(of(unescaped(link, Escape::HEXADECIMAL)));
        }
        match text.split_once('=') {
            Some((tag, value)) => Some(Self::tagged(tag)?(value.trim_matches('"').to_owned())),
            None if text.starts_with("/dev/") => Some(Self::Device(text.to_owned())),
            None => None,
        }
    }

    /// What a tag names a volume by.
    fn tagged(tag: &str) -> Option<fn(String) -> Self> {
        match tag {
            "UUID" => Some(Self::Uuid),
            "LABEL" => Some(Self::Label),
            "PARTUUID" => Some(Self::PartUuid),
            "PARTLABEL" => Some(Self::PartLabel),
            _ => None,
        }
    }
}

/// How bytes are written that would end a word: a mark, and digits.
#[derive(Clone, Copy)]
struct Escape {
    mark: &'static [u8],
    digits: usize,
    radix: u32,
}

impl Escape {
    /// `\040`, in tables (fstab(5)).
    const OCTAL: Self = Self {
        mark: b"\\",
        digits: 3,
        radix: 8,
    };
    /// `\x20`, in the links that udev makes.
    const HEXADECIMAL: Self = Self {
        mark: b"\\x",
        digits: 2,
        radix: 16,
    };

    /// The byte that begins the text, if it is written so, and what is behind it.
    fn split<'a>(&self, text: &'a [u8]) -> Option<(u8, &'a [u8])> {
        let (digits, rest) = text
            .strip_prefix(self.mark)?
            .split_at_checked(self.digits)?;
        let is_digit = |&byte: &u8| char::from(byte).is_digit(self.radix);
        let digits = str::from_utf8(digits).ok()?;
        let byte = u8::from_str_radix(digits, self.radix).ok()?;
        digits
            .as_bytes()
            .iter()
            .all(is_digit)
            .then_some((byte, rest))
    }
}

/// Sealed text in which nothing is escaped any more.
fn unescaped(text: &str, escape: Escape) -> String {
    let escaped = unsealed(text).into_vec();
    let mut rest = &escaped[..];
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, behind)) = rest.split_first() {
        let (byte, behind) = escape.split(rest).unwrap_or((first, behind));
        bytes.push(byte);
        rest = behind;
    }
    sealed_bytes(&bytes)
}

/// A kernel that a boot loader starts, or a command line alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The kernel's path on its volume, where the entry names one.
    pub kernel: Option<String>,
    /// Paths of its initial RAM disks.
    pub initrds: Vec<String>,
    /// Its command line.
    pub options: String,
    /// The volume that kernel and RAM disks are on.
    pub root: Rc<Root>,
}

impl Entry {
    /// The volumes that its command line names, each with the option that does.
    pub fn volumes(&self) -> Vec<(&str, Reference)> {
        let mut found = Vec::new();
        for word in self.options.split_whitespace() {
            let Some((option, value)) = word.split_once('=') else {
                continue;
            };
            let reference = match option {
                "root" | "resume" => Reference::parse(value),
                "rd.luks.uuid" => {
                    let uuid = value.strip_prefix("luks-").unwrap_or(value);
                    Some(Reference::Uuid(uuid.to_owned()))
                }
                "cryptdevice" => value.split(':').next().and_then(Reference::parse),
                _ => None,
            };
            found.extend(reference.map(|reference| (option, reference)));
        }
        found
    }
}

/// A word without quotes, if it has no variables and names no device of GRUB's.
fn plain(word: &str) -> Option<String> {
    let word = word.trim_matches(|c| c == '"' || c == '\'');
    (!word.is_empty() && !word.contains('$') && !word.starts_with('(')).then(|| word.to_owned())
}

/// Reads an entry of the Boot Loader Specification (`loader/entries/*.conf`).
pub fn bls(text: &str) -> Entry {
    let mut entry = Entry::default();
    for (key, value) in pairs(text) {
        match key {
            "linux" | "efi" | "uki" => entry.kernel = plain(value),
            "initrd" => entry
                .initrds
                .extend(value.split_whitespace().filter_map(plain)),
            "options" => {
                entry.options.push(' ');
                entry.options.push_str(value);
            }
            _ => {}
        }
    }
    entry
}

/// Reads `extlinux.conf` or `syslinux.cfg`, which is in `directory`: each label's kernel. Paths without a slash at
/// their beginning start there.
pub fn extlinux(text: &str, directory: &str) -> Vec<Entry> {
    let path = |word: &str| {
        plain(word).map(|path| match path.starts_with('/') {
            true => path,
            false => format!("/{directory}/{path}"),
        })
    };
    let mut entries: Vec<Entry> = Vec::new();
    for (key, value) in pairs(text) {
        let key = key.to_ascii_lowercase();
        if key == "label" {
            entries.push(Entry::default());
        }
        let Some(entry) = entries.last_mut() else {
            continue;
        };
        match &*key {
            "linux" => entry.kernel = path(value),
            "kernel" => entry.kernel = path(value).filter(|path| !is_module(path)),
            "initrd" => entry.initrds.extend(value.split(',').filter_map(path)),
            "append" => value.clone_into(&mut entry.options),
            _ => {}
        }
    }
    entries.retain(|entry| entry.kernel.is_some());
    entries
}

/// Whether `KERNEL` starts a program of SYSLINUX by this name, as its menus.
fn is_module(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    [".c32", ".com", ".cbt"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// Lines with a key and a value; comments are left out.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        Some((key, value.trim()))
    })
}
