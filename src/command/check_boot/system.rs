//! What is started, opened and mounted then, on each volume: configurations of loaders, crypttab, fstab.

use super::checked::{Checked, Named, limited};
use super::config;
use super::disk::Volume;
use super::loaders;
use super::look;
use super::report::Report;
use anyhow::Result;
use klon_partition::filesystem::Kind;
use klon_partition::text::quoted;

/// Looks at the configurations on all volumes that klon can read.
///
/// # Errors
/// When the device fails.
pub fn check(volumes: &[Volume], report: &mut Report) -> Result<()> {
    let mut systems = 0;
    for volume in volumes {
        let all = volumes;
        if volume.paths().is_none() {
            unreadable(volume, report);
            continue;
        }
        let checked = Checked { volume, all };
        loaders::check(&checked, report)?;
        systems += tables(&checked, report)?;
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

/// What `/etc/fstab` and `/etc/crypttab` name. How many of the former there are.
fn tables(checked: &Checked<'_>, report: &mut Report) -> Result<usize> {
    let name = checked.volume.name();
    if let Some(text) = look::text(checked.volume, "etc/crypttab", report)? {
        let of = format!("/etc/crypttab on {name}");
        for line in limited(&of, config::crypttab(&text).into_iter(), report) {
            let what = format!("{} opens", quoted(&line.at));
            let named = Named {
                of: &of,
                what: &what,
                reference: &line.volume,
                is_optional: line.is_optional,
            };
            checked.look_for(&named, report);
        }
    }
    let Some(text) = look::text(checked.volume, "etc/fstab", report)? else {
        return Ok(0);
    };
    let of = format!("/etc/fstab on {name}");
    for line in limited(&of, config::fstab(&text).into_iter(), report) {
        let named = Named {
            of: &of,
            what: &quoted(&line.at),
            reference: &line.volume,
            is_optional: line.is_optional,
        };
        checked.look_for(&named, report);
    }
    Ok(1)
}
