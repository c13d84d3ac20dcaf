//! Files that Windows, its boot loader or databases write without a stamp in the file's record, by their
//! names: below the filesystem, through mappings, or by handles that stay open for days.
//!
//! Microsoft, "File Times" (a stamp is correct when the handle is closed), "Volume Shadow Copy Service",
//! "Registry Hives".

use super::index::lookup_in_root;
use super::mft::Mft;
use super::name::Name;
use super::record::Reference;
use crate::device::ReadAt;
use crate::error::Result;

/// Folders of the root whose files are such.
const FOLDERS: [&str; 2] = ["System Volume Information", "Boot"];

/// Names of such files: memory of the system, state of the boot loader, registry hives.
const NAMES: &[&str] = &[
    "pagefile.sys",
    "swapfile.sys",
    "hiberfil.sys",
    "bootstat.dat",
    "bcd",
    "bbi",
    "components",
    "default",
    "drivers",
    "elam",
    "sam",
    "schema.dat",
    "security",
    "software",
    "system",
    "userdiff",
    "ntuser.dat",
    "usrclass.dat",
];

/// Ends of names of such files: logs of hives and of transactions, databases, mail stores, disks of
/// virtual machines.
const SUFFIXES: &[&str] = &[
    ".log1",
    ".log2",
    ".blf",
    ".regtrans-ms",
    ".hve",
    ".edb",
    ".mdf",
    ".ndf",
    ".ldf",
    ".ost",
    ".pst",
    ".db",
    ".db3",
    ".sqlite",
    ".sqlite3",
    "-wal",
    "-shm",
    ".vhd",
    ".vhdx",
    ".avhd",
    ".avhdx",
    ".vmdk",
    ".vdi",
    ".qcow2",
];

/// Marks the files in which older states of the volume are kept (`volsnap.sys` writes them below the
/// filesystem).
const SHADOWS: &str = "{3808876b-c176-4e48-b7ae-04046e6cc752}";

/// Which files of a volume are written without a stamp.
pub(super) struct Unstamped {
    folders: Vec<Reference>,
}

impl Unstamped {
    /// Finds the folders whose files are such.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the root directory can't be read.
    pub(super) fn find(mft: &Mft, device: &dyn ReadAt) -> Result<Self> {
        let mut folders = Vec::new();
        for name in FOLDERS {
            folders.extend(lookup_in_root(mft, device, name)?);
        }
        Ok(Self { folders })
    }

    /// Whether a file with that name is such.
    pub(super) fn has(&self, name: &Name) -> bool {
        let text = name.text.to_ascii_lowercase();
        let stem = text.strip_suffix(".log").unwrap_or(&text);
        let parent = name.parent.number;
        NAMES.contains(&stem)
            || SUFFIXES.iter().any(|suffix| text.ends_with(suffix))
            || text.contains(SHADOWS)
            || self.folders.iter().any(|folder| folder.number == parent)
    }
}

#[cfg(test)]
mod tests {
    use super::{Reference, Unstamped};
    use crate::filesystem::ntfs::name::parse;

    #[test]
    fn names_and_folders_tell_what_is_not_stamped() {
        let unstamped = Unstamped {
            folders: vec![Reference::parse(77)],
        };
        let has = |parent: u8, name: &str| {
            let mut value = vec![0; 0x42];
            value[0] = parent;
            value[0x40] = u8::try_from(name.len()).unwrap();
            value.extend(name.bytes().flat_map(|byte| [byte, 0]));
            unstamped.has(&parse(&value).unwrap())
        };
        let such = [
            "pagefile.sys",
            "NTUSER.DAT",
            "ntuser.dat.LOG1",
            "SYSTEM",
            "BCD.LOG",
            "Mail.PST",
            "places.sqlite-wal",
            "disk.VHDX",
            "x{3808876b-c176-4e48-b7ae-04046e6cc752}",
        ];
        for name in such {
            assert!(has(5, name), "{name}");
        }
        for name in ["notes.txt", "system.txt", "my.log", "db", "a.dbx"] {
            assert!(!has(5, name), "{name}");
            assert!(has(77, name), "{name} in such a folder");
        }
    }
}
