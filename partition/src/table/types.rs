//! Well-known partition types and their names.
//!
//! Sources: UEFI specification (table 5-7), the Discoverable Partitions Specification, and what
//! Microsoft, Apple and the Linux tools document of theirs.

use super::PartitionType;
use uuid::{Uuid, uuid};

macro_rules! types {
    ($($(#[doc = $doc:literal])* $constant:ident = $guid:literal, $name:literal;)*) => {
        $(
            $(#[doc = $doc])*
            pub const $constant: Uuid = uuid!($guid);
        )*

        /// Every GPT type known here, with its name.
        pub const GPT_NAMES: &[(Uuid, &str)] = &[$(($constant, $name)),*];
    };
}

types! {
    /// EFI system partition.
    EFI_SYSTEM = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system";
    /// Where GRUB puts its core image when a BIOS boots from GPT.
    BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649", "BIOS boot";
    /// /boot of the Boot Loader Specification.
    XBOOTLDR = "bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot";
    /// Any Linux filesystem.
    LINUX_FILESYSTEM = "0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux filesystem";
    /// / of an x86-64 Linux.
    LINUX_ROOT_X86_64 = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root (x86-64)";
    /// / of a 32-bit x86 Linux.
    LINUX_ROOT_X86 = "44479540-f297-41b2-9af7-d131d5f0458a", "Linux root (x86)";
    /// / of a 64-bit ARM Linux.
    LINUX_ROOT_ARM64 = "b921b045-1df0-41c3-af44-4c6f280d3fae", "Linux root (ARM-64)";
    /// / of a 32-bit ARM Linux.
    LINUX_ROOT_ARM = "69dad710-2ce4-4e3c-b16c-21a1d49abed3", "Linux root (ARM)";
    /// / of a 64-bit RISC-V Linux.
    LINUX_ROOT_RISCV64 = "72ec70a6-cf74-40e6-bd49-4bda08e8f224", "Linux root (RISC-V-64)";
    /// / of a little-endian 64-bit PowerPC Linux.
    LINUX_ROOT_PPC64_LE = "c31c45e6-3f39-412e-80fb-4809c4980599", "Linux root (PowerPC-64 LE)";
    /// / of an s390x Linux.
    LINUX_ROOT_S390X = "5eead9a9-fe09-4a1e-a1d7-520d00531306", "Linux root (s390x)";
    /// / of a 64-bit LoongArch Linux.
    LINUX_ROOT_LOONGARCH64 = "77055800-792c-4f94-b39a-98c91b762bb6", "Linux root (LoongArch-64)";
    /// /usr of an x86-64 Linux.
    LINUX_USR_X86_64 = "8484680c-9521-48c6-9c11-b0720656f69e", "Linux /usr (x86-64)";
    /// /home.
    LINUX_HOME = "933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home";
    /// /srv.
    LINUX_SRV = "3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "Linux server data";
    /// /var.
    LINUX_VAR = "4d21b016-b534-45c2-a9fb-5c16e091fd2d", "Linux variable data";
    /// /var/tmp.
    LINUX_TMP = "7ec6f557-3bc5-4aca-b293-16ef5df639d1", "Linux temporary data";
    /// Linux swap.
    LINUX_SWAP = "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap";
    /// LVM physical volume.
    LINUX_LVM = "e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM";
    /// MD RAID member.
    LINUX_RAID = "a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID";
    /// LUKS volume.
    LINUX_LUKS = "ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS";
    /// Plain dm-crypt volume.
    LINUX_DM_CRYPT = "7ffec5c9-2d00-49b7-8941-3ea10a5586b7", "Linux dm-crypt";
    /// Reserved by Linux.
    LINUX_RESERVED = "8da63339-0007-60c0-c436-083ac8230908", "Linux reserved";
    /// FAT, exFAT or NTFS volume.
    MICROSOFT_BASIC_DATA = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data";
    /// Scratch space of Windows.
    MICROSOFT_RESERVED = "e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved";
    /// Windows recovery environment.
    MICROSOFT_RECOVERY = "de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery environment";
    /// Logical disk manager, metadata.
    MICROSOFT_LDM_METADATA = "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "Microsoft LDM metadata";
    /// Logical disk manager, data.
    MICROSOFT_LDM_DATA = "af9b60a0-1431-4f62-bc68-3311714a69ad", "Microsoft LDM data";
    /// Storage Spaces.
    MICROSOFT_STORAGE_SPACES = "e75caf8f-f680-4cee-afa3-b001e56efc2d", "Microsoft Storage Spaces";
    /// HFS or HFS+.
    APPLE_HFS_PLUS = "48465300-0000-11aa-aa11-00306543ecac", "Apple HFS/HFS+";
    /// APFS container.
    APPLE_APFS = "7c3457ef-0000-11aa-aa11-00306543ecac", "Apple APFS";
    /// Recovery HD.
    APPLE_BOOT = "426f6f74-0000-11aa-aa11-00306543ecac", "Apple boot";
    /// Core Storage, as FileVault uses it.
    APPLE_CORE_STORAGE = "53746f72-6167-11aa-aa11-00306543ecac", "Apple Core Storage";
    /// FreeBSD boot code.
    FREEBSD_BOOT = "83bd6b9d-7f41-11dc-be0b-001560b84f0f", "FreeBSD boot";
    /// FreeBSD swap.
    FREEBSD_SWAP = "516e7cb5-6ecf-11d6-8ff8-00022d09712b", "FreeBSD swap";
    /// FreeBSD UFS.
    FREEBSD_UFS = "516e7cb6-6ecf-11d6-8ff8-00022d09712b", "FreeBSD UFS";
    /// FreeBSD ZFS.
    FREEBSD_ZFS = "516e7cba-6ecf-11d6-8ff8-00022d09712b", "FreeBSD ZFS";
    /// ZFS of Solaris and of Linux.
    SOLARIS_USR = "6a898cc3-1dd2-11b2-99a6-080020736631", "Solaris /usr & Apple ZFS";
}

/// Extended partition, addressed by cylinders.
pub const MBR_EXTENDED: u8 = 0x05;
/// NTFS or exFAT.
pub const MBR_NTFS: u8 = 0x07;
/// FAT32, addressed by LBA.
pub const MBR_FAT32_LBA: u8 = 0x0c;
/// Extended partition, addressed by LBA.
pub const MBR_EXTENDED_LBA: u8 = 0x0f;
/// Linux swap.
pub const MBR_LINUX_SWAP: u8 = 0x82;
/// Any Linux filesystem.
pub const MBR_LINUX: u8 = 0x83;
/// Extended partition that only Linux sees.
pub const MBR_LINUX_EXTENDED: u8 = 0x85;
/// LVM physical volume.
pub const MBR_LINUX_LVM: u8 = 0x8e;
/// EFI system partition.
pub const MBR_EFI_SYSTEM: u8 = 0xef;
/// MD RAID member that the kernel assembles.
pub const MBR_LINUX_RAID: u8 = 0xfd;

/// Every MBR type known here, with its name.
pub const MBR_NAMES: &[(u8, &str)] = &[
    (0x01, "FAT12"),
    (0x04, "FAT16 below 32 MiB"),
    (MBR_EXTENDED, "Extended"),
    (0x06, "FAT16"),
    (MBR_NTFS, "NTFS or exFAT"),
    (0x0b, "FAT32"),
    (MBR_FAT32_LBA, "FAT32 (LBA)"),
    (0x0e, "FAT16 (LBA)"),
    (MBR_EXTENDED_LBA, "Extended (LBA)"),
    (0x11, "Hidden FAT12"),
    (0x14, "Hidden FAT16 below 32 MiB"),
    (0x16, "Hidden FAT16"),
    (0x17, "Hidden NTFS"),
    (0x1b, "Hidden FAT32"),
    (0x1c, "Hidden FAT32 (LBA)"),
    (0x1e, "Hidden FAT16 (LBA)"),
    (0x27, "Windows recovery environment"),
    (0x42, "Microsoft dynamic disk"),
    (MBR_LINUX_SWAP, "Linux swap"),
    (MBR_LINUX, "Linux filesystem"),
    (MBR_LINUX_EXTENDED, "Linux extended"),
    (MBR_LINUX_LVM, "Linux LVM"),
    (0xa5, "FreeBSD"),
    (0xa6, "OpenBSD"),
    (0xa9, "NetBSD"),
    (0xaf, "Apple HFS/HFS+"),
    (0xda, "Data without a filesystem"),
    (0xe8, "Linux LUKS"),
    (0xea, "Linux extended boot"),
    (0xee, "GPT protective"),
    (MBR_EFI_SYSTEM, "EFI system"),
    (0xfb, "VMware VMFS"),
    (MBR_LINUX_RAID, "Linux RAID"),
];

impl PartitionType {
    /// A short name for people; `None` when the type is not known here.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Gpt(guid) => GPT_NAMES
                .iter()
                .find_map(|(known, name)| (*known == guid).then_some(*name)),
            Self::Mbr(byte) => MBR_NAMES
                .iter()
                .find_map(|(known, name)| (*known == byte).then_some(*name)),
        }
    }

    /// Whether this is an EFI system partition.
    #[must_use]
    pub fn is_efi_system(self) -> bool {
        self == Self::Gpt(EFI_SYSTEM) || self == Self::Mbr(MBR_EFI_SYSTEM)
    }

    /// Whether this is an extended MBR partition, which holds logical ones.
    #[must_use]
    pub const fn is_extended(self) -> bool {
        matches!(self, Self::Mbr(byte) if super::mbr::is_extended(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::{EFI_SYSTEM, GPT_NAMES, MBR_NAMES, PartitionType};
    use std::collections::HashSet;

    #[test]
    fn names_are_found_and_no_type_is_listed_twice() {
        assert_eq!(PartitionType::Gpt(EFI_SYSTEM).name(), Some("EFI system"));
        assert_eq!(PartitionType::Mbr(0x83).name(), Some("Linux filesystem"));
        assert_eq!(PartitionType::Mbr(0xff).name(), None);
        let guids: HashSet<_> = GPT_NAMES.iter().map(|(guid, _)| guid).collect();
        let bytes: HashSet<_> = MBR_NAMES.iter().map(|(byte, _)| byte).collect();
        assert_eq!(
            (guids.len(), bytes.len()),
            (GPT_NAMES.len(), MBR_NAMES.len())
        );
    }
}
