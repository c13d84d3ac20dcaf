//! Contents of a source that are worth nothing on a copy, where the user leaves them out: they read as zeroes, so that
//! the copy, its digests and what compares with it all see zeroes. The source stays as it is.

use crate::human;
use anyhow::Result;
use klon_partition::device::{Unread, Window};
use klon_partition::filesystem::{Basis, Usage, Worthless};
use klon_partition::inspect::VolumeUsage;
use klon_partition::{ExtentMap, ReadAt};
use std::sync::Arc;

/// A volume without those contents. `usage` keeps what they are.
///
/// # Errors
/// When the volume can't be read.
pub fn of_volume(device: Arc<dyn ReadAt>, usage: &mut Usage) -> Result<Arc<dyn ReadAt>> {
    usage.skipped = found(&device, usage)?;
    Ok(without(device, &usage.skipped))
}

/// A disk without those contents of its volumes, and what they are.
///
/// # Errors
/// When a volume does not lie on the disk, or can't be read.
pub fn of_disk(
    device: Arc<dyn ReadAt>,
    volumes: &[VolumeUsage],
) -> Result<(Arc<dyn ReadAt>, Vec<Worthless>)> {
    let mut skipped = Vec::new();
    for volume in volumes {
        let window: Arc<dyn ReadAt> = Arc::new(Window::new(device.clone(), volume.extent)?);
        let number = volume.partition.as_ref().map(|it| it.number.to_string());
        for one in found(&window, &volume.usage)? {
            skipped.push(Worthless {
                path: format!("{}:{}", number.clone().unwrap_or_default(), one.path),
                extents: one.extents.shifted(volume.extent.offset_bytes()),
                ..one
            });
        }
    }
    Ok((without(device, &skipped), skipped))
}

/// Only a filesystem whose map is believed tells where its files lie.
fn found(device: &Arc<dyn ReadAt>, usage: &Usage) -> Result<Vec<Worthless>> {
    match (usage.filesystem(), &usage.basis) {
        (Some(filesystem), Basis::Map) => Ok(filesystem.worthless(&**device)?),
        _ => Ok(Vec::new()),
    }
}

fn without(device: Arc<dyn ReadAt>, skipped: &[Worthless]) -> Arc<dyn ReadAt> {
    let extents = skipped.iter().map(|one| &one.extents);
    let extents = extents.fold(ExtentMap::new(), |all, one| all.union(one));
    match extents.is_empty() {
        true => device,
        false => Arc::new(Unread::new(device, extents)),
    }
}

/// What klon says of them.
pub fn notes(name: &str, usage: &Usage) -> Vec<String> {
    let note = |one: &Worthless| {
        let size = human::size(one.extents.total_bytes());
        let Worthless { path, what, .. } = one;
        format!(
            "{name}: the contents of {path} ({what}, {size}) are left out, and zero on the copy"
        )
    };
    usage.skipped.iter().map(note).collect()
}
