//! Whether a Windows sleeps on the volume, as after "fast startup". `hiberfil.sys` says so.

use super::index;
use super::mft::Mft;
use super::record::{DATA, Key};
use crate::device::ReadAt;
use crate::error::Result;
use crate::filesystem::Hazard;

/// Signatures of an image that Windows has written or is reading.
const SIGNATURES: [&[u8]; 4] = [b"hibr", b"HIBR", b"wake", b"WAKE"];

/// Looks for `hiberfil.sys` in the root directory and at how it starts.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the directory or the file can't be read.
pub(super) fn hazard(mft: &Mft, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let Some(reference) = index::lookup_in_root(mft, device, "hiberfil.sys")? else {
        return Ok(None);
    };
    let record = mft.referenced(device, reference)?;
    let Some(data) = mft.stream(device, &record, Key::unnamed(DATA))? else {
        return Ok(None);
    };
    if data.written_bytes() < 4 {
        return Ok(None);
    }
    let advice = "start Windows and shut it down fully (shutdown /s /f /t 0)";
    if !data.is_plain() {
        let how = format!("hiberfil.sys is compressed, encrypted or sparse; {advice}");
        return Ok(Some(Hazard::Hibernated(how)));
    }
    let mut start = [0; 4];
    data.read(device, &mft.geometry, 0, &mut start)?;
    let how = format!(
        "hiberfil.sys starts with {:?}; {advice}",
        String::from_utf8_lossy(&start)
    );
    let is_asleep = SIGNATURES.contains(&&start[..]);
    Ok(is_asleep.then_some(Hazard::Hibernated(how)))
}
