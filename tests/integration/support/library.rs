//! Runs of the library in the program's place, where a test must end one at a certain moment.

use klon_imaging::CloneOptions;
use klon_imaging::change::{Reliance, RungChoice};
use klon_imaging::clone::{Freed, Rewrite, Update};
use std::num::NonZeroUsize;

/// What the program asks for by itself, on one thread: what happens comes in the same order in
/// every run.
pub(crate) const fn options() -> CloneOptions {
    CloneOptions {
        rung: RungChoice::Auto,
        rewrite: Rewrite::Blocks,
        freed: Freed::Leave,
        update: Update::Staged,
        threads: NonZeroUsize::MIN,
        reliance: Reliance::USUAL,
    }
}
