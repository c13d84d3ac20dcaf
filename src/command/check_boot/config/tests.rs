//! Configurations as people and programs write them.

use super::tables::Line;
use super::{Entry, Reference, Root, bls, crypttab, extlinux, fstab, grub};
use klon_partition::text::sealed_bytes;

fn uuid(text: &str) -> Reference {
    Reference::Uuid(text.to_owned())
}

#[test]
fn volumes_are_named_by_tags_links_and_devices() {
    let parsed = |text| Reference::parse(text);
    assert_eq!(parsed("UUID=12-34"), Some(uuid("12-34")));
    assert_eq!(parsed("UUID=\"12-34\""), Some(uuid("12-34")));
    assert_eq!(parsed("/dev/disk/by-uuid/12-34"), Some(uuid("12-34")));
    assert_eq!(
        parsed("PARTUUID=x"),
        Some(Reference::PartUuid("x".to_owned()))
    );
    assert_eq!(parsed("LABEL=a"), Some(Reference::Label("a".to_owned())));
    assert_eq!(
        parsed("/dev/sda2"),
        Some(Reference::Device("/dev/sda2".to_owned()))
    );
    for none in [
        "tmpfs",
        "proc",
        "host:/share",
        "ZFS=pool/root",
        "live:CDLABEL=x",
        "",
    ] {
        assert_eq!(parsed(none), None, "{none}");
    }
}

#[test]
fn grub_starts_kernels_and_searches_for_volumes() {
    let text = "search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 ab-cd\n\
        menuentry 'Debian' {\n\
          search --no-floppy --fs-uuid --set=root ab-cd\n\
          linux /boot/vmlinuz-6 root=UUID=ab-cd ro quiet resume=UUID=ef\n\
          initrd /boot/initrd.img-6\n\
        }\n\
        linux ${path}/vmlinuz root=${device}\n\
        search.fs_uuid 12-34 root hd0,gpt2\n";
    let found = grub(text);
    assert_eq!(found.searched, [uuid("ab-cd"), uuid("12-34")]);
    assert_eq!(found.entries.len(), 2);
    let first = &found.entries[0];
    assert_eq!(first.kernel.as_deref(), Some("/boot/vmlinuz-6"));
    assert_eq!(first.initrds, ["/boot/initrd.img-6"]);
    assert_eq!(
        first.volumes(),
        [("root", uuid("ab-cd")), ("resume", uuid("ef"))]
    );
    assert_eq!(
        found.entries[1],
        Entry {
            options: "root=${device}".to_owned(),
            root: Root::Named(uuid("ab-cd")).into(),
            ..Entry::default()
        }
    );
    assert!(found.entries[1].volumes().is_empty());
}

#[test]
fn entries_of_the_boot_loader_specification_are_read() {
    let text = "title Arch\n# a comment\nlinux   /vmlinuz-linux\ninitrd /ucode.img\n\
        initrd /initramfs.img\noptions cryptdevice=UUID=aa:root root=/dev/mapper/root\noptions rd.luks.uuid=luks-bb\n";
    let entry = bls(text);
    assert_eq!(entry.kernel.as_deref(), Some("/vmlinuz-linux"));
    assert_eq!(entry.initrds, ["/ucode.img", "/initramfs.img"]);
    let device = Reference::Device("/dev/mapper/root".to_owned());
    let volumes = [
        ("cryptdevice", uuid("aa")),
        ("root", device),
        ("rd.luks.uuid", uuid("bb")),
    ];
    assert_eq!(entry.volumes(), volumes);
}

#[test]
fn extlinux_has_labels() {
    let text = "DEFAULT l0\nLABEL l0\n  LINUX /vmlinuz\n  INITRD /a,/b\n  APPEND root=LABEL=x ro\nlabel menu\n";
    let found = extlinux(text, "extlinux");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].initrds, ["/a", "/b"]);
    assert_eq!(
        found[0].volumes(),
        [("root", Reference::Label("x".to_owned()))]
    );
}

#[test]
fn tables_of_a_system_name_what_it_mounts_and_opens() {
    let text = "# <file system>\nUUID=aa / ext4 errors=remount-ro 0 1\n\
        UUID=12-34 /boot/efi vfat umask=0077 0 1\nLABEL=usb /mnt auto noauto,user 0 0\n\
        tmpfs /tmp tmpfs defaults 0 0\nbroken\n";
    let mounts = fstab(text);
    let at: Vec<(&str, bool)> = mounts.iter().map(|it| (&*it.at, it.is_optional)).collect();
    assert_eq!(at, [("/", false), ("/boot/efi", false), ("/mnt", true)]);
    assert_eq!(
        mounts[0],
        Line {
            volume: uuid("aa"),
            at: "/".to_owned(),
            is_optional: false,
        }
    );
    let opened = crypttab("# name\nroot UUID=cc none luks\nswap /dev/sda3 /dev/urandom swap\n");
    assert_eq!(
        opened[0],
        Line {
            volume: uuid("cc"),
            at: "root".to_owned(),
            is_optional: false,
        }
    );
    assert_eq!(opened.len(), 2);
}

#[test]
fn what_tables_escape_is_read_as_it_is_meant() {
    // As a file is read: its bytes are sealed.
    let lines = [
        &br"LABEL=my\040disk\134 /a\011b ext4 rw,nofail 0 0"[..],
        br"LABEL=\04 /b ext4",
        br"LABEL=\+40 /c ext4",
    ];
    let text = lines.map(sealed_bytes).join("\n");
    let mounts = fstab(&text);
    let names: Vec<&Reference> = mounts.iter().map(|it| &it.volume).collect();
    let label = |bytes: &[u8]| Reference::Label(sealed_bytes(bytes));
    assert_eq!(*names[0], label(br"my disk\"));
    assert_eq!(mounts[0].at, sealed_bytes(b"/a\tb"));
    assert!(mounts[0].is_optional);
    // What is no escape stays.
    assert_eq!(*names[1], label(br"\04"));
    assert_eq!(*names[2], label(br"\+40"));
    let link = sealed_bytes(br"/dev/disk/by-label/my\x20disk");
    assert_eq!(Reference::parse(&link), Some(label(b"my disk")));
    let opened = crypttab(&sealed_bytes(br"data PARTLABEL=a\040b none luks,nofail"));
    assert_eq!(opened[0].volume, Reference::PartLabel("a b".to_owned()));
    assert!(opened[0].is_optional);
    assert!(crypttab("x UUID=a none noauto")[0].is_optional);
    assert!(!crypttab("x UUID=a none")[0].is_optional);
}

#[test]
fn an_entry_of_grub_has_the_root_that_was_set_last_for_it() {
    let text = "set root='hd0,gpt3'\n\
        search --no-floppy --label --set=root boot\n\
        search --fs-uuid --set=prefix elsewhere\n\
        menuentry 'a' --class x {\n\
          set root='hd0,gpt2'\n\
          if [ x$feature_platform_search_hint = xy ]; then\n\
            search --no-floppy --fs-uuid --set=root --hint hd0,gpt2 ab-cd\n\
          fi\n\
          linux /a\n\
        }\n\
        linux /b\n\
        menuentry 'c' {\n\
          search --file /vmlinuz --set\n\
          linux /c\n\
          search --set=root --fs-uuid $uuid\n\
          linux /d\n\
          root=(hd0,gpt2)\n\
          linux /e\n\
        }\n\
        }\n\
        search.fs_uuid 12-34 root hd0,gpt2\n\
        linux /f\n";
    let found = grub(text);
    let roots: Vec<&Root> = found.entries.iter().map(|it| &*it.root).collect();
    let untold = |text: &str| Root::Untold(text.to_owned());
    let label = Root::Named(Reference::Label("boot".to_owned()));
    assert_eq!(
        roots,
        [
            &Root::Named(uuid("ab-cd")),
            &label,
            &Root::WithFile("/vmlinuz".to_owned()),
            &untold("$uuid"),
            &untold("(hd0,gpt2)"),
            &Root::Named(uuid("12-34")),
        ]
    );
    assert_eq!(*grub("linux /a\n").entries[0].root, Root::Own);
    let searched = [
        Reference::Label("boot".to_owned()),
        uuid("elsewhere"),
        uuid("ab-cd"),
        uuid("12-34"),
    ];
    assert_eq!(found.searched, searched);
}

#[test]
fn syslinux_looks_from_its_directory_and_has_modules_that_are_no_kernels() {
    let text = "LABEL menu\n KERNEL menu.c32\nLABEL arch\n LINUX ../vmlinuz-linux\n INITRD ../a.img,b.img,/c.img\n\
        label dos\n kernel CHAIN.C32\n append hd0\nlabel old\n kernel vmlinuz\n";
    let found = extlinux(text, "boot/syslinux");
    let kernels: Vec<&str> = found.iter().flat_map(|it| it.kernel.as_deref()).collect();
    assert_eq!(
        kernels,
        ["/boot/syslinux/../vmlinuz-linux", "/boot/syslinux/vmlinuz"]
    );
    assert_eq!(
        found[0].initrds,
        ["/boot/syslinux/../a.img", "/boot/syslinux/b.img", "/c.img"]
    );
}
