//! What is started and mounted then: configurations of loaders, command lines, fstab and crypttab.

use super::Report;
use super::config::{self, Entry, Reference};
use super::disk::{Volume, find};
use anyhow::Result;
use klon_partition::filesystem::Kind;
use klon_partition::text::quoted;

const GRUB_CONFIGS: [&str; 4] = [
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
    "grub/grub.cfg",
    "grub2/grub.cfg",
];
const BLS_DIRECTORIES: [&str; 2] = ["loader/entries", "boot/loader/entries"];
const EXTLINUX_CONFIGS: [&str; 4] = [
    "boot/extlinux/extlinux.conf",
    "extlinux/extlinux.conf",
    "boot/syslinux/syslinux.cfg",
    "syslinux/syslinux.cfg",
];

/// Looks at the configurations on all volumes that klon can read.
///
/// # Errors
/// When a file can't be read.
pub fn check(volumes: &[Volume], report: &mut Report) -> Result<()> {
    let mut systems = 0;
    for volume in volumes {
        let all = volumes;
        if volume.paths().is_none() {
            unreadable(volume, report);
            continue;
        }
        let checked = Checked { volume, all };
        checked.loaders(report)?;
        systems += checked.system(report)?;
    }
    if systems == 0 {
        report.unknown("no volume that klon can read has an /etc/fstab");
    }
    Ok(())
}

/// A volume that may hold a system, whose files klon can't read.
fn unreadable(volume: &Volume, report: &mut Report) {
    let may_hold_one = match volume.kind() {
        None | Some(Kind::Swap) => false,
        Some(_) => true,
    };
    if may_hold_one {
        report.unknown(&format!(
            "{}: klon can't read its files, so what is in it was not looked at",
            volume.name()
        ));
    }
}

struct Checked<'a> {
    volume: &'a Volume,
    all: &'a [Volume],
}

impl Checked<'_> {
    fn loaders(&self, report: &mut Report) -> Result<()> {
        let mut grub_configs: Vec<String> = GRUB_CONFIGS.map(str::to_owned).into();
        if self.volume.is_esp() {
            let vendors = self.volume.names("EFI")?;
            grub_configs.extend(
                vendors
                    .iter()
                    .map(|vendor| format!("EFI/{vendor}/grub.cfg")),
            );
        }
        for path in grub_configs {
            if let Some(text) = self.volume.text(&path)? {
                self.grub(&path, &text, report)?;
            }
        }
        for directory in BLS_DIRECTORIES {
            for name in self.volume.names(directory)? {
                let path = format!("{directory}/{name}");
                if name.ends_with(".conf")
                    && let Some(text) = self.volume.text(&path)?
                {
                    self.entries(&path, &[config::bls(&text)], report)?;
                }
            }
        }
        for path in EXTLINUX_CONFIGS {
            if let Some(text) = self.volume.text(path)? {
                self.entries(path, &config::extlinux(&text), report)?;
            }
        }
        // A Raspberry Pi's.
        if let Some(text) = self.volume.text("cmdline.txt")? {
            let options = text.lines().next().unwrap_or_default().to_owned();
            let entry = Entry {
                options,
                ..Entry::default()
            };
            self.entries("cmdline.txt", &[entry], report)?;
        }
        Ok(())
    }

    fn grub(&self, path: &str, text: &str, report: &mut Report) -> Result<()> {
        let found = config::grub(text);
        let of = format!("{path} on {}", self.volume.name());
        for reference in &found.searched {
            self.named(&of, "search", reference, false, report);
        }
        self.entries(path, &found.entries, report)
    }

    /// Kernels with their initial RAM disks, and what their command lines name; each once.
    fn entries(&self, path: &str, entries: &[Entry], report: &mut Report) -> Result<()> {
        let of = format!("{path} on {}", self.volume.name());
        let mut files: Vec<&str> = Vec::new();
        for entry in entries {
            files.extend(entry.kernel.as_deref());
            files.extend(entry.initrds.iter().map(String::as_str));
        }
        let mut seen = Vec::new();
        for file in files {
            if seen.contains(&file) {
                continue;
            }
            seen.push(file);
            match self.volume.has(file)? {
                true => report.found(&format!("{of}: {} is there", quoted(file))),
                false => report.missing(&format!("{of}: {} is not on this volume", quoted(file))),
            }
        }
        let mut named = Vec::new();
        for (option, reference) in entries.iter().flat_map(Entry::volumes) {
            if !named.contains(&(option, reference.clone())) {
                self.named(&of, option, &reference, false, report);
                named.push((option, reference));
            }
        }
        Ok(())
    }

    /// What `/etc/fstab` and `/etc/crypttab` name. How many of the former there are.
    fn system(&self, report: &mut Report) -> Result<usize> {
        let name = self.volume.name();
        if let Some(text) = self.volume.text("etc/crypttab")? {
            for (mapping, reference) in config::crypttab(&text) {
                let of = format!("/etc/crypttab on {name}");
                self.named(
                    &of,
                    &format!("{} opens", quoted(&mapping)),
                    &reference,
                    false,
                    report,
                );
            }
        }
        let Some(text) = self.volume.text("etc/fstab")? else {
            return Ok(0);
        };
        for mount in config::fstab(&text) {
            let of = format!("/etc/fstab on {name}");
            let is_optional = mount.is_optional;
            self.named(&of, &quoted(&mount.at), &mount.volume, is_optional, report);
        }
        Ok(1)
    }

    /// Looks for a volume that is named.
    fn named(
        &self,
        of: &str,
        what: &str,
        reference: &Reference,
        is_optional: bool,
        report: &mut Report,
    ) {
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
