//! The order of writes, on a device that remembers them.

use super::{HELD_BYTES, HeldBack, TargetWriter, Write};
use crate::error::{Error, Result};
use crate::mark::Mark;
use bytes::Bytes;
use klon_partition::device::MemoryDevice;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, WriteAt};
use std::sync::Mutex;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Write(u64, usize),
    Zero(Extent),
    Sync,
}

struct Recorder {
    device: MemoryDevice,
    steps: Mutex<Vec<Step>>,
}

impl Recorder {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            device: MemoryDevice::new(bytes, 512),
            steps: Mutex::default(),
        }
    }

    fn push(&self, step: Step) {
        self.steps.lock().unwrap().push(step);
    }

    fn steps(&self) -> Vec<Step> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }
}

impl ReadAt for Recorder {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        self.device.read_exact_at(buffer, offset_bytes)
    }
}

impl WriteAt for Recorder {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> klon_partition::Result<()> {
        self.push(Step::Write(offset_bytes, data.len()));
        self.device.write_all_at(data, offset_bytes)
    }

    fn zero(&self, extent: Extent) -> klon_partition::Result<()> {
        self.push(Step::Zero(extent));
        self.device.zero(extent)
    }

    fn discard(&self, extent: Extent) -> klon_partition::Result<()> {
        self.device.discard(extent)
    }

    fn sync(&self) -> klon_partition::Result<()> {
        self.push(Step::Sync);
        self.device.sync()
    }
}

fn extent(offset: u64, len: u64) -> Extent {
    Extent::new(offset, len).unwrap()
}

fn held(changed: ExtentMap) -> HeldBack {
    let chunk = extent(0, HELD_BYTES);
    HeldBack {
        chunk,
        content: Bytes::from(vec![7; 1 << 20]),
        changed,
    }
}

fn data(offset_bytes: u64) -> Write {
    Write::Data {
        offset_bytes,
        data: Bytes::from(vec![8; 4096]),
    }
}

fn commit(writer: TargetWriter<'_>, held: &HeldBack) -> Result<u64> {
    writer.commit(held, || Ok(()))
}

const SIZE: usize = 4 << 20;

#[test]
fn the_first_block_is_gone_before_data_and_back_after_it() {
    let target = Recorder::new(vec![1; SIZE]);
    let allowed = ExtentMap::whole(SIZE as u64);
    let held = held(extent(20_480, 4096).into());
    let writer = TargetWriter::begin(&target, &allowed, Mark::new("path:/source"), held.chunk);
    writer.put(&data(2 << 20)).unwrap();
    assert!(
        Mark::read(&target).unwrap().is_some(),
        "marked before the first write"
    );
    let steps = target.steps();
    let sync = steps.iter().position(|step| *step == Step::Sync).unwrap();
    let first_data = steps
        .iter()
        .position(|step| *step == Step::Write(2 << 20, 4096))
        .unwrap();
    assert!(sync < first_data, "the mark is durable before data");
    let written = commit(writer, &held).unwrap();
    let steps = target.steps();
    assert_eq!(
        steps[0],
        Step::Sync,
        "data is durable before the held chunk"
    );
    assert_eq!(
        &steps[steps.len() - 3..],
        [Step::Sync, Step::Write(0, 512), Step::Sync]
    );
    let bytes = target.device.to_vec();
    assert!(bytes[..4096].iter().all(|&byte| byte == 7));
    assert!(bytes[20_480..24_576].iter().all(|&byte| byte == 7));
    assert!(
        bytes[24_576..32_768].iter().all(|&byte| byte == 1),
        "unchanged blocks stay"
    );
    // Nine signature blocks twice, one changed block, one block of data.
    assert_eq!(written, (9 * 2 + 1 + 1) * 4096);
}

#[test]
fn nothing_to_change_means_nothing_is_touched() {
    let target = Recorder::new(vec![1; SIZE]);
    let allowed = ExtentMap::whole(SIZE as u64);
    let held = held(ExtentMap::new());
    let writer = TargetWriter::begin(&target, &allowed, Mark::new("x"), held.chunk);
    assert_eq!(commit(writer, &held).unwrap(), 0);
    assert_eq!(target.steps(), []);
}

#[test]
fn what_is_not_planned_is_not_written() {
    let target = Recorder::new(vec![1; SIZE]);
    let allowed = ExtentMap::from(extent(0, 2 << 20));
    let held = held(ExtentMap::new());
    let writer = TargetWriter::begin(&target, &allowed, Mark::new("x"), held.chunk);
    for write in [
        data((2 << 20) - 512),
        data(0),
        Write::Zero(extent(3 << 20, 1)),
    ] {
        assert!(matches!(writer.put(&write), Err(Error::Internal(_))));
    }
    assert_eq!(target.steps(), []);
}

#[test]
fn neighboring_zeroes_are_one_request() {
    let target = Recorder::new(vec![1; SIZE]);
    let allowed = ExtentMap::whole(SIZE as u64);
    let held = held(ExtentMap::new());
    let writer = TargetWriter::begin(&target, &allowed, Mark::new("x"), held.chunk);
    for at in [1 << 20, (1 << 20) + 65536, 2 << 20] {
        writer.put(&Write::Zero(extent(at, 65536))).unwrap();
    }
    commit(writer, &held).unwrap();
    let zeroes: Vec<_> = target
        .steps()
        .into_iter()
        .filter(|step| matches!(step, Step::Zero(_)))
        .collect();
    assert_eq!(
        zeroes,
        [
            Step::Zero(extent(1 << 20, 131_072)),
            Step::Zero(extent(2 << 20, 65536))
        ]
    );
}

#[test]
fn a_last_check_that_fails_leaves_the_mark() {
    let target = Recorder::new(vec![1; SIZE]);
    let allowed = ExtentMap::whole(SIZE as u64);
    let held = held(ExtentMap::whole(HELD_BYTES));
    let writer = TargetWriter::begin(&target, &allowed, Mark::new("x"), held.chunk);
    assert!(
        writer
            .commit(&held, || Err(Error::SourceChanged("test".to_owned())))
            .is_err()
    );
    assert!(Mark::read(&target).unwrap().is_some());
}

#[test]
fn a_volume_smaller_than_a_block_works() {
    let target = Recorder::new(vec![1; 512]);
    let allowed = ExtentMap::whole(512);
    let chunk = extent(0, 512);
    let writer = TargetWriter::begin(&target, &allowed, Mark::new("x"), chunk);
    let held = HeldBack {
        chunk,
        content: Bytes::from(vec![7; 512]),
        changed: chunk.into(),
    };
    commit(writer, &held).unwrap();
    assert_eq!(target.device.to_vec(), vec![7; 512]);
}
