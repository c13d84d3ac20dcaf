//! What the snapshot before has of each chunk.

use super::super::frame::FRAME_HEADER_LEN;
use super::super::reference::Reference;
use super::super::snapshot::Snapshot;
use crate::chunk::InStep;

/// What the snapshot before has, to be asked for chunk by chunk, in order.
pub(super) struct Known<'a> {
    references: Option<InStep<References<'a>>>,
    /// Size of the image.
    image_bytes: u64,
}

type References<'a> =
    Box<dyn Iterator<Item = klon_partition::Result<(u64, Reference)>> + Send + 'a>;

impl<'a> Known<'a> {
    pub(super) fn new(previous: Option<&'a Snapshot>) -> Self {
        let references = previous.map(|previous| {
            // What can't be read is not known, and so stored again.
            let references = previous.references().filter(Result::is_ok);
            InStep::new(Box::new(references) as References<'a>)
        });
        Self {
            references,
            image_bytes: previous.map_or(0, |previous| previous.image().size_bytes()),
        }
    }

    /// What an earlier pass of the same run put there.
    pub(super) fn of_pass(references: &'a [(u64, Reference)]) -> Self {
        let references = references.iter().copied().map(Ok);
        Self {
            references: Some(InStep::new(Box::new(references) as References<'a>)),
            image_bytes: u64::MAX,
        }
    }

    /// The reference of a chunk, which lies in the image.
    pub(super) fn at(&mut self, number: u64) -> Option<Reference> {
        let found = self.references.as_mut()?.at(number).ok().flatten();
        let is_there = |reference: &Reference| {
            let len_bytes =
                u64::from(reference.stored_bytes).saturating_add(FRAME_HEADER_LEN as u64);
            let end_bytes = reference.position.checked_add(len_bytes);
            reference.is_zero() || end_bytes.is_some_and(|end| end <= self.image_bytes)
        };
        found.filter(is_there)
    }
}
