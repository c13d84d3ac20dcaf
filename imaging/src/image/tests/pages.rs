//! Catalogs in pages: many snapshots, prunes among them, damage, and images of before there were any.

use super::super::catalog::pages::{ENTRIES_MAX, PageNode, Root};
use super::super::{Catalog, CatalogEntry, Image, ImageWriter, Reference};
use super::check::check_all;
use super::{World, content, header, noise, open};
use crate::chunk::Digest;
use crate::record::Consistency;
use klon_partition::{Identity, Outside};
use std::path::Path;

fn entry(number: u64) -> CatalogEntry {
    let reference = Reference {
        position: 4096,
        stored_bytes: 1,
        plain_bytes: 1,
        digest: Digest::of(&number.to_le_bytes()),
    };
    CatalogEntry {
        number,
        manifest: reference.into(),
        ended_unix_seconds: 1_780_000_000 + number * 86_400,
        given_name: None,
        note: number.is_multiple_of(7).then(|| format!("note {number}")),
        source: Identity::Path("/source".to_owned()),
        source_bytes: 5 << 20,
        used_bytes: 1 << 20,
        left_out_bytes: Some(0),
        outside: Outside::All,
        bad_bytes: Some(0),
        added_bytes: 4096,
        consistency: Consistency::Still,
        partitions: Vec::new(),
    }
}

/// An image with nothing but catalogs.
struct Many {
    writer: ImageWriter<Vec<u8>>,
    catalog: Catalog,
}

impl Many {
    fn new(has_pages: bool) -> Self {
        let header = super::Header {
            has_catalog_pages: has_pages,
            ..header(1 << 20)
        };
        Self {
            writer: ImageWriter::create(Vec::new(), header).unwrap(),
            catalog: Catalog {
                snapshots: Vec::new(),
                next_number: 1,
            },
        }
    }

    /// Commits one more; how many bytes that adds.
    fn add(&mut self) -> u64 {
        let number = self.catalog.next_number;
        self.catalog.snapshots.push(entry(number));
        self.catalog.next_number += 1;
        self.commit()
    }

    fn commit(&mut self) -> u64 {
        let before = self.writer.position();
        self.writer.begin_commit().unwrap();
        self.writer.commit(self.catalog.clone()).unwrap();
        self.writer.position() - before
    }

    /// Opens it again, as another run does.
    fn reopen(self) -> Self {
        let Self { writer, catalog } = self;
        let file = writer.into_output();
        let image = open(&file);
        assert_eq!(image.catalog(), &catalog);
        let position = image.tail().next_position();
        let mut output = file;
        output.resize(usize::try_from(position).unwrap(), 0);
        Self {
            writer: ImageWriter::behind(output, &image, position).unwrap(),
            catalog,
        }
    }

    fn image(self) -> (Image, Vec<u8>) {
        let file = self.writer.into_output();
        (open(&file), file)
    }
}

#[test]
fn what_a_commit_adds_does_not_grow() {
    let mut many = Many::new(true);
    let mut added = Vec::new();
    for number in 1..=3000_u64 {
        added.push(many.add());
        if number % 500 == 17 {
            many = many.reopen();
        }
    }
    let most = |part: &[u64]| part.iter().copied().max().unwrap();
    let sum = |part: &[u64]| part.iter().sum::<u64>();
    // Within a page of the third level everything is as it was within the one before.
    assert!(most(&added[2000..]) <= most(&added[..1100]) + 4096);
    assert!(sum(&added[2000..]) < sum(&added[1000..2000]) * 5 / 4);
    assert!(sum(&added) < 3000 * 9000, "{}", sum(&added));
    let catalog = many.catalog.clone();
    let (image, _) = many.image();
    assert_eq!(image.catalog(), &catalog);
    // To open it takes as many reads as there are pages, each of them twice in the file.
    let pages = PageNode::all_frames(&image.tail().catalog_pages).len() / 2;
    assert!(pages <= 3000 / ENTRIES_MAX + 5, "{pages}");
    for number in [1, 32, 33, 1024, 1025, 2999, 3000] {
        assert_eq!(image.catalog().find(Some(number)).unwrap().number, number);
    }
    assert!(image.catalog().find(Some(3001)).is_none());
}

#[test]
fn any_removals_and_additions_are_read_back() {
    let mut random = noise(3, 1 << 16).into_iter();
    let mut next = move |below: usize| {
        let bytes: Vec<u8> = random.by_ref().take(2).collect();
        usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % below.max(1)
    };
    let mut many = Many::new(true);
    for round in 0..120 {
        for _ in 0..next(90) {
            many.add();
        }
        // A run of them, every third, or one.
        let len = many.catalog.snapshots.len();
        if len > 2 {
            let (start, step) = (next(len - 1), 1 + next(3));
            let doomed: Vec<u64> = many.catalog.snapshots[start..len - 1]
                .iter()
                .step_by(step)
                .take(next(70))
                .map(|entry| entry.number)
                .collect();
            many.catalog
                .snapshots
                .retain(|entry| !doomed.contains(&entry.number));
            let catalog = many.catalog.clone();
            many.writer.commit_twice(&catalog).unwrap();
        }
        if round % 3 == 0 {
            many = many.reopen();
        }
    }
    let catalog = many.catalog.clone();
    let (image, _) = many.image();
    assert_eq!(image.catalog(), &catalog);
    let tail = image.tail();
    let before = tail.before(image.device(), image.header()).unwrap();
    assert!(before.is_some() && catalog.snapshots.len() > 100);
}

#[test]
fn a_page_that_is_damaged_is_read_from_its_copy() {
    let mut many = Many::new(true);
    (0..1100).for_each(|_| _ = many.add());
    let catalog = many.catalog.clone();
    let (image, file) = many.image();
    let frames = PageNode::all_frames(&image.tail().catalog_pages);
    assert!(frames.len() > 60);
    for pair in frames.chunks_exact(2) {
        let [first, second] = [0, 1].map(|at| pair[at].position as usize);
        assert!(first.abs_diff(second) >= pair[0].stored_bytes as usize + 64);
        for one in [first, second] {
            let mut damaged = file.clone();
            damaged[one + 70] ^= 1;
            let image = open(&damaged);
            assert_eq!((image.catalog(), &image.tail().damage), (&catalog, &None));
        }
    }
    for pair in frames.chunks_exact(2).take(2) {
        let [first, second] = [0, 1].map(|at| pair[at].position as usize);
        // With both gone, what was committed before them is shown, and said to be no more than that.
        let mut damaged = file.clone();
        damaged[first + 70] ^= 1;
        damaged[second + 70] ^= 1;
        let image = open(&damaged);
        assert!(image.catalog().snapshots.len() < 1100 && image.tail().damage.is_some());
        assert!(ImageWriter::<Vec<u8>>::check_appendable(&image).is_err());
    }
}

#[test]
fn verify_tells_of_a_damaged_page_and_compaction_mends_it() {
    let mut world = World::small();
    for _ in 0..ENTRIES_MAX + 2 {
        world.auto();
    }
    assert!(check_all(&world.image()).is_whole);
    let frames = PageNode::all_frames(&world.image().tail().catalog_pages);
    assert_eq!(frames.len(), 2);
    for frame in frames {
        let mut damaged = World::small();
        damaged.file = world.file.clone();
        damaged.file[frame.position as usize + 70] ^= 1;
        let found = check_all(&damaged.image());
        assert!(!found.is_whole && found.damage.is_empty(), "{found:?}");
        assert!(found.commit_damage.unwrap().contains("catalog page"));
        damaged.auto();
        let count = damaged.image().catalog().snapshots.len();
        assert_eq!(count, ENTRIES_MAX + 3);
        let compacted = super::compact::compacted(&damaged, &[2, 5]).unwrap();
        let image = open(&compacted);
        assert!(check_all(&image).is_whole);
        assert_eq!(image.catalog().snapshots.len(), ENTRIES_MAX + 1);
        assert!(content(&image, 35).unwrap() == world.expected());
    }
}

#[test]
fn pages_that_cannot_be_are_refused() {
    let mut many = Many::new(true);
    (0..40).for_each(|_| _ = many.add());
    let (_, file) = many.image();
    let commit = |json: &str| {
        let image = open(&file);
        let mut output = file.clone();
        let position = image.tail().next_position();
        output.resize(usize::try_from(position).unwrap(), 0);
        let mut writer = ImageWriter::behind(output, &image, position).unwrap();
        writer.begin_commit().unwrap();
        writer.commit_root(json.as_bytes().to_vec()).unwrap();
        open(&writer.into_output())
    };
    let image = open(&file);
    let catalog = image.catalog();
    let newest = catalog.snapshots[ENTRIES_MAX..].to_vec();
    let root = Root::new(&image.tail().catalog_pages, newest, catalog.next_number);
    let root = serde_json::to_value(root).unwrap();
    assert_eq!(commit(&root.to_string()).catalog(), image.catalog());
    let changed = |change: fn(&mut serde_json::Value)| {
        let mut root = root.clone();
        change(&mut root);
        let image = commit(&root.to_string());
        assert!(image.tail().damage.is_some(), "{root}");
    };
    // The same page twice, levels and numbers that are others, nothing at all.
    changed(|root| {
        let page = root["pages"][0].clone();
        root["pages"].as_array_mut().unwrap().push(page);
    });
    changed(|root| root["pages"][0]["level"] = 1.into());
    changed(|root| root["pages"][0]["level"] = 200.into());
    changed(|root| root["pages"][0]["first"] = 2.into());
    changed(|root| root["pages"][0]["last"] = 33.into());
    changed(|root| root["pages"][0]["plain_bytes"] = 64.into());
    changed(|root| root["next_number"] = 40.into());
    changed(|root| root["snapshots"][0]["number"] = 32.into());
    changed(|root| root["snapshots"] = serde_json::Value::Null);
}

/// images/image-v1.klon was made before catalogs had pages, of 8 chunks of 64 KiB.
#[test]
fn images_of_before_pages_are_read_and_added_to() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/image-v1.klon");
    let file = std::fs::read(path).unwrap();
    let image = open(&file);
    assert!(!image.header().has_catalog_pages);
    let digests = [
        "9f2ec2ffa120c09bd1c13145f094ec1d21f3e6f780982b7c9e7dd94c67483c04",
        "04da3dd39a7170139578c55821541e92eb3c45bd7c0583c9e3c4b3bacbb23e7e",
        "b4977d437da7774ae0a5d2cf3b495ccdca4888322d5f00f03ead58c458b54210",
    ];
    let as_it_was = |image: &Image| {
        for (number, expected) in (1..).zip(digests) {
            let found = Digest::of(&content(image, number).unwrap());
            assert_eq!(found.to_string(), expected);
        }
    };
    as_it_was(&image);
    // Programs that know of no pages go on with it.
    let mut world = World::small();
    world.file = file;
    (0..ENTRIES_MAX).for_each(|_| _ = world.auto());
    let image = world.image();
    as_it_was(&image);
    assert!(!image.header().has_catalog_pages && image.tail().catalog_pages.is_empty());
    assert!(check_all(&image).is_whole);
    assert!(content(&image, 4).unwrap() == world.expected());
    let compacted = open(&super::compact::compacted(&world, &[]).unwrap());
    as_it_was(&compacted);
    assert!(compacted.header().has_catalog_pages && !compacted.tail().catalog_pages.is_empty());
}

/// images/image-pages.klon.zst has 40 snapshots; 8 of them are in the catalog itself.
#[test]
fn images_with_pages_stay_readable() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/image-pages.klon.zst");
    let image = open(&zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap());
    assert_eq!(image.tail().catalog_pages.len(), 1);
    let numbers = image.catalog().snapshots.iter().map(|entry| entry.number);
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    assert!(check_all(&image).is_whole);
    let mut expected: Vec<u8> = (0..8).flat_map(|chunk| vec![chunk; 1 << 16]).collect();
    for number in 1..=40_u8 {
        expected[usize::from(number) * 1000] = number;
        let found = content(&image, number.into()).unwrap();
        assert!(found == expected, "{number}");
        assert_eq!(
            image
                .catalog()
                .find(Some(number.into()))
                .unwrap()
                .given_name
                .as_deref(),
            Some("golden")
        );
    }
}

#[test]
fn torn_while_pages_are_written_the_commit_before_counts() {
    let mut many = Many::new(true);
    (0..31).for_each(|_| _ = many.add());
    let before = many.writer.position() as usize;
    many.add();
    let (image, file) = many.image();
    assert_eq!(image.tail().catalog_pages.len(), 1);
    for cut in (before..file.len()).step_by(61) {
        let image = open(&file[..cut]);
        assert_eq!(
            (image.catalog().snapshots.len(), &image.tail().damage),
            (31, &None),
            "{cut}"
        );
    }
}
