//! Files of other programs, told by their bytes; block maps.

use klon_imaging::foreign::recognize;
use klon_imaging::image::import::bmap::Bmap;
use klon_partition::device::MemoryDevice;

/// Recognizes `data` as a file.
pub fn check(data: &[u8]) {
    let _ = recognize(&MemoryDevice::new(data.to_vec(), 512));
}

/// Reads `data` as a block map.
pub fn check_bmap(data: &[u8]) {
    let Ok(map) = std::str::from_utf8(data).map(Bmap::parse) else {
        return;
    };
    if let Ok(map) = map {
        assert!(map.mapped().end_bytes() <= map.image_bytes);
    }
}

/// Headers of virtual disks.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let padded = |start: &[u8]| {
        let mut file = start.to_vec();
        file.resize(2048, 0);
        file
    };
    let mut vmdk = b"KDMV\x01\0\0\0".to_vec();
    vmdk.resize(512, 0);
    (vmdk[28], vmdk[36]) = (1, 2);
    vmdk.extend(b"parentCID=ffffffff\nRW 63 SPARSE \"x.vmdk\"\n");
    vec![
        ("vmdk", padded(&vmdk)),
        ("descriptor", DESCRIPTOR.to_vec()),
        ("vhd", vhd()),
        ("qed", padded(b"QED\0\0\0\x01\0")),
        ("qcow", padded(b"QFI\xfb\0\0\0\x01")),
        ("zip", padded(ZIP)),
    ]
}

const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0x";
const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\n\
    RW 16384 SPARSE \"x-s001.vmdk\"\n";

/// A small block map.
pub const BMAP: &[u8] = b"<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n<ImageSize> 9000 </ImageSize>\n\
    <BlockSize> 4096 </BlockSize>\n<ChecksumType> sha256 </ChecksumType>\n<BlockMap>\n\
    <Range chksum=\"ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7\"> 0 </Range>\n\
    <Range> 2-2 </Range></BlockMap></bmap>";

/// A fixed disk with its footer.
fn vhd() -> Vec<u8> {
    let mut file = vec![0; 1536];
    file.extend(b"conectix");
    file.resize(2048, 0);
    file[1536 + 54] = 6;
    file[1536 + 63] = 2;
    let sum = file.iter().fold(0_u32, |sum, &byte| sum + u32::from(byte));
    file[1536 + 64..1536 + 68].copy_from_slice(&(!sum).to_be_bytes());
    file
}
