//! Linux swap: a header page, and pages that mean nothing once they are swapped in or the system
//! is down, unless it hibernated.

use super::{ChangeToken, Filesystem, Hazard, Kind, Summary};
use crate::bytes::{be32, le32, text};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use sha2::{Digest, Sha256};

/// Sizes of pages of the machines that Linux runs on.
const PAGE_BYTES: [u32; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// The header is the first page, and this is the end of it.
const SIGNATURE_BYTES: usize = 10;
/// `union swap_header`: the fields come after the space for boot blocks and disk labels.
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
        let at = u64::from(page_bytes).saturating_sub(SIGNATURE_BYTES as u64);
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
        // The byte order is that of the machine that made it.
        let order: Option<fn(&[u8], usize) -> u32> = match (le32(fields, 0), be32(fields, 0)) {
            (1, _) => Some(le32),
            (_, 1) => Some(be32),
            _ => None,
        };
        let Some(number) = order.filter(|_| !is_old) else {
            return Self {
                summary,
                header_bytes: None,
            };
        };
        let uuid = uuid::Uuid::from_slice(&fields[12..28]).unwrap_or_default();
        summary.uuid = (!uuid.is_nil()).then(|| uuid.to_string());
        summary.label = text(&fields[28..44]);
        summary.hazards = damage(fields, number, page_bytes, volume_bytes);
        let pages = u64::from(number(fields, 4)).saturating_add(1);
        summary.size_bytes = pages
            .saturating_mul(u64::from(page_bytes))
            .min(volume_bytes);
        summary.used_bytes = Some(page_bytes.into());
        Self {
            summary,
            header_bytes: Some(page_bytes.into()),
        }
    }
}

/// What the kernel would refuse.
fn damage(
    fields: &[u8],
    number: fn(&[u8], usize) -> u32,
    page_bytes: u32,
    volume_bytes: u64,
) -> Vec<Hazard> {
    let pages = u64::from(number(fields, 4)).saturating_add(1);
    let bad_pages = number(fields, 8);
    let bad_pages_max =
        u64::from(page_bytes).saturating_sub(BAD_PAGES_OFFSET + SIGNATURE_BYTES as u64) / 4;
    let mut found = Vec::new();
    if pages.saturating_mul(page_bytes.into()) > volume_bytes {
        found.push(format!(
            "last_page is {}, and the volume has {} pages of {page_bytes} bytes",
            pages - 1,
            volume_bytes / u64::from(page_bytes)
        ));
    }
    if u64::from(bad_pages) > bad_pages_max {
        found.push(format!(
            "nr_badpages is {bad_pages}, and the header has room for {bad_pages_max}"
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
        let header = read_vec(device, 0, usize::try_from(page_bytes).unwrap_or(0));
        let header = header.unwrap_or_default();
        let fields = header.get(FIELDS_OFFSET as usize..).unwrap_or_default();
        let list = header.get(BAD_PAGES_OFFSET as usize..).unwrap_or_default();
        let number = match le32(fields, 0) {
            1 => le32,
            _ => be32,
        };
        let pages = (0..usize::try_from(number(fields, 8)).unwrap_or(0))
            .map_while(|index| list.get(index.checked_mul(4)?..)?.get(..4))
            .filter_map(|page| Extent::new(u64::from(number(page, 0)) * page_bytes, page_bytes));
        let header = Extent::new(0, page_bytes).into_iter().collect();
        let listed: ExtentMap = pages.collect();
        let inside = ExtentMap::whole(self.summary.size_bytes).difference(&header);
        listed.intersection(&inside)
    }

    fn whole_because(&self) -> String {
        "swap: its header is not of the version that klon knows".to_owned()
    }

    /// Over the header page: everything that is in use, and what a suspended system changes.
    /// Swapping itself leaves no trace and changes nothing that is copied.
    fn change_token(&self, device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        let Some(header_bytes) = self.header_bytes else {
            return Ok(None);
        };
        // At most 64 KiB.
        let len = usize::try_from(header_bytes).unwrap_or(0);
        let mut digest = Sha256::new();
        digest.update(b"klon swap change token 1\0");
        digest.update(read_vec(device, 0, len)?);
        Ok(Some(ChangeToken(digest.finalize().into())))
    }
}

#[cfg(test)]
mod tests;
