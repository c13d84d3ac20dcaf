//! Disks, and volumes of plans, whose files name each other.

use super::{digest, uuid};
use crate::support::image::{check_gpt, ext4, put, sfdisk, sparse};
use crate::support::klon::number;
use crate::support::tool::{output, run_with_input};
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// A GPT disk with an ESP and a root volume whose files name both.
fn disk(klon: &Klon) -> [String; 2] {
    let (esp, root) = (klon.path("esp"), klon.path("root"));
    sparse(&esp, 40 * MIB);
    run("mkfs.fat", &["-F", "32", &klon.text("esp")]);
    let tree = klon.path("tree");
    for directory in ["etc/default", "boot/grub", "boot/loader/entries", "usr"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
    }
    let esp_uuid = uuid(&klon.text("esp"));
    let root_uuid = "0a1b2c3d-1111-4222-8333-0123456789ab".to_owned();
    let fstab = format!(
        "# {root_uuid}\nUUID={root_uuid} / ext4 defaults 0 1\nUUID={esp_uuid} /boot/efi vfat umask=0077 0 1\n\
         PARTUUID={ESP_GUID} /mnt vfat noauto 0 0\nUUID=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee /other xfs noauto 0 0\n"
    );
    fs::write(tree.join("etc/fstab"), fstab).unwrap();
    let grub = format!(
        "search --no-floppy --fs-uuid --set=root {root_uuid}\nlinux /boot/vmlinuz root=UUID={root_uuid} ro\n"
    );
    fs::write(tree.join("boot/grub/grub.cfg"), grub).unwrap();
    let entry = format!("title a\noptions root=PARTUUID={ROOT_GUID} rw\n");
    fs::write(tree.join("boot/loader/entries/a.conf"), entry).unwrap();
    // Nothing starts by what a file like this says.
    fs::write(tree.join("usr/notes"), format!("UUID={root_uuid}\n")).unwrap();
    fs::write(tree.join("usr/data"), noise(3, 3 << 20)).unwrap();
    let grub = klon.path("grub.cfg");
    let text = format!("search.fs_uuid {root_uuid} root\nset prefix=($root)/boot/grub\n");
    fs::write(&grub, text).unwrap();
    for arguments in [
        &["mmd", "-i", &klon.text("esp"), "::/EFI", "::/EFI/debian"][..],
        &[
            "mcopy",
            "-i",
            &klon.text("esp"),
            &klon.text("grub.cfg"),
            "::/EFI/debian/grub.cfg",
        ],
    ] {
        run(arguments[0], &arguments[1..]);
    }
    let options = [
        "-q",
        "-t",
        "ext4",
        "-U",
        &root_uuid,
        "-d",
        &klon.text("tree"),
    ];
    run(
        "mke2fs",
        &[&options[..], &[&klon.text("root"), "120m"]].concat(),
    );
    sparse(&klon.path("source"), 180 * MIB);
    let (esp_guid, root_guid) = (format!("1:{ESP_GUID}"), format!("2:{ROOT_GUID}"));
    let options = [
        ["-n", "1:2048:+40M"],
        ["-t", "1:ef00"],
        ["-u", &esp_guid],
        ["-n", "2:102400:+120M"],
        ["-u", &root_guid],
    ];
    let mut arguments: Vec<&str> = options.iter().flatten().copied().collect();
    let source = klon.text("source");
    arguments.push(&source);
    run("sgdisk", &arguments);
    put(&esp, &klon.path("source"), MIB);
    put(&root, &klon.path("source"), 50 * MIB);
    [esp_uuid, root_uuid]
}

const ESP_GUID: &str = "1e5b0001-0000-4000-8000-00000000e5b1";
const ROOT_GUID: &str = "1e5b0002-0000-4000-8000-00000000e5b2";

/// The names on a disk: of itself, its partitions, their filesystems.
fn names(klon: &Klon, disk: &str) -> Vec<String> {
    let table = sfdisk(&klon.text(disk));
    let mut found = vec![table["id"].as_str().unwrap().to_lowercase()];
    for partition in table["partitions"].as_array().unwrap() {
        found.push(partition["uuid"].as_str().unwrap().to_lowercase());
    }
    for (number, place, mib) in [(1, 1, 40), (2, 50, 120)] {
        let part = klon.path(&format!("{disk}-{number}"));
        sparse(&part, mib * MIB);
        let bytes = fs::read(klon.path(disk)).unwrap();
        let (start, end) = ((place * MIB) as usize, ((place + mib) * MIB) as usize);
        fs::write(&part, &bytes[start..end]).unwrap();
        found.push(uuid(part.to_str().unwrap()));
    }
    found
}

/// A file on the root volume, whose bytes `names` has put into a file.
fn root_file(klon: &Klon, disk: &str, path: &str) -> String {
    let request = format!("cat {path}");
    run(
        "debugfs",
        &["-R", &request, &klon.text(&format!("{disk}-2"))],
    )
}

#[test]
fn a_disk_and_all_that_names_its_parts_get_names_of_their_own() {
    let klon = Klon::new();
    let [esp_uuid, root_uuid] = disk(&klon);
    let before = digest(&klon.path("source"));
    klon.ok(&["clone", "source", "clone", "--identity", "new"])
        .says(&[
            "partition 2: /etc/fstab",
            "partition 2: /boot/grub/grub.cfg",
            "partition 2: /boot/loader/entries/a.conf",
            "partition 1: /EFI/debian/grub.cfg",
        ]);
    check_gpt(&klon.text("clone"));
    let (old, own) = (names(&klon, "source"), names(&klon, "clone"));
    let all: HashSet<&String> = old.iter().chain(&own).collect();
    assert_eq!(all.len(), 10, "{old:?} {own:?}");
    run("e2fsck", &["-fn", &klon.text("clone-2")]);
    run("fsck.fat", &["-n", &klon.text("clone-1")]);
    let renamed = |text: String| {
        let pairs = old.iter().zip(&own);
        pairs.fold(text, |text, (old, own)| text.replace(old, own))
    };
    for path in [
        "/etc/fstab",
        "/boot/grub/grub.cfg",
        "/boot/loader/entries/a.conf",
    ] {
        let (from, to) = (
            root_file(&klon, "source", path),
            root_file(&klon, "clone", path),
        );
        assert_eq!(to, renamed(from.clone()), "{path}");
        assert_ne!(to, from, "{path}");
    }
    for path in ["/usr/notes", "/usr/data"] {
        assert_eq!(
            root_file(&klon, "clone", path),
            root_file(&klon, "source", path)
        );
    }
    let grub = run(
        "mtype",
        &["-i", &klon.text("clone-1"), "::/EFI/debian/grub.cfg"],
    );
    assert!(
        grub.contains(&own[4]) && !grub.contains(&root_uuid),
        "{grub}"
    );
    assert!(!root_file(&klon, "clone", "/etc/fstab").contains(&esp_uuid));
    klon.ok(&["verify", "clone"]);
    klon.ok(&["verify", "clone", "--against-source"]);
    let again = klon.json(&["clone", "source", "clone"]);
    assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
    assert_eq!(digest(&klon.path("source")), before);

    // After a change of the source only that is written, and the names stay.
    let changed = noise(9, 4096);
    fs::write(klon.path("new"), &changed).unwrap();
    let request = format!("write {} new", klon.text("new"));
    run("debugfs", &["-w", "-R", &request, &klon.text("source-2")]);
    put(&klon.path("source-2"), &klon.path("source"), 50 * MIB);
    let third = klon.json(&["clone", "source", "clone"]);
    let written = number(&third, "changed_bytes");
    assert!((4096..=256 << 10).contains(&written), "{third:#}");
    assert_eq!(names(&klon, "clone"), own);
    run("e2fsck", &["-fn", &klon.text("clone-2")]);
    klon.ok(&["verify", "clone", "--against-source"]);
}

#[test]
fn an_mbr_disk_gets_another_signature_and_what_starts_by_it_another_partuuid() {
    let klon = Klon::new();
    let boot = klon.text("boot");
    sparse(&klon.path("boot"), 64 * MIB);
    run("mkfs.fat", &["-F", "32", &boot]);
    let line = "console=tty1 root=PARTUUID=0badcafe-02 rootfstype=ext4 fsck.repair=yes rootwait\n";
    fs::write(klon.path("cmdline.txt"), line).unwrap();
    run(
        "mcopy",
        &["-i", &boot, &klon.text("cmdline.txt"), "::/cmdline.txt"],
    );
    ext4(&klon.path("root"), 60, 4);
    sparse(&klon.path("source"), 140 * MIB);
    let script = "label: dos\nlabel-id: 0x0badcafe\nstart=2048, size=131072, type=c\nstart=137216, size=122880, type=83\n";
    run_with_input("sfdisk", &["-q", &klon.text("source")], script);
    put(&klon.path("boot"), &klon.path("source"), MIB);
    put(&klon.path("root"), &klon.path("source"), 67 * MIB);
    klon.ok(&["clone", "source", "clone", "--identity", "new"])
        .says(&["partition 1: /cmdline.txt", "0badcafe-02"]);
    run("sfdisk", &["--verify", &klon.text("clone")]);
    let id = sfdisk(&klon.text("clone"))["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(id, "0x0badcafe");
    let bytes = fs::read(klon.path("clone")).unwrap();
    fs::write(klon.path("boot"), &bytes[MIB as usize..65 * MIB as usize]).unwrap();
    let own = run("mtype", &["-i", &boot, "::/cmdline.txt"]);
    assert_eq!(own, line.replace("0badcafe", id.trim_start_matches("0x")));
    klon.ok(&["verify", "clone", "source"]);
}

#[test]
fn the_volumes_of_a_plan_name_each_other_by_their_own_names() {
    let klon = Klon::new();
    let [esp_uuid, root_uuid] = disk(&klon);
    sparse(&klon.path("drive"), 400 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Boot=source", "-o", "plan"]);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    klon.ok(&["clone", "plan", "--identity", "new"]);
    let table = sfdisk(&drive);
    let bytes = fs::read(klon.path("drive")).unwrap();
    let mut uuids = Vec::new();
    for (index, partition) in table["partitions"].as_array().unwrap().iter().enumerate() {
        let at = |key: &str| (partition[key].as_u64().unwrap() * 512) as usize;
        let part = klon.path(&format!("part-{index}"));
        fs::write(&part, &bytes[at("start")..at("start") + at("size")]).unwrap();
        let own = uuid(part.to_str().unwrap());
        assert!(own != esp_uuid && own != root_uuid);
        uuids.push((
            own,
            part,
            partition["uuid"].as_str().unwrap().to_lowercase(),
        ));
    }
    let is_root = |path: &Path| {
        output("e2fsck", &["-fn", path.to_str().unwrap()])
            .status
            .success()
    };
    let (root, esp): (Vec<_>, Vec<_>) = uuids.iter().partition(|(_, part, _)| is_root(part));
    let fstab = run(
        "debugfs",
        &["-R", "cat /etc/fstab", root[0].1.to_str().unwrap()],
    );
    for name in [&root[0].0, &esp[0].0, &esp[0].2] {
        assert!(fstab.contains(name.as_str()), "{name} is not in {fstab}");
    }
    klon.ok(&["verify", "plan"]);
    klon.ok(&["verify", "plan", "--against-source"]);
    // One of them alone goes on naming the other as it is called on the drive.
    let again = klon.json(&["clone", "plan"]);
    assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
    let name = again["volumes"].as_array().unwrap().last().unwrap()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let alone = klon.json(&["clone", "plan", "--only", &name]);
    assert_eq!(number(&alone, "changed_bytes"), 0, "{alone:#}");
}
