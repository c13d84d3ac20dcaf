//! Tables against sgdisk, sfdisk and parted, on plain files and 4096-byte loop devices.

mod found;
mod hybrid;
mod interrupted;
mod kept;
mod oracle;
mod sectors;
mod written;
