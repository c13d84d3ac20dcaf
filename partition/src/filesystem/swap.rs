//! Linux swap: a header page, and pages that mean nothing once they are swapped in or the system
//! is down, unless it hibernated. Layout of `union swap_header` (Linux,
//! [swap.h](https://github.com/torvalds/linux/blob/master/include/linux/swap.h)).

use super::own_id::put;
use super::{ChangeToken, Filesystem, Hazard, Kind, Summary};
use crate::bytes::{be32, le32, text};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::own_id::OwnIds;
use sha2::{Digest, Sha256};

/// Sizes of pages of the machines that Linux runs on.
const PAGE_BYTES: [u32; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// The header is the first page, and this is the end of it.
const SIGNATURE_BYTES: usize = 10;
/// The fields come after the space for boot blocks and disk labels.
const FIELDS_OFFSET: u64 = 1024;
/// version, last_page, nr_badpages, sws_uuid, sws_volume, padding; badpages follow.
const FIELDS_BYTES: usize = 512;
const BAD_PAGES_OFFSET: u64 = 1536;

/// Signatures in place of swap's own while the space holds a suspended system: the kernel's
/// (`swsusp`), uswsusp's, and one of openSUSE.
const SUSPENDED: [(&[u8], &str); 4] = [
    (b"S1SUSPEND", "S1SUSPEND"),
    (b"S2SUSPEND", "S2SUSPEND"),
    (b"ULSUSPEND", "ULSUSPEND"),
    (b"LINHIB0001", "LINHIB0001"),
];
/// TuxOnIce leaves swap's signature where it is, and puts this at the start.
const TUX_ON_ICE: &[u8] = b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c";

/// Swap space.
#[derive(Debug)]
struct Swap {
    summary: Summary,
    /// `None` for a header whose fields don't fit: the first version, or damage.
    header_bytes: Option<u64>,
}

/// Recognises swap space by the signature at the end of its first page.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    for page_bytes in PAGE_BYTES {
        if u64::from(page_bytes) > volume_bytes {
            break;
        }
        let at = u64::from(page_bytes) - SIGNATURE_BYTES as u64;
        let signature = read_vec(volume, at, SIGNATURE_BYTES)?;
        let suspended = SUSPENDED.iter().find(|(it, _)| signature.starts_with(it));
        let suspended = suspended.map(|(_, name)| *name);
        if suspended.is_none() && !matches!(&signature[..], b"SWAPSPACE2" | b"SWAP-SPACE") {
            continue;
        }
        let fields = read_vec(volume, FIELDS_OFFSET, FIELDS_BYTES)?;
        let is_old = signature == b"SWAP-SPACE";
        let mut swap = Swap::new(&fields, page_bytes, volume_bytes, is_old);
        let is_tux_on_ice = read_vec(volume, 0, TUX_ON_ICE.len())? == TUX_ON_ICE;
        if let Some(name) = suspended.or(is_tux_on_ice.then_some("TuxOnIce")) {
            let how = format!("the swap space holds a suspended system: {name}");
            swap.summary.hazards.push(Hazard::Hibernated(how));
        }
        return Ok(Some(Box::new(swap)));
    }
    Ok(None)
}

impl Swap {
    fn new(fields: &[u8], page_bytes: u32, volume_bytes: u64, is_old: bool) -> Self {
        let mut summary = Summary {
            kind: Kind::Swap,
            label: None,
            uuid: None,
            size_bytes: volume_bytes,
            block_size_bytes: page_bytes,
            used_bytes: None,
            hazards: Vec::new(),
        };
        let Some(header) = Header::read(fields).filter(|_| !is_old) else {
            return Self {
                summary,
                header_bytes: None,
            };
        };
        summary.uuid = (!header.sws_uuid.is_nil()).then(|| header.sws_uuid.to_string());
        summary.label = header.sws_volume.clone();
        summary.hazards = damage(&header, page_bytes, volume_bytes);
        summary.size_bytes = header.size_bytes(page_bytes).min(volume_bytes);
        summary.used_bytes = Some(page_bytes.into());
        Self {
            summary,
            header_bytes: Some(page_bytes.into()),
        }
    }
}

/// The fields of a header of version 1, in the byte order of the machine that made it.
struct Header {
    last_page: u32,
    nr_badpages: u32,
    sws_uuid: uuid::Uuid,
    sws_volume: Option<String>,
    number: fn(&[u8], usize) -> u32,
}

impl Header {
    /// `None` when the version is another, in either order.
    fn read(fields: &[u8]) -> Option<Self> {
        let number: fn(&[u8], usize) -> u32 = match (le32(fields, 0), be32(fields, 0)) {
            (1, _) => le32,
            (_, 1) => be32,
            _ => return None,
        };
        Some(Self {
            last_page: number(fields, 4),
            nr_badpages: number(fields, 8),
            sws_uuid: uuid::Uuid::from_slice(fields.get(12..28)?).unwrap_or_default(),
            sws_volume: text(fields.get(28..44)?),
            number,
        })
    }

    /// A product of numbers of about 32 and 16 bits.
    fn size_bytes(&self, page_bytes: u32) -> u64 {
        (u64::from(self.last_page) + 1) * u64::from(page_bytes)
    }
}

/// What the kernel would refuse.
fn damage(header: &Header, page_bytes: u32, volume_bytes: u64) -> Vec<Hazard> {
    let Header {
        last_page,
        nr_badpages,
        ..
    } = *header;
    let list_bytes = u64::from(page_bytes) - BAD_PAGES_OFFSET - SIGNATURE_BYTES as u64;
    let bad_pages_max = list_bytes / 4;
    let mut found = Vec::new();
    if header.size_bytes(page_bytes) > volume_bytes {
        found.push(format!(
            "last_page is {last_page}, and the volume has {} pages of {page_bytes} bytes",
            volume_bytes / u64::from(page_bytes)
        ));
    }
    if u64::from(nr_badpages) > bad_pages_max {
        found.push(format!(
            "nr_badpages is {nr_badpages}, and the header has room for {bad_pages_max}"
        ));
    }
    found.into_iter().map(Hazard::Damaged).collect()
}

impl Filesystem for Swap {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The header page, which holds the label, the UUID and the list of bad pages.
    fn used(&self, _device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        Ok(self.header_bytes.map(ExtentMap::whole))
    }

    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        self.used(device)
    }

    /// The list of bad pages. They would not be in use without it either.
    fn known_bad(&self, device: &dyn ReadAt) -> ExtentMap {
        let Some(page_bytes) = self.header_bytes else {
            return ExtentMap::new();
        };
        // At most 64 KiB.
        let page = read_vec(device, 0, page_bytes as usize).unwrap_or_default();
        let fields = page.get(FIELDS_OFFSET as usize..BAD_PAGES_OFFSET as usize);
        let Some(header) = fields.and_then(Header::read) else {
            return ExtentMap::new();
        };
        let list = page.get(BAD_PAGES_OFFSET as usize..).unwrap_or_default();
        let pages = list
            .chunks_exact(4)
            .take(header.nr_badpages as usize)
            .map(|page| u64::from((header.number)(page, 0)))
            .filter_map(|page| Extent::new(page * page_bytes, page_bytes));
        let header = Extent::new(0, page_bytes).into_iter().collect();
        let listed: ExtentMap = pages.collect();
        let inside = ExtentMap::whole(self.summary.size_bytes).difference(&header);
        listed.intersection(&inside)
    }

    /// `sws_uuid`.
    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        self.header_bytes?;
        Some(
            read_vec(device, FIELDS_OFFSET, FIELDS_BYTES).and_then(|old| {
                let sws_uuid = old
                    .get(12..28)
                    .and_then(|it| uuid::Uuid::from_slice(it).ok());
                let mut new = old.clone();
                put(
                    &mut new,
                    12,
                    ids.uuid(sws_uuid.unwrap_or_default()).as_bytes(),
                );
                let mut patches = Patches::new();
                patches.add(FIELDS_OFFSET, &old, &new)?;
                Ok(patches)
            }),
        )
    }

    fn whole_because(&self) -> String {
        "swap: klon does not know the version of its header".to_owned()
    }

    /// Over the header page: everything that is in use, and what a suspended system changes.
    /// Swapping itself leaves no trace and changes nothing that is copied.
    fn change_token(&self, device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        let Some(header_bytes) = self.header_bytes else {
            return Ok(None);
        };
        // At most 64 KiB.
        let len = header_bytes as usize;
        let mut digest = Sha256::new();
        digest.update(b"klon swap change token 1\0");
        digest.update(read_vec(device, 0, len)?);
        Ok(Some(ChangeToken(digest.finalize().into())))
    }
}

#[cfg(test)]
mod tests;
