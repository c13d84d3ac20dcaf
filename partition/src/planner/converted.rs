//! The disk of a source with a table of the other kind: MBR as GPT, and GPT as MBR.

use super::original::Original;
use super::role::{self, ATTRIBUTE_LEGACY_BOOT};
use crate::error::{Error, Result};
use crate::filesystem::Kind;
use crate::table::{Partition, PartitionType, Scheme};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Primary partitions of an MBR. Logical ones are not made of those of a GPT.
const PRIMARY_MAX: u32 = 4;
/// Entries of a GPT that klon makes.
const SLOTS_MAX: u32 = 128;

impl Original {
    /// The same disk with a table of the kind `scheme`. Partitions keep their numbers, and the places and sizes that
    /// they have. GUIDs, and the signature of an MBR, follow from the old ones, so that they are the same each time.
    /// Boot code does not come along: it is for the kind of table that it was installed for. `kind` tells the
    /// filesystem of a partition.
    ///
    /// # Errors
    /// [`Error::Refused`] for a partition that a table of that kind can't have.
    pub fn in_scheme(&self, scheme: Scheme, kind: impl Fn(u32) -> Option<Kind>) -> Result<Self> {
        if scheme == self.scheme {
            return Ok(self.clone());
        }
        let volumes = self.partitions.iter();
        let volumes = volumes.filter(|partition| !partition.partition_type.is_extended());
        let partitions = volumes.map(|partition| match scheme {
            Scheme::Gpt => self.as_gpt(partition, kind(partition.number)),
            Scheme::Mbr => self.as_mbr(partition, kind(partition.number)),
        });
        let own = self.own_text();
        let signature = derived(&own).as_fields().0;
        Ok(Self {
            scheme,
            disk_guid: (scheme == Scheme::Gpt).then(|| derived(&own)),
            // 0 would mean "no signature".
            disk_signature: match scheme {
                Scheme::Gpt => 0,
                Scheme::Mbr => signature.max(1),
            },
            boot_code: Vec::new(),
            has_loader_in_gap: false,
            loader: None,
            partitions: partitions.collect::<Result<_>>()?,
            ..self.clone()
        })
    }

    /// What its table says of itself.
    fn own_text(&self) -> String {
        match self.disk_guid {
            Some(guid) => guid.to_string(),
            None => format!("{:08x}", self.disk_signature),
        }
    }

    fn as_gpt(&self, partition: &Partition, kind: Option<Kind>) -> Result<Partition> {
        let number = partition.number;
        if number > SLOTS_MAX {
            return Err(Error::Refused(format!(
                "partition {number} has no place in a GPT of {SLOTS_MAX} entries"
            )));
        }
        let byte = match partition.partition_type {
            PartitionType::Mbr(byte) => Some(byte),
            PartitionType::Gpt(_) => None,
        };
        Ok(Partition {
            partition_type: PartitionType::Gpt(role::gpt_type(byte, kind)),
            guid: Some(derived(&format!("{}-{number:02x}", self.own_text()))),
            attributes: match partition.is_bootable {
                true => ATTRIBUTE_LEGACY_BOOT,
                false => 0,
            },
            is_bootable: false,
            ..partition.clone()
        })
    }

    fn as_mbr(&self, partition: &Partition, kind: Option<Kind>) -> Result<Partition> {
        let number = partition.number;
        let refused = |why: String| {
            Error::Refused(format!(
                "partition {number} {why}. Keep the GPT, or plan for the partitions that you want (klon plan)"
            ))
        };
        if number > PRIMARY_MAX {
            return Err(refused(format!(
                "is behind the {PRIMARY_MAX} that an MBR has without an extended one"
            )));
        }
        let guid = match partition.partition_type {
            PartitionType::Gpt(guid) => Some(guid),
            PartitionType::Mbr(_) => None,
        };
        let byte = role::mbr_type(guid, kind).map_err(|what| refused(format!("is {what}")))?;
        Ok(Partition {
            partition_type: PartitionType::Mbr(byte),
            guid: None,
            name: String::new(),
            is_bootable: partition.attributes & ATTRIBUTE_LEGACY_BOOT != 0,
            attributes: 0,
            ..partition.clone()
        })
    }
}

/// An identity that follows from another one.
fn derived(text: &str) -> Uuid {
    let digest = Sha256::digest(format!("klon table of the other kind\0{text}"));
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::{Original, Scheme};
    use crate::error::Error;
    use crate::extent::Extent;
    use crate::filesystem::Kind;
    use crate::identity::Identity;
    use crate::table::types::{BIOS_BOOT, EFI_SYSTEM, LINUX_FILESYSTEM};
    use crate::table::{Partition, PartitionType};
    use uuid::Uuid;

    fn partition(number: u32, partition_type: PartitionType) -> Partition {
        Partition {
            number,
            extent: Extent::new(u64::from(number) << 20, 1 << 20).unwrap(),
            partition_type,
            guid: None,
            name: "a name".to_owned(),
            attributes: 0,
            is_bootable: number == 1,
        }
    }

    fn mbr() -> Original {
        Original {
            identity: Identity::Path("/dev/a".to_owned()),
            groups: Vec::new(),
            size_bytes: 1 << 30,
            logical_sector_bytes: 512,
            scheme: Scheme::Mbr,
            disk_guid: None,
            disk_signature: 0x1234_5678,
            boot_code: vec![1],
            has_loader_in_gap: true,
            loader: None,
            partitions: vec![
                partition(1, PartitionType::Mbr(0xef)),
                partition(2, PartitionType::Mbr(0x05)),
                partition(5, PartitionType::Mbr(0x83)),
            ],
        }
    }

    #[test]
    fn an_mbr_becomes_the_same_gpt_each_time() {
        let gpt = mbr().in_scheme(Scheme::Gpt, |_| Some(Kind::Ext4)).unwrap();
        assert_eq!(
            gpt,
            mbr().in_scheme(Scheme::Gpt, |_| Some(Kind::Ext4)).unwrap()
        );
        let found: Vec<_> = gpt
            .partitions
            .iter()
            .map(|one| (one.number, one.partition_type))
            .collect();
        let types = [EFI_SYSTEM, LINUX_FILESYSTEM].map(PartitionType::Gpt);
        assert_eq!(found, [(1, types[0]), (5, types[1])]);
        assert_eq!(gpt.partitions[0].attributes, 4);
        assert!(gpt.partitions[0].guid.is_some() && gpt.disk_guid.is_some());
        assert_ne!(gpt.partitions[0].guid, gpt.partitions[1].guid);
        assert!(gpt.boot_code.is_empty() && !gpt.has_loader_in_gap);
    }

    #[test]
    fn a_gpt_becomes_an_mbr_where_that_has_room_for_it() {
        let gpt = Original {
            scheme: Scheme::Gpt,
            disk_guid: Some(Uuid::from_u128(7)),
            disk_signature: 0,
            partitions: vec![partition(2, PartitionType::Gpt(EFI_SYSTEM))],
            ..mbr()
        };
        let found = gpt.in_scheme(Scheme::Mbr, |_| None).unwrap();
        assert_eq!(found.partitions[0].partition_type, PartitionType::Mbr(0xef));
        assert!(found.partitions[0].name.is_empty());
        assert!(found.disk_signature != 0 && found.disk_guid.is_none());
        for wrong in [
            partition(5, PartitionType::Gpt(LINUX_FILESYSTEM)),
            partition(1, PartitionType::Gpt(BIOS_BOOT)),
        ] {
            let gpt = Original {
                partitions: vec![wrong],
                ..gpt.clone()
            };
            let error = gpt.in_scheme(Scheme::Mbr, |_| None).unwrap_err();
            assert!(matches!(error, Error::Refused(_)));
        }
    }
}
