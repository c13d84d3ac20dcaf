//! Whether a snapshot is whole, asked while it is read and before anything is committed.
//!
//! A snapshot without thinness has room for what is written to its origin. When that is full, the kernel gives
//! the snapshot up, for good: reads of it fail from then on. One that was under way may have got what the
//! origin holds now, so what was read counts only when the snapshot is whole afterwards.
//!
//! A thin snapshot can't overflow, but it lets its pool fill up earlier, and then writes to the volume itself
//! fail. klon ends the run before that.

use super::fullest;
use super::lvm::{Lvm, Volume};
use klon_partition::device::Geometry;
use klon_partition::locks::lock;
use klon_partition::{Error, Extent, ExtentMap, ReadAt, Result};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often LVM is asked while a snapshot is read.
const EVERY: Duration = Duration::from_secs(3);
/// When a pool is so full, the run ends.
const POOL_PERCENT_MAX: f64 = 98.0;

/// What LVM says of a snapshot.
#[derive(Debug)]
pub struct State {
    lvm: Lvm,
    uuid: String,
    group: String,
    name: String,
    pool: Option<String>,
    asked: Mutex<Asked>,
}

#[derive(Debug)]
struct Asked {
    /// When LVM was last asked.
    at: Instant,
    /// What ended the snapshot.
    end: Option<String>,
}

impl State {
    /// The state of a snapshot that was just made. `pool` is the pool of its volume, if that is thin.
    pub(super) fn new(lvm: Lvm, made: &Volume, pool: Option<String>) -> Self {
        let asked = Asked {
            at: Instant::now(),
            end: None,
        };
        Self {
            lvm,
            uuid: made.uuid.clone(),
            group: made.group.clone(),
            name: made.full_name(),
            pool,
            asked: Mutex::new(asked),
        }
    }

    /// What is wrong with the snapshot now; `None` when it is whole, so that all that was read of it counts.
    ///
    /// # Errors
    /// [`Error::Refused`] when LVM can't be asked.
    pub fn broken(&self) -> Result<Option<String>> {
        let mut asked = lock(&self.asked);
        self.ask(&mut asked)?;
        Ok(asked.end.clone())
    }

    /// Asks LVM if that is due and nobody else does.
    fn check(&self) -> Result<()> {
        let Ok(mut asked) = self.asked.try_lock() else {
            return Ok(());
        };
        if asked.end.is_none() && asked.at.elapsed() >= EVERY {
            self.ask(&mut asked)?;
        }
        match &asked.end {
            Some(end) => Err(Error::Refused(end.clone())),
            None => Ok(()),
        }
    }

    fn ask(&self, asked: &mut Asked) -> Result<()> {
        if asked.end.is_some() {
            return Ok(());
        }
        let all = self.lvm.volumes(Some(&self.group)).map_err(|error| {
            let name = &self.name;
            Error::Refused(format!(
                "LVM does not say whether the snapshot {name} is whole: {error:#}"
            ))
        })?;
        asked.at = Instant::now();
        asked.end = self.judged(&all);
        Ok(())
    }

    fn judged(&self, all: &[Volume]) -> Option<String> {
        let name = &self.name;
        let Some(own) = all.iter().find(|volume| volume.uuid == self.uuid) else {
            return Some(format!("someone removed the snapshot {name}"));
        };
        if own.is_invalid() {
            return Some(format!(
                "the snapshot {name} was full before everything was read: more was written to its origin \
                 than it had room for. Give it more (--snapshot-size), or run klon when less is written"
            ));
        }
        let pool = all
            .iter()
            .find(|volume| Some(&volume.name) == self.pool.as_ref())?;
        let fullest = fullest(pool);
        (fullest >= POOL_PERCENT_MAX).then(|| {
            format!(
                "the thin pool {} is full to {fullest:.0} %, and its volumes fail when it is full, so klon \
                 removes its snapshot {name}. Give the pool room (lvextend)",
                pool.full_name()
            )
        })
    }
}

/// A snapshot that is read. When a read fails because there is no snapshot any more, the error says so.
pub struct Watched<D> {
    device: D,
    state: Arc<State>,
}

impl<D> Watched<D> {
    /// `device`, which shows the snapshot of that state.
    pub const fn new(device: D, state: Arc<State>) -> Self {
        Self { device, state }
    }
}

impl<D: ReadAt> ReadAt for Watched<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.state.check()?;
        let read = self.device.read_exact_at(buffer, offset_bytes);
        match read {
            Ok(()) => Ok(()),
            Err(error) => match self.state.broken()? {
                Some(end) => Err(Error::Refused(end)),
                None => Err(error),
            },
        }
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.device.data(within)
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        self.device.sha256(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lvm::{Lvm, Volume};
    use super::State;

    fn volume(uuid: &str, name: &str, attributes: &str, percent: f64) -> Volume {
        Volume {
            uuid: uuid.into(),
            name: name.into(),
            group: "vg".into(),
            attributes: attributes.into(),
            data_percent: Some(percent),
            ..Volume::default()
        }
    }

    #[test]
    fn a_snapshot_is_whole_until_it_or_its_pool_is_full() {
        let own = volume("u", "klon-1", "sri-a-s---", 50.0);
        let Some(lvm) = Lvm::find() else { return };
        let state = State::new(lvm, &own, Some("pool".into()));
        let of = |volumes: &[Volume]| state.judged(volumes);
        assert_eq!(of(std::slice::from_ref(&own)), None);
        let full = volume("u", "klon-1", "sri-I-s---", 100.0);
        assert!(of(&[full]).unwrap().contains("vg/klon-1 was full"));
        // One that was made anew is another one.
        let other = volume("v", "klon-1", "sri-a-s---", 0.0);
        assert!(of(&[other]).unwrap().contains("removed"));
        let pool = |percent| volume("p", "pool", "twi-aotz--", percent);
        assert_eq!(of(&[own.clone(), pool(97.0)]), None);
        assert!(
            of(&[own, pool(98.5)])
                .unwrap()
                .contains("vg/pool is full to 98 %")
        );
    }
}
