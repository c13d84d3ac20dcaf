//! What boot loaders start: their configurations, kernels, initial RAM disks, command lines.

use super::checked::{Checked, Named, limited};
use super::config::{self, Entry, Root};
use super::disk::{Volume, find};
use super::look;
use super::report::Report;
use anyhow::Result;
use klon_partition::text::quoted;
use std::collections::HashSet;

const GRUB_CONFIGS: [&str; 4] = [
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
    "grub/grub.cfg",
    "grub2/grub.cfg",
];
const BLS_DIRECTORIES: [&str; 2] = ["loader/entries", "boot/loader/entries"];
const EXTLINUX_CONFIGS: [(&str, &str); 4] = [
    ("boot/extlinux", "extlinux.conf"),
    ("extlinux", "extlinux.conf"),
    ("boot/syslinux", "syslinux.cfg"),
    ("syslinux", "syslinux.cfg"),
];

/// Where the files of an entry are.
enum Home<'a> {
    On(&'a Volume),
    /// Why that can't be told.
    Unknown(String),
}

/// Looks at all configurations of loaders on a volume.
///
/// # Errors
/// When the device fails.
pub fn check(checked: &Checked<'_>, report: &mut Report) -> Result<()> {
    let volume = checked.volume;
    let mut grub_configs: Vec<String> = GRUB_CONFIGS.map(str::to_owned).into();
    if volume.is_esp() {
        let vendors = look::names(volume, "EFI", report)?;
        let configs = vendors.iter().map(|it| format!("EFI/{it}/grub.cfg"));
        grub_configs.extend(configs);
    }
    for path in grub_configs {
        if let Some(text) = look::text(volume, &path, report)? {
            grub(checked, &path, &text, report)?;
        }
    }
    for directory in BLS_DIRECTORIES {
        for name in look::names(volume, directory, report)? {
            let path = format!("{directory}/{name}");
            if name.ends_with(".conf")
                && let Some(text) = look::text(volume, &path, report)?
            {
                entries(checked, &path, &[config::bls(&text)], report)?;
            }
        }
    }
    for (directory, name) in EXTLINUX_CONFIGS {
        let path = format!("{directory}/{name}");
        if let Some(text) = look::text(volume, &path, report)? {
            let found = config::extlinux(&text, directory);
            entries(checked, &path, &found, report)?;
        }
    }
    // A Raspberry Pi's.
    if let Some(text) = look::text(volume, "cmdline.txt", report)? {
        let entry = Entry {
            options: text.lines().next().unwrap_or_default().to_owned(),
            ..Entry::default()
        };
        entries(checked, "cmdline.txt", &[entry], report)?;
    }
    Ok(())
}

fn grub(checked: &Checked<'_>, path: &str, text: &str, report: &mut Report) -> Result<()> {
    let found = config::grub(text);
    let of = format!("{path} on {}", checked.volume.name());
    for reference in limited(&of, found.searched.iter(), report) {
        let named = Named {
            of: &of,
            what: "search",
            reference,
            is_optional: false,
        };
        checked.look_for(&named, report);
    }
    entries(checked, path, &found.entries, report)
}

/// Kernels with their initial RAM disks, and what their command lines name; each once.
fn entries(
    checked: &Checked<'_>,
    path: &str,
    entries: &[Entry],
    report: &mut Report,
) -> Result<()> {
    let of = format!("{path} on {}", checked.volume.name());
    let mut seen = HashSet::new();
    let files = entries.iter().flat_map(|entry| {
        let names = entry.kernel.iter().chain(&entry.initrds);
        names.map(|name| (&*entry.root, name.as_str()))
    });
    let files = files.filter(|file| seen.insert(*file));
    for (root, file) in limited(&of, files, report) {
        look_for(checked, &of, &FileOf { root, name: file }, report)?;
    }
    let mut seen = HashSet::new();
    let volumes = entries.iter().flat_map(Entry::volumes);
    let volumes = volumes.filter(|named| seen.insert(named.clone()));
    for (option, reference) in limited(&of, volumes, report) {
        let named = Named {
            of: &of,
            what: option,
            reference: &reference,
            is_optional: false,
        };
        checked.look_for(&named, report);
    }
    Ok(())
}

/// A file that an entry names, and the volume that the name counts from.
struct FileOf<'a> {
    root: &'a Root,
    name: &'a str,
}

fn look_for(checked: &Checked<'_>, of: &str, file: &FileOf<'_>, report: &mut Report) -> Result<()> {
    let FileOf { root, name: file } = *file;
    let shown = quoted(file);
    let volume = match home(checked, root, report)? {
        Home::On(volume) => volume,
        Home::Unknown(why) => {
            report.unknown(&format!("{of}: {shown} was not looked for: {why}"));
            return Ok(());
        }
    };
    let is_own = std::ptr::eq(volume, checked.volume);
    let name = volume.name();
    match (look::has_file(volume, file, report)?, is_own) {
        (Some(true), true) => report.found(&format!("{of}: {shown} is there")),
        (Some(true), false) => report.found(&format!("{of}: {shown} is on {name}")),
        (Some(false), true) => report.missing(&format!("{of}: {shown} is not on this volume")),
        (Some(false), false) => report.missing(&format!("{of}: {shown} is not on {name}")),
        (None, _) => {}
    }
    Ok(())
}

/// The volume that an entry takes its files from.
fn home<'a>(checked: &Checked<'a>, root: &Root, report: &mut Report) -> Result<Home<'a>> {
    let volume = match root {
        Root::Own => Some(checked.volume),
        Root::Named(reference) => find(checked.all, reference),
        Root::WithFile(path) => {
            let mut found = None;
            for volume in checked.all {
                if found.is_none() && look::has_file(volume, path, report)? == Some(true) {
                    found = Some(volume);
                }
            }
            found
        }
        Root::Untold(words) => {
            return Ok(Home::Unknown(format!(
                "GRUB takes it from {}, which the disk does not tell",
                quoted(words)
            )));
        }
    };
    Ok(match volume {
        Some(volume) if volume.paths().is_some() => Home::On(volume),
        Some(volume) => Home::Unknown(format!("klon can't read the files of {}", volume.name())),
        None => Home::Unknown(
            "klon does not find the volume that GRUB searches for to take it from".to_owned(),
        ),
    })
}
