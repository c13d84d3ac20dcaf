//! The slots that disks are in, as udev names them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Links of `/dev/disk/by-path`, by the kernel's name of the disk; of several the first.
pub(super) fn all(root: &Path) -> HashMap<String, String> {
    let directory = Path::new("/dev/disk/by-path");
    let links = fs::read_dir(root.join("dev/disk/by-path"));
    let mut slots = HashMap::<String, String>::new();
    // Without udev there are none.
    for entry in links.into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).ok();
        let device = target.as_deref().and_then(Path::file_name);
        let link = directory.join(entry.file_name());
        let (Some(device), Some(link)) = (device.and_then(|name| name.to_str()), link.to_str())
        else {
            continue;
        };
        let slot = slots
            .entry(device.to_owned())
            .or_insert_with(|| link.to_owned());
        if link < slot.as_str() {
            link.clone_into(slot);
        }
    }
    slots
}
