//! Groups: whatever happens, all volumes of a boot group are the earlier clones, or all are the new
//! ones once the drive alone has completed them; and the records go with them.

mod boot;

use super::{Fault, MIB, after_power_cut, copy_records, is_equal, sweep};
use boot::{Boot, Volume};
use klon_imaging::Error;
use klon_imaging::change::Rung;
use klon_imaging::mark::{Mark, Membership};
use klon_imaging::stage::{Space, finish_alone};
use klon_partition::device::{CrashDevice, FaultAt, MemoryDevice, Window};
use klon_partition::error::Remedy;
use std::num::NonZeroUsize;

const THREADS: NonZeroUsize = NonZeroUsize::MIN;
const EXT4: usize = 1;
const UNKNOWN: usize = 2;

#[test]
fn a_power_cut_leaves_all_old_or_all_to_be_finished() {
    let boot = Boot::new();
    let mut committed = 0;
    let operations = sweep(Fault::TornAtSector, |fault| {
        let (records, _directory) = copy_records(boot.records.path());
        let drive = FaultAt::new(CrashDevice::new(boot.drive.clone(), 512), Some(fault));
        let _ = boot.update(&drive, &records);
        let mut durable = None;
        // Without anything pending they are all the same.
        let lucks = if drive.device().pending_count() == 0 {
            1
        } else {
            3
        };
        for luck in 0..lucks {
            let image = after_power_cut(drive.device(), luck);
            // The same in two ways is looked at once.
            if durable.as_ref() == Some(&image) {
                continue;
            }
            committed += u64::from(boot.marks(&image) > 0);
            let context = format!("power cut at {fault:?}, luck {luck}");
            let asked = (luck as usize + drive.operations() as usize) % 3;
            boot.check(&context, image.clone(), asked);
            durable.get_or_insert(image);
        }
        (drive.has_tripped(), drive.operations())
    });
    assert!(
        operations > 60 && committed > 20,
        "{operations}, {committed}"
    );
}

#[test]
fn a_drive_that_fails_once_leaves_all_old_or_all_to_be_finished() {
    let boot = Boot::new();
    for operation in (0..).step_by(3) {
        let (records, _directory) = copy_records(boot.records.path());
        let fault = Some(Fault::Transient(operation));
        let drive = FaultAt::new(MemoryDevice::new(boot.drive.clone(), 512), fault);
        let result = boot.update(&drive, &records);
        let context = format!("{fault:?}");
        let image = drive.device().to_vec();
        let is_done = matches!(result, Ok(_) | Err(Error::AfterCommit(_)));
        assert!(
            is_done || matches!(result, Err(Error::Target(_))),
            "{context}"
        );
        assert!(!is_done || boot.are_all(1, &image), "{context}");
        boot.check(&context, image, EXT4);
        if !drive.has_tripped() {
            break;
        }
    }
}

#[test]
fn a_source_that_changed_leaves_all_of_the_group_old() {
    let boot = Boot::new();
    let (records, _directory) = copy_records(boot.records.path());
    let drive = MemoryDevice::new(boot.drive.clone(), 512);
    let changed = || Ok(Some("someone wrote to it".to_owned()));
    let result = boot.update_watched(&drive, &records, Some(&changed));
    let error = result.map(drop).unwrap_err();
    assert!(matches!(error, Error::SourceChanged(_)), "{error}");
    let image = drive.to_vec();
    assert_eq!(boot.marks(&image), 0);
    assert!(boot.are_all(0, &image));
}

#[test]
fn a_power_cut_while_a_group_is_finished_leaves_one_that_can_be_finished() {
    let boot = Boot::new();
    let (image, ..) = boot.with_marks(1);
    sweep(Fault::TornAtSector, |fault| {
        let drive = FaultAt::new(CrashDevice::new(image.clone(), 512), Some(fault));
        let _ = boot.finish(&drive, 0);
        for luck in 0..3 {
            let context = format!("finish cut at {fault:?}, luck {luck}");
            boot.check(
                &context,
                after_power_cut(drive.device(), luck),
                luck as usize,
            );
        }
        (drive.has_tripped(), drive.operations())
    });
}

/// A run that is killed leaves all that it wrote; the record of the new state is among it.
#[test]
fn the_run_after_a_kill_still_reads_only_the_source() {
    let boot = Boot::new();
    let commit = boot.commit_operation();
    for operation in 0.. {
        // Each of those that matter most, and some of the others.
        let is_near = (commit.saturating_sub(2)..commit + 20).contains(&operation);
        if !is_near && operation % 8 != 0 {
            continue;
        }
        let context = format!("killed at {operation}");
        let (image, records, _directory) = boot.killed_at(operation);
        let is_over = boot.marks(&image) == 0 && boot.are_all(1, &image);
        let image = boot.check(&context, image, 0);
        let is_new = boot.are_all(1, &image);
        let after = MemoryDevice::new(image, 512);
        let summaries = boot.update(&after, &records);
        let summaries = summaries.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(boot.are_all(1, &after.to_vec()), "{context}");
        assert_eq!(is_new, summaries[EXT4].is_some(), "{context}");
        if let Some(summary) = &summaries[EXT4] {
            assert_eq!(summary.rung, Rung::Digest, "{context}: {}", summary.reason);
        }
        let target = &boot.volumes[EXT4].target;
        assert!(!records.pending_path(target).exists(), "{context}");
        let manifest = records.load(target).unwrap().unwrap().manifest;
        let rung = manifest.history.last().unwrap().rung;
        assert_eq!(rung, Rung::Digest, "{context}");
        if is_over {
            break;
        }
    }
}

#[test]
fn a_target_that_was_changed_after_the_finish_is_compared() {
    let boot = Boot::new();
    let (image, records, _directory) = boot.with_marks(2);
    let mut image = boot.check("two marks", image, 1);
    // s_mtime, which a mount sets.
    image[boot.volumes[EXT4].at.offset_bytes() as usize + 1024 + 0x2c] ^= 1;
    let drive = MemoryDevice::new(image, 512);
    boot.update(&drive, &records).unwrap();
    assert!(boot.are_all(1, &drive.to_vec()));
    let record = records.load(&boot.volumes[EXT4].target).unwrap().unwrap();
    assert_eq!(record.manifest.history.last().unwrap().rung, Rung::Compare);
}

/// The FAT has no change token, the ext4 has: both are noticed, and nothing is mixed.
#[test]
fn a_member_that_was_changed_after_the_commit_is_not_mixed() {
    let boot = Boot::new();
    let (image, ..) = boot.with_marks(1);
    let changes = [(0, 600_000), (EXT4, 1024 + 0x2c), (UNKNOWN, 8192)];
    for (index, at) in changes {
        let mut image = image.clone();
        image[boot.volumes[index].at.offset_bytes() as usize + at] ^= 1;
        let drive = MemoryDevice::new(image.clone(), 512);
        let error = boot.finish(&drive, 0).unwrap_err().to_string();
        assert!(error.contains("of a group"), "{index}: {error}");
        assert!(
            error.contains("No volume of the group was written"),
            "{error}"
        );
        assert_eq!(drive.to_vec(), image, "{index}: nothing was written");
    }
}

#[test]
fn without_its_leader_a_member_is_finished_only_alone() {
    let boot = Boot::new();
    let (mut image, ..) = boot.with_marks(3);
    let leader = (0..3).find(|&index| {
        let mark = Mark::parse(boot.volume(index, &image)).unwrap();
        matches!(mark.staged.unwrap().membership, Membership::Leader(_))
    });
    assert_eq!(leader, Some(UNKNOWN), "the largest without a change token");
    let at = boot.volumes[UNKNOWN].at.offset_bytes() as usize;
    image[at..at + 512].fill(0);
    let drive = MemoryDevice::new(image.clone(), 512);
    let error = boot.finish(&drive, EXT4).unwrap_err();
    let Error::RefusedUnless { remedy, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(remedy, Remedy::FinishAlone);
    assert_eq!(drive.to_vec(), image, "nothing was written");
    let volume = Window::new(&drive, boot.volumes[EXT4].at).unwrap();
    let space = Space {
        volume: &volume,
        drive: Some(&drive),
    };
    finish_alone(space, THREADS).unwrap().expect("an update");
    let Volume { wanted, states, .. } = &boot.volumes[EXT4];
    let image = drive.to_vec();
    assert!(is_equal(&wanted[1], boot.volume(EXT4, &image), &states[1]));
}

#[test]
fn what_is_staged_for_a_member_and_damaged_keeps_all_of_the_group_as_it_is() {
    let boot = Boot::new();
    let (image, ..) = boot.with_marks(1);
    let room = boot.room.iter().next().unwrap().offset_bytes() as usize;
    let mut is_found = false;
    for at in (room..room + MIB / 4).step_by(4096) {
        let mut image = image.clone();
        image[at + 20] ^= 1;
        let drive = MemoryDevice::new(image.clone(), 512);
        match boot.finish(&drive, UNKNOWN) {
            Err(Error::StageCorrupt { .. }) => {
                assert_eq!(drive.to_vec(), image, "{at}: nothing was written");
                is_found = true;
            }
            Ok(_) => assert!(
                boot.are_all(1, &drive.to_vec()),
                "{at}: room that is not in use"
            ),
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(is_found);
}
