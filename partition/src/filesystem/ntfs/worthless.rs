//! Memory that Windows keeps in files: told by their names in the root directory, and by what they hold. Windows makes
//! them anew, whatever is in them.

use super::hibernation;
use super::index;
use super::mft::Mft;
use super::record::{DATA, Key};
use super::stream::Stream;
use crate::device::ReadAt;
use crate::error::Result;
use crate::filesystem::worthless::Worthless;

/// The files, and what they are.
const FILES: [(&str, &str); 3] = [
    ("pagefile.sys", "the page file of Windows"),
    ("swapfile.sys", "the swap file of Windows"),
    ("hiberfil.sys", "the hibernation file of Windows"),
];

/// Finds those that lie in clusters of their own, neither compressed, encrypted nor sparse. None where a Windows sleeps.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the root directory or one of them can't be read.
pub(super) fn files(mft: &Mft, device: &dyn ReadAt) -> Result<Vec<Worthless>> {
    if hibernation::hazard(mft, device)?.is_some() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (name, what) in FILES {
        let Some(reference) = index::lookup_in_root(mft, device, name)? else {
            continue;
        };
        let record = mft.referenced(device, reference)?;
        let data = mft.stream(device, &record, Key::unnamed(DATA))?;
        let Some(data) = data.filter(Stream::is_plain) else {
            continue;
        };
        let Stream::Nonresident { runs, .. } = data else {
            continue;
        };
        let extents = runs.iter().filter_map(|run| run.extent(&mft.geometry));
        found.push(Worthless {
            path: format!("/{name}"),
            what,
            extents: extents.collect(),
        });
    }
    Ok(found)
}
