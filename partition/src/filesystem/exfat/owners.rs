//! Which files hold given bytes.

use super::Layout;
use super::tree::{self, Item, Step, Use, Visitor};
use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::Owner;
use crate::filesystem::finder::{Finder, PENDING_BYTES_MAX};
use crate::filesystem::owners::{Forgiving, Gaps};

/// What an entry that is not in use may begin with: one that can't be read is passed over.
const UNUSED: u8 = 0x05;

/// The files and directories that `finder` looks for. What is damaged on the way is noted in
/// `gaps`.
pub(super) fn owners(
    device: &dyn ReadAt,
    layout: &Layout,
    finder: Finder<'_>,
    gaps: &Gaps,
) -> Vec<Owner> {
    let device = Forgiving::new(device, UNUSED, gaps);
    let mut search = Search { finder, gaps };
    gaps.tolerate(tree::walk(&device, layout, &mut search, PENDING_BYTES_MAX));
    search.finder.into_owners()
}

struct Search<'a> {
    finder: Finder<'a>,
    gaps: &'a Gaps,
}

impl Visitor for Search<'_> {
    const WANTS_PATHS: bool = true;

    fn is_done(&self) -> bool {
        self.finder.is_done()
    }

    fn damaged(&mut self, error: Error) -> Result<()> {
        self.gaps.note(error);
        Ok(())
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
        let is_found = content.is_none_or(|run| self.finder.note(item.path, position_bytes, run));
        Ok(if is_found { Step::Skip } else { Step::On })
    }
}
