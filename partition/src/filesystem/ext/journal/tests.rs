//! Logs of each form, whole and hostile, written into a golden volume.

use super::super::checksum::crc32c;
use super::form::crc32_be;
use crate::device::{MemoryDevice, ReadAt, Redirected, WriteAt, read_vec};
use crate::filesystem::golden::image;
use crate::filesystem::{Basis, Replay, probe, replay, usage};
use proptest::prelude::{any, prop, proptest};

const BLOCK: usize = 1024;
/// The journal of `ext4-plain`: where it lies, and how many blocks it has.
const JOURNAL: u64 = 8195;
const JOURNAL_BLOCKS: u32 = 1024;
/// Blocks that are free there.
const FREE: [u64; 3] = [15_000, 15_001, 16_384];

/// A volume with transactions in its log.
struct Dirty {
    device: MemoryDevice,
    compat: u32,
    incompat: u32,
    start: u32,
    sequence: u32,
    /// The next block of the log, and the transaction that is written.
    next: u32,
    now: u32,
    crc: u32,
    seconds: u64,
}

impl Dirty {
    fn new((compat, incompat): (u32, u32), start: u32, sequence: u32) -> Self {
        let device = image("ext4-plain");
        let mut incompat_of_volume = read_vec(&device, 1024 + 0x60, 1).unwrap();
        incompat_of_volume[0] |= 4;
        device
            .write_all_at(&incompat_of_volume, 1024 + 0x60)
            .unwrap();
        let dirty = Self {
            device,
            compat,
            incompat,
            start,
            sequence,
            next: start,
            now: sequence,
            crc: !0,
            seconds: 1000,
        };
        dirty.write_superblock();
        dirty
    }

    fn write_superblock(&self) {
        let at = JOURNAL * BLOCK as u64;
        let mut raw = read_vec(&self.device, at, BLOCK).unwrap();
        put(&mut raw, 0x18, self.sequence);
        put(&mut raw, 0x1c, self.start);
        put(&mut raw, 0x24, self.compat);
        put(&mut raw, 0x28, self.incompat);
        raw[0x50] = 4;
        put(&mut raw, 0xfc, 0);
        let crc = crc32c(!0, &raw);
        put(&mut raw, 0xfc, crc);
        self.device.write_all_at(&raw, at).unwrap();
    }

    const fn has_block_checksums(&self) -> bool {
        self.incompat & 0x18 != 0
    }

    fn seed(&self) -> u32 {
        let uuid = read_vec(&self.device, JOURNAL * BLOCK as u64 + 0x30, 16);
        crc32c(!0, &uuid.unwrap())
    }

    fn block(&self, kind: u32) -> Vec<u8> {
        let mut raw = vec![0; BLOCK];
        put(&mut raw, 0, super::MAGIC);
        put(&mut raw, 4, kind);
        put(&mut raw, 8, self.now);
        raw
    }

    fn push(&mut self, raw: &[u8]) {
        let at = (JOURNAL + u64::from(self.next)) * BLOCK as u64;
        self.device.write_all_at(raw, at).unwrap();
        self.next += 1;
        if self.next == JOURNAL_BLOCKS {
            self.next = 1;
        }
    }

    fn push_with_tail(&mut self, mut raw: Vec<u8>) {
        if self.has_block_checksums() {
            let crc = crc32c(self.seed(), &raw);
            put(&mut raw, BLOCK - 4, crc);
        }
        self.push(&raw);
    }

    /// Logs blocks, each with what it holds from now on.
    fn log(&mut self, blocks: &[(u64, Vec<u8>)]) {
        let (mut raw, mut at) = (self.block(1), 12);
        let is_wide = self.incompat & 2 != 0;
        let mut logged = Vec::new();
        for (index, (block, content)) in blocks.iter().enumerate() {
            let mut content = content.clone();
            let is_escaped = content.starts_with(&[0xc0, 0x3b, 0x39, 0x98]);
            if is_escaped {
                content[..4].fill(0);
            }
            let is_last = index + 1 == blocks.len();
            let flags = u16::from(is_escaped) | if index > 0 { 2 } else { 0 };
            let flags = flags | if is_last { 8 } else { 0 };
            let crc = crc32c(crc32c(self.seed(), &self.now.to_be_bytes()), &content);
            put(&mut raw, at, *block as u32);
            raw[at + 6..at + 8].copy_from_slice(&flags.to_be_bytes());
            if is_wide {
                put(&mut raw, at + 8, (*block >> 32) as u32);
            }
            at += match (self.incompat & 0x18, is_wide) {
                (0x10, _) => {
                    put(&mut raw, at + 12, crc);
                    16
                }
                (0x8, _) => {
                    raw[at + 4..at + 6].copy_from_slice(&(crc as u16).to_be_bytes());
                    if is_wide { 14 } else { 10 }
                }
                (_, true) => 12,
                (_, false) => 8,
            };
            at += if index > 0 { 0 } else { 16 };
            logged.push(content);
        }
        self.crc = crc32_be(self.crc, &raw);
        self.push_with_tail(raw);
        for content in logged {
            self.crc = crc32_be(self.crc, &content);
            self.push(&content);
        }
    }

    fn revoke(&mut self, block: u64) {
        let mut raw = self.block(5);
        if self.incompat & 2 != 0 {
            put(&mut raw, 12, 24);
            put(&mut raw, 16, (block >> 32) as u32);
            put(&mut raw, 20, block as u32);
        } else {
            put(&mut raw, 12, 20);
            put(&mut raw, 16, block as u32);
        }
        self.push_with_tail(raw);
    }

    fn commit(&mut self) {
        let mut raw = self.block(2);
        raw[48..56].copy_from_slice(&self.seconds.to_be_bytes());
        if self.compat & 1 != 0 {
            raw[12..14].copy_from_slice(&[1, 4]);
            put(&mut raw, 16, self.crc);
        }
        if self.has_block_checksums() {
            let crc = crc32c(self.seed(), &raw);
            put(&mut raw, 16, crc);
        }
        self.push(&raw);
        (self.now, self.crc) = (self.now.wrapping_add(1), !0);
        self.seconds += 1;
    }

    /// Two transactions: blocks, one of which begins as a block of the log does; then one of them anew,
    /// and another that is revoked.
    fn with_two(mut self) -> Self {
        self.log(&[
            (FREE[0], filled(1)),
            (FREE[1], escaped(2)),
            (FREE[2], filled(3)),
        ]);
        self.commit();
        self.revoke(FREE[2]);
        self.log(&[(FREE[0], filled(4))]);
        self.commit();
        self
    }

    fn replay(&self) -> Replay {
        let filesystem = probe(&self.device).unwrap().unwrap();
        replay(&self.device, &*filesystem).unwrap()
    }

    /// Why the journal can't be replayed.
    fn impossible(&self) -> String {
        match self.replay() {
            Replay::Impossible(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn put(raw: &mut [u8], at: usize, field: u32) {
    raw[at..at + 4].copy_from_slice(&field.to_be_bytes());
}

fn filled(byte: u8) -> Vec<u8> {
    vec![byte; BLOCK]
}

fn escaped(byte: u8) -> Vec<u8> {
    let mut raw = filled(byte);
    put(&mut raw, 0, super::MAGIC);
    raw
}

/// The volume with its journal replayed.
fn shown(dirty: &Dirty) -> (Redirected<&MemoryDevice>, u32) {
    let Replay::Done(done) = dirty.replay() else {
        panic!("{:?}", dirty.replay());
    };
    let whole = dirty.device.geometry().extent().unwrap();
    let volumes = vec![(whole, done.redirection)];
    (
        Redirected::new(&dirty.device, volumes).unwrap(),
        done.transactions,
    )
}

fn at(device: &dyn ReadAt, block: u64) -> Vec<u8> {
    read_vec(device, block * BLOCK as u64, BLOCK).unwrap()
}

const FORMS: [(u32, u32); 8] = [
    (0, 0),
    (0, 0x3),
    (1, 0x1),
    (1, 0x3),
    (0, 0x9),
    (0, 0xb),
    (0, 0x11),
    (0, 0x13),
];

#[test]
fn logs_of_each_form_are_replayed_also_where_they_wrap_around() {
    for form in FORMS {
        for (start, sequence) in [(1, 7), (1020, 7), (1021, u32::MAX), (1023, 5)] {
            let dirty = Dirty::new(form, start, sequence).with_two();
            let before = dirty.device.to_vec();
            let (shown, transactions) = shown(&dirty);
            assert_eq!(transactions, 2);
            assert!(at(&shown, FREE[0]) == filled(4), "{form:?} {start}");
            assert!(at(&shown, FREE[1]) == escaped(2), "{form:?} {start}");
            assert!(at(&shown, FREE[2]) == at(&dirty.device, FREE[2]), "revoked");
            let found = usage(&shown).unwrap();
            assert_eq!(found.basis, Basis::Map);
            assert!(!found.blank(&shown).is_empty(), "{form:?}");
            assert!(before == dirty.device.to_vec());
        }
    }
}

#[test]
fn a_block_that_is_logged_after_it_was_revoked_counts() {
    let mut dirty = Dirty::new((0, 0x13), 9, 3).with_two();
    dirty.log(&[(FREE[2], filled(9))]);
    dirty.commit();
    assert!(at(&shown(&dirty).0, FREE[2]) == filled(9));
}

#[test]
fn the_log_ends_before_what_was_not_committed_or_is_of_an_earlier_time() {
    for form in FORMS {
        let mut dirty = Dirty::new(form, 5, 3).with_two();
        dirty.log(&[(FREE[0], filled(8))]);
        let (view, transactions) = shown(&dirty);
        assert!(at(&view, FREE[0]) == filled(4) && transactions == 2);
        dirty.commit();
        let (view, transactions) = shown(&dirty);
        assert!(at(&view, FREE[0]) == filled(8) && transactions == 3);
    }
    // A wrong checksum with an earlier time of commit: the log of another time.
    let mut dirty = Dirty::new((0, 0x13), 5, 3).with_two();
    let descriptor = dirty.next;
    (dirty.seconds, dirty.incompat) = (10, 0x3);
    dirty.log(&[(FREE[0], filled(8))]);
    dirty.commit();
    dirty.incompat = 0x13;
    assert!(at(&dirty.device, JOURNAL + u64::from(descriptor))[7] == 1);
    assert_eq!(shown(&dirty).1, 2);
}

#[test]
fn what_the_kernel_would_not_recover_is_not_replayed() {
    let v3 = || Dirty::new((0, 0x13), 5, 3).with_two();
    // Descriptor, three blocks, commit; revoke, descriptor, block, commit.
    let flips = [
        (5, 100, "checksum"),
        (6, 7, "block 6"),
        (9, 60, "commit"),
        (10, 30, "checksum"),
    ];
    for (block, byte, why) in flips {
        let dirty = v3();
        let at = (JOURNAL + block) * BLOCK as u64 + byte;
        dirty.device.write_all_at(&[0x55], at).unwrap();
        let found = dirty.impossible();
        assert!(found.contains(why), "{block}: {found}");
    }
    let targets = [
        (JOURNAL + 100, "journal's"),
        (20_480, "does not have"),
        (u64::MAX, "does not"),
    ];
    for (target, why) in targets {
        let mut dirty = v3();
        dirty.log(&[(target, filled(1))]);
        dirty.commit();
        let found = dirty.impossible();
        assert!(found.contains(why), "{target}: {found}");
    }
    for (compat, incompat, why) in [
        (0, 0x31, "fast commits"),
        (0, 0x18, "two versions"),
        (1, 0x10, "two versions"),
        (0, 0x40, "doesn't know"),
    ] {
        let found = Dirty::new((compat, incompat), 5, 3).with_two().impossible();
        assert!(found.contains(why), "{incompat:#x}: {found}");
    }
    for start in [1024, u32::MAX] {
        let mut dirty = v3();
        dirty.start = start;
        dirty.write_superblock();
        assert!(dirty.impossible().contains("starts with"));
    }
}

#[test]
fn a_log_without_an_end_is_noticed() {
    let mut dirty = Dirty::new((0, 0x3), 1, 3);
    let full: Vec<u8> = dirty.block(5);
    for _ in 0..JOURNAL_BLOCKS {
        dirty.push(&full);
    }
    assert!(dirty.impossible().contains("no end"));
}

#[test]
fn without_the_flag_nothing_is_replayed() {
    let dirty = Dirty::new((0, 0x13), 5, 3).with_two();
    dirty.device.write_all_at(&[0xc2], 1024 + 0x60).unwrap();
    assert!(dirty.impossible().contains("needs_recovery is not set"));
}

proptest! {
    /// Nothing in a log makes the replay panic, loop, or show what it can't.
    #[test]
    fn hostile_logs(
        form in 0..FORMS.len(),
        sealed in any::<bool>(),
        changes in prop::collection::vec((1_u64..14, 0..BLOCK, any::<u8>()), 1..12),
    ) {
        let dirty = Dirty::new(FORMS[form], 1, 1).with_two();
        for (block, byte, value) in changes {
            let start = (JOURNAL + block) * BLOCK as u64;
            let mut raw = read_vec(&dirty.device, start, BLOCK).unwrap();
            raw[byte] = value;
            if sealed && dirty.has_block_checksums() {
                let place = if raw[7] == 2 { 16 } else { BLOCK - 4 };
                put(&mut raw, place, 0);
                let crc = crc32c(dirty.seed(), &raw);
                put(&mut raw, place, crc);
            }
            dirty.device.write_all_at(&raw, start).unwrap();
        }
        if let Replay::Done(_) = dirty.replay() {
            let (view, _) = shown(&dirty);
            assert_eq!(usage(&view).unwrap().basis, Basis::Map);
        }
    }
}
