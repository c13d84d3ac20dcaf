//! What breaks a rule and may stand for now. These lists may only shrink.

pub(super) const LONG_FILES: &[&str] = &[];

pub(super) const LONG_FUNCTIONS: &[&str] = &[];

/// Imports that close circles.
pub(super) const ARROWS: &[&str] = &[
    // The chunk tree names the chunks, and its blocks lie in chunks.
    "partition/src/filesystem/btrfs/chunks → partition/src/filesystem/btrfs/tree",
];

/// Imports from rooms above.
pub(super) const UPWARD: &[&str] = &[
    // A type of an argument, whose text is parsed where it is worked with.
    "src/cli/still → src/still/snapshot/size",
    // The watch over a source begins where a name is opened, or a snapshot made, and it tells of snapshots.
    "src/named/open → src/source/watch",
    "src/still/ways → src/source/watch",
];

pub(super) const OPTIONS: &[&str] = &[
    // An option of xz.
    "imaging/src/packed.rs: --format",
];

/// Devices that leave an answer to the default, each with why.
pub(super) const SILENT: &[&str] = &[
    // They have bytes and keep no digests.
    "imaging/src/foreign/nbd.rs: NbdDisk lacks sha256",
    "imaging/src/image/import/plain.rs: PlainStream lacks sha256",
    "imaging/src/image/import/zeroes.rs: Zeroes lacks sha256",
    "partition/src/device/memory.rs: MemoryDevice lacks data",
    "partition/src/device/memory.rs: MemoryDevice lacks sha256",
    "partition/src/device/source.rs: Source lacks sha256",
    "partition/src/device/target.rs: Target lacks sha256",
    "src/foreign/qemu.rs: QemuDisk lacks sha256",
    // It is read in order, and never by a device's means.
    "imaging/src/image/capture/forward.rs: ForwardGeometry lacks data",
    "imaging/src/image/capture/forward.rs: ForwardGeometry lacks sha256",
    // Their chunks lie in pieces beneath, and are packed.
    "imaging/src/image/import/qcow2.rs: Qcow2 lacks sha256",
    "imaging/src/image/parts/joined.rs: Joined lacks sha256",
    // Reads may fail or be zeroes, so what the device beneath says does not hold.
    "partition/src/device/fault.rs: FaultAt lacks sha256",
    "partition/src/device/known_bad.rs: KnownBad lacks sha256",
    "partition/src/filesystem/owners/forgiving.rs: Forgiving lacks data",
    "partition/src/filesystem/owners/forgiving.rs: Forgiving lacks sha256",
    // It forgets writes.
    "partition/src/device/crash.rs: CrashDevice lacks data",
    "partition/src/device/crash.rs: CrashDevice lacks sha256",
];

/// How many allowances there are. Lower it with each one that goes; it never rises.
pub(super) const ALLOWED_MAX: usize = 23;

/// All lists.
pub(super) const ALL: &[&[&str]] = &[LONG_FILES, LONG_FUNCTIONS, ARROWS, UPWARD, OPTIONS, SILENT];
