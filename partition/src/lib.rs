//! What is on a disk and what should be: devices, partition tables, filesystems, the planner.
//!
//! This crate interprets bytes on disks and says which of them are in use. It writes partition
//! tables and nothing else, and it never prints, prompts or reads the environment.
//!
//! # A volume
//!
//! [`filesystem::probe`] says what a volume is formatted as. A [`Filesystem`](filesystem::Filesystem)
//! then says which bytes it uses, as an [`ExtentMap`]. All devices are a [`ReadAt`]: files and block
//! devices ([`device::Source`]), windows of others ([`device::Window`]), and bytes in memory.
//!
//! ```
//! use klon_partition::device::MemoryDevice;
//! use klon_partition::filesystem::{Kind, probe};
//!
//! # fn main() -> klon_partition::Result<()> {
//! // Swap space of 16 pages, as mkswap makes it: version, last page, and the signature.
//! let mut bytes = vec![0; 16 * 4096];
//! bytes[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
//! bytes[1028..1032].copy_from_slice(&15_u32.to_le_bytes());
//! bytes[4086..4096].copy_from_slice(b"SWAPSPACE2");
//! let volume = MemoryDevice::new(bytes, 512);
//!
//! let filesystem = probe(&volume)?.expect("a filesystem");
//! assert_eq!(filesystem.summary().kind, Kind::Swap);
//! assert!(filesystem.summary().hazards.is_empty(), "its map can be believed");
//! let used = filesystem.used(&volume)?.expect("a map of what is in use");
//! for extent in used.iter() {
//!     println!("{} bytes from byte {}", extent.len_bytes(), extent.offset_bytes());
//! }
//! // Only the first page has to be copied.
//! assert_eq!(used.total_bytes(), 4096);
//! # Ok(())
//! # }
//! ```
//!
//! Before anything is left out of a copy, [`filesystem::usage()`] is the one to ask: it frees only
//! what a clean filesystem proves free, and says why where that is nothing.
//!
//! # A disk
//!
//! [`inspect::inspect`] reads the partition table and looks at each partition.
//!
//! ```
//! use klon_partition::device::MemoryDevice;
//! use klon_partition::inspect::inspect;
//! use klon_partition::table::{self, Partition, PartitionType, Scheme, Table, types};
//! use klon_partition::{Extent, ReadAt};
//!
//! # fn main() -> klon_partition::Result<()> {
//! let disk = MemoryDevice::zeroed(16 << 20);
//! let mut table = Table::new_mbr(disk.geometry(), 0x1234_5678)?;
//! table.partitions.push(Partition {
//!     number: 1,
//!     extent: Extent::new(1 << 20, 8 << 20).expect("8 MiB"),
//!     partition_type: PartitionType::Mbr(types::MBR_LINUX),
//!     guid: None,
//!     name: String::new(),
//!     attributes: 0,
//!     is_bootable: false,
//! });
//! table::write(&disk, &table)?;
//!
//! let layout = inspect(&disk)?;
//! let found = layout.table.expect("a partition table");
//! assert_eq!(found.scheme, Scheme::Mbr);
//! assert_eq!(layout.volumes.len(), 1);
//! // Nothing is in the partition yet.
//! assert!(layout.volumes[0].filesystem.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! All bytes from a disk are taken for hostile. A structure that fails its check is
//! [`Error::Corrupt`], which names the structure, the field, where it lies, what was expected and
//! what was found; what is valid and unknown is [`Error::Unsupported`]. Neither is a guess: what
//! can't be proven free is in use. A device that fails is [`Error::Io`].
//!
//! # Where to go next
//!
//! - [`planner`]: lay out a drive for clones of several sources.
//! - [`table`]: read, check and write GPT and MBR; a table that is there is edited, so that what
//!   does not change keeps its bytes.
//! - [`filesystem::files`]: one walk over all files, with what identifies each and where it lies.
//! - [`filesystem::owners`]: which files hold given bytes.
//! - [`system`]: what Linux says of disks and of who uses them.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod bytes;
pub mod carried;
pub mod device;
pub mod durable;
pub mod error;
pub mod extent;
pub mod filesystem;
pub mod identity;
pub mod inspect;
pub mod locks;
pub mod outside;
pub mod own_id;
pub mod planner;
pub mod system;
pub mod table;
pub mod text;

pub use device::{Geometry, ReadAt, WriteAt};
pub use error::{Error, Result};
pub use extent::{Extent, ExtentMap};
pub use identity::Identity;
pub use outside::Outside;
pub use own_id::OwnIds;
pub use text::Shown;
