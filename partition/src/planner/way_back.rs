//! The way back: the table of a new disk, on which clones take the places of their originals.

use super::ground::natural_alignment;
use super::main_size::{MainSize, fixed};
use super::minimum::Minimum;
use super::original::Original;
use super::placement::{Claim, Class, Gap, Item, place};
use super::role::Role;
use super::size::{SizePolicy, human_size, human_size_at_least};
use super::wanted::main_of;
use crate::device::Geometry;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::table::{Partition, Scheme, Table};
use serde::Serialize;

/// A clone that is to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returning {
    /// The user's name for its source.
    pub group: String,
    /// The number that the original's partition had.
    pub number: u32,
    /// The size that it should have: as the original, or more where its filesystem has grown.
    pub size_bytes: u64,
    /// Where its filesystem ends; [`size_bytes`](Self::size_bytes) when a smaller one would cut it.
    pub least_bytes: u64,
}

/// The table of a new disk, and what of the original is not on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WayBack {
    /// The table: the scheme, identities, names, types, numbers and order of the original.
    pub table: Table,
    /// Numbers of new partitions that no clone fills.
    pub empty: Vec<u32>,
    /// Partitions of the original that are not made.
    pub missing: Vec<Partition>,
}

impl WayBack {
    /// The partition of this number.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        let mut partitions = self.table.partitions.iter();
        partitions.find(|partition| partition.number == number)
    }
}

/// A partition to be made, in the order of places.
struct NewPartition<'a> {
    original: &'a Partition,
    is_logical: bool,
    /// What it takes when there is room.
    claim: Claim,
    /// Where its filesystem ends, in whole sectors.
    least_bytes: u64,
}

impl NewPartition<'_> {
    /// What it takes when the disk is too small for the sizes of the original.
    fn tightened(&self) -> Claim {
        let is_smaller = self.least_bytes < self.claim.min_bytes;
        Claim {
            min_bytes: self.claim.min_bytes.min(self.least_bytes),
            weight: if is_smaller {
                self.claim.weight.max(1)
            } else {
                self.claim.weight
            },
            ..self.claim
        }
    }
}

/// A new disk, and where partitions may lie there.
struct NewDisk {
    usable: Extent,
    sector_bytes: u64,
    alignment_bytes: u64,
}

impl Original {
    /// Lays the original out on a disk of `geometry`. Partitions keep their places and sizes where they
    /// fit. A disk that is too small gets them as far as what `returning` needs; the main one of a
    /// source in `sizes` grows as for a plan. Partitions that no clone fills are made when
    /// `makes_empty`.
    ///
    /// # Errors
    /// [`Error::Refused`] when they don't fit, saying what would; [`Error::Invalid`] when the original
    /// contradicts itself or a number is none of its partitions.
    pub fn way_back(
        &self,
        geometry: Geometry,
        returning: &[Returning],
        sizes: &[(String, SizePolicy)],
        makes_empty: bool,
    ) -> Result<WayBack> {
        let mut table = match self.scheme {
            Scheme::Gpt => Table::new_gpt(geometry, self.disk_guid.unwrap_or_default()),
            Scheme::Mbr => Table::new_mbr(geometry, self.disk_signature),
        }?;
        let disk = NewDisk {
            usable: table.usable,
            sector_bytes: u64::from(geometry.logical_sector_bytes),
            alignment_bytes: natural_alignment(
                geometry.optimal_io_bytes,
                geometry.physical_sector_bytes,
            ),
        };
        let parts = self.parts(returning, sizes, makes_empty, disk.sector_bytes)?;
        self.check_numbers(&parts, &table)?;
        let places = disk
            .lay(&parts)
            .ok_or_else(|| misfit(&disk, &parts, &table, geometry.size_bytes))?;
        for (part, extent) in parts.iter().zip(&places) {
            table.partitions.push(Partition {
                extent: *extent,
                ..part.original.clone()
            });
        }
        table
            .partitions
            .extend(self.extended_around(&disk, &parts, &places));
        table.partitions.sort_by_key(|partition| partition.number);
        let is_made = |number: u32| table.partitions.iter().any(|it| it.number == number);
        let is_filled = |number: u32| returning.iter().any(|one| one.number == number);
        let (made, missing): (Vec<&Partition>, Vec<&Partition>) = (self.partitions.iter())
            .filter(|one| !one.partition_type.is_extended())
            .partition(|one| is_made(one.number));
        let made = made.iter().map(|one| one.number);
        Ok(WayBack {
            empty: made.filter(|&number| !is_filled(number)).collect(),
            missing: missing.into_iter().cloned().collect(),
            table,
        })
    }

    /// The partitions to be made: primary ones by place, then logical ones by number, which is the order
    /// of their chain.
    fn parts(
        &self,
        returning: &[Returning],
        sizes: &[(String, SizePolicy)],
        makes_empty: bool,
        sector_bytes: u64,
    ) -> Result<Vec<NewPartition<'_>>> {
        let claims = claims(self, returning, sizes, sector_bytes)?;
        let mut parts = Vec::new();
        for original in &self.partitions {
            if original.partition_type.is_extended() {
                continue;
            }
            let back = returning.iter().position(|it| it.number == original.number);
            let (claim, least_bytes) = match back {
                Some(index) => (
                    claims[index],
                    in_sectors(returning[index].least_bytes, sector_bytes)?,
                ),
                None if makes_empty => {
                    let bytes = in_sectors(original.extent.len_bytes(), sector_bytes)?;
                    (fixed(bytes), bytes)
                }
                None => continue,
            };
            parts.push(NewPartition {
                original,
                is_logical: self.scheme == Scheme::Mbr && original.number > 4,
                claim,
                least_bytes,
            });
        }
        parts.sort_by_key(|part| match part.is_logical {
            false => (false, part.original.extent.offset_bytes()),
            true => (true, u64::from(part.original.number)),
        });
        Ok(parts)
    }

    fn check_numbers(&self, parts: &[NewPartition<'_>], table: &Table) -> Result<()> {
        if parts.is_empty() {
            return Err(Error::Invalid("no partition comes back".to_owned()));
        }
        let logical = parts.iter().filter(|part| part.is_logical);
        for (part, expected) in logical.zip(5..) {
            if part.original.number != expected {
                return Err(Error::Refused(format!(
                    "partition {} is logical, and without partition {expected} it would get that number. \
                     Make the others empty, so that it keeps its own",
                    part.original.number
                )));
            }
        }
        let numbers = parts.iter().map(|part| part.original.number);
        match numbers
            .max()
            .filter(|&number| self.scheme == Scheme::Gpt && number > table.slots_max)
        {
            Some(number) => Err(Error::Refused(format!(
                "the original has a partition {number}, and a table that klon makes has {} slots",
                table.slots_max
            ))),
            None => Ok(()),
        }
    }

    /// The extended partition for the logical ones among `parts`, at the place of the original's if
    /// that holds them.
    fn extended_around(
        &self,
        disk: &NewDisk,
        parts: &[NewPartition<'_>],
        places: &[Extent],
    ) -> Option<Partition> {
        let logical = parts.iter().zip(places).filter(|(part, _)| part.is_logical);
        let places: Vec<Extent> = logical.map(|(_, place)| *place).collect();
        let start_bytes = places.iter().map(|place| place.offset_bytes()).min()?;
        let end_bytes = places.iter().map(|place| place.end_bytes()).max()?;
        let mut own = self.partitions.iter();
        let original = own.find(|it| it.partition_type.is_extended())?;
        let there = original.extent.intersection(disk.usable);
        let holds =
            |there: &Extent| there.offset_bytes() < start_bytes && end_bytes <= there.end_bytes();
        let mut placed = parts.iter().filter(|part| part.is_logical).zip(&places);
        let is_in_place =
            placed.all(|(part, place)| part.original.extent.offset_bytes() == place.offset_bytes());
        let around = || {
            let first = start_bytes.checked_sub(disk.alignment_bytes)?;
            Extent::between(first, end_bytes)
        };
        Some(Partition {
            extent: match there.filter(holds).filter(|_| is_in_place) {
                Some(there) => there,
                None => around()?,
            },
            ..original.clone()
        })
    }
}

fn in_sectors(bytes: u64, sector_bytes: u64) -> Result<u64> {
    let whole = bytes.checked_next_multiple_of(sector_bytes);
    whole.ok_or_else(|| Error::Invalid(format!("a size of {bytes} bytes is out of range")))
}

/// What each of `returning` claims: its size, and the main one of a source what `sizes` says.
fn claims(
    original: &Original,
    returning: &[Returning],
    sizes: &[(String, SizePolicy)],
    sector_bytes: u64,
) -> Result<Vec<Claim>> {
    let mut claims = Vec::with_capacity(returning.len());
    for one in returning {
        claims.push(fixed(in_sectors(one.size_bytes, sector_bytes)?));
    }
    let never = Minimum::Never(
        "a size that is named for the way back is no smaller than the filesystem".to_owned(),
    );
    for (group, size) in sizes {
        let own: Vec<usize> = (0..returning.len())
            .filter(|&index| returning[index].group == *group)
            .collect();
        let role = |number: u32| {
            let mut partitions = original.partitions.iter();
            let found = partitions.find(|partition| partition.number == number);
            found.map_or(Role::Other, |found| Role::of(found.partition_type))
        };
        let ranked = own
            .iter()
            .map(|&index| (role(returning[index].number), returning[index].size_bytes));
        let Some(main) = main_of(ranked).map(|position| own[position]) else {
            continue;
        };
        let others = own.iter().filter(|&&index| index != main);
        let others_bytes = others
            .map(|&index| claims[index].min_bytes)
            .fold(0, u64::saturating_add);
        let main_size = MainSize {
            name: group,
            own_bytes: claims[main].min_bytes,
            end_bytes: in_sectors(returning[main].least_bytes, sector_bytes)?,
            minimum: &never,
            used_bytes: None,
            others_bytes,
            sector_bytes,
        };
        claims[main] = main_size.claim(*size)?.1;
    }
    Ok(claims)
}

impl NewDisk {
    /// Where the parts lie: at their places if they fit, else one behind the other.
    fn lay(&self, parts: &[NewPartition<'_>]) -> Option<Vec<Extent>> {
        let wanted: Vec<Claim> = parts.iter().map(|part| part.claim).collect();
        let tight: Vec<Claim> = parts.iter().map(NewPartition::tightened).collect();
        let is_as_before =
            |part: &NewPartition<'_>| part.claim.weight == 0 && part.claim.padding_bytes == 0;
        let in_place = |is_cut| {
            let all = parts.iter().map(|part| self.in_place(part, is_cut));
            all.collect::<Option<Vec<Extent>>>()
        };
        let may_stay = parts.iter().all(is_as_before);
        may_stay
            .then(|| in_place(false).or_else(|| in_place(true)))
            .flatten()
            .or_else(|| self.placed(parts, &wanted, true))
            .or_else(|| self.placed(parts, &wanted, false))
            .or_else(|| self.placed(parts, &tight, true))
            .or_else(|| self.placed(parts, &tight, false))
    }

    /// The place of the original, when the partition fits there; with `is_cut`, as far as the disk
    /// goes.
    fn in_place(&self, part: &NewPartition<'_>, is_cut: bool) -> Option<Extent> {
        let before = part.original.extent;
        let bytes = part.claim.min_bytes;
        let least_bytes = part.tightened().min_bytes;
        let start_bytes = before.offset_bytes();
        let mut place = Extent::new(start_bytes, bytes)?;
        if is_cut && place.end_bytes() > self.usable.end_bytes() {
            let cut = |unit: u64| {
                let end_bytes = self.usable.end_bytes() / unit * unit;
                Extent::between(start_bytes, end_bytes).filter(|it| it.len_bytes() >= least_bytes)
            };
            place = cut(self.alignment_bytes).or_else(|| cut(self.sector_bytes))?;
        }
        let is_fitting = bytes <= before.len_bytes()
            && place.offset_bytes().is_multiple_of(self.sector_bytes)
            && self.usable.contains(place);
        is_fitting.then_some(place)
    }

    /// Places for `claims`, one behind the other. Those before the first that changes its size stay; with
    /// `keeps_start` that one begins where it did, too.
    fn placed(
        &self,
        parts: &[NewPartition<'_>],
        claims: &[Claim],
        keeps_start: bool,
    ) -> Option<Vec<Extent>> {
        let has_logical = parts.iter().any(|part| part.is_logical);
        let staying = parts.iter().zip(claims).map_while(|(part, claim)| {
            let is_same = *claim == part.claim && claim.weight == 0 && claim.padding_bytes == 0;
            self.in_place(part, false)
                .filter(|_| is_same && !has_logical)
        });
        let mut places: Vec<Extent> = staying.collect();
        let rest = &parts[places.len()..];
        let Some(first) = rest.first() else {
            return Some(places);
        };
        let items: Vec<Item> = rest
            .iter()
            .zip(&claims[places.len()..])
            .map(|(part, claim)| Item {
                claim: *claim,
                class: if part.is_logical {
                    Class::NewLogical
                } else {
                    Class::Primary
                },
                group: 0,
            })
            .collect();
        let end_bytes = self.usable.end_bytes() / self.sector_bytes * self.sector_bytes;
        let last = places.last().copied();
        let behind_bytes = last.map_or(self.usable.offset_bytes(), Extent::end_bytes);
        let own_bytes = first.original.extent.offset_bytes();
        let from_bytes = match keeps_start && !has_logical {
            true => behind_bytes.max(own_bytes),
            false => behind_bytes,
        };
        let gap = Gap {
            extent: Extent::between(from_bytes, end_bytes)?,
            class: Class::Primary,
        };
        places.extend(place(&items, &[gap], self.alignment_bytes)?);
        Some(places)
    }
}

/// The refusal for a disk that is too small, with the least that would do.
fn misfit(disk: &NewDisk, parts: &[NewPartition<'_>], table: &Table, size_bytes: u64) -> Error {
    let least: Vec<Claim> = parts
        .iter()
        .map(|part| fixed(part.tightened().min_bytes))
        .collect();
    let large = NewDisk {
        usable: Extent::between(disk.usable.offset_bytes(), i64::MAX as u64 / 2)
            .unwrap_or(disk.usable),
        ..*disk
    };
    let kept = parts.iter().map(|part| {
        let size = human_size(part.tightened().min_bytes);
        format!("partition {} ({size})", part.original.number)
    });
    let kept: Vec<String> = kept.collect();
    let end_bytes = large
        .placed(parts, &least, false)
        .and_then(|places| places.iter().map(|place| place.end_bytes()).max());
    let ways = end_bytes.map_or_else(String::new, |end_bytes| {
        let least = human_size_at_least(table.least_bytes(end_bytes));
        format!(". The disk must have at least {least}")
    });
    Error::Refused(format!(
        "the disk ({}) is too small for {}{ways}",
        human_size(size_bytes),
        kept.join(", ")
    ))
}
