//! Snapshots of LVM: klon makes one of a logical volume, reads it, and removes it.
//!
//! While LVM makes a snapshot, the kernel brings the filesystem on the volume to rest, so that all that was
//! written before is in the snapshot, and its journal or log is empty. (Btrfs is not brought to rest by
//! kernels before 6.17; there the snapshot has the last commit of its trees, which is whole by itself.)
//! Nothing is mounted and nothing is frozen while klon reads.
//!
//! A snapshot bears the tag `klon`, and one that names the run that made it. A process of its own, the
//! keeper, removes it when the run has ended, however that ended. What is left behind all the same, because
//! both were killed or the machine went down, is removed by the next run.

pub mod keeper;
mod left_over;
mod lvm;
mod owner;
pub mod size;
mod watched;

pub use left_over::remove_left_over;
pub use lvm::Lvm;
pub use watched::{State, Watched};

use crate::error::refused;
use crate::human;
use anyhow::{Context as _, Result};
use keeper::Keeper;
use klon_partition::Shown as _;
use klon_partition::system::{LogicalVolume, System, Use};
use lvm::Volume;
use owner::Owner;
use size::{Reserve, SnapshotSize};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use uuid::Uuid;

/// What every snapshot of klon's is called by.
const NAME: &str = "klon-";
/// How many hexadecimal digits name the run.
const RUN_LEN: usize = 12;
/// Device-mapper's names have 127 characters; in one, each dash of the group and of the volume is doubled.
const NAME_MAX: usize = 120;
/// A thin pool that is fuller than that is no place for a snapshot: when it is full, all of its volumes fail.
const POOL_PERCENT_MAX: f64 = 95.0;

/// A snapshot that klon made. It is removed when this is dropped, or [ended](Self::end).
#[derive(Debug)]
pub struct LvmSnapshot {
    /// `GROUP/NAME`.
    pub name: String,
    /// Its node.
    pub node: PathBuf,
    /// The moment before the volume was brought to rest: all that was written before is in the snapshot, and
    /// nothing that was written after it returned from making it.
    pub since: SystemTime,
    /// What is set aside for writes to the volume meanwhile; `None` for a thin one.
    pub reserve: Option<Reserve>,
    /// What is asked whether it is whole.
    pub state: Arc<State>,
    keeper: Keeper,
}

/// Why no snapshot of a source can be made, in words that follow its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuited(pub String);

/// A volume that can have a snapshot.
#[derive(Debug)]
pub struct Origin {
    lvm: Lvm,
    volume: Volume,
    /// Where it is mounted.
    pub mounts: Vec<PathBuf>,
}

impl Origin {
    /// What LVM knows of the volume, whose uses are these.
    ///
    /// # Errors
    /// What LVM says when it can't be asked.
    pub fn find(
        lvm: Lvm,
        logical: &LogicalVolume,
        uses: &[Use],
    ) -> Result<std::result::Result<Self, Unsuited>> {
        let unsuited = |why: String| Ok(Err(Unsuited(why)));
        if logical.is_one_of_several {
            return unsuited(
                "its filesystem has several devices, and snapshots of them would be of \
                             different instants"
                    .to_owned(),
            );
        }
        let is_elsewhere = |one: &&Use| {
            let is_own = matches!(one, Use::Mounted { on, .. } if *on == logical.device);
            one.changes_source() && !is_own
        };
        if let Some(other) = uses.iter().find(is_elsewhere) {
            return unsuited(format!(
                "{other}, and a snapshot does not bring that to rest"
            ));
        }
        let all = lvm.volumes(None)?;
        let is_it = |volume: &&Volume| {
            volume.uuid == logical.uuid && volume.group_uuid == logical.group_uuid
        };
        let Some(volume) = all.iter().find(is_it) else {
            return unsuited("LVM does not know it (lvs)".to_owned());
        };
        if let Some(why) = unfit(volume, &all) {
            return unsuited(why);
        }
        let mounts = logical.mounts.iter().map(|mount| mount.at.clone());
        Ok(Ok(Self {
            lvm,
            mounts: mounts.collect(),
            volume: volume.clone(),
        }))
    }

    /// Makes a snapshot. `size` is what the user wants to set aside for it.
    ///
    /// # Errors
    /// [`Unsuited`] when there is no room for it, or LVM can't make it; when what it made can't be found.
    pub fn snapshot(
        &self,
        size: Option<SnapshotSize>,
    ) -> Result<std::result::Result<LvmSnapshot, Unsuited>> {
        let volume = &self.volume;
        let reserve = match self.reserve(size) {
            Ok(reserve) => reserve,
            Err(unsuited) => return Ok(Err(unsuited)),
        };
        let owner = Owner::own()?;
        let name = name(volume);
        let full_name = format!("{}/{name}", volume.group);
        // What is dirty is written before the kernel brings the volume to rest, so that this takes less long.
        for mount in &self.mounts {
            let directory = File::open(mount).with_context(|| mount.shown())?;
            nix::unistd::syncfs(directory).with_context(|| mount.shown())?;
        }
        let keeper = Keeper::start(&full_name, &owner)?;
        let since = SystemTime::now();
        if let Err(error) = self.create(&name, reserve, &owner) {
            return Ok(Err(Unsuited(format!(
                "LVM could not make {full_name}: {error:#}"
            ))));
        }
        let made = self.made(&name)?;
        let pool = self.volume.pool.clone();
        Ok(Ok(LvmSnapshot {
            name: full_name,
            node: made.node.clone(),
            since,
            reserve,
            state: Arc::new(State::new(self.lvm.clone(), &made, pool)),
            keeper,
        }))
    }

    fn reserve(
        &self,
        size: Option<SnapshotSize>,
    ) -> std::result::Result<Option<Reserve>, Unsuited> {
        let Volume {
            group,
            size_bytes,
            group_free_bytes,
            extent_bytes,
            ..
        } = &self.volume;
        if self.volume.is_thin() {
            return Ok(None);
        }
        let reserve = size::reserve(size, *size_bytes, *group_free_bytes, *extent_bytes);
        reserve.map(Some).map_err(|too_little| {
            Unsuited(format!(
                "a snapshot needs {}, and its volume group {group} has {} free (--snapshot-size says how \
                 much; vgextend adds room)",
                human::size(too_little.wanted_bytes),
                human::size(*group_free_bytes)
            ))
        })
    }

    fn create(&self, name: &str, reserve: Option<Reserve>, owner: &Owner) -> Result<()> {
        let mut arguments: Vec<String> = [
            "lvcreate",
            "--yes",
            "--quiet",
            "--snapshot",
            "--permission",
            "r",
            "--addtag",
            owner::TAG,
            "--addtag",
            &owner.tag(),
            "--name",
            name,
        ]
        .map(str::to_owned)
        .into();
        match reserve {
            Some(reserve) => arguments.extend(["--size".to_owned(), format!("{}b", reserve.bytes)]),
            // A thin snapshot is not active by itself.
            None => arguments.extend(["-kn", "-ay"].map(str::to_owned)),
        }
        arguments.push(self.volume.full_name());
        self.lvm.run(&arguments)?;
        Ok(())
    }

    /// What was made, as LVM and the kernel have it.
    fn made(&self, name: &str) -> Result<Volume> {
        let volume = &self.volume;
        let all = self.lvm.volumes(Some(&volume.group))?;
        let made = all.into_iter().find(|found| found.name == name);
        let made = made.with_context(|| format!("LVM does not know the snapshot {name}"))?;
        let is_of_it =
            made.origin.as_deref() == Some(&*volume.name) && made.group_uuid == volume.group_uuid;
        let shown = System::current()?.logical_volume(&made.node)?;
        // LVM calls the reserve of a snapshot its size.
        let is_shown = shown
            .is_some_and(|shown| shown.uuid == made.uuid && shown.size_bytes == volume.size_bytes);
        match is_of_it && is_shown {
            true => Ok(made),
            false => Err(refused(format!(
                "{} is not the snapshot of {} that klon made",
                made.node.shown(),
                volume.full_name()
            ))),
        }
    }
}

impl LvmSnapshot {
    /// Removes it.
    ///
    /// # Errors
    /// What LVM says when it can't.
    pub fn end(&self) -> Result<()> {
        self.keeper.end()
    }
}

/// Why LVM can't make a snapshot of a volume, or klon shouldn't ask for one.
fn unfit(volume: &Volume, all: &[Volume]) -> Option<String> {
    if volume.attributes.starts_with(['s', 'S']) {
        return Some("it is itself a snapshot, and LVM makes none of those".to_owned());
    }
    let pool = volume.pool.as_ref()?;
    let mut pools = all
        .iter()
        .filter(|other| other.group_uuid == volume.group_uuid);
    let pool = pools.find(|other| other.name == *pool)?;
    let fullest = fullest(pool);
    (fullest > POOL_PERCENT_MAX).then(|| {
        format!(
            "its thin pool {} is full to {fullest:.0} % (lvextend gives it room)",
            pool.full_name()
        )
    })
}

/// How full a pool is, its data or its metadata, in percent.
fn fullest(pool: &Volume) -> f64 {
    let of = |percent: Option<f64>| percent.unwrap_or_default();
    of(pool.data_percent).max(of(pool.metadata_percent))
}

/// A name that no other snapshot has.
fn name(volume: &Volume) -> String {
    let run = Uuid::new_v4().simple().to_string();
    let run = run.get(..RUN_LEN).unwrap_or_default();
    let doubled = |name: &str| name.len() + name.matches('-').count();
    let name = format!("{NAME}{run}-{}", volume.name);
    if doubled(&volume.group) + doubled(&name) < NAME_MAX {
        return name;
    }
    format!("{NAME}{run}")
}

#[cfg(test)]
mod tests {
    use super::{NAME, RUN_LEN, Volume, name, unfit};

    fn volume(name: &str, attributes: &str) -> Volume {
        Volume {
            name: name.into(),
            group: "vg".into(),
            attributes: attributes.into(),
            ..Volume::default()
        }
    }

    #[test]
    fn names_are_klons_and_fit() {
        let one = name(&volume("root", "-wi-ao----"));
        assert!(one.starts_with(NAME) && one.ends_with("-root"), "{one}");
        assert_ne!(one, name(&volume("root", "-wi-ao----")));
        let long = name(&volume(&"a-".repeat(50), "-wi-ao----"));
        assert_eq!(long.len(), NAME.len() + RUN_LEN);
    }

    #[test]
    fn a_full_pool_and_snapshots_are_no_origins() {
        let plain = volume("root", "owi-aos---");
        assert_eq!(unfit(&plain, &[]), None);
        assert!(
            unfit(&volume("s", "swi-a-s---"), &[])
                .unwrap()
                .contains("itself a snapshot")
        );
        let thin = Volume {
            pool: Some("pool".into()),
            ..volume("thin", "Vwi-aotz--")
        };
        let pool = |data, metadata| Volume {
            data_percent: Some(data),
            metadata_percent: Some(metadata),
            ..volume("pool", "twi-aotz--")
        };
        assert_eq!(unfit(&thin, &[pool(94.0, 10.0)]), None);
        assert!(
            unfit(&thin, &[pool(96.0, 10.0)])
                .unwrap()
                .contains("vg/pool is full to 96 %")
        );
        assert!(unfit(&thin, &[pool(1.0, 99.0)]).is_some());
    }
}
