//! Which slot of the table each volume takes, and where it lies.

use super::ground::Ground;
use super::layout::Extended;
use super::placement::{Class, Gap, Item, place};
use super::role::Role;
use super::wanted::Wanted;
use crate::extent::Extent;
use crate::table::Scheme;

/// Slots beyond which no table goes that klon would write to.
pub(super) const NUMBER_MAX: u32 = 4096;

/// A volume's slot and place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) number: u32,
    pub(super) extent: Extent,
}

/// Slots and places for `wanted` in their order, and the extended partition that they need;
/// `None` when they do not fit.
pub(super) fn find(ground: &Ground, wanted: &[&Wanted]) -> Option<(Vec<Placed>, Option<Extended>)> {
    let gaps = ground.gaps();
    candidates(ground, wanted.len()).iter().find_map(|classes| {
        let items: Vec<Item> = wanted
            .iter()
            .zip(classes)
            .map(|(one, &class)| Item {
                claim: one.claim,
                class,
                group: one.source_index,
            })
            .collect();
        let extents = place(&items, &gaps, ground.alignment_bytes)?;
        number(ground, classes, &extents, &gaps)
    })
}

/// Slots that are free in the table itself.
pub(super) fn free(ground: &Ground) -> usize {
    free_numbers(ground).count()
}

fn free_numbers(ground: &Ground) -> impl Iterator<Item = u32> + '_ {
    let is_free = |number: &u32| {
        let mut existing = ground.existing().iter();
        !existing.any(|partition| partition.number == *number)
    };
    (1..=ground.slots_max.min(NUMBER_MAX)).filter(is_free)
}

/// Ways to give `count` volumes slots, best first.
fn candidates(ground: &Ground, count: usize) -> Vec<Vec<Class>> {
    let free = free(ground);
    let split = |primary: usize, rest: Class| {
        let mut classes = vec![Class::Primary; primary];
        classes.resize(count, rest);
        classes
    };
    match ground.scheme {
        Scheme::Gpt if count <= free => vec![split(count, Class::Primary)],
        Scheme::Gpt => Vec::new(),
        Scheme::Mbr if ground.extended().is_some() => (0..=count.min(free))
            .rev()
            .map(|primary| split(primary, Class::Logical))
            .collect(),
        Scheme::Mbr if count <= free => vec![split(count, Class::Primary)],
        Scheme::Mbr if free > 0 => vec![split(free - 1, Class::NewLogical)],
        Scheme::Mbr => Vec::new(),
    }
}

fn number(
    ground: &Ground,
    classes: &[Class],
    extents: &[Extent],
    gaps: &[Gap],
) -> Option<(Vec<Placed>, Option<Extended>)> {
    let mut primary = free_numbers(ground);
    let last_logical = ground.existing().iter().map(|there| there.number).max();
    let mut logical = last_logical.unwrap_or(0).max(4).checked_add(1)?..=u32::MAX;
    let mut placed = Vec::with_capacity(extents.len());
    let mut new_logical: Option<Extent> = None;
    for (&class, &extent) in classes.iter().zip(extents) {
        let number = match class {
            Class::Primary => primary.next()?,
            Class::Logical | Class::NewLogical => logical.next()?,
        };
        if class == Class::NewLogical {
            new_logical.get_or_insert(extent);
        }
        placed.push(Placed { number, extent });
    }
    let extended = match new_logical {
        None => None,
        Some(first) => Some(Extended {
            number: primary.next()?,
            extent: extended_around(ground, first, gaps)?,
        }),
    };
    Some((placed, extended))
}

/// The extended partition from the boot record of its first logical one to the end of the gap.
fn extended_around(ground: &Ground, first: Extent, gaps: &[Gap]) -> Option<Extent> {
    let gap = gaps.iter().find(|gap| gap.extent.contains(first))?;
    let start_bytes = first.offset_bytes().checked_sub(ground.alignment_bytes)?;
    Extent::between(start_bytes, gap.extent.end_bytes())
}

/// Whether `wanted` has boot records before its volumes, which take space too.
pub(super) fn needs_boot_records(ground: &Ground, wanted: &[&Wanted]) -> bool {
    ground.scheme == Scheme::Mbr && wanted.len() > 4
}

/// Whether a partition is the container of logical ones.
pub(super) fn is_extended(partition: &crate::table::Partition) -> bool {
    Role::of(partition.partition_type) == Role::Extended
}
