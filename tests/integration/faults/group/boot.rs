//! A boot group on a drive: earlier clones, their update, and the drive after an interruption.

use super::super::{Fault, MIB, copy_records, ext4_scene, is_equal, noise, run};
use super::THREADS;
use crate::support::library::options;
use klon_imaging::clone::{Begun, Context, Drive, Group, Watch, begin, commit};
use klon_imaging::mark::Mark;
use klon_imaging::progress::Silent;
use klon_imaging::stage::{Space, finish, group};
use klon_imaging::{CloneSummary, Ends, Error, Job, RecordStore, clone};
use klon_partition::device::{FaultAt, MemoryDevice, Window};
use klon_partition::filesystem::{Usage, usage};
use klon_partition::{Extent, ExtentMap, Identity, ReadAt, WriteAt};
use std::fs;
use tempfile::TempDir;

/// A volume of the group, before and after some changes.
pub(super) struct Volume {
    pub(super) states: [Vec<u8>; 2],
    pub(super) at: Extent,
    usage: [Usage; 2],
    /// What each state uses.
    pub(super) wanted: [ExtentMap; 2],
    pub(super) target: Identity,
    source: Identity,
}

/// A drive with earlier clones of a FAT, an ext4 and an unknown volume, and room behind them.
pub(super) struct Boot {
    pub(super) volumes: Vec<Volume>,
    pub(super) drive: Vec<u8>,
    pub(super) records: TempDir,
    pub(super) room: ExtentMap,
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
    pub(super) fn new() -> Self {
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
    pub(super) fn update(
        &self,
        drive: &dyn WriteAt,
        records: &RecordStore,
    ) -> Result<Vec<Option<CloneSummary>>, Error> {
        self.update_watched(drive, records, None)
    }

    /// The same while something watches the source of the first volume.
    pub(super) fn update_watched(
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
                let around = Drive {
                    device,
                    room,
                    is_given_up: true,
                    at,
                };
                let job = volumes[index].job(1, &sources[index], &targets[index], Some(around));
                let watch = watch.filter(|_| index == 0);
                Job { watch, ..job }
            })
            .collect();
        let (mut staged, mut unchanged, mut summaries) = (Vec::new(), Vec::new(), Vec::new());
        let mut taken = ExtentMap::new();
        for job in &jobs {
            let group = job.drive.map(|drive| Group {
                volumes: jobs.len(),
                at: drive.at,
                drive_taken: &taken,
            });
            let options = options();
            let with = Context {
                records,
                options: &options,
                observer: &Silent,
            };
            summaries.push(match begin(job, with, group)? {
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
    pub(super) fn finish(&self, drive: &dyn WriteAt, index: usize) -> Result<bool, Error> {
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

    pub(super) fn volume<'a>(&self, index: usize, image: &'a [u8]) -> &'a [u8] {
        let at = self.volumes[index].at;
        &image[at.offset_bytes() as usize..at.end_bytes() as usize]
    }

    pub(super) fn are_all(&self, state: usize, image: &[u8]) -> bool {
        self.volumes.iter().enumerate().all(|(index, one)| {
            is_equal(
                &one.wanted[state],
                self.volume(index, image),
                &one.states[state],
            )
        })
    }

    pub(super) fn marks(&self, image: &[u8]) -> usize {
        let volumes = 0..self.volumes.len();
        volumes
            .filter(|&index| Mark::parse(self.volume(index, image)).is_some())
            .count()
    }

    /// All old and whole, or all new once it is finished from any of the volumes; what it is then.
    pub(super) fn check(&self, context: &str, image: Vec<u8>, asked: usize) -> Vec<u8> {
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
    pub(super) fn killed_at(&self, operation: u64) -> (Vec<u8>, RecordStore, TempDir) {
        let (records, directory) = copy_records(self.records.path());
        let fault = Some(Fault::Persistent(operation));
        let drive = FaultAt::new(MemoryDevice::new(self.drive.clone(), 512), fault);
        let _ = self.update(&drive, &records);
        (drive.device().to_vec(), records, directory)
    }

    /// The drive as it is when so many volumes bear a mark for the first time.
    pub(super) fn with_marks(&self, count: usize) -> (Vec<u8>, RecordStore, TempDir) {
        let mut killed = (self.commit_operation()..).map(|operation| self.killed_at(operation));
        killed
            .find(|(image, ..)| self.marks(image) == count)
            .expect("so many marks")
    }

    /// The first operation at which a run that is killed leaves a group that is committed.
    pub(super) fn commit_operation(&self) -> u64 {
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
            present: drive.map(|_| &self.usage[0]),
            drive,
            ..Job::new(
                "Clone",
                Ends {
                    source,
                    usage: &self.usage[state],
                    source_identity: &self.source,
                    target,
                    target_identity: &self.target,
                },
            )
        }
    }
}
