//! What partitions are for: well-known types, and their counterparts in the other kind of table.

use crate::filesystem::Kind;
use crate::table::PartitionType;
use crate::table::types::{
    self, APPLE_APFS, APPLE_HFS_PLUS as APPLE_HFS, BIOS_BOOT, EFI_SYSTEM as ESP,
    LINUX_FILESYSTEM as LINUX, LINUX_HOME as HOME, LINUX_LVM, LINUX_RAID, LINUX_SRV as SRV,
    LINUX_SWAP, LINUX_VAR as VAR, MICROSOFT_BASIC_DATA, MICROSOFT_RECOVERY as WINDOWS_RECOVERY,
    MICROSOFT_RESERVED, XBOOTLDR,
};
use uuid::Uuid;

/// Root partitions of each architecture.
const ROOTS: [Uuid; 8] = [
    types::LINUX_ROOT_X86_64,
    types::LINUX_ROOT_X86,
    types::LINUX_ROOT_ARM64,
    types::LINUX_ROOT_ARM,
    types::LINUX_ROOT_RISCV64,
    types::LINUX_ROOT_PPC64_LE,
    types::LINUX_ROOT_S390X,
    types::LINUX_ROOT_LOONGARCH64,
];

/// GPT attribute bit 2: a BIOS boot loader may boot this partition (UEFI 5.3.2).
pub(super) const ATTRIBUTE_LEGACY_BOOT: u64 = 1 << 2;

/// What a partition is for, as far as planning cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// EFI system partition.
    Esp,
    /// Extended boot loader partition: kernels beside the ESP.
    Boot,
    /// BIOS boot partition: GRUB's core image on a GPT disk.
    BiosBoot,
    /// Microsoft reserved partition.
    MicrosoftReserved,
    /// Windows recovery environment.
    Recovery,
    /// A root filesystem.
    Root,
    /// /home.
    Home,
    /// /srv.
    Srv,
    /// /var.
    Var,
    /// Swap.
    Swap,
    /// The container of logical partitions, no volume of its own.
    Extended,
    /// Anything else.
    Other,
}

impl Role {
    pub(super) fn of(partition_type: PartitionType) -> Self {
        match partition_type {
            PartitionType::Gpt(guid) => Self::of_guid(guid),
            PartitionType::Mbr(0x05 | 0x0f | 0x85) => Self::Extended,
            PartitionType::Mbr(0xef) => Self::Esp,
            PartitionType::Mbr(0x82) => Self::Swap,
            PartitionType::Mbr(0x27) => Self::Recovery,
            PartitionType::Mbr(0xea) => Self::Boot,
            PartitionType::Mbr(_) => Self::Other,
        }
    }

    fn of_guid(guid: Uuid) -> Self {
        match guid {
            ESP => Self::Esp,
            XBOOTLDR => Self::Boot,
            BIOS_BOOT => Self::BiosBoot,
            MICROSOFT_RESERVED => Self::MicrosoftReserved,
            WINDOWS_RECOVERY => Self::Recovery,
            LINUX_SWAP => Self::Swap,
            HOME => Self::Home,
            SRV => Self::Srv,
            VAR => Self::Var,
            guid if ROOTS.contains(&guid) => Self::Root,
            _ => Self::Other,
        }
    }

    /// What the name of its clone ends in; `None` when the role says nothing about the content.
    pub(super) const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Esp => Some("ESP"),
            Self::Boot => Some("boot"),
            Self::BiosBoot => Some("BIOS"),
            Self::MicrosoftReserved => Some("MSR"),
            Self::Recovery => Some("recovery"),
            Self::Home => Some("home"),
            Self::Srv => Some("srv"),
            Self::Var => Some("var"),
            Self::Swap => Some("swap"),
            Self::Root | Self::Extended | Self::Other => None,
        }
    }
}

/// The GPT type for what an MBR type byte, or failing that the filesystem, says.
pub(super) fn gpt_type(mbr: Option<u8>, filesystem: Option<Kind>) -> Uuid {
    match mbr {
        Some(0xef) => ESP,
        Some(0xea) => XBOOTLDR,
        Some(0x82) => LINUX_SWAP,
        Some(0x8e) => LINUX_LVM,
        Some(0xfd) => LINUX_RAID,
        Some(0x27) => WINDOWS_RECOVERY,
        Some(0xaf) => APPLE_HFS,
        Some(0x01 | 0x04 | 0x06 | 0x07 | 0x0b | 0x0c | 0x0e) => MICROSOFT_BASIC_DATA,
        _ => gpt_type_of_filesystem(filesystem),
    }
}

const fn gpt_type_of_filesystem(filesystem: Option<Kind>) -> Uuid {
    match filesystem {
        Some(
            Kind::Fat12 | Kind::Fat16 | Kind::Fat32 | Kind::Ntfs | Kind::Exfat | Kind::Bitlocker,
        ) => MICROSOFT_BASIC_DATA,
        Some(Kind::Swap) => LINUX_SWAP,
        Some(Kind::Lvm2) => LINUX_LVM,
        Some(Kind::Mdraid) => LINUX_RAID,
        Some(Kind::Hfsplus) => APPLE_HFS,
        Some(Kind::Apfs) => APPLE_APFS,
        _ => LINUX,
    }
}

/// The MBR type byte for what a GPT type, or failing that the filesystem, says.
///
/// # Errors
/// What can't be on an MBR drive, in words.
pub(super) fn mbr_type(gpt: Option<Uuid>, filesystem: Option<Kind>) -> Result<u8, &'static str> {
    match gpt {
        Some(BIOS_BOOT) => Err("a BIOS boot partition, which only GPT has"),
        Some(MICROSOFT_RESERVED) => Err("a Microsoft reserved partition, which only GPT has"),
        Some(ESP) => Ok(0xef),
        Some(XBOOTLDR) => Ok(0xea),
        Some(LINUX_SWAP) => Ok(0x82),
        Some(LINUX_LVM) => Ok(0x8e),
        Some(LINUX_RAID) => Ok(0xfd),
        Some(WINDOWS_RECOVERY) => Ok(0x27),
        Some(APPLE_HFS) => Ok(0xaf),
        _ => Ok(mbr_type_of_filesystem(filesystem)),
    }
}

const fn mbr_type_of_filesystem(filesystem: Option<Kind>) -> u8 {
    match filesystem {
        Some(Kind::Fat12) => 0x01,
        Some(Kind::Fat16) => 0x0e,
        Some(Kind::Fat32) => 0x0c,
        Some(Kind::Ntfs | Kind::Exfat | Kind::Bitlocker) => 0x07,
        Some(Kind::Swap) => 0x82,
        Some(Kind::Lvm2) => 0x8e,
        Some(Kind::Mdraid) => 0xfd,
        Some(Kind::Hfsplus | Kind::Apfs) => 0xaf,
        _ => 0x83,
    }
}

#[cfg(test)]
mod tests {
    use super::{BIOS_BOOT, ESP, LINUX, LINUX_SWAP, MICROSOFT_BASIC_DATA, gpt_type, mbr_type};
    use crate::filesystem::Kind;

    #[test]
    fn types_have_counterparts() {
        for (gpt, mbr) in [(ESP, 0xef), (LINUX_SWAP, 0x82), (LINUX, 0x83)] {
            assert_eq!(gpt_type(Some(mbr), None), gpt);
            assert_eq!(mbr_type(Some(gpt), None), Ok(mbr));
        }
        assert_eq!(gpt_type(Some(0x0c), None), MICROSOFT_BASIC_DATA);
        assert_eq!(
            mbr_type(Some(MICROSOFT_BASIC_DATA), Some(Kind::Ntfs)),
            Ok(7)
        );
        assert!(mbr_type(Some(BIOS_BOOT), None).is_err());
    }

    #[test]
    fn a_volume_without_a_type_is_judged_by_its_filesystem() {
        assert_eq!(gpt_type(None, Some(Kind::Fat32)), MICROSOFT_BASIC_DATA);
        assert_eq!(gpt_type(None, None), LINUX);
        assert_eq!(mbr_type(None, Some(Kind::Ext4)), Ok(0x83));
    }
}
