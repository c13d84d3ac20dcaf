//! Tables against sgdisk and sfdisk.
