//! What every step of a run is told beside its job.

use super::CloneOptions;
use crate::progress::Observer;
use crate::record::RecordStore;

/// What a run goes by.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where the records of clones are.
    pub records: &'a RecordStore,
    /// How the user wants it done.
    pub options: &'a CloneOptions,
    /// Who is told of progress, and may cancel.
    pub observer: &'a dyn Observer,
}
