//! Every inode in use, from each group's tree of inode chunks.
//!
//! XFS Algorithms & Data Structures, "AG Inode B+trees": `xfs_inobt_rec`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::{AgBlock, AgIno, AgNumber};
use super::btree::{Shape, Tree};
use super::group::Inodes;
use super::inode::Inode;
use super::superblock::Superblock;
use crate::bytes::{be16, be32, be64};
use crate::device::read_vec;
use crate::error::Result;
use crate::filesystem::owners;

static SHAPE: Shape = Shape {
    structure: "XFS inode btree block",
    magic: [*b"IABT", *b"IAB3"],
    record_len: 16,
    key_len: 4,
};

/// `XFS_INODES_PER_CHUNK`
const CHUNK_INODES: u32 = 64;
/// `XFS_INODES_PER_HOLEMASK_BIT`
const HOLE_INODES: u32 = 4;
/// Inodes that follow each other on the volume are read together, up to so many bytes.
const BATCH_BYTES: u64 = 1 << 20;

/// A filesystem that is looked through.
pub(super) type Scan<'a> = owners::Scan<'a, Superblock>;

/// Gets each inode in use. Whether to go on.
pub(super) type Visit<'a> = dyn FnMut(&Inode<'_>) -> bool + 'a;

/// Visits every inode in use. Groups, blocks of trees and inodes that can't be read or fail a check
/// are noted as gaps and left out.
pub(super) fn inodes(scan: &Scan<'_>, visit: &mut Visit<'_>) {
    let mut goes_on = true;
    for number in scan.superblock.group_numbers() {
        if goes_on {
            let visited = inodes_of(scan, number, &mut goes_on, visit);
            scan.gaps.tolerate(visited);
        }
    }
}

/// Visits the inodes of a group until `goes_on` is false.
fn inodes_of(
    scan: &Scan<'_>,
    number: AgNumber,
    goes_on: &mut bool,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let inodes = Inodes::read(scan.superblock, scan.device, number)?;
    let tree = Tree {
        superblock: scan.superblock,
        device: scan.device,
        group: inodes.group,
        shape: &SHAPE,
        root: inodes.tree,
        gaps: Some(scan.gaps),
    };
    let mut batch = Batch {
        scan,
        group: number,
        runs: Vec::new(),
        goes_on,
    };
    let mut next = 0;
    let walked = tree.records(&mut |record, block_bytes| {
        if !*batch.goes_on {
            return Ok(());
        }
        let ir_startino = be32(record, 0);
        let is_valid = ir_startino >= next && ir_startino <= u32::MAX - CHUNK_INODES;
        let expected = format_args!("a chunk after inode {next}");
        tree.structure(block_bytes)
            .check(is_valid, "ir_startino", expected, ir_startino)?;
        next = ir_startino + CHUNK_INODES;
        chunk(&tree, record, block_bytes, &mut |run| batch.add(run, visit))
    });
    batch.read(visit);
    walked
}

/// Inodes that follow each other both by their numbers and on the volume.
#[derive(Clone, Copy)]
struct InodeRun {
    first: AgIno,
    count: u32,
    /// Which of them are free: a bit for each, the first one lowest.
    free: u64,
}

/// Gives `add` the inodes of a record of the tree.
fn chunk(
    tree: &Tree<'_>,
    record: &[u8],
    block_bytes: u64,
    add: &mut dyn FnMut(InodeRun),
) -> Result<()> {
    let superblock = tree.superblock;
    let ir_startino = be32(record, 0);
    let ir_free = be64(record, 8);
    // Each bit stands for four inodes that do not exist.
    let ir_holemask = if superblock.features.has_sparse_inodes() {
        be16(record, 4)
    } else {
        0
    };
    let group_bytes = superblock.byte(tree.group.blocks.into());
    let run_inodes = match ir_holemask {
        0 => CHUNK_INODES,
        _ => HOLE_INODES,
    };
    for first in (0..CHUNK_INODES).step_by(run_inodes as usize) {
        if ir_holemask >> (first / HOLE_INODES) & 1 != 0 {
            continue;
        }
        // A chunk starts at least its inodes before the end of 32 bits.
        let start = ir_startino + first;
        let end = u64::from(start) + u64::from(run_inodes);
        let is_inside = end * u64::from(superblock.inode_bytes) <= group_bytes;
        let expected = "a chunk in the group";
        tree.structure(block_bytes)
            .check(is_inside, "ir_startino", expected, ir_startino)?;
        add(InodeRun {
            first: AgIno(start),
            count: run_inodes,
            free: ir_free >> first,
        });
    }
    Ok(())
}

/// Inodes of a group that are read together.
struct Batch<'a> {
    scan: &'a Scan<'a>,
    group: AgNumber,
    /// Each follows the one before it.
    runs: Vec<InodeRun>,
    goes_on: &'a mut bool,
}

impl Batch<'_> {
    /// Adds inodes. Those added before are read and visited first, when these don't follow them or
    /// are too many.
    fn add(&mut self, run: InodeRun, visit: &mut Visit<'_>) {
        let follows = self
            .runs
            .last()
            .is_none_or(|last| last.first.0 + last.count == run.first.0);
        let inodes: u32 = self.runs.iter().map(|run| run.count).sum();
        let bytes = u64::from(inodes + run.count) * u64::from(self.scan.superblock.inode_bytes);
        if !follows || bytes > BATCH_BYTES {
            self.read(visit);
        }
        self.runs.push(run);
    }

    /// Reads and visits the inodes that were added. When they can't be read together, each run is
    /// read by itself.
    fn read(&mut self, visit: &mut Visit<'_>) {
        let runs = std::mem::take(&mut self.runs);
        if self.visit(&runs, visit).is_ok() {
            return;
        }
        for run in runs {
            let visited = self.visit(&[run], visit);
            self.scan.gaps.tolerate(visited);
        }
    }

    /// Visits inodes that follow each other.
    fn visit(&mut self, runs: &[InodeRun], visit: &mut Visit<'_>) -> Result<()> {
        let Some(first) = runs.first() else {
            return Ok(());
        };
        let Scan {
            superblock,
            device,
            gaps,
        } = *self.scan;
        let start_bytes = superblock.group_byte(self.group, AgBlock(0));
        let inode_bytes = u64::from(superblock.inode_bytes);
        let offset_bytes = start_bytes + u64::from(first.first.0) * inode_bytes;
        let inode_len = superblock.inode_bytes as usize;
        let count: u32 = runs.iter().map(|run| run.count).sum();
        let raw = read_vec(device, offset_bytes, count as usize * inode_len)?;
        let numbers = runs.iter().flat_map(|run| {
            let is_free = move |index: u32| run.free >> index & 1 == 1;
            (0..run.count).map(move |index| (AgIno(run.first.0 + index), is_free(index)))
        });
        let places = (offset_bytes..).step_by(inode_len);
        for (((number, is_free), offset_bytes), raw) in
            numbers.zip(places).zip(raw.chunks_exact(inode_len))
        {
            if is_free || !*self.goes_on {
                continue;
            }
            let number = superblock.ino(self.group, number);
            let inode = Inode::parse(superblock, number, offset_bytes, raw);
            if let Some(inode) = gaps.tolerate(inode.map_err(Into::into)) {
                *self.goes_on = visit(&inode);
            }
        }
        Ok(())
    }
}
