//! What of a disk in use every pass reads again, as nothing shows it to be as the pass before found it.

use super::super::CaptureJob;
use crate::plan::Plan;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Kind, Usage};

/// What is in no volume: the table, and the room that nobody proved free. Swap belongs to it, as the kernel
/// writes to it past all of this. Of the room only the ends are read again, where boot loaders lie, as long as
/// nothing `is_written` past the volumes.
pub(super) fn read_again(job: &CaptureJob<'_>, plan: &Plan, is_written: bool) -> ExtentMap {
    let volumes = job.volumes.iter().flat_map(|volumes| &volumes.all);
    let others = volumes.filter(|volume| !is_swap(volume.usage));
    let of_volumes: ExtentMap = others.map(|volume| volume.part).collect();
    let all = plan.wanted().difference(&of_volumes);
    match is_written {
        true => all,
        false => all.difference(&job.usage.unproven.difference(&job.usage.edges)),
    }
}

/// Whether it is swap of which only the header is needed.
fn is_swap(usage: &Usage) -> bool {
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    kind == Some(Kind::Swap) && usage.basis == Basis::Map
}
