//! Images as exports, and clients as bytes.

use super::nbd::{Connection, converse};
use super::{ExportName, Exports, ImageExports};
use crate::image::tests::World;
use klon_partition::{Extent, ExtentMap};
use std::io::{self, Cursor, Read, Write};
use std::time::Duration;

/// A client that says what it has to say, and listens.
struct Script {
    says: Cursor<Vec<u8>>,
    heard: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for Script {
    fn limit(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn is_ready(&mut self) -> bool {
        self.says.position() < self.says.get_ref().len() as u64
    }
}

fn exports(times: usize) -> (World, ImageExports) {
    let mut world = World::new();
    for index in 0..times {
        world.content[(1 << 20) + index * 1_500_000] ^= 1;
        world.auto();
    }
    let exports = ImageExports::new(world.image(), None).unwrap();
    (world, exports)
}

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap();
    let head = [number.to_be_bytes(), len.to_be_bytes()];
    [b"IHAVEOPT", head.as_flattened(), data].concat()
}

fn request(flags: u16, command: u16, offset: u64, len: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes
}

/// What the server says to a client of these flags, options and requests.
fn talk(exports: &dyn Exports, says: &[Vec<u8>]) -> Vec<u8> {
    let mut client = Script {
        says: Cursor::new([&3_u32.to_be_bytes()[..], &says.concat()].concat()),
        heard: Vec::new(),
    };
    let _ = converse(&mut client, exports);
    client.heard
}

fn go() -> Vec<u8> {
    option(7, &[0; 6])
}

#[test]
fn every_export_has_one_name() {
    for (text, snapshot, partition) in [
        ("", None, None),
        ("3", Some(3), None),
        ("12/p1", Some(12), Some(1)),
    ] {
        let name = ExportName::parse(text).unwrap();
        assert_eq!((name.snapshot, name.partition), (snapshot, partition));
        assert_eq!(name.to_string(), text);
    }
    for text in [
        "03", "+3", "3/p01", "3/", "/p1", "3/p", "x", "3/p1/p2", "-1",
    ] {
        assert_eq!(ExportName::parse(text), None, "{text}");
    }
}

#[test]
fn what_changed_is_told_in_chunks_of_the_export() {
    let (world, exports) = exports(3);
    assert_eq!(exports.list().len(), 4);
    let export = exports.open("").unwrap().unwrap();
    let size_bytes = world.content.len() as u64;
    assert_eq!(export.size_bytes(), size_bytes);
    let contexts = ["klon:changed-since:1", "klon:changed-since:2"];
    assert_eq!(exports.contexts(&export), contexts);
    let changed = |name: &str, within: Extent| {
        let context = exports.open_context(&export, name).unwrap();
        context.unwrap().extents(within)
    };
    let extent = |offset: u64, len: u64| Extent::new(offset, len).unwrap();
    let map = |extents: &[Extent]| -> ExtentMap { extents.iter().copied().collect() };
    let (whole, mib) = (extent(0, size_bytes), 1 << 20);
    // Bytes at 2.5 and 3.9 MiB differ from the first, the latter from the second.
    assert_eq!(
        changed(contexts[0], whole),
        map(&[extent(2 * mib, 2 * mib)])
    );
    assert_eq!(changed(contexts[1], whole), map(&[extent(3 * mib, mib)]));
    let part = extent(3 * mib + 5, 10);
    assert_eq!(changed(contexts[1], part), map(&[part]));
    for name in [
        "klon:changed-since:3",
        "klon:changed-since:9",
        "klon:changed-since:01",
        "klon:changed-since:",
        "base:allocation",
        "",
    ] {
        assert!(exports.open_context(&export, name).unwrap().is_none());
    }
}

#[test]
fn zero_chunks_are_holes_to_those_who_read_exports() {
    let (world, exports) = exports(1);
    let device = exports.open("1").unwrap().unwrap();
    let device = &device.device;
    let whole = Extent::new(0, world.content.len() as u64).unwrap();
    let zero = Extent::new(4 << 20, 1 << 20).unwrap();
    let data = device.data(whole).unwrap();
    assert!(!data.overlaps(zero));
    let expected = world.usage.extents.difference(&zero.into());
    assert_eq!(data, expected);
}

#[test]
fn without_structured_replies_all_comes_behind_one_head() {
    let (world, exports) = exports(1);
    let expected = world.expected();
    // More than a piece, and less.
    for len in [3_000_000, 5] {
        let heard = talk(&exports, &[go(), request(0, 0, 777, len)]);
        let data = &heard[heard.len() - len as usize..];
        assert!(data == &expected[777..777 + len as usize], "{len}");
        let head = &heard[..heard.len() - len as usize];
        assert!(head.ends_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    }
    let old = talk(&exports, &[option(1, b"1"), request(0, 0, 0, 100)]);
    assert_eq!(old[old.len() - 100..], expected[..100]);
    // Eighteen of hello, eight of size, two of flags; no zeroes, since the client wants none.
    assert_eq!(old.len(), 18 + 10 + 16 + 100);
    assert_eq!(talk(&exports, &[option(1, b"2")]).len(), 18);
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    let (world, exports) = exports(1);
    let expected = world.expected();
    let lens = [
        4096,
        5,
        70_000,
        1,
        4096,
        1_500_000,
        9,
        1 << 20,
        8,
        300,
        4096,
    ];
    let reads = || (0..).step_by(700_001).zip(lens);
    let requests = reads().map(|(at, len): (u64, u32)| request(0, 0, at, len));
    // What is no request ends it, but not before all that came earlier is answered.
    let says = [vec![go()], requests.collect(), vec![vec![7; 28]]].concat();
    let heard = talk(&exports, &says);
    let mut rest = &heard[..];
    for (at, len) in reads().collect::<Vec<_>>().into_iter().rev() {
        let (before, data) = rest.split_at(rest.len() - len as usize);
        let at = at as usize;
        assert!(data == &expected[at..at + data.len()], "{at}");
        rest = &before[..before.len() - 16];
    }
}

#[test]
fn one_piece_is_given_where_one_is_asked_for() {
    let (world, exports) = exports(1);
    let structured = option(8, &[]);
    let says = [structured.clone(), go(), request(4, 0, 100, 65_536)];
    let heard = talk(&exports, &says);
    // Behind it only the end of the answer.
    let data = &heard[heard.len() - 20 - 65_536..heard.len() - 20];
    assert!(data == &world.expected()[100..100 + 65_536]);
    let says = [structured, go(), request(4, 0, 0, 2 << 20)];
    let heard = talk(&exports, &says);
    let text = String::from_utf8_lossy(&heard);
    assert!(text.ends_with("a read that is too long"), "{text}");
}

#[test]
fn contexts_are_those_of_the_export_that_is_read() {
    let (_, exports) = exports(2);
    let queries = |number: u32, name: &str, queries: &[&str]| {
        let string = |text: &str| {
            let len = u32::try_from(text.len()).unwrap();
            [&len.to_be_bytes(), text.as_bytes()].concat()
        };
        let count = u32::try_from(queries.len()).unwrap().to_be_bytes();
        let queries: Vec<u8> = queries.iter().flat_map(|query| string(query)).collect();
        option(number, &[&string(name)[..], &count, &queries].concat())
    };
    let structured = || option(8, &[]);
    let base = ["base:allocation"];
    let status = || request(8, 7, 0, 4096);
    let text = |says: &[Vec<u8>]| String::from_utf8_lossy(&talk(&exports, says)).into_owned();
    for (name, is_selected) in [("", true), ("2", false)] {
        let heard = text(&[structured(), queries(10, name, &base), go(), status()]);
        let is_refused = heard.ends_with("no context was selected");
        assert_eq!(is_refused, !is_selected, "{name}");
    }
    let early = text(&[queries(10, "", &base)]);
    assert!(early.ends_with("structured replies come first"));
    let many = ["base:allocation"; 65];
    assert!(text(&[structured(), queries(9, "", &many)]).ends_with("too many queries"));
    let all = text(&[structured(), queries(9, "1", &["klon:", "other:"])]);
    assert!(all.contains("klon:changed-since:2") && !all.contains("base:"));
    let unknown = text(&[structured(), queries(10, "7", &base)]);
    assert!(unknown.ends_with("there is no export \"7\""));
}
