//! Tables of a system: what it mounts and opens.

use super::{Escape, Reference, unescaped};

/// A line of `/etc/fstab` or `/etc/crypttab` that names a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which volume.
    pub volume: Reference,
    /// Where it is mounted (`none` or `swap` for swap space), or what it is called once it is open.
    pub at: String,
    /// Whether a system starts without it.
    pub is_optional: bool,
}

/// Reads `/etc/fstab` (fstab(5)): a volume, where it is mounted, its type, options.
pub fn fstab(text: &str) -> Vec<Line> {
    let lines = fields(text).filter_map(|fields| line(&fields, fields.first()?, fields.get(1)?));
    lines.collect()
}

/// Reads `/etc/crypttab` (crypttab(5)): the name of a mapping, what is under it, the key, options.
pub fn crypttab(text: &str) -> Vec<Line> {
    let lines = fields(text).filter_map(|fields| line(&fields, fields.get(1)?, fields.first()?));
    lines.collect()
}

/// Both tables have options in the fourth field, and the same ones for what may be missing.
fn line(fields: &[String], volume: &str, at: &str) -> Option<Line> {
    let mut options = fields.get(3).into_iter().flat_map(|it| it.split(','));
    Some(Line {
        volume: Reference::parse(volume)?,
        at: at.to_owned(),
        is_optional: options.any(|it| matches!(it, "nofail" | "noauto")),
    })
}

/// The fields of each line that is no comment.
fn fields(text: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let words = line.split_whitespace();
        words.map(|word| unescaped(word, Escape::OCTAL)).collect()
    })
}
