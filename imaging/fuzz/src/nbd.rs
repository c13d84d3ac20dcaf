//! Clients of the server of an image: whatever they say, it answers with what is allowed, or ends.

use klon_imaging::serve::nbd::{
    ClientOption, Connection, OPTION_BYTES_MAX, OptionHeader, Request, converse,
};
use klon_imaging::serve::{Context, Export, Exports, Listing};
use klon_partition::device::MemoryDevice;
use klon_partition::{Extent, ExtentMap, Result};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// Size of what is served: neither a power of two nor whole sectors.
const SIZE: usize = 70_001;
/// The default export, one query.
const QUERY: &[u8] = b"\0\0\0\0\0\0\0\x01\0\0\0\x06klon:x";

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let head = [number.to_be_bytes(), (data.len() as u32).to_be_bytes()];
    [b"IHAVEOPT", head.as_flattened(), data].concat()
}

/// What clients say.
#[must_use]
pub fn conversations() -> Vec<(&'static str, Vec<u8>)> {
    let flags = 3_u32.to_be_bytes();
    let request = |flags: u16, command: u16, offset: u64, len: u32| {
        let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
        bytes.extend([flags, command].map(u16::to_be_bytes).as_flattened());
        bytes.extend([7, offset].map(u64::to_be_bytes).as_flattened());
        bytes.extend(len.to_be_bytes());
        bytes
    };
    let list = [option(3, &[]), option(9, QUERY), option(6, &[0; 6])].concat();
    let read = [
        request(0, 0, 0, 65_536),
        request(4, 0, 4096, 512),
        request(0, 7, 0, SIZE as u32),
        request(8, 7, 100, 5000),
        [&request(0, 1, 0, 5)[..], b"write"].concat(),
        request(0, 2, 0, 0),
    ];
    let old = [&flags[..], &option(1, &[]), &request(0, 0, 9, 60_000)].concat();
    vec![
        ("requests", read.concat()),
        ("options", [&list[..], &option(2, &[])].concat()),
        ("old", old),
    ]
}

/// Has a client say `data`, from its first byte on and from within the conversation.
pub fn check(data: &[u8]) {
    let _ = ClientOption::parse(u32::from(data.len() as u8 % 12), data);
    if let Some(header) = data.first_chunk().and_then(OptionHeader::parse) {
        assert_eq!(header.is_bounded(), header.len_bytes <= OPTION_BYTES_MAX);
    }
    if let Some(request) = data.first_chunk().and_then(Request::parse) {
        let len = request.extent().map_or(0, Extent::len_bytes);
        assert!(len <= u64::from(u32::MAX));
    }
    let flags = 3_u32.to_be_bytes();
    let go = option(7, &[0; 6]);
    let structured = [&option(8, &[])[..], &option(10, QUERY)].concat();
    for before in [
        Vec::new(),
        flags.to_vec(),
        [&flags[..], &go].concat(),
        [&flags[..], &structured, &go].concat(),
    ] {
        let mut client = Client {
            says: before.as_slice().chain(data),
            heard_bytes: 0,
        };
        let _ = converse(&mut client, &Served);
        // No request of 28 bytes gives more than all of it twice, and no option more than its names.
        let requests = (before.len() + data.len()) / 16 + 2;
        assert!(client.heard_bytes <= requests * (2 * SIZE + 4096));
    }
}

struct Client<'a> {
    says: io::Chain<&'a [u8], &'a [u8]>,
    heard_bytes: usize,
}

impl Read for Client<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.says.read(buffer)
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard_bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for Client<'_> {
    fn limit(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// One export, and one context of it.
struct Served;

impl Exports for Served {
    fn list(&self) -> Vec<Listing> {
        vec![listing()]
    }

    fn open(&self, name: &str) -> Result<Option<Arc<Export>>> {
        let content = (0..SIZE).map(|at| (at / 4096 % 3) as u8).collect();
        let device = Arc::new(MemoryDevice::new(content, 512));
        let export = Export::new(listing(), device);
        Ok(name.is_empty().then(|| Arc::new(export)))
    }

    fn contexts(&self, _: &Export) -> Vec<String> {
        vec!["klon:x".to_owned()]
    }

    fn open_context(&self, _: &Export, name: &str) -> Result<Option<Arc<dyn Context>>> {
        let context: Arc<dyn Context> = Arc::new(Odd);
        Ok((name == "klon:x").then_some(context))
    }
}

fn listing() -> Listing {
    Listing {
        name: String::new(),
        description: "what is served".to_owned(),
    }
}

/// Every other kibibyte.
struct Odd;

impl Context for Odd {
    fn extents(&self, within: Extent) -> ExtentMap {
        let pieces = within.split(1024);
        pieces
            .filter(|piece| piece.offset_bytes() / 1024 % 2 == 1)
            .collect()
    }
}
