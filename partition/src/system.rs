//! What the running system says of its disks: sysfs, mounts, swaps, holders.
