//! What a disk says of itself: model, serial number, world-wide name.

use super::attribute::attribute;
use super::device_number::DeviceNumber;
use std::fs;
use std::path::Path;

/// What identifies a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) wwn: Option<String>,
}

impl Ids {
    /// Asks sysfs first, which says the same with and without udev, then udev's notes.
    pub(super) fn read(root: &Path, sysfs: &Path, number: DeviceNumber) -> Self {
        let notes = fs::read(root.join(format!("run/udev/data/b{number}")));
        let notes = String::from_utf8_lossy(&notes.unwrap_or_default()).into_owned();
        let note = |key: &str| {
            let value = notes.lines().find_map(|line| {
                line.strip_prefix("E:")?
                    .strip_prefix(key)?
                    .strip_prefix('=')
            });
            value
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let first = |names: &[&str]| names.iter().find_map(|name| attribute(sysfs, name));
        let model = first(&["device/model", "device/name"])
            .or_else(|| note("ID_MODEL").map(|model| model.replace('_', " ")));
        Self {
            model: model.filter(|_| sysfs.join("device").exists()),
            serial: first(&["serial", "device/serial"])
                .or_else(|| vital_product_serial(sysfs))
                .or_else(|| usb_serial(sysfs))
                .or_else(|| note("ID_SERIAL_SHORT"))
                .filter(|serial| is_usable(serial)),
            wwn: first(&["wwid", "device/wwid"]).or_else(|| note("ID_WWN")),
        }
    }
}

/// The Unit Serial Number page (SPC-4, 7.8.16): a header of 4 bytes, then text.
fn vital_product_serial(sysfs: &Path) -> Option<String> {
    let page = fs::read(sysfs.join("device/vpd_pg80")).ok()?;
    crate::bytes::text(page.get(4..)?)
}

/// The serial number of the USB device that a disk is part of.
fn usb_serial(sysfs: &Path) -> Option<String> {
    sysfs
        .ancestors()
        .find(|step| step.join("idVendor").exists())
        .and_then(|usb| attribute(usb, "serial"))
}

/// Cheap bridges say "000000000000" and the like.
fn is_usable(serial: &str) -> bool {
    let mut characters = serial.chars().filter(char::is_ascii_alphanumeric);
    let first = characters.next();
    serial.chars().all(|c| c.is_ascii_graphic() || c == ' ') && characters.any(|c| Some(c) != first)
}
