//! What configurations of boot loaders and systems name: kernels, volumes, options. Pure: text in, names out.

/// How a volume is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `UUID=…`
    Uuid(String),
    /// `LABEL=…`
    Label(String),
    /// `PARTUUID=…`
    PartUuid(String),
    /// `PARTLABEL=…`
    PartLabel(String),
    /// A path as `/dev/sda2` or `/dev/mapper/root`.
    Device(String),
}

impl Reference {
    /// A volume as fstab(5), crypttab(5) and the kernel's `root=` name it; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches('"');
        let by_link = |directory: &str| {
            text.strip_prefix("/dev/disk/")
                .and_then(|it| it.strip_prefix(directory))
        };
        let (tag, value) = match text.split_once('=') {
            Some((tag, value)) => (tag, value.trim_matches('"')),
            None if by_link("by-uuid/").is_some() => ("UUID", by_link("by-uuid/")?),
            None if by_link("by-label/").is_some() => ("LABEL", by_link("by-label/")?),
            None if by_link("by-partuuid/").is_some() => ("PARTUUID", by_link("by-partuuid/")?),
            None if by_link("by-partlabel/").is_some() => ("PARTLABEL", by_link("by-partlabel/")?),
            None if text.starts_with("/dev/") => return Some(Self::Device(text.to_owned())),
            None => return None,
        };
        let value = value.to_owned();
        match tag {
            "UUID" => Some(Self::Uuid(value)),
            "LABEL" => Some(Self::Label(value)),
            "PARTUUID" => Some(Self::PartUuid(value)),
            "PARTLABEL" => Some(Self::PartLabel(value)),
            _ => None,
        }
    }
}

/// A kernel that a boot loader starts, or a command line alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The kernel's path on its volume, where the entry names one.
    pub kernel: Option<String>,
    /// Paths of its initial RAM disks.
    pub initrds: Vec<String>,
    /// Its command line.
    pub options: String,
}

impl Entry {
    /// The volumes that its command line names, each with the option that does.
    pub fn volumes(&self) -> Vec<(&str, Reference)> {
        let mut found = Vec::new();
        for word in self.options.split_whitespace() {
            let Some((option, value)) = word.split_once('=') else {
                continue;
            };
            let reference = match option {
                "root" | "resume" => Reference::parse(value),
                "rd.luks.uuid" => {
                    let uuid = value.strip_prefix("luks-").unwrap_or(value);
                    Some(Reference::Uuid(uuid.to_owned()))
                }
                "cryptdevice" => value.split(':').next().and_then(Reference::parse),
                _ => None,
            };
            found.extend(reference.map(|reference| (option, reference)));
        }
        found
    }
}

/// What a GRUB configuration starts, and the volumes that it searches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grub {
    /// Its kernels.
    pub entries: Vec<Entry>,
    /// What `search` looks for.
    pub searched: Vec<Reference>,
}

/// Reads a `grub.cfg`. What variables stand for is not known, so names with one in them are left out.
pub fn grub(text: &str) -> Grub {
    let mut found = Grub::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match &words[..] {
            ["linux" | "linuxefi" | "linux16", kernel, options @ ..] => found.entries.push(Entry {
                kernel: plain(kernel),
                initrds: Vec::new(),
                options: options.join(" "),
            }),
            ["initrd" | "initrdefi" | "initrd16", paths @ ..] => {
                if let Some(entry) = found.entries.last_mut() {
                    entry
                        .initrds
                        .extend(paths.iter().filter_map(|path| plain(path)));
                }
            }
            ["search.fs_uuid", uuid, ..] => {
                found.searched.extend(plain(uuid).map(Reference::Uuid));
            }
            ["search.fs_label", label, ..] => {
                found.searched.extend(plain(label).map(Reference::Label));
            }
            ["search", arguments @ .., name] => {
                let is_uuid = arguments.iter().any(|it| matches!(*it, "--fs-uuid" | "-u"));
                let is_label = arguments
                    .iter()
                    .any(|it| matches!(*it, "--label" | "--fs-label" | "-l"));
                let name = plain(name).filter(|name| !name.starts_with("--"));
                found
                    .searched
                    .extend(name.and_then(|name| match (is_uuid, is_label) {
                        (true, _) => Some(Reference::Uuid(name)),
                        (false, true) => Some(Reference::Label(name)),
                        (false, false) => None,
                    }));
            }
            _ => {}
        }
    }
    let mut unique = Vec::new();
    for one in found.searched {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    Grub {
        searched: unique,
        ..found
    }
}

/// A word without quotes, if it has no variables and names no device of GRUB's.
fn plain(word: &str) -> Option<String> {
    let word = word.trim_matches(|c| c == '"' || c == '\'');
    (!word.is_empty() && !word.contains('$') && !word.starts_with('(')).then(|| word.to_owned())
}

/// Reads an entry of the Boot Loader Specification (`loader/entries/*.conf`).
pub fn bls(text: &str) -> Entry {
    let mut entry = Entry::default();
    for (key, value) in pairs(text) {
        match key {
            "linux" | "efi" | "uki" => entry.kernel = plain(value),
            "initrd" => entry
                .initrds
                .extend(value.split_whitespace().filter_map(plain)),
            "options" => {
                entry.options.push(' ');
                entry.options.push_str(value);
            }
            _ => {}
        }
    }
    entry
}

/// Reads `extlinux.conf` or `syslinux.cfg`: each label's kernel.
pub fn extlinux(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (key, value) in pairs(text) {
        let key = key.to_ascii_lowercase();
        if key == "label" {
            entries.push(Entry::default());
        }
        let Some(entry) = entries.last_mut() else {
            continue;
        };
        match &*key {
            "linux" | "kernel" => entry.kernel = plain(value),
            "initrd" => entry.initrds.extend(value.split(',').filter_map(plain)),
            "append" => value.clone_into(&mut entry.options),
            _ => {}
        }
    }
    entries.retain(|entry| entry.kernel.is_some());
    entries
}

/// Lines with a key and a value; comments are left out.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        Some((key, value.trim()))
    })
}

/// A line of `/etc/fstab` that names a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which volume.
    pub volume: Reference,
    /// Where it is mounted; `none` or `swap` for swap space.
    pub at: String,
    /// Whether a system starts without it.
    pub is_optional: bool,
}

/// Reads `/etc/fstab` (fstab(5)).
pub fn fstab(text: &str) -> Vec<Mount> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    let mounts = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let volume = Reference::parse(fields.next()?)?;
        let at = fields.next()?.to_owned();
        let options = fields.nth(1).unwrap_or_default();
        let is_optional = options
            .split(',')
            .any(|it| matches!(it, "nofail" | "noauto"));
        Some(Mount {
            volume,
            at,
            is_optional,
        })
    });
    mounts.collect()
}

/// Reads `/etc/crypttab` (crypttab(5)): names of mappings, and what is under each.
pub fn crypttab(text: &str) -> Vec<(String, Reference)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    let mappings = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?.to_owned();
        Some((name, Reference::parse(fields.next()?)?))
    });
    mappings.collect()
}

#[cfg(test)]
mod tests {
    use super::{Entry, Mount, Reference, bls, crypttab, extlinux, fstab, grub};

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
        let found = extlinux(text);
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
            Mount {
                volume: uuid("aa"),
                at: "/".to_owned(),
                is_optional: false,
            }
        );
        let opened = crypttab("# name\nroot UUID=cc none luks\nswap /dev/sda3 /dev/urandom swap\n");
        assert_eq!(opened[0], ("root".to_owned(), uuid("cc")));
        assert_eq!(opened.len(), 2);
    }
}
