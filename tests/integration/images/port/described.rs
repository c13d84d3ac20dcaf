//! Virtual disks that describe themselves: which files they name, and how large they are.

use super::cmp;
use crate::support::image::sparse;
use crate::support::{Klon, MIB, run};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;

/// A dynamic VHD as VirtualBox makes them: their cylinders, heads and sectors are less than the disk.
#[test]
fn a_vhd_of_virtualbox_is_read_to_its_end() {
    let klon = Klon::new();
    sparse(&klon.path("disk"), 64 * MIB);
    let mut disk = fs::OpenOptions::new()
        .write(true)
        .open(klon.path("disk"))
        .unwrap();
    disk.seek(SeekFrom::End(-512)).unwrap();
    disk.write_all(&[7; 512]).unwrap();
    let (raw, name) = (klon.text("disk"), klon.text("a,b.vhd"));
    let options = "subformat=dynamic,force_size=on";
    let arguments = [
        "convert", "-f", "raw", "-O", "vpc", "-o", options, &raw, &name,
    ];
    run("qemu-img", &arguments);
    let mut bytes = fs::read(&name).unwrap();
    for at in [0, bytes.len() - 512] {
        let footer = &mut bytes[at..at + 512];
        footer[28..32].copy_from_slice(b"vbox");
        footer[56..60].copy_from_slice(&[
            963_u16.to_be_bytes()[0],
            963_u16.to_be_bytes()[1],
            8,
            17,
        ]);
        footer[64..68].fill(0);
        let sum: u32 = footer.iter().map(|&byte| u32::from(byte)).sum();
        footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    }
    fs::write(&name, bytes).unwrap();
    klon.ok(&["clone", "a,b.vhd", "out"]);
    cmp(&klon, "disk", "out");
}

#[test]
fn no_image_chooses_which_files_of_this_machine_are_read() {
    let klon = Klon::new();
    fs::write(klon.path("secret"), vec![7; MIB as usize]).unwrap();
    let (secret, image) = (klon.text("secret"), klon.text("a.qcow"));
    run(
        "qemu-img",
        &[
            "create", "-q", "-f", "qcow", "-b", &secret, "-F", "raw", &image, "1M",
        ],
    );
    let descriptor = |name: &str, more: &str| {
        let text = format!(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n\
             createType=\"monolithicFlat\"\n{more}RW 2048 FLAT \"x-flat.vmdk\" 0\n"
        );
        fs::write(klon.path(name), text).unwrap();
    };
    descriptor("hint.vmdk", "parentFileNameHint=\"base.vmdk\"\n");
    descriptor("long.vmdk", &"#\n".repeat(40 << 10));
    descriptor("link.vmdk", "");
    symlink(klon.path("secret"), klon.path("x-flat.vmdk")).unwrap();
    for (name, why) in [
        ("a.qcow", "backing file"),
        ("hint.vmdk", "a snapshot of another one"),
        ("long.vmdk", "more than 65536 bytes"),
        ("link.vmdk", "no plain file"),
    ] {
        klon.run(&["clone", name, "out"])
            .expect(5)
            .says(&[name, why]);
        assert!(!klon.path("out").exists());
    }
    // The same with a file of its own.
    fs::remove_file(klon.path("x-flat.vmdk")).unwrap();
    fs::copy(klon.path("secret"), klon.path("x-flat.vmdk")).unwrap();
    klon.ok(&["clone", "link.vmdk", "out"]);
    cmp(&klon, "secret", "out");
}
