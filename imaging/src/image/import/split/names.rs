//! How the name of a part can be taken apart: what all parts have before the suffix, the suffix, and what
//! they have behind it (`split --additional-suffix`).

use klon_partition::{Error, Result, Shown};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest suffix without a dot before it that is looked for.
const BARE_LEN_MAX: usize = 8;
/// Longest suffix of a part that is found: those of `split` grow.
const SIBLING_LEN_MAX: usize = 64;
/// As in `disk_aa.img.gz`.
const EXTENSIONS_MAX: usize = 2;

/// What the names of all parts of one file share.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    directory: &'a Path,
    pub(super) before: &'a [u8],
    after: &'a [u8],
    /// Whether the suffix is all that is behind the last dot.
    pub(super) is_dotted: bool,
}

impl<'a> Frame<'a> {
    /// All ways to take the name of a file apart, with its suffix in each; the most telling first.
    pub(super) fn all(file: &'a Path) -> Vec<(Self, &'a [u8])> {
        let directory = file.parent().unwrap_or(Path::new(""));
        let name = file.file_name().map_or(&[][..], OsStr::as_bytes);
        let mut found = Vec::new();
        let mut add = |before: &'a [u8], suffix: &'a [u8], after: &'a [u8]| {
            let is_dotted = after.is_empty() && before.ends_with(b".");
            let frame = Self {
                directory,
                before,
                after,
                is_dotted,
            };
            let is_stem = !before.is_empty() && before != b".";
            if is_stem && !suffix.is_empty() {
                found.push((frame, suffix));
            }
        };
        let dots = (0..name.len()).filter(|&at| name[at] == b'.').rev();
        let ends: Vec<usize> = (std::iter::once(name.len()))
            .chain(dots.take(EXTENSIONS_MAX))
            .collect();
        if let Some(&dot) = ends.get(1) {
            add(&name[..=dot], &name[dot + 1..], &[]);
        }
        for end in ends {
            let (stem, after) = name.split_at(end);
            for len in lengths(stem) {
                let (before, suffix) = stem.split_at(stem.len() - len);
                if !(after.is_empty() && before.ends_with(b".")) {
                    add(before, suffix, after);
                }
            }
        }
        found
    }

    pub(super) fn path(&self, suffix: &[u8]) -> PathBuf {
        let name = [self.before, suffix, self.after].concat();
        self.directory.join(OsStr::from_bytes(&name))
    }

    /// Whether there is a file of that suffix.
    pub(super) fn has(&self, suffix: &[u8]) -> bool {
        self.path(suffix).is_file()
    }

    /// The name of a part, for messages.
    pub(super) fn name(&self, suffix: &[u8]) -> String {
        let name = [self.before, suffix, self.after].concat();
        OsStr::from_bytes(&name).shown()
    }

    /// Suffixes of all files beside that have the same before and behind them, by length and then in order.
    pub(super) fn suffixes(&self) -> Result<Vec<Vec<u8>>> {
        let failed = |source| Error::Open {
            path: self.directory.to_owned(),
            doing: "list the parts in",
            source,
        };
        let here = match self.directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => self.directory,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(here).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let rest = name.as_bytes().strip_prefix(self.before);
            let suffix = rest.and_then(|rest| rest.strip_suffix(self.after));
            found.extend(
                suffix
                    .filter(|it| (1..=SIBLING_LEN_MAX).contains(&it.len()))
                    .filter(|it| it.iter().all(u8::is_ascii_alphanumeric))
                    .map(<[u8]>::to_vec),
            );
        }
        found.retain(|suffix| self.has(suffix));
        found.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        Ok(found)
    }
}

/// How long the suffix at the end of a stem may be: all of a number, or some of its last letters. One letter
/// comes last, as it says least.
fn lengths(stem: &[u8]) -> Vec<usize> {
    let run = |is_one: fn(&u8) -> bool| stem.iter().rev().take_while(|byte| is_one(byte)).count();
    let digits = run(u8::is_ascii_digit);
    let letters = run(u8::is_ascii_lowercase)
        .max(run(u8::is_ascii_uppercase))
        .min(BARE_LEN_MAX);
    let is_hex = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f' | b'A'..=b'F');
    let mut found: Vec<usize> = [digits].into_iter().filter(|&len| len > 0).collect();
    found.extend(2..=letters);
    // `x0a`, of `split -x`.
    if run(is_hex) >= 2 && letters < 2 && digits < 2 {
        found.push(2);
    }
    found.extend((letters > 0).then_some(1));
    found
}
