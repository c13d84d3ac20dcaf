//! Looking for the volumes that a configuration names, among those of its disk.

use super::config::Reference;
use super::disk::{Volume, find};
use super::report::Report;
use klon_partition::filesystem::Kind;
use klon_partition::text::quoted;

/// The most files, and the most volumes, that are looked for of those that one configuration names.
const NAMED_MAX: usize = 512;

/// The first of what a configuration names. That there is more is told.
pub fn limited<T>(of: &str, named: impl Iterator<Item = T>, report: &mut Report) -> Vec<T> {
    let mut named: Vec<T> = named.take(NAMED_MAX + 1).collect();
    if named.len() > NAMED_MAX {
        named.truncate(NAMED_MAX);
        report.unknown(&format!(
            "{of} names more than {NAMED_MAX} files or volumes, and the others were not looked at"
        ));
    }
    named
}

/// A volume whose files are looked at, and all volumes of its disk.
pub struct Checked<'a> {
    /// The volume.
    pub volume: &'a Volume,
    /// All of them.
    pub all: &'a [Volume],
}

/// A volume that a configuration names.
pub struct Named<'a> {
    /// Which configuration.
    pub of: &'a str,
    /// In which of its words.
    pub what: &'a str,
    /// The name.
    pub reference: &'a Reference,
    /// Whether the system starts without the volume, too.
    pub is_optional: bool,
}

impl Checked<'_> {
    /// Looks for a volume that is named.
    pub fn look_for(&self, named: &Named<'_>, report: &mut Report) {
        let Named {
            of,
            what,
            reference,
            is_optional,
        } = *named;
        let shown = match reference {
            Reference::Uuid(value) => format!("UUID={}", quoted(value)),
            Reference::Label(value) => format!("LABEL={}", quoted(value)),
            Reference::PartUuid(value) => format!("PARTUUID={}", quoted(value)),
            Reference::PartLabel(value) => format!("PARTLABEL={}", quoted(value)),
            Reference::Device(path) => {
                return report.unknown(&format!(
                    "{of}: {what}: {} is the name of a device, which the disk does not tell",
                    quoted(path)
                ));
            }
        };
        let inside = self
            .all
            .iter()
            .find(|volume| matches!(volume.kind(), Some(Kind::Luks | Kind::Lvm2 | Kind::Mdraid)));
        match (find(self.all, reference), inside) {
            (Some(volume), _) => {
                report.found(&format!("{of}: {what}: {shown} is {}", volume.name()))
            }
            (None, Some(inside)) => report.unknown(&format!(
                "{of}: {what}: {shown} is no partition of this disk; it may be in {}",
                inside.name()
            )),
            (None, None) if is_optional => report.note(&format!(
                "{of}: {what}: {shown} is not on this disk, and need not be there"
            )),
            (None, None) => report.missing(&format!("{of}: {what}: {shown} is not on this disk")),
        }
    }
}
