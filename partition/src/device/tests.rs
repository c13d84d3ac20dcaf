//! Files and block devices opened by path: against a model in memory, and on loop devices.

use super::loop_device::{LoopDevice, Mount, lacks_root, run};
use super::{
    AlignedBuffer, IoMode, ReadAt, Target, WriteAt, create_target_file, look_at, open_source,
    open_target, read_vec,
};
use crate::error::Error;
use crate::extent::Extent;
use proptest::prelude::*;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, usize, u8),
    Zero(u64, u64),
    Read(u64, usize),
    Sync,
}

fn steps(size_bytes: u64) -> impl Strategy<Value = Vec<Step>> {
    let offset = move || {
        prop_oneof![
            0..size_bytes,
            (0..size_bytes / 4096).prop_map(|block| block * 4096),
            size_bytes.saturating_sub(600)..size_bytes
        ]
    };
    let len = || prop_oneof![1_usize..700, Just(4096), 1_usize..20_000];
    let step = prop_oneof![
        (offset(), len(), 1_u8..).prop_map(|(offset, len, fill)| Step::Write(offset, len, fill)),
        (offset(), len()).prop_map(|(offset, len)| Step::Zero(offset, len as u64)),
        (offset(), len()).prop_map(|(offset, len)| Step::Read(offset, len)),
        Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..40)
}

/// Does the same to the target and to a vector; every read and the end must agree.
fn check_against_model(target: &Target, mut model: Vec<u8>, steps: &[Step]) {
    let size = model.len();
    for step in steps {
        match *step {
            Step::Write(offset_bytes, len, fill) => {
                let start = offset_bytes as usize;
                let end = (start + len).min(size);
                model[start..end].fill(fill);
                // Every other write from a buffer that O_DIRECT takes as it is.
                let mut aligned = AlignedBuffer::zeroed(end - start);
                aligned.fill(fill);
                let plain = vec![fill; end - start];
                let data: &[u8] = if fill % 2 == 0 { &aligned } else { &plain };
                target.write_all_at(data, offset_bytes).unwrap();
            }
            Step::Zero(offset_bytes, len_bytes) => {
                let end_bytes = (offset_bytes + len_bytes).min(size as u64);
                let extent = Extent::between(offset_bytes, end_bytes).unwrap();
                model[offset_bytes as usize..end_bytes as usize].fill(0);
                target.zero(extent).unwrap();
            }
            Step::Read(offset_bytes, len) => {
                let start = offset_bytes as usize;
                let end = (start + len).min(size);
                let found = read_vec(target, offset_bytes, end - start).unwrap();
                assert!(found == model[start..end], "{step:?}");
            }
            Step::Sync => target.sync().unwrap(),
        }
    }
    assert!(read_vec(target, 0, size).unwrap() == model);
    let source = open_source(target.path()).unwrap();
    assert!(read_vec(&source, 0, size).unwrap() == model);
}

fn filled_file(directory: &Path, size: usize) -> PathBuf {
    let path = directory.join("disk.img");
    fs::write(&path, vec![0xee; size]).unwrap();
    path
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn files_of_any_size_behave_as_memory_does(
        steps in steps(3 * 4096),
        odd_bytes in prop_oneof![Just(0_usize), Just(4096), 1_usize..5000],
    ) {
        let directory = TempDir::new().unwrap();
        let size = 3 * 4096 + odd_bytes;
        let path = filled_file(directory.path(), size);
        let target = open_target(&path).unwrap();
        if !size.is_multiple_of(4096) {
            let is_buffered = matches!(target.io_mode(), IoMode::Buffered { .. });
            prop_assert!(is_buffered);
        }
        check_against_model(&target, vec![0xee; size], &steps);
    }
}

fn check_loop_device(sector_bytes: u32, size: usize) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
    let directory = TempDir::new().unwrap();
    let path = filled_file(directory.path(), size);
    let device = LoopDevice::attach(&path, sector_bytes, &[]);
    runner
        .run(&steps(size as u64), |steps| {
            let target = open_target(device.path()).unwrap();
            assert_eq!(*target.io_mode(), IoMode::Direct);
            let geometry = target.geometry();
            assert_eq!(geometry.size_bytes, size as u64);
            assert_eq!(geometry.logical_sector_bytes, sector_bytes);
            let model = read_vec(&target, 0, size).unwrap();
            check_against_model(&target, model, &steps);
            Ok(())
        })
        .unwrap();
}

#[test]
fn block_devices_behave_as_memory_does() {
    if lacks_root() {
        return;
    }
    check_loop_device(512, 8 * 4096);
    // The last sectors are no whole block of 4096.
    check_loop_device(512, 8 * 4096 + 3 * 512);
    check_loop_device(4096, 8 * 4096);
}

#[test]
fn holes_are_known_and_everything_else_is_data() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sparse.img");
    let target = create_target_file(&path, 16 << 20).unwrap();
    let whole = target.geometry().extent().unwrap();
    assert!(target.data(whole).unwrap().is_empty());
    target.write_all_at(&[7; 10], (5 << 20) + 100).unwrap();
    target.write_all_at(&[7; 10], (9 << 20) + 100).unwrap();
    let data = target.data(whole).unwrap();
    for start_bytes in [5_u64 << 20, 9 << 20] {
        assert!(data.contains(Extent::new(start_bytes + 100, 10).unwrap()));
    }
    assert!(data.total_bytes() < 1 << 20, "{data:?}");
    let first = Extent::new(0, 6 << 20).unwrap();
    assert!(target.data(first).unwrap().end_bytes() <= 6 << 20);
    target.zero(whole).unwrap();
    assert!(target.data(whole).unwrap().is_empty());
}

#[test]
fn threads_that_share_a_block_keep_each_others_bytes() {
    let directory = TempDir::new().unwrap();
    let target = create_target_file(&directory.path().join("disk.img"), 8192).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let target = &target;
            scope.spawn(move || {
                for index in 0..64_u64 {
                    let offset_bytes = index * 128 + u64::from(thread) * 16;
                    target
                        .write_all_at(&[thread + 1; 16], offset_bytes)
                        .unwrap();
                }
            });
        }
    });
    let found = read_vec(&target, 0, 8192).unwrap();
    for (index, &byte) in found.iter().enumerate() {
        assert_eq!(usize::from(byte), index % 128 / 16 + 1, "byte {index}");
    }
}

#[test]
fn ends_are_respected() {
    let directory = TempDir::new().unwrap();
    let target = create_target_file(&directory.path().join("disk.img"), 8192).unwrap();
    assert!(target.write_all_at(&[1; 2], 8191).is_err());
    assert!(target.zero(Extent::new(8191, 2).unwrap()).is_err());
    assert!(target.discard(Extent::new(8192, 1).unwrap()).is_err());
    assert!(target.data(Extent::new(0, 8193).unwrap()).is_err());
    assert!(read_vec(&target, u64::MAX, 2).is_err());
    // A request that never reached the device does not spoil it.
    target.sync().unwrap();
}

#[test]
fn a_sync_after_a_failed_write_fails_for_good() {
    // A device that accepts opening and fails every write.
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("disk.img");
    let target = create_target_file(&path, 8192).unwrap();
    target.sync().unwrap();
    let failed = Err(std::io::Error::other("the cable"));
    let extent = Extent::new(0, 512).unwrap();
    assert!(
        target
            .note::<()>(failed, crate::error::Operation::Write, extent)
            .is_err()
    );
    for _ in 0..2 {
        let message = target.sync().unwrap_err().to_string();
        assert!(message.contains("the cable"), "{message}");
    }
}

#[test]
fn only_files_and_block_devices_open_and_links_are_followed() {
    let directory = TempDir::new().unwrap();
    for path in [directory.path(), Path::new("/dev/null")] {
        assert!(matches!(open_source(path), Err(Error::Invalid(_))));
        assert!(matches!(open_target(path), Err(Error::Invalid(_))));
    }
    let missing = directory.path().join("missing");
    assert!(matches!(open_target(&missing), Err(Error::Open { .. })));
    let path = filled_file(directory.path(), 8192);
    symlink(&path, &missing).unwrap();
    assert_eq!(open_source(&missing).unwrap().geometry().size_bytes, 8192);
    assert!(matches!(
        create_target_file(&path, 1),
        Err(Error::Refused(_))
    ));
}

#[test]
fn a_file_has_one_writer_at_a_time() {
    let directory = TempDir::new().unwrap();
    let path = filled_file(directory.path(), 8192);
    let first = open_target(&path).unwrap();
    assert!(matches!(open_target(&path), Err(Error::Refused(_))));
    assert!(open_source(&path).is_ok());
    drop(first);
    assert!(open_target(&path).is_ok());
}

#[test]
fn devices_in_use_or_read_only_are_refused_as_targets() {
    if lacks_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("disk.img");
    File::create(&path).unwrap().set_len(8 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-F", path.to_str().unwrap()]);
    let device = LoopDevice::attach(&path, 512, &[]);
    assert!(open_source(device.path()).unwrap().is_exclusive());
    {
        // Who only looks keeps nobody from writing.
        let looked = look_at(device.path()).unwrap();
        assert!(!looked.is_exclusive());
        assert!(open_target(device.path()).is_ok());
    }
    {
        let at = directory.path().join("mounted");
        fs::create_dir(&at).unwrap();
        let _mount = Mount::new(device.path(), &at);
        let refused = open_target(device.path()).unwrap_err();
        assert!(
            matches!(&refused, Error::RefusedUnless { reason: why, .. } if why.contains("in use"))
        );
        assert!(!open_source(device.path()).unwrap().is_exclusive());
    }
    assert!(open_target(device.path()).is_ok());
    let read_only = LoopDevice::attach(&path, 512, &["--read-only"]);
    let refused = open_target(read_only.path()).unwrap_err();
    assert!(
        matches!(&refused, Error::Refused(why) if why.contains("read-only")),
        "{refused}"
    );
}

/// What is left after a discard and after zeroes written by hand, with odd ends.
fn check_discard_and_written_zeroes(target: &Target) {
    let size = 4 << 20;
    target.write_all_at(&vec![5; size], 0).unwrap();
    let extent = Extent::new(1000, 2 << 20).unwrap();
    target.discard(extent).unwrap();
    let found = read_vec(target, 0, size).unwrap();
    assert!(found[..1000].iter().all(|&byte| byte == 5));
    assert!(found[1000 + (2 << 20)..].iter().all(|&byte| byte == 5));
    target.write_all_at(&vec![5; size], 0).unwrap();
    target.write_zeroes(extent).unwrap();
    let mut expected = vec![5; size];
    expected[1000..][..2 << 20].fill(0);
    assert!(read_vec(target, 0, size).unwrap() == expected);
    target.sync().unwrap();
}

#[test]
fn discards_and_written_zeroes_stay_within_their_range() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("disk.img");
    check_discard_and_written_zeroes(&create_target_file(&path, 4 << 20).unwrap());
    let odd = directory.path().join("odd.img");
    check_discard_and_written_zeroes(&create_target_file(&odd, (4 << 20) + 7).unwrap());
    if lacks_root() {
        return;
    }
    for sector_bytes in [512, 4096] {
        let device = LoopDevice::attach(&path, sector_bytes, &[]);
        check_discard_and_written_zeroes(&open_target(device.path()).unwrap());
    }
}
