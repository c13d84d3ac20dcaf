//! What of a disk in use every pass reads again, as nothing shows it to be as the pass before found it.

use super::super::CaptureJob;
use crate::plan::Plan;
use klon_partition::ExtentMap;
use klon_partition::filesystem::{Basis, Kind};

/// The most bytes of the insides of gaps that every pass reads again. It is read at rest, and at 64 MiB a second that
/// takes a second.
const INSIDES_BYTES_MAX: u64 = 64 << 20;

/// What is in no volume: the table, and the room that nobody proved free. Swap belongs to it, as the kernel
/// writes to it past all of this. Of much room only the ends are read again, where boot loaders lie.
pub(super) fn read_again(job: &CaptureJob<'_>, plan: &Plan) -> ExtentMap {
    let volumes = job.volumes.iter().flat_map(|volumes| &volumes.all);
    let is_swap = |usage: &klon_partition::filesystem::Usage| {
        let kind = usage.summary.as_ref().map(|summary| summary.kind);
        kind == Some(Kind::Swap) && usage.basis == Basis::Map
    };
    let of_volumes: ExtentMap = volumes
        .filter(|volume| !is_swap(volume.usage))
        .map(|volume| volume.part)
        .collect();
    let all = plan.wanted().difference(&of_volumes);
    let insides = job.usage.unproven.difference(&job.usage.edges);
    let insides = all.intersection(&insides);
    match insides.total_bytes() > INSIDES_BYTES_MAX {
        true => all.difference(&insides),
        false => all,
    }
}
