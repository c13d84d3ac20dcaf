//! Which files hold given bytes.

use super::Layout;
use super::tree::{self, Item, Step, Use, Visitor};
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Owner;
use crate::filesystem::finder::{Finder, PENDING_BYTES_MAX};

/// At most `files_max` files and directories that hold bytes of `wanted`.
///
/// # Errors
/// As for [`tree::walk`].
pub(super) fn owners(
    device: &dyn ReadAt,
    layout: &Layout,
    wanted: &ExtentMap,
    files_max: usize,
) -> Result<Vec<Owner>> {
    let mut search = Search(Finder::new(wanted, files_max));
    tree::walk(device, layout, &mut search, PENDING_BYTES_MAX)?;
    Ok(search.0.into_owners())
}

struct Search<'a>(Finder<'a>);

impl Visitor for Search<'_> {
    const WANTS_PATHS: bool = true;

    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn run(&mut self, item: &Item<'_>, position_bytes: u64, extent: Extent) -> Result<Step> {
        let content = match item.purpose {
            Use::Other => return Ok(Step::Skip),
            Use::Directory => Some(extent),
            // What lies beyond the size is not the file's content.
            Use::File => {
                let left_bytes = item.len_bytes.saturating_sub(position_bytes);
                Extent::new(extent.offset_bytes(), extent.len_bytes().min(left_bytes))
            }
        };
        let is_found = content.is_none_or(|run| self.0.note(item.path, position_bytes, run));
        Ok(if is_found { Step::Skip } else { Step::On })
    }
}
