//! Which NTFS it is.

use super::address::Vcn;
use super::mft::{self, Mft};
use super::record::{Key, STANDARD_INFORMATION, VOLUME_INFORMATION};
use super::times::{Times, stamp};
use crate::bytes::u8_at;
use crate::device::ReadAt;
use crate::error::Result;
use crate::filesystem::Instance;

/// What the boot sector says, and the records of the master file table and of the volume. `serial` is the
/// serial number. Nothing in NTFS says when it was written or checked last.
///
/// # Errors
/// [`crate::Error::Corrupt`] when one of the records fails its check.
pub(super) fn instance(mft: &Mft, device: &dyn ReadAt, serial: String) -> Result<Instance> {
    let geometry = &mft.geometry;
    let table = mft.record(device, mft::MFT)?;
    let times = table.find(Key::unnamed(STANDARD_INFORMATION), Vcn(0))?;
    let times = times.and_then(|found| Times::parse(found.resident()?));
    let volume = mft.record(device, mft::VOLUME)?;
    let version = volume.find(Key::unnamed(VOLUME_INFORMATION), Vcn(0))?;
    let version = version.and_then(|found| found.resident());
    let version = version.map(|value| [0x08, 0x09].map(|at| u64::from(u8_at(value, at))));
    Ok(Instance {
        uuid: serial,
        made: times.and_then(|times| u64::try_from(stamp(times.made).seconds).ok()),
        geometry: vec![
            geometry.size_bytes,
            geometry.clusters,
            geometry.cluster_bytes,
            geometry.record_bytes as u64,
            geometry.index_bytes as u64,
            geometry.mft_lcn.0,
            geometry.mirror_lcn.0,
        ],
        features: version.map_or_else(Vec::new, Vec::from),
        written: None,
        checked: None,
    })
}
