//! Groups: whatever happens, all volumes of a boot group are the earlier clones, or all are the new
//! ones once the drive alone has completed them; and the records go with them.

use super::{Fault, MIB, copy_records, ext4_scene, is_equal, noise, run, sweep};
use klon_imaging::change::{Rung, RungChoice};
use klon_imaging::clone::{Begun, Drive, Freed, Rewrite, Together, Update, Watch, begin, commit};
use klon_imaging::mark::{Mark, Part};
use klon_imaging::progress::Silent;
use klon_imaging::stage::{Space, finish, finish_alone, group};
use klon_imaging::{CloneOptions, CloneSummary, Error, Job, RecordStore, Role, clone};
use klon_partition::device::{CrashDevice, FaultAt, MemoryDevice, Window};
use klon_partition::filesystem::{Usage, usage};
use klon_partition::{Extent, ExtentMap, Identity, ReadAt, WriteAt};
use std::fs;
use std::num::NonZeroUsize;
use tempfile::TempDir;

const THREADS: NonZeroUsize = NonZeroUsize::MIN;
const EXT4: usize = 1;
const UNKNOWN: usize = 2;

/// A volume of the group, before and after some changes.
struct Volume {
    states: [Vec<u8>; 2],
    at: Extent,
    usage: [Usage; 2],
    /// What each state uses.
    wanted: [ExtentMap; 2],
    target: Identity,
    source: Identity,
}

/// A drive with earlier clones of a FAT, an ext4 and an unknown volume, and room behind them.
struct Boot {
    volumes: Vec<Volume>,
    drive: Vec<u8>,
    records: TempDir,
    room: ExtentMap,
}

/// A FAT of 1.25 MiB with a file that reaches beyond its first MiB.
fn fat() -> [Vec<u8>; 2] {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (image, file) = (path("fat"), path("file"));
    fs::write(&image, vec![0; 5 * MIB / 4]).unwrap();
    run("mkfs.fat", &["-F12", &image]);
    fs::write(&file, noise(1_070_000, 5)).unwrap();
    run("mcopy", &["-i", &image, &file, "::kernel"]);
    let before = fs::read(&image).unwrap();
    let mut after = before.clone();
    // The serial number, and what is in the file.
    after[39..43].copy_from_slice(&[1, 2, 3, 4]);
    after[MIB + 9000..MIB + 20_000].copy_from_slice(&noise(11_000, 6));
    [before, after]
}

fn unknown() -> [Vec<u8>; 2] {
    let before = noise(MIB + 65_536, 41);
    let mut after = before.clone();
    after[5000..9000].copy_from_slice(&noise(4000, 42));
    after[MIB + 100..MIB + 5000].copy_from_slice(&noise(4900, 43));
    [before, after]
}

/// What of a state must be on the target: what is in use, and the first MiB.
fn wanted(state: &[u8]) -> ExtentMap {
    let used = usage(&MemoryDevice::new(state.to_vec(), 512))
        .unwrap()
        .extents;
    used.union(&Extent::new(0, MIB as u64).unwrap().into())
}

impl Boot {
    fn new() -> Self {
        let ext4 = ext4_scene();
        let states = [fat(), [ext4.before, ext4.after], unknown()];
        let mut at_bytes = MIB / 4;
        let mut volumes = Vec::new();
        for (index, states) in states.into_iter().enumerate() {
            let len = states[0].len();
            let of = |state: &Vec<u8>| MemoryDevice::new(state.clone(), 512);
            volumes.push(Volume {
                at: Extent::new(at_bytes as u64, len as u64).unwrap(),
                usage: [0, 1].map(|state| usage(&of(&states[state])).unwrap()),
                wanted: [0, 1].map(|state| wanted(&states[state])),
                target: Identity::Path(format!("/target{index}")),
                source: Identity::Path(format!("/source{index}")),
                states,
            });
            at_bytes += len.next_multiple_of(MIB / 16);
        }
        let drive_len = at_bytes + 3 * MIB / 4;
        let records = tempfile::tempdir().unwrap();
        let drive = MemoryDevice::new(noise(drive_len, 77), 512);
        let boot = Self {
            volumes,
            drive: Vec::new(),
            records,
            room: ExtentMap::from(Extent::between(at_bytes as u64, drive_len as u64).unwrap()),
        };
        let store = RecordStore::new(boot.records.path().to_owned());
        for volume in &boot.volumes {
            let source = MemoryDevice::new(volume.states[0].clone(), 512);
            let target = Window::new(&drive, volume.at).unwrap();
            let job = volume.job(0, &source, &target, None);
            clone(&job, &store, &options(), &Silent).unwrap();
        }
        Self {
            drive: drive.to_vec(),
            ..boot
        }
    }

    /// Updates all volumes as one; the summaries of those that nothing was staged for.
    fn update(
        &self,
        drive: &dyn WriteAt,
        records: &RecordStore,
    ) -> Result<Vec<Option<CloneSummary>>, Error> {
        self.update_watched(drive, records, None)
    }

    /// The same while something watches the source of the first volume.
    fn update_watched(
        &self,
        drive: &dyn WriteAt,
        records: &RecordStore,
        watch: Option<&Watch<'_>>,
    ) -> Result<Vec<Option<CloneSummary>>, Error> {
        let volumes = &self.volumes;
        let source = |volume: &Volume| MemoryDevice::new(volume.states[1].clone(), 512);
        let sources: Vec<MemoryDevice> = volumes.iter().map(source).collect();
        let window = |volume: &Volume| Window::new(drive, volume.at).unwrap();
        let targets: Vec<_> = volumes.iter().map(window).collect();
        let room = &self.room;
        let jobs: Vec<Job<'_>> = (0..volumes.len())
            .map(|index| {
                let at = volumes[index].at;
                let device = drive;
                let around = Drive { device, room, at };
                let job = volumes[index].job(1, &sources[index], &targets[index], Some(around));
                let watch = watch.filter(|_| index == 0);
                Job { watch, ..job }
            })
            .collect();
        let (mut staged, mut unchanged, mut summaries) = (Vec::new(), Vec::new(), Vec::new());
        let mut taken = ExtentMap::new();
        for job in &jobs {
            let together = Together {
                volumes: jobs.len(),
                drive_taken: Some(&taken),
            };
            summaries.push(match begin(job, records, &options(), together, &Silent)? {
                Begun::Complete(summary) => {
                    unchanged.push(job);
                    Some(*summary)
                }
                Begun::Staged(one) => {
                    taken = taken.union(one.drive_taken());
                    staged.push(*one);
                    None
                }
            });
        }
        commit(staged, &unchanged, records, &options())?;
        Ok(summaries)
    }

    /// Completes the group as the program does for the volume of this number.
    fn finish(&self, drive: &dyn WriteAt, index: usize) -> Result<bool, Error> {
        let own = self.volumes[index].at;
        let volume = Window::new(drive, own).unwrap();
        let space = Space {
            volume: &volume,
            drive: Some(drive),
        };
        if Mark::read(&volume).map_err(Error::Target)?.is_some() {
            return Ok(finish(space, THREADS)?.is_some());
        }
        let others = self.volumes.iter().map(|volume| volume.at);
        match group::find(space, own, others.filter(|at| *at != own))? {
            Some(group) => group::finish(&group, drive, &[(own, &volume)], THREADS).map(|_| true),
            None => Ok(false),
        }
    }

    fn volume<'a>(&self, index: usize, image: &'a [u8]) -> &'a [u8] {
        let at = self.volumes[index].at;
        &image[at.offset_bytes() as usize..at.end_bytes() as usize]
    }

    fn are_all(&self, state: usize, image: &[u8]) -> bool {
        self.volumes.iter().enumerate().all(|(index, one)| {
            is_equal(
                &one.wanted[state],
                self.volume(index, image),
                &one.states[state],
            )
        })
    }

    fn marks(&self, image: &[u8]) -> usize {
        let volumes = 0..self.volumes.len();
        volumes
            .filter(|&index| Mark::parse(self.volume(index, image)).is_some())
            .count()
    }

    /// All old and whole, or all new once it is finished from any of the volumes; what it is then.
    fn check(&self, context: &str, image: Vec<u8>, asked: usize) -> Vec<u8> {
        if self.marks(&image) == 0 {
            let is_whole = self.are_all(0, &image) || self.are_all(1, &image);
            assert!(is_whole, "{context}: neither all old nor all new");
            return image;
        }
        let drive = MemoryDevice::new(image, 512);
        let is_done = self.finish(&drive, asked);
        let is_done = is_done.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(
            is_done,
            "{context}: {asked} is not known to be of the group"
        );
        let image = drive.to_vec();
        assert_eq!(self.marks(&image), 0, "{context}");
        assert!(
            self.are_all(1, &image),
            "{context}: finished, but not all new"
        );
        image
    }

    /// The drive as a run leaves it that is killed at an operation.
    fn killed_at(&self, operation: u64) -> (Vec<u8>, RecordStore, TempDir) {
        let (records, directory) = copy_records(self.records.path());
        let fault = Some(Fault::Persistent(operation));
        let drive = FaultAt::new(MemoryDevice::new(self.drive.clone(), 512), fault);
        let _ = self.update(&drive, &records);
        (drive.device().to_vec(), records, directory)
    }

    /// The drive as it is when so many volumes bear a mark for the first time.
    fn with_marks(&self, count: usize) -> (Vec<u8>, RecordStore, TempDir) {
        let mut killed = (self.commit_operation()..).map(|operation| self.killed_at(operation));
        killed
            .find(|(image, ..)| self.marks(image) == count)
            .expect("so many marks")
    }

    /// The first operation at which a run that is killed leaves a group that is committed.
    fn commit_operation(&self) -> u64 {
        let is_committed = |operation: u64| {
            let (image, ..) = self.killed_at(operation);
            self.marks(&image) > 0 || self.are_all(1, &image)
        };
        let (mut before, mut after) = (0, 4096);
        while after - before > 1 {
            let middle = (before + after) / 2;
            match is_committed(middle) {
                true => after = middle,
                false => before = middle,
            }
        }
        after
    }
}

impl Volume {
    fn job<'a>(
        &'a self,
        state: usize,
        source: &'a dyn ReadAt,
        target: &'a dyn WriteAt,
        drive: Option<Drive<'a>>,
    ) -> Job<'a> {
        Job {
            name: "Clone",
            source,
            usage: &self.usage[state],
            source_identity: &self.source,
            target,
            target_identity: &self.target,
            present: drive.map(|_| &self.usage[0].extents),
            drive,
            role: Role::Backup,
            watch: None,
        }
    }
}

fn options() -> CloneOptions {
    CloneOptions {
        rung: RungChoice::Auto,
        rewrite: Rewrite::Blocks,
        freed: Freed::Leave,
        update: Update::Staged,
        threads: THREADS,
    }
}

/// What a power cut leaves of writes that were not synced, in several ways.
fn crash(device: &CrashDevice, luck: u64) -> Vec<u8> {
    device.after_crash(|number, sector| match luck {
        0 => false,
        1 => true,
        _ => {
            let mixed = (sector.offset_bytes() / 512 + number as u64 * 31 + luck)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed >> 62 >= luck % 3
        }
    })
}

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
            let image = crash(drive.device(), luck);
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
            boot.check(&context, crash(drive.device(), luck), luck as usize);
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
        matches!(mark.staged.unwrap().part, Part::Leader(_))
    });
    assert_eq!(leader, Some(UNKNOWN), "the largest without a change token");
    let at = boot.volumes[UNKNOWN].at.offset_bytes() as usize;
    image[at..at + 512].fill(0);
    let drive = MemoryDevice::new(image.clone(), 512);
    let error = boot.finish(&drive, EXT4).unwrap_err().to_string();
    assert!(error.contains("--alone"), "{error}");
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
