//! Volumes that are in use and can't be brought to rest. All that is read of them is read a second time, and they count
//! as copied when that is equal.

use super::ice::Ice;
use super::source::LiveSource;
use crate::change::Rested;
use crate::error::{Error, Result};
use crate::record::Consistency;
use klon_partition::device::{Geometry, read_vec};
use klon_partition::locks::lock;
use klon_partition::{Extent, ExtentMap, ReadAt};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What was read of such volumes of a source.
pub(crate) struct Twice {
    /// Where they lie.
    parts: ExtentMap,
    /// What of them is in use.
    used: ExtentMap,
    reads: Arc<Remembering>,
}

impl Twice {
    /// Remembers from now on what is read of the volumes of `found` that are not at rest; `None` where all are.
    pub(crate) fn of(found: &mut LiveSource) -> Option<Self> {
        let (parts, used) = moving(found);
        if parts.is_empty() {
            return None;
        }
        let reads = Arc::new(Remembering {
            device: Arc::clone(&found.source),
            parts: parts.clone(),
            reads: Mutex::default(),
        });
        found.source = Arc::<Remembering>::clone(&reads);
        Some(Self { parts, used, reads })
    }

    /// How many bytes are read a second time.
    pub(crate) fn bytes(&self) -> u64 {
        self.used.total_bytes()
    }

    /// Whether the volumes are in `again` what they were when they were read. When others that are at rest have to
    /// go on before that is known, it is not.
    ///
    /// # Errors
    /// [`Error::Source`]; as [`Ice::mind_the_time`].
    pub(crate) fn is_same(&self, again: &LiveSource, ice: &Ice<'_>) -> Result<bool> {
        let reads = std::mem::take(&mut *lock(&self.reads.reads));
        let read: ExtentMap = reads.digests.keys().copied().collect();
        let is_all_read = self.used.difference(&read).is_empty();
        if reads.is_torn || !is_all_read || moving(again) != (self.parts.clone(), self.used.clone())
        {
            return Ok(false);
        }
        for (extent, digest) in reads.digests {
            ice.mind_the_time()?;
            if !ice.is_whole() {
                return Ok(false);
            }
            let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
            let bytes = read_vec(&*again.source, extent.offset_bytes(), len);
            if digest_of(&bytes.map_err(Error::Source)?) != digest {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Where the volumes lie that are not at rest, and what of them is in use.
fn moving(found: &LiveSource) -> (ExtentMap, ExtentMap) {
    let is_moving = |rested: &Rested| rested.consistency == Consistency::ReadTwice;
    let volumes = found.volumes.iter();
    let all = volumes.filter(|it| it.rested.as_ref().is_some_and(is_moving));
    let parts: ExtentMap = all.map(|it| it.part).collect();
    let used = found.usage.extents.intersection(&parts);
    (parts, used)
}

/// A source that remembers what was read of `parts`.
struct Remembering {
    device: Arc<dyn ReadAt>,
    parts: ExtentMap,
    reads: Mutex<Reads>,
}

#[derive(Default)]
struct Reads {
    digests: BTreeMap<Extent, [u8; 32]>,
    /// Whether something was read that was another before.
    is_torn: bool,
}

impl ReadAt for Remembering {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        self.device.read_exact_at(buffer, offset_bytes)?;
        let read = Extent::new(offset_bytes, buffer.len() as u64);
        for extent in read.into_iter().flat_map(|read| self.parts.within(read)) {
            let start = usize::try_from(extent.offset_bytes() - offset_bytes).unwrap_or(usize::MAX);
            let bytes = buffer.get(start..).unwrap_or_default();
            let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
            let digest = digest_of(bytes.get(..len).unwrap_or_default());
            let mut reads = lock(&self.reads);
            let before = reads.digests.insert(extent, digest);
            reads.is_torn |= before.is_some_and(|before| before != digest);
        }
        Ok(())
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        self.device.data(within)
    }

    fn sha256(&self, extent: Extent) -> klon_partition::Result<Option<[u8; 32]>> {
        match self.parts.overlaps(extent) {
            true => Ok(None),
            false => self.device.sha256(extent),
        }
    }
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::{Ice, LiveSource, Twice};
    use crate::change::Rested;
    use crate::live::AtRest;
    use crate::record::Consistency;
    use klon_partition::device::MemoryDevice;
    use klon_partition::filesystem::Usage;
    use klon_partition::{Extent, ExtentMap};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    struct Moment;

    impl AtRest for Moment {
        fn since(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn left(&self) -> Duration {
            Duration::from_secs(9)
        }

        fn end(self: Box<Self>) -> crate::Result<Duration> {
            Ok(Duration::ZERO)
        }
    }

    /// A source of 4096 bytes of which the first half is in use.
    fn source(bytes: &[u8], consistency: Consistency) -> LiveSource {
        let used: ExtentMap = Extent::new(0, 2048).into_iter().collect();
        let rested = Rested {
            since: SystemTime::UNIX_EPOCH,
            consistency,
            session: None,
        };
        let device = Arc::new(MemoryDevice::new(bytes.to_vec(), 512));
        LiveSource::of_volume(device, Usage::mapped(used), rested)
    }

    fn is_same(read: &[(u64, usize)], changed: Option<usize>) -> bool {
        let bytes = vec![7; 4096];
        let mut found = source(&bytes, Consistency::ReadTwice);
        let twice = Twice::of(&mut found).unwrap();
        assert_eq!(twice.bytes(), 2048);
        for &(offset_bytes, len) in read {
            let mut buffer = vec![0; len];
            found
                .source
                .read_exact_at(&mut buffer, offset_bytes)
                .unwrap();
            assert_eq!(buffer, vec![7; len]);
        }
        let mut again = bytes;
        if let Some(at) = changed {
            again[at] = 8;
        }
        let ice = Ice::new(Box::new(Moment), Duration::ZERO);
        twice
            .is_same(&source(&again, Consistency::ReadTwice), &ice)
            .unwrap()
    }

    #[test]
    fn what_differs_or_was_not_read_is_not_the_same() {
        let all = [(0, 1024), (1024, 3072)];
        assert!(is_same(&all, None));
        assert!(!is_same(&all, Some(2047)));
        assert!(
            !is_same(&[(0, 1024), (1536, 512)], None),
            "a part was not read"
        );
        assert!(is_same(&[(0, 2048)], Some(3000)), "what is free may change");
    }

    #[test]
    fn what_is_at_rest_is_read_once() {
        assert!(Twice::of(&mut source(&[0; 4096], Consistency::ReadOnly)).is_none());
    }
}
