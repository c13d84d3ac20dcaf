//! Placement: items into gaps, first fit in order, then the rest shared out by weight.
//!
//! Knows sizes and positions only. All arithmetic is checked: `None` means "does not fit".

use crate::extent::Extent;

/// The largest number of items or gaps that anything here is asked about.
const ROUNDS_MAX: usize = 4096;

/// How much space an item needs and may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// At least this; a multiple of the sector.
    pub(super) min_bytes: u64,
    /// At most this; at least `min_bytes`.
    pub(super) max_bytes: u64,
    /// Share of what remains; 0 for an item that does not grow.
    pub(super) weight: u32,
    /// Free space kept after it.
    pub(super) padding_bytes: u64,
}

/// Which kind of slot an item takes or a gap offers. GPT has primary ones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// In the table itself.
    Primary,
    /// In the extended partition that is there.
    Logical,
    /// In an extended partition to be made; all of these lie together at the end of a gap of
    /// class primary.
    NewLogical,
}

/// An item to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) claim: Claim,
    pub(super) class: Class,
    /// Items of one group lie in their order.
    pub(super) group: usize,
}

/// Free space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) extent: Extent,
    /// What lies in it is primary or logical.
    pub(super) class: Class,
}

/// Places `items`; the extents are in the order of the items. Positions are multiples of
/// `alignment_bytes`, and before each logical one as much is left for its boot record.
///
/// First fit in order; where that fails, the largest first, wherever they fit.
pub(super) fn place(items: &[Item], gaps: &[Gap], alignment_bytes: u64) -> Option<Vec<Extent>> {
    if items.len() > ROUNDS_MAX || gaps.len() > ROUNDS_MAX {
        return None;
    }
    let board = Board {
        items,
        gaps,
        alignment_bytes,
    };
    let in_order: Vec<usize> = (0..items.len()).collect();
    let mut largest_first = in_order.clone();
    largest_first.sort_by_key(|&index| std::cmp::Reverse(items[index].claim.min_bytes));
    let contents = board
        .assign(&in_order, true)
        .or_else(|| board.assign(&largest_first, false))?;
    board.lay(&contents)
}

struct Board<'a> {
    items: &'a [Item],
    gaps: &'a [Gap],
    alignment_bytes: u64,
}

impl Board<'_> {
    /// Which items lie in which gap, in the order of the items.
    fn assign(&self, order: &[usize], keeps_order: bool) -> Option<Vec<Vec<usize>>> {
        let mut contents: Vec<Vec<usize>> = vec![Vec::new(); self.gaps.len()];
        let mut previous: Option<(usize, usize)> = None;
        let (together, single): (Vec<usize>, Vec<usize>) = order
            .iter()
            .partition(|&&index| self.items[index].class == Class::NewLogical);
        for index in single {
            let group = self.items[index].group;
            let from = match previous {
                Some((before, gap)) if keeps_order && before == group => gap,
                _ => 0,
            };
            let gap = self.choose(&contents, &[index], from)?;
            contents[gap].push(index);
            contents[gap].sort_unstable();
            previous = Some((group, gap));
        }
        if !together.is_empty() {
            let gap = self.choose(&contents, &together, 0)?;
            contents[gap].extend(together);
        }
        // New logical items have the highest indices, so sorting leaves them last.
        contents.iter_mut().for_each(|gap| gap.sort_unstable());
        Some(contents)
    }

    /// The first gap from `from` on that takes `more` too; for an item that grows the one that
    /// has most left.
    fn choose(&self, contents: &[Vec<usize>], more: &[usize], from: usize) -> Option<usize> {
        let class = match self.items[*more.first()?].class {
            Class::Logical => Class::Logical,
            Class::Primary | Class::NewLogical => Class::Primary,
        };
        let is_growing = more.iter().any(|&index| self.items[index].claim.weight > 0);
        let mut fitting = (from..self.gaps.len())
            .filter(|&gap| self.gaps[gap].class == class)
            .filter_map(|gap| {
                let mut all = contents[gap].clone();
                all.extend(more);
                all.sort_unstable();
                Some((gap, self.rest(gap, &all)?))
            });
        if is_growing {
            // The first of equals.
            fitting
                .max_by_key(|&(gap, rest)| (rest, std::cmp::Reverse(gap)))
                .map(|(gap, _)| gap)
        } else {
            fitting.next().map(|(gap, _)| gap)
        }
    }

    /// What is left at the end of a gap that holds `indices` at their least size.
    fn rest(&self, gap: usize, indices: &[usize]) -> Option<u64> {
        let sizes: Vec<u64> = indices.iter().map(|_| 0).collect();
        let (_, end_bytes) = self.walk(gap, indices, &sizes)?;
        self.gaps[gap].extent.end_bytes().checked_sub(end_bytes)
    }

    /// Lays `indices` out from the start of a gap, each `extra` bytes larger than its least size.
    /// Gives their extents and where the last of them ends, padding included.
    fn walk(&self, gap: usize, indices: &[usize], extra: &[u64]) -> Option<(Vec<Extent>, u64)> {
        let gap = self.gaps[gap].extent;
        let mut cursor = gap.offset_bytes();
        let mut extents = Vec::with_capacity(indices.len());
        for (&index, &extra) in indices.iter().zip(extra) {
            let Item { claim, class, .. } = self.items[index];
            if class != Class::Primary {
                cursor = cursor.checked_add(self.alignment_bytes)?;
            }
            let start_bytes = cursor.checked_next_multiple_of(self.alignment_bytes)?;
            let extent = Extent::new(start_bytes, claim.min_bytes.checked_add(extra)?)?;
            extents.push(extent);
            cursor = extent.end_bytes().checked_add(claim.padding_bytes)?;
            if cursor > gap.end_bytes() {
                return None;
            }
        }
        Some((extents, cursor))
    }

    fn lay(&self, contents: &[Vec<usize>]) -> Option<Vec<Extent>> {
        let mut placed: Vec<(usize, Extent)> = Vec::with_capacity(self.items.len());
        for (gap, indices) in contents.iter().enumerate() {
            let units = self.rest(gap, indices)? / self.alignment_bytes;
            let shares = self.shares(indices, units);
            let (extents, _) = self.walk(gap, indices, &shares)?;
            placed.extend(indices.iter().copied().zip(extents));
        }
        placed.sort_by_key(|&(index, _)| index);
        Some(placed.into_iter().map(|(_, extent)| extent).collect())
    }

    /// Bytes that each of `indices` gets of `units` units of alignment, by weight and up to its
    /// most. What one can't take goes to the others.
    fn shares(&self, indices: &[usize], units: u64) -> Vec<u64> {
        let claims: Vec<Claim> = indices.iter().map(|&i| self.items[i].claim).collect();
        let mut shares = vec![0; claims.len()];
        let mut open: Vec<usize> = (0..claims.len())
            .filter(|&i| claims[i].weight > 0)
            .collect();
        let mut left = units;
        while !open.is_empty() {
            let weights: u128 = open.iter().map(|&i| u128::from(claims[i].weight)).sum();
            let due = |i: usize| {
                let part = u128::from(left) * u128::from(claims[i].weight) / weights;
                u64::try_from(part).unwrap_or(left)
            };
            let cap = |i: usize| {
                (claims[i].max_bytes.saturating_sub(claims[i].min_bytes)) / self.alignment_bytes
            };
            let Some(position) = open.iter().position(|&i| cap(i) < due(i)) else {
                for &i in &open {
                    shares[i] = due(i);
                }
                break;
            };
            let full = open.remove(position);
            shares[full] = cap(full);
            left = left.saturating_sub(shares[full]);
        }
        shares
            .iter()
            .map(|share: &u64| share.saturating_mul(self.alignment_bytes))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Class, Gap, Item, place};
    use crate::extent::Extent;

    const MIB: u64 = 1 << 20;

    fn gap(start: u64, len: u64) -> Gap {
        Gap {
            extent: Extent::new(start * MIB, len * MIB).unwrap(),
            class: Class::Primary,
        }
    }

    fn fixed(min: u64) -> Item {
        grows(min, u64::MAX / MIB, 0)
    }

    fn grows(min: u64, max: u64, weight: u32) -> Item {
        Item {
            claim: Claim {
                min_bytes: min * MIB,
                max_bytes: max * MIB,
                weight,
                padding_bytes: 0,
            },
            class: Class::Primary,
            group: 0,
        }
    }

    fn placed(items: &[Item], gaps: &[Gap]) -> Option<Vec<(u64, u64)>> {
        let extents = place(items, gaps, MIB)?;
        let mib = |extent: Extent| (extent.offset_bytes() / MIB, extent.len_bytes() / MIB);
        Some(extents.into_iter().map(mib).collect())
    }

    #[test]
    fn a_group_goes_first_fit_and_in_order() {
        let gaps = [gap(1, 10), gap(20, 100)];
        let items = [fixed(5), fixed(50), fixed(3)];
        assert_eq!(
            placed(&items, &gaps).unwrap(),
            [(1, 5), (20, 50), (70, 3)],
            "the third stays behind the second"
        );
        let mut other = items;
        other[2].group = 1;
        assert_eq!(placed(&other, &gaps).unwrap(), [(1, 5), (20, 50), (6, 3)]);
    }

    #[test]
    fn where_order_does_not_fit_size_decides() {
        let gaps = [gap(1, 10), gap(20, 20)];
        let items = [fixed(5), fixed(20), fixed(5)];
        assert_eq!(placed(&items, &gaps).unwrap(), [(1, 5), (20, 20), (6, 5)]);
        assert_eq!(placed(&[fixed(21)], &gaps), None);
    }

    #[test]
    fn the_rest_is_shared_by_weight_up_to_the_most() {
        let gaps = [gap(1, 100)];
        let items = [grows(10, 1000, 1000), fixed(10), grows(20, 1000, 2000)];
        assert_eq!(
            placed(&items, &gaps).unwrap(),
            [(1, 30), (31, 10), (41, 60)]
        );
        let items = [grows(10, 15, 1000), fixed(10), grows(20, 1000, 2000)];
        assert_eq!(
            placed(&items, &gaps).unwrap(),
            [(1, 15), (16, 10), (26, 75)],
            "what the first can't take goes to the other"
        );
    }

    #[test]
    fn what_grows_takes_the_gap_that_has_most_left() {
        let gaps = [gap(1, 20), gap(30, 100)];
        assert_eq!(placed(&[grows(10, 1000, 1)], &gaps).unwrap(), [(30, 100)]);
    }

    #[test]
    fn padding_stays_free_and_counts() {
        let mut padded = fixed(10);
        padded.claim.padding_bytes = 5 * MIB;
        let items = [padded, fixed(10)];
        assert_eq!(placed(&items, &[gap(1, 25)]).unwrap(), [(1, 10), (16, 10)]);
        assert_eq!(placed(&items, &[gap(1, 24)]), None);
    }

    #[test]
    fn new_logical_items_lie_together_with_room_for_their_boot_records() {
        let logical = Item {
            class: Class::NewLogical,
            ..fixed(5)
        };
        let gaps = [gap(1, 11), gap(20, 30)];
        let items = [fixed(5), logical, logical];
        assert_eq!(placed(&items, &gaps).unwrap(), [(1, 5), (21, 5), (27, 5)]);
    }
}
