//! Opening an image, even if its header is damaged.

use super::header::MAGIC;
use super::reader::Image;
use super::rebuild;
use super::tail::Tail;
use klon_partition::{Error, ReadAt, Result};
use std::sync::Arc;

impl Image {
    /// Opens an image that is all of `device`. An image with a damaged header can be read if it ends
    /// with an intact commit. Nothing may be added to it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when `device` is no image, or has no readable commit; [`Error::Unsupported`];
    /// [`Error::Io`].
    pub fn open(device: Arc<dyn ReadAt>) -> Result<Self> {
        match Self::header_of(&*device) {
            Ok(header) => {
                let tail = Tail::find(&*device, &header)?;
                Ok(Self::known(device, header, tail))
            }
            Err(error @ Error::Corrupt(_)) => match rebuild::rebuild(&device)? {
                Some((header, tail)) => {
                    let image = Self::known(device, header, tail);
                    Ok(image.with_header_damage(&error.to_string()))
                }
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether `device` is an image, even if its header is damaged or of a later version.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_image(device: &dyn ReadAt) -> Result<bool> {
        let mut start = [0; MAGIC.len()];
        if device.geometry().size_bytes < start.len() as u64 {
            return Ok(false);
        }
        device.read_exact_at(&mut start, 0)?;
        Ok(&start == MAGIC || rebuild::is_image(device)?)
    }
}
