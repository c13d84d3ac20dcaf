//! Owners of bytes by klon against those by other tools, for many sets of extents; and around bad
//! sectors.

use super::image_file::ImageFile;
use klon_partition::device::{Fault, FaultAt};
use klon_partition::filesystem::{Filesystem, Owner};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::collections::{BTreeMap, BTreeSet};

/// Where files are by another tool, by any name that tells the files apart.
pub(super) type Places = Vec<(Extent, String)>;

/// Numbers without a pattern, the same in every run.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 16) % limit.max(1)
    }

    /// One to five ranges: half of them in places of files, the others anywhere.
    fn set(&mut self, places: &Places, size_bytes: u64) -> ExtentMap {
        let mut ranges = Vec::new();
        for number in 0..=self.below(4) {
            let (start, len) = if number % 2 == 0 {
                let index = usize::try_from(self.below(places.len() as u64)).unwrap();
                let place = places[index].0;
                let start = place.offset_bytes() + self.below(place.len_bytes());
                (start, 1 + self.below(9000))
            } else {
                (self.below(size_bytes), 1 + self.below(1 << 20))
            };
            ranges.extend(Extent::between(start, (start + len).min(size_bytes)));
        }
        ranges.into_iter().collect()
    }
}

/// Compares the owners of random sets. `name` gives the oracle's name of a path; none for one that
/// the oracle does not list.
pub(super) fn assert_owned(
    device: &ImageFile,
    filesystem: &dyn Filesystem,
    places: &Places,
    name: impl Fn(&str) -> Option<String>,
) {
    let size_bytes = device.geometry().size_bytes;
    let mut noise = Noise(1);
    let mut compared = 0;
    for round in 0..80 {
        let set = match round {
            0 => ExtentMap::whole(size_bytes),
            _ => noise.set(places, size_bytes),
        };
        let owners = filesystem.owners(device, &set, usize::MAX);
        assert_eq!(owners.gaps, [""; 0]);
        let expected: BTreeSet<&str> = places
            .iter()
            .filter(|(place, _)| set.overlaps(*place))
            .map(|(_, name)| name.as_str())
            .collect();
        let found: BTreeMap<String, &Owner> = owners
            .files
            .iter()
            .filter_map(|file| Some((name(&file.path)?, file)))
            .collect();
        let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        let missing: Vec<_> = expected.difference(&names).take(3).collect();
        let extra: Vec<_> = names.difference(&expected).take(3).collect();
        let extra: Vec<_> = extra.iter().map(|&&name| found[name]).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "round {round}: missing {missing:?}, extra {extra:?} for {set:?}"
        );
        for file in owners.files {
            assert!(set.contains(file.extent), "{file:?}");
        }
        compared += expected.len();
    }
    assert!(compared > 300, "{compared}");
    let three = filesystem.owners(device, &ExtentMap::whole(size_bytes), 3);
    assert_eq!(three.files.len(), 3);
}

/// How much is found with one bad block of metadata each, of those that are read at all.
pub(super) struct Survival {
    pub(super) rounds: usize,
    /// In how many of them nine tenths of all files were found.
    pub(super) found_most: usize,
    /// In how many all were.
    pub(super) found_all: usize,
}

/// Tries some blocks of the metadata: what is found is right, and what is hidden is told.
pub(super) fn survival(
    device: &ImageFile,
    filesystem: &dyn Filesystem,
    block_bytes: u64,
) -> Survival {
    let all = ExtentMap::whole(device.geometry().size_bytes);
    let places = |device: &dyn ReadAt| {
        let found = filesystem.owners(device, &all, usize::MAX);
        let files = found.files.iter();
        let places = files.map(|file| (file.extent, file.file_offset_bytes));
        (places.collect::<BTreeSet<_>>(), found.files, found.gaps)
    };
    let (sound, sound_files, gaps) = places(device);
    // Where the first bytes of a file are hidden, later ones are found.
    let is_later = |file: &Owner| {
        let mut files = sound_files.iter();
        let is_same = |sound: &Owner| {
            sound.path == file.path && sound.file_offset_bytes < file.file_offset_bytes
        };
        file.path.ends_with('>') || files.any(is_same)
    };
    assert_eq!(gaps, [""; 0]);
    let metadata = filesystem.metadata(device).unwrap().unwrap();
    let blocks: Vec<Extent> = metadata
        .iter()
        .flat_map(|extent| extent.split(block_bytes))
        .collect();
    let mut survival = Survival {
        rounds: 0,
        found_most: 0,
        found_all: 0,
    };
    let mut noise = Noise(2);
    for _ in 0..200 {
        let block = blocks[usize::try_from(noise.below(blocks.len() as u64)).unwrap()];
        let faulty = FaultAt::new(device, Some(Fault::Unreadable(block)));
        let (found, files, gaps) = places(&faulty);
        if !faulty.has_tripped() {
            assert_eq!((&found, gaps), (&sound, Vec::new()), "{block}");
            continue;
        }
        // Without a name, a file is still found.
        let is_told = found == sound || !gaps.is_empty();
        let is_right = files
            .iter()
            .all(|file| sound.contains(&(file.extent, file.file_offset_bytes)) || is_later(file));
        assert!(is_right && is_told, "{block}: {gaps:?}");
        survival.rounds += 1;
        survival.found_most += usize::from(found.len() * 10 >= sound.len() * 9);
        survival.found_all += usize::from(found.len() == sound.len());
        if survival.rounds == 25 {
            break;
        }
    }
    survival
}
