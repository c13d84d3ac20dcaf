//! Logs of frozen filesystems, made by hand in a ring of a few thousand blocks: records of all sizes that
//! begin anywhere in it.

use super::{End, end};
use crate::device::{MemoryDevice, ReadAt, WriteAt, read_vec};
use crate::extent::Extent;
use crate::filesystem::golden::image;
use crate::filesystem::xfs::checksum;
use crate::filesystem::xfs::superblock::Superblock;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use std::sync::OnceLock;

const BLOCK: usize = 512;
const RING_BLOCKS: usize = 6000;
/// The lap in which the records begin.
const LAP: u32 = 7;
const START: u8 = 1;
const COMMIT: u8 = 2;
const CONTINUED: u8 = 4;
const CONTINUES: u8 = 8;

/// A transaction that a frozen filesystem may have in its log, or may not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Superblock,
    /// The core of an inode as it lies on the disk.
    Inode,
    /// The same, where the disk has a newer state.
    OlderInode,
    Unmount,
    /// What is left of a transaction that began before the tail.
    Rest,
    /// One that has no end.
    Unfinished,
    ChangedInode,
    /// An inode that was not yet written back.
    NewerInode,
    /// With the extents of the file.
    InodeWithFork,
    CancelledSuperblock,
    /// With more groups than the superblock on the disk has.
    GrownSuperblock,
    OtherBuffer,
    /// An item of another kind.
    Intent,
}

impl What {
    const fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::Superblock
                | Self::Inode
                | Self::OlderInode
                | Self::Unmount
                | Self::Rest
                | Self::Unfinished
        )
    }
}

/// Where the records are, and in which form.
#[derive(Clone, Debug)]
struct Shape {
    first_block: usize,
    /// Blocks of a record's header.
    header_blocks: usize,
    /// Records with their headers are multiples of that (the stripe unit of the log).
    unit_blocks: usize,
    /// Whether a region may go on in the next record.
    is_split: bool,
}

struct Frozen {
    superblock: Superblock,
    device: MemoryDevice,
    inode_offset_bytes: u64,
    shape: Shape,
    ring: Vec<u8>,
}

/// Fields of `struct xfs_log_dinode`, by where they begin.
const FIELDS: [usize; 36] = [
    0, 2, 4, 5, 6, 8, 12, 16, 20, 22, 24, 32, 40, 48, 56, 64, 72, 76, 80, 82, 83, 84, 88, 90, 92,
    96, 100, 104, 112, 120, 128, 132, 144, 152, 160, 176,
];

impl Frozen {
    fn new(shape: Shape) -> Self {
        static VOLUME: OnceLock<Vec<u8>> = OnceLock::new();
        let volume = VOLUME.get_or_init(|| image("xfs").to_vec());
        let device = MemoryDevice::new(volume.clone(), 512);
        let raw = read_vec(&device, 0, BLOCK).unwrap();
        let mut superblock = Superblock::parse(&raw, device.geometry().size_bytes).unwrap();
        let start_bytes = superblock.log.unwrap().offset_bytes();
        superblock.log = Extent::new(start_bytes, (RING_BLOCKS * BLOCK) as u64);
        let inode_offset_bytes = superblock.root_inode.0 * u64::from(superblock.inode_bytes);
        let mut ring = vec![0; RING_BLOCKS * BLOCK];
        for (number, block) in ring.chunks_exact_mut(BLOCK).enumerate() {
            let lap = LAP - u32::from(number >= shape.first_block);
            block[..4].copy_from_slice(&lap.to_be_bytes());
        }
        Self {
            superblock,
            device,
            inode_offset_bytes,
            shape,
            ring,
        }
    }

    /// The LSN of a record so many blocks after the first one.
    fn lsn(&self, blocks: usize) -> u64 {
        let block = self.shape.first_block + blocks;
        let lap = LAP + (block / RING_BLOCKS) as u32;
        u64::from(lap) << 32 | (block % RING_BLOCKS) as u64
    }

    /// Writes a record so many blocks after the first one, and returns where the next begins.
    fn put(&mut self, blocks: usize, tail_blocks: usize, operations: &[Vec<u8>]) -> usize {
        let Shape {
            header_blocks,
            unit_blocks,
            ..
        } = self.shape;
        let mut data = operations.concat();
        let len = (header_blocks * BLOCK + data.len()).next_multiple_of(unit_blocks * BLOCK);
        // What is left of a unit counts as data.
        data.resize(len - header_blocks * BLOCK, 0xee);
        let data_len = data.len() as u32;
        let mut headers = vec![0; header_blocks * BLOCK];
        let mut put =
            |at: usize, bytes: &[u8]| headers[at..at + bytes.len()].copy_from_slice(bytes);
        let lsn = self.lsn(blocks);
        put(0, &0xfeed_babe_u32.to_be_bytes());
        put(4, &((lsn >> 32) as u32).to_be_bytes());
        put(8, &2_u32.to_be_bytes());
        put(12, &data_len.to_be_bytes());
        put(16, &lsn.to_be_bytes());
        put(24, &self.lsn(tail_blocks).to_be_bytes());
        put(40, &(operations.len() as u32).to_be_bytes());
        put(300, &1_u32.to_be_bytes());
        put(304, &self.superblock.uuid);
        put(320, &((header_blocks as u32) << 15).to_be_bytes());
        for (index, block) in data.chunks_exact(BLOCK).enumerate() {
            let at = if index < 64 { 44 } else { 4 };
            put(index / 64 * BLOCK + at + index % 64 * 4, &block[..4]);
        }
        let mut record = [headers, data].concat();
        for (index, block) in record.chunks_exact_mut(BLOCK).enumerate().skip(1) {
            let lap = (self.lsn(blocks + index) >> 32) as u32;
            block[..4].copy_from_slice(&lap.to_be_bytes());
        }
        let (headers, data) = record.split_at(header_blocks * BLOCK);
        let further = headers.chunks_exact(BLOCK).skip(1);
        let further = further.take(data.len().div_ceil(32 << 10) - 1);
        let crc = further.fold(checksum::crc32c(&headers[..328], 32), |crc, block| {
            crc32c::crc32c_append(crc, &block[..260])
        });
        let crc = crc32c::crc32c_append(crc, data);
        record[32..36].copy_from_slice(&crc.to_le_bytes());
        let count = record.len() / BLOCK;
        for (index, block) in record.chunks_exact(BLOCK).enumerate() {
            let at = (self.shape.first_block + blocks + index) % RING_BLOCKS * BLOCK;
            self.ring[at..at + BLOCK].copy_from_slice(block);
        }
        blocks + count
    }

    /// The operations of a transaction that logs the inode at that LSN.
    fn operations(&self, id: u32, what: What, lsn: u64) -> Vec<Vec<u8>> {
        let header = [&b"NART"[..], &[0; 4], &id.to_le_bytes(), &[2, 0, 0, 0]].concat();
        let mut core = self.logged_core();
        let (kind, size) = match what {
            What::Intent => (0x1236_u16, 1_u16),
            What::InodeWithFork => (0x123b, 3),
            What::Inode | What::OlderInode | What::ChangedInode | What::NewerInode => (0x123b, 2),
            _ => (0x123c, 2),
        };
        let mut format = vec![0; if kind == 0x123b { 56 } else { 24 }];
        format[..2].copy_from_slice(&kind.to_le_bytes());
        format[2..4].copy_from_slice(&size.to_le_bytes());
        let mut regions = vec![read_vec(&self.device, 0, 384).unwrap()];
        // What is behind its first chunk is no geometry.
        regions[0][128..].fill(0x55);
        if kind == 0x123b {
            let at = self.inode_offset_bytes;
            format[4] = if what == What::InodeWithFork { 5 } else { 1 };
            format[40..48].copy_from_slice(&(at / 16_384 * 32).to_le_bytes());
            format[52..56].copy_from_slice(&((at % 16_384) as u32).to_le_bytes());
            if what == What::ChangedInode {
                core[40] ^= 1;
            }
            let in_place = self.lsn_on_disk(lsn, what).to_be_bytes();
            let at_bytes = self.inode_offset_bytes + 112;
            self.device.write_all_at(&in_place, at_bytes).unwrap();
            regions = vec![core, vec![1; 16]];
            regions.truncate(usize::from(size) - 1);
        } else {
            format[4] = if what == What::CancelledSuperblock {
                2
            } else {
                0
            };
            if what == What::GrownSuperblock {
                // sb_agcount
                regions[0][91] += 1;
            }
            format[16] = 1;
            format[20] = 0b111;
            format[6..8].copy_from_slice(&1_u16.to_le_bytes());
            format[8] = if what == What::OtherBuffer { 1 } else { 0 };
            regions.truncate(usize::from(size) - 1);
        }
        let start = operation(id, START, b"");
        let commit = operation(id, COMMIT, b"");
        let held = [vec![header, format], regions].concat();
        let held: Vec<_> = held.iter().map(|region| operation(id, 0, region)).collect();
        match what {
            What::Unmount => vec![unmount(id)],
            What::Rest => [held, vec![commit]].concat(),
            What::Unfinished => [vec![start], held].concat(),
            _ => [vec![start], held, vec![commit]].concat(),
        }
    }

    /// The LSN that the inode on the disk has, if the last one was logged at `lsn`.
    fn lsn_on_disk(&self, lsn: u64, what: What) -> u64 {
        match what {
            What::OlderInode => lsn + 1,
            What::NewerInode => lsn - 1,
            _ => lsn,
        }
    }

    fn logged_core(&self) -> Vec<u8> {
        let mut core = read_vec(&self.device, self.inode_offset_bytes, 176).unwrap();
        for pair in FIELDS.windows(2) {
            // The UUID is no number.
            if pair[0] < 160 {
                core[pair[0]..pair[1]].reverse();
            }
        }
        // The log holds nothing of these.
        core[96..104].fill(0xdd);
        core[112..120].fill(0xdd);
        core
    }

    /// Writes each of these transactions in a record of its own, after one of the superblock, and one of the
    /// superblock at the end; all are to be replayed.
    fn write(&mut self, all: &[What]) {
        let mut at = 0;
        let ends = [What::Superblock];
        let mut id = 0;
        for &what in [&ends[..], all, &ends].concat().iter() {
            id += 1;
            let operations = self.operations(id, what, self.lsn(at));
            match operations.iter().position(|it| it.len() > 100) {
                Some(index) if self.shape.is_split => {
                    let (payload, header) = (&operations[index][12..], &operations[index][..12]);
                    let flags = header[9];
                    let (before, after) = payload.split_at(payload.len() / 3);
                    let mut first = operations[..index].to_vec();
                    first.push(operation(id, flags | CONTINUED, before));
                    let mut second = vec![operation(id, CONTINUES, after)];
                    second.extend_from_slice(&operations[index + 1..]);
                    at = self.put(at, 0, &first);
                    at = self.put(at, 0, &second);
                }
                _ => at = self.put(at, 0, &operations),
            }
        }
        let start_bytes = self.superblock.log.unwrap().offset_bytes();
        self.device.write_all_at(&self.ring, start_bytes).unwrap();
    }

    fn is_covered(&self) -> bool {
        match end(&self.superblock, &self.device) {
            Ok(Some(End::Covered(_))) => true,
            Ok(Some(End::Clean(_)) | None) => panic!("there is no unmount at the end"),
            Ok(Some(End::Unclean(_))) | Err(_) => false,
        }
    }
}

fn operation(id: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    let header = [id.to_be_bytes(), len.to_be_bytes(), [0x69, flags, 0, 0]];
    [&header.concat(), payload].concat()
}

/// Of the log itself, not of a transaction.
fn unmount(id: u32) -> Vec<u8> {
    let mut raw = operation(id, 0x20, &[0x6e, 0x55, 0, 0, 0, 0, 0, 0]);
    raw[8] = 0xaa;
    raw
}

fn shape() -> impl Strategy<Value = Shape> {
    let near_the_end = RING_BLOCKS - 300..RING_BLOCKS;
    let first_block = prop_oneof![Just(0), 1..RING_BLOCKS, near_the_end];
    let unit_blocks = prop_oneof![Just(1_usize), Just(8), Just(64)];
    let header_blocks = prop_oneof![Just(1_usize), Just(2), Just(8)];
    (first_block, header_blocks, unit_blocks, any::<bool>()).prop_map(
        |(first_block, header_blocks, unit_blocks, is_split)| Shape {
            first_block,
            header_blocks,
            unit_blocks,
            is_split,
        },
    )
}

fn harmless() -> impl Strategy<Value = Vec<What>> {
    let any = prop_oneof![
        Just(What::Superblock),
        Just(What::OlderInode),
        Just(What::Unmount),
        Just(What::Rest),
        Just(What::Unfinished),
    ];
    // Of the inode only the last one is as it is on the disk.
    let last = proptest::collection::vec(Just(What::Inode), 0..2);
    (proptest::collection::vec(any, 0..5), last).prop_map(|(all, last)| [all, last].concat())
}

fn harmful() -> impl Strategy<Value = What> {
    prop_oneof![
        Just(What::ChangedInode),
        Just(What::NewerInode),
        Just(What::InodeWithFork),
        Just(What::CancelledSuperblock),
        Just(What::GrownSuperblock),
        Just(What::OtherBuffer),
        Just(What::Intent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_in_place_covers_the_log_wherever_it_begins(shape in shape(), all in harmless()) {
        assert!(all.iter().all(|what| what.is_harmless()));
        let mut frozen = Frozen::new(shape);
        frozen.write(&all);
        assert!(frozen.is_covered());
    }

    #[test]
    fn anything_else_does_not(shape in shape(), all in harmless(), one in harmful(), at in 0..6_usize) {
        let mut frozen = Frozen::new(shape);
        let mut all: Vec<What> = all.into_iter().filter(|&what| what != What::Inode).collect();
        // What comes last decides how the inode lies on the disk.
        all.retain(|&what| what != What::OlderInode);
        all.insert(at.min(all.len()), one);
        frozen.write(&all);
        assert!(!frozen.is_covered());
    }

    #[test]
    fn no_bit_of_a_record_may_differ(shape in shape(), bit in 0..64 * 8 * 512_usize) {
        let shape = Shape { is_split: false, ..shape };
        let mut frozen = Frozen::new(shape.clone());
        frozen.write(&[What::Inode]);
        let len = frozen.put(0, 0, &frozen.operations(1, What::Superblock, 0));
        let bit = bit % (len * BLOCK * 8);
        let at = (shape.first_block * BLOCK + bit / 8) % frozen.ring.len();
        let start_bytes = frozen.superblock.log.unwrap().offset_bytes();
        let byte = read_vec(&frozen.device, start_bytes + at as u64, 1).unwrap()[0];
        let changed = [byte ^ 1 << (bit % 8)];
        frozen.device.write_all_at(&changed, start_bytes + at as u64).unwrap();
        // The checksum leaves out what nobody reads of header blocks.
        let within = bit / 8 % BLOCK;
        let (block, header_blocks) = (bit / 8 / BLOCK, shape.header_blocks);
        let needed = ((len - header_blocks) * BLOCK).div_ceil(32 << 10);
        let is_further = (1..header_blocks).contains(&block) && within >= 4;
        let is_unread = (block == 0 && (328..BLOCK).contains(&within))
            || (is_further && (within >= 260 || block >= needed));
        assert_eq!(frozen.is_covered(), is_unread);
    }
}
