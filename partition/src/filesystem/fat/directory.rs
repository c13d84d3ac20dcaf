//! Directories: 32-byte entries, long names, the volume label (fatgen103, "FAT Directory
//! Structure" and "Long Directory Entries").

use super::Chains;
use super::layout::Layout;
use crate::bytes::{le16, le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::Extent;
use crate::filesystem::chain::Run;
use crate::filesystem::cluster::Cluster;
use crate::text::{sealed_bytes, sealed_utf16};

/// A directory has at most 65536 entries.
const DIRECTORY_BYTES_MAX: u64 = 65_536 * 32;

const ATTR_VOLUME_ID: u8 = 0x08;
const ATTR_DIRECTORY: u8 = 0x10;
const ATTR_LONG_NAME: u8 = 0x0f;
const ATTR_LONG_NAME_MASK: u8 = 0x3f;

/// A file or directory as its directory lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_directory: bool,
    /// None for an empty file.
    pub(super) first_cluster: Cluster,
    /// 0 for a directory: it is as long as its chain.
    pub(super) size_bytes: u64,
}

/// A directory's bytes and where they lie.
pub(super) struct Directory {
    pub(super) bytes: Vec<u8>,
    pub(super) runs: Vec<Extent>,
    /// Whether that is all of it, which one that is too long is not.
    pub(super) is_whole: bool,
}

/// Reads the root directory.
///
/// # Errors
/// [`crate::Error::Io`], or [`crate::Error::Corrupt`] when its chain is damaged.
pub(super) fn read_root(chains: &mut Chains<'_>) -> Result<Directory> {
    match chains.layout().root {
        Some(root) => Ok(Directory {
            // BPB_RootEntCnt has 16 bits: 2 MiB at most, and it lies on the volume.
            bytes: read_vec(
                chains.device(),
                root.offset_bytes(),
                root.len_bytes() as usize,
            )?,
            runs: vec![root],
            is_whole: true,
        }),
        None => read(chains, chains.layout().root_cluster),
    }
}

/// Reads the directory whose chain starts at `cluster`.
///
/// # Errors
/// As for [`read_root`].
pub(super) fn read(chains: &mut Chains<'_>, cluster: Cluster) -> Result<Directory> {
    let (directory, end) = read_as_far_as_possible(chains, cluster);
    end.map(|()| directory)
}

/// Reads the directory whose chain starts at `cluster`, as much of it as there is before damage.
pub(super) fn read_as_far_as_possible(
    chains: &mut Chains<'_>,
    cluster: Cluster,
) -> (Directory, Result<()>) {
    let mut directory = Directory {
        bytes: Vec::new(),
        runs: Vec::new(),
        is_whole: false,
    };
    let end = append(chains, cluster, &mut directory);
    (directory, end)
}

fn append(chains: &mut Chains<'_>, cluster: Cluster, directory: &mut Directory) -> Result<()> {
    let mut next = Some(cluster);
    while let Some(cluster) = next {
        let Run {
            extent: run,
            next: following,
        } = chains.run(cluster)?;
        let left_bytes = DIRECTORY_BYTES_MAX.saturating_sub(directory.bytes.len() as u64);
        if left_bytes == 0 {
            break;
        }
        let len_bytes = run.len_bytes().min(left_bytes);
        let bytes = read_vec(chains.device(), run.offset_bytes(), len_bytes as usize)?;
        directory.bytes.extend(bytes);
        directory.runs.push(run);
        next = following;
    }
    let runs_bytes: u64 = directory.runs.iter().map(|run| run.len_bytes()).sum();
    directory.is_whole = next.is_none() && runs_bytes == directory.bytes.len() as u64;
    Ok(())
}

/// The volume label in the root directory.
///
/// # Errors
/// As for [`read_root`].
pub(super) fn root_label(device: &dyn ReadAt, layout: &Layout) -> Result<Option<String>> {
    let directory = read_root(&mut Chains::new(device, layout))?;
    Ok(live(&directory.bytes)
        .find(|entry| {
            let dir_attr = u8_at(*entry, 11);
            dir_attr & ATTR_LONG_NAME_MASK != ATTR_LONG_NAME
                && dir_attr & (ATTR_VOLUME_ID | ATTR_DIRECTORY) == ATTR_VOLUME_ID
        })
        .and_then(|entry| crate::bytes::text(&unescaped(entry)[..11])))
}

/// The entries up to the end mark that are not deleted.
fn live(bytes: &[u8]) -> impl Iterator<Item = &[u8; 32]> {
    bytes
        .as_chunks::<32>()
        .0
        .iter()
        .take_while(|entry| entry[0] != 0)
        .filter(|entry| entry[0] != 0xe5)
}

/// DIR_Name whose first character 0xE5 is stored as 0x05, or it would mean "deleted".
fn unescaped(entry: &[u8; 32]) -> [u8; 32] {
    let mut entry = *entry;
    if entry[0] == 0x05 {
        entry[0] = 0xe5;
    }
    entry
}

/// The files and directories in a directory's bytes, without `.` and `..`.
pub(super) fn entries<'a>(bytes: &'a [u8], layout: &'a Layout) -> impl Iterator<Item = Entry> + 'a {
    let mut long = LongName::default();
    live(bytes).filter_map(move |raw| {
        let (dir_attr, dir_file_size) = (u8_at(raw, 11), le32(raw, 28));
        let (dir_fst_clus_hi, dir_fst_clus_lo) = (le16(raw, 20), le16(raw, 26));
        if dir_attr & ATTR_LONG_NAME_MASK == ATTR_LONG_NAME {
            long.add(raw);
            return None;
        }
        let name = long.take(raw).unwrap_or_else(|| short_name(raw));
        let is_listed = dir_attr & ATTR_VOLUME_ID == 0 && name != "." && name != "..";
        let is_directory = dir_attr & ATTR_DIRECTORY != 0;
        // DIR_FstClusHI means something else on FAT12/16.
        let is_fat32 = layout.root.is_none();
        let high = if is_fat32 { dir_fst_clus_hi } else { 0 };
        is_listed.then(|| Entry {
            name,
            is_directory,
            first_cluster: Cluster(u32::from(high) << 16 | u32::from(dir_fst_clus_lo)),
            size_bytes: if is_directory {
                0
            } else {
                dir_file_size.into()
            },
        })
    })
}

/// A long name in the making: its parts come before the short entry, last part first.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    expected_ordinal: u8,
    checksum: u8,
}

impl LongName {
    /// At most 255 characters in parts of 13.
    const PARTS_MAX: u8 = 20;

    fn add(&mut self, raw: &[u8; 32]) {
        // LDIR_Ord: counts down to 1; 0x40 marks the first stored, which is the name's end.
        let (ldir_ord, ldir_chksum) = (raw[0], raw[13]);
        let ordinal = ldir_ord & 0x3f;
        if ldir_ord & 0x40 != 0 && (1..=Self::PARTS_MAX).contains(&ordinal) {
            self.units.clear();
            self.expected_ordinal = ordinal;
            self.checksum = ldir_chksum;
        }
        if ordinal == 0 || ordinal != self.expected_ordinal || ldir_chksum != self.checksum {
            *self = Self::default();
            return;
        }
        self.expected_ordinal = ordinal - 1;
        // LDIR_Name1, LDIR_Name2, LDIR_Name3
        let characters = (1..11).chain(14..26).chain(28..32).step_by(2);
        let mut part: Vec<u16> = characters.map(|at| le16(raw, at)).collect();
        part.append(&mut self.units);
        self.units = part;
    }

    /// The name, if its parts are complete and belong to this short entry.
    fn take(&mut self, raw: &[u8; 32]) -> Option<String> {
        let long = std::mem::take(self);
        let is_whole = long.expected_ordinal == 0 && !long.units.is_empty();
        if !is_whole || long.checksum != checksum(raw) {
            return None;
        }
        let end = long.units.iter().position(|&unit| unit == 0);
        let units = long.units.get(..end.unwrap_or(long.units.len()))?;
        Some(sealed_utf16(units.iter().copied()))
    }
}

/// LDIR_Chksum of a short name.
fn checksum(raw: &[u8; 32]) -> u8 {
    raw[..11]
        .iter()
        .fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}

/// DIR_Name as `NAME.EXT`, in lower case where DIR_NTRes says so.
fn short_name(raw: &[u8; 32]) -> String {
    let name = unescaped(raw);
    let part = |bytes: &[u8], is_lower: bool| {
        let text = sealed_bytes(bytes.trim_ascii_end());
        if is_lower {
            text.to_ascii_lowercase()
        } else {
            text
        }
    };
    let dir_nt_res = raw[12];
    let base = part(&name[..8], dir_nt_res & 0x08 != 0);
    let extension = part(&name[8..11], dir_nt_res & 0x10 != 0);
    if extension.is_empty() {
        base
    } else {
        format!("{base}.{extension}")
    }
}
