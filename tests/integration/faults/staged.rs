//! Staged updates: whatever happens, the target is the earlier clone, or one that the drive alone
//! can complete.

use super::{
    Fault, MIB, Scene, after_power_cut, clone_saving, copy_records, disk_scene, ext4_scene,
    is_equal, noise, set_source, sweep, wanted,
};
use crate::support::scratch::in_memory;
use klon_imaging::clone::Drive;
use klon_imaging::mark::Mark;
use klon_imaging::stage::{Space, finish};
use klon_imaging::{Error, RecordStore};
use klon_partition::device::{CrashDevice, FaultAt, MemoryDevice, Window, read_vec};
use klon_partition::{Extent, ExtentMap, ReadAt, WriteAt};
use std::num::NonZeroUsize;
use tempfile::TempDir;

/// Where the volume begins on its drive.
const VOLUME_AT: usize = MIB;

/// A drive with an earlier clone on it, and room.
pub(super) struct Stage {
    pub(super) scene: Scene,
    /// The whole drive with the earlier clone, and that clone's record.
    pub(super) drive: Vec<u8>,
    pub(super) records: TempDir,
    volume: Extent,
    /// What the earlier clone uses.
    present: ExtentMap,
    /// Room on the drive beside the volume.
    room: ExtentMap,
    /// What each state of the scene uses.
    used: [ExtentMap; 2],
}

impl Stage {
    /// A stage with room on the volume, or with room on the drive only.
    fn new(scene: Scene, is_full: bool) -> Self {
        let len = scene.before.len() + 4096;
        let drive_len = VOLUME_AT + len + if is_full { 4 * MIB } else { 0 };
        let volume = Extent::new(VOLUME_AT as u64, len as u64).unwrap();
        let records = in_memory();
        let device = MemoryDevice::new(noise(drive_len, 77), 512);
        let source = set_source(&scene.before);
        let target = Window::new(&device, volume).unwrap();
        let store = RecordStore::new(records.path().to_owned());
        clone_saving(&source, &target, &store, None, None).unwrap();
        let present = match is_full {
            true => ExtentMap::whole(volume.len_bytes()),
            false => wanted(&scene.before),
        };
        let room = match is_full {
            true => Extent::between(volume.end_bytes(), drive_len as u64).unwrap(),
            false => return Self::with(scene, device.to_vec(), records, volume, present, None),
        };
        Self::with(scene, device.to_vec(), records, volume, present, Some(room))
    }

    fn with(
        scene: Scene,
        drive: Vec<u8>,
        records: TempDir,
        volume: Extent,
        present: ExtentMap,
        room: Option<Extent>,
    ) -> Self {
        let room = room.into_iter().collect();
        Self {
            used: [wanted(&scene.before), wanted(&scene.after)],
            scene,
            drive,
            records,
            volume,
            present,
            room,
        }
    }

    pub(super) fn all() -> Vec<Self> {
        vec![
            Self::new(ext4_scene(), false),
            Self::new(ext4_scene(), true),
            Self::new(disk_scene(), false),
        ]
    }

    /// Updates the clone on `drive` to the scene's second state.
    pub(super) fn update(&self, drive: &dyn WriteAt, records: &RecordStore) -> Result<(), Error> {
        let source = set_source(&self.scene.after);
        self.update_from(&source, drive, records)
    }

    fn update_from(
        &self,
        source: &dyn ReadAt,
        drive: &dyn WriteAt,
        records: &RecordStore,
    ) -> Result<(), Error> {
        let target = Window::new(drive, self.volume).unwrap();
        let around = Drive {
            device: drive,
            room: &self.room,
            is_given_up: true,
            at: self.volume,
        };
        clone_saving(source, &target, records, Some(&self.present), Some(around))
    }

    pub(super) fn finish(&self, drive: &dyn WriteAt) -> Result<bool, Error> {
        let volume = Window::new(drive, self.volume).unwrap();
        let space = Space {
            volume: &volume,
            drive: Some(drive),
        };
        Ok(finish(space, NonZeroUsize::MIN)?.is_some())
    }

    pub(super) fn volume_of<'a>(&self, drive: &'a [u8]) -> &'a [u8] {
        &drive[self.volume.offset_bytes() as usize..self.volume.end_bytes() as usize]
    }

    /// The earlier clone whole, or the new one once it is finished, without the source.
    pub(super) fn check(&self, context: &str, image: &[u8]) {
        self.finished(context, image.to_vec());
    }

    /// The same; gives the drive with that clone.
    pub(super) fn finished(&self, context: &str, image: Vec<u8>) -> MemoryDevice {
        let context = format!("{}, {context}", self.scene.name);
        let volume = self.volume_of(&image);
        let mark = Mark::parse(volume);
        if let Some(mark) = &mark {
            assert!(mark.staged.is_some(), "{context}: not to be finished");
        } else {
            let is_whole = self.is_old(volume) || self.is_new(volume);
            assert!(is_whole, "{context}: neither old nor new");
        }
        let drive = MemoryDevice::new(image, 512);
        if mark.is_some() {
            let is_done = self.finish(&drive);
            let is_done = is_done.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(is_done, "{context}");
            self.check_new(&context, &drive);
        }
        drive
    }

    /// The new state, without a mark.
    pub(super) fn check_new(&self, context: &str, drive: &MemoryDevice) {
        let volume = Window::new(drive, self.volume).unwrap();
        assert_eq!(Mark::read(&volume).unwrap(), None, "{context}");
        for extent in self.used[1].iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            let found = read_vec(&volume, extent.offset_bytes(), range.len()).unwrap();
            let is_new = found == self.scene.after[range];
            assert!(is_new, "{context}: not the new state at {extent}");
        }
    }

    fn is_old(&self, volume: &[u8]) -> bool {
        is_equal(&self.used[0], volume, &self.scene.before)
    }

    fn is_new(&self, volume: &[u8]) -> bool {
        is_equal(&self.used[1], volume, &self.scene.after)
    }
}

/// What a power cut leaves of writes that were not synced, in several ways.
fn crashes(device: &CrashDevice) -> Vec<Vec<u8>> {
    (0..4).map(|luck| after_power_cut(device, luck)).collect()
}

#[test]
fn an_update_is_exact_and_touches_nothing_else() {
    for stage in Stage::all() {
        let drive = MemoryDevice::new(stage.drive.clone(), 512);
        let (records, _directory) = copy_records(stage.records.path());
        stage.update(&drive, &records).unwrap();
        let image = drive.to_vec();
        assert!(stage.is_new(stage.volume_of(&image)));
        assert_eq!(image[..VOLUME_AT], stage.drive[..VOLUME_AT]);
        if stage.room.is_empty() {
            let end = stage.volume.end_bytes() as usize;
            assert_eq!(image[end..], stage.drive[end..]);
        }
    }
}

#[test]
fn a_power_cut_leaves_the_earlier_clone_or_one_that_can_be_finished() {
    for stage in Stage::all() {
        let operations = sweep(Fault::TornAtSector, |fault| {
            let (records, _directory) = copy_records(stage.records.path());
            let drive = FaultAt::new(CrashDevice::new(stage.drive.clone(), 512), Some(fault));
            let _ = stage.update(&drive, &records);
            for (luck, image) in crashes(drive.device()).into_iter().enumerate() {
                stage.check(&format!("power cut at {fault:?}, luck {luck}"), &image);
            }
            (drive.has_tripped(), drive.operations())
        });
        assert!(operations > 20, "{operations}");
    }
}

#[test]
fn a_power_cut_while_it_is_finished_leaves_one_that_can_be_finished() {
    for stage in Stage::all() {
        // Cut when everything is staged: at the last operation that leaves a mark.
        let marked = staged_image(&stage);
        sweep(Fault::TornAtSector, |fault| {
            let drive = FaultAt::new(CrashDevice::new(marked.clone(), 512), Some(fault));
            let _ = stage.finish(&drive);
            for (luck, image) in crashes(drive.device()).into_iter().enumerate() {
                stage.check(&format!("finish cut at {fault:?}, luck {luck}"), &image);
            }
            (drive.has_tripped(), drive.operations())
        });
    }
}

/// The drive as it is when the mark of a staged update has just become durable.
fn staged_image(stage: &Stage) -> Vec<u8> {
    let mut found = None;
    sweep(Fault::Persistent, |fault| {
        let (records, _directory) = copy_records(stage.records.path());
        let drive = FaultAt::new(MemoryDevice::new(stage.drive.clone(), 512), Some(fault));
        let _ = stage.update(&drive, &records);
        let image = drive.device().to_vec();
        if found.is_none() && Mark::parse(stage.volume_of(&image)).is_some() {
            found = Some(image);
        }
        (drive.has_tripped() && found.is_none(), drive.operations())
    });
    found.expect("a mark")
}

#[test]
fn a_target_that_fails_leaves_the_earlier_clone_or_one_that_can_be_finished() {
    for stage in Stage::all() {
        for make in [Fault::Transient, Fault::Persistent] {
            sweep(make, |fault| {
                let (records, _directory) = copy_records(stage.records.path());
                let drive = FaultAt::new(MemoryDevice::new(stage.drive.clone(), 512), Some(fault));
                let result = stage.update(&drive, &records);
                let context = format!("target {fault:?}");
                let is_complete = matches!(result, Ok(()) | Err(Error::AfterCommit(_)));
                if let Err(error) = &result {
                    let is_target = matches!(error, Error::Target(_));
                    assert!(is_target || is_complete, "{context}: {error}");
                }
                let image = drive.device().to_vec();
                stage.check(&context, &image);
                if is_complete {
                    let is_new = stage.is_new(stage.volume_of(&image));
                    assert!(is_new, "{context}");
                }
                (drive.has_tripped(), drive.operations())
            });
        }
    }
}

#[test]
fn a_source_that_fails_leaves_the_earlier_clone() {
    for stage in Stage::all() {
        sweep(Fault::Transient, |fault| {
            let (records, _directory) = copy_records(stage.records.path());
            let source = FaultAt::new(set_source(&stage.scene.after), Some(fault));
            let drive = MemoryDevice::new(stage.drive.clone(), 512);
            let result = stage.update_from(&source, &drive, &records);
            let image = drive.to_vec();
            if source.has_tripped() {
                let volume = stage.volume_of(&image);
                match result {
                    Err(Error::Source(_)) => assert!(stage.is_old(volume), "{fault:?}"),
                    // What could not be read together could be, extent by extent.
                    Ok(()) => assert!(stage.is_new(volume), "{fault:?}"),
                    Err(error) => panic!("{fault:?}: {error}"),
                }
            } else {
                result.unwrap();
            }
            (source.has_tripped(), source.operations())
        });
    }
}

/// HFS+ has its header in the third sector and nothing that shows every write.
#[test]
fn an_update_is_not_brought_into_a_target_that_may_have_been_changed_since() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/images/hfsplus-64k.img.zst");
    let before = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    let mut after = before.clone();
    // The volume header's date of modification.
    after[1024 + 20..1024 + 24].copy_from_slice(&[0xe0, 1, 2, 3]);
    let name = "HFS+";
    let stage = Stage::new(
        Scene {
            name,
            before,
            after,
        },
        true,
    );
    let image = staged_image(&stage);
    let drive = MemoryDevice::new(image.clone(), 512);
    let error = stage.finish(&drive).unwrap_err();
    assert!(error.to_string().contains("clone to it again"), "{error}");
    assert_eq!(drive.to_vec(), image, "nothing was written");
    let (records, _directory) = copy_records(stage.records.path());
    stage.update(&drive, &records).unwrap();
    assert!(stage.is_new(stage.volume_of(&drive.to_vec())));
}

/// The places of signatures are still there, but for the first sector: someone mounts it.
#[test]
fn an_update_is_not_brought_into_a_target_that_was_changed_since() {
    let stage = Stage::new(ext4_scene(), false);
    let mut image = staged_image(&stage);
    // s_mtime, which a mount sets.
    let at = VOLUME_AT + 1024 + 0x2c;
    image[at] ^= 1;
    let drive = MemoryDevice::new(image.clone(), 512);
    let error = stage.finish(&drive).unwrap_err();
    assert!(error.to_string().contains("changed after"), "{error}");
    assert_eq!(drive.to_vec(), image, "nothing was written");
}

#[test]
fn what_is_staged_and_damaged_is_not_brought_into_place() {
    let stage = Stage::new(ext4_scene(), true);
    let image = staged_image(&stage);
    let start = stage.volume.end_bytes() as usize;
    for at in [start, start + 5000, start + 70_000] {
        let mut image = image.clone();
        image[at] ^= 1;
        let drive = MemoryDevice::new(image.clone(), 512);
        let error = stage.finish(&drive).unwrap_err();
        assert!(matches!(error, Error::StageCorrupt { .. }), "{at}: {error}");
        assert_eq!(drive.to_vec(), image, "nothing was written");
    }
}

#[test]
fn changes_that_do_not_fit_leave_the_earlier_clone_as_it_was() {
    let stage = Stage {
        room: ExtentMap::new(),
        ..Stage::new(ext4_scene(), true)
    };
    let drive = MemoryDevice::new(stage.drive.clone(), 512);
    let (records, _directory) = copy_records(stage.records.path());
    let error = stage.update(&drive, &records).unwrap_err();
    assert!(matches!(error, Error::NoRoom { room_bytes: 0 }), "{error}");
    assert_eq!(drive.to_vec(), stage.drive);
}
