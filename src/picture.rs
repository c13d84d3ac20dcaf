//! A picture that shows which parts of a volume are in use.

use klon_partition::{Extent, ExtentMap};

/// Cells in a row.
const COLUMNS: u64 = 64;
/// Rows of a picture, at most.
const ROWS_MAX: u64 = 16;
/// A cell is never smaller than this.
const CELL_BYTES_MIN: u64 = 4096;
/// From nothing in use to all of it.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// What is neither in use nor free, with how it is drawn and what that means.
pub struct Beside<'a> {
    /// Where it lies.
    pub map: &'a ExtentMap,
    /// What a cell of it is drawn as, if nothing of the cell is in use.
    pub mark: char,
    /// What the mark means.
    pub word: &'a str,
}

/// Rows of cells from the start of the volume to its end, each shaded by how much of it is in
/// use, and a line that says what a cell is.
pub fn of(used: &ExtentMap, size_bytes: u64) -> String {
    let none = Beside {
        map: &ExtentMap::new(),
        mark: SHADES[0],
        word: "",
    };
    beside(used, &none, size_bytes)
}

/// A picture that also shows what is neither in use nor free.
pub fn beside(used: &ExtentMap, beside: &Beside<'_>, size_bytes: u64) -> String {
    let cell_bytes = cell_bytes(size_bytes);
    let cells: Vec<char> = Extent::new(0, size_bytes)
        .into_iter()
        .flat_map(|all| all.split(cell_bytes))
        .map(|cell| match shade(used, cell) {
            free if free == SHADES[0] && beside.map.overlaps(cell) => beside.mark,
            shade => shade,
        })
        .collect();
    let mut picture = String::new();
    for row in cells.chunks(usize::try_from(COLUMNS).unwrap_or(64)) {
        picture.push_str("  ");
        picture.extend(row);
        picture.push('\n');
    }
    let marked = match beside.map.is_empty() {
        true => String::new(),
        false => format!("{} {}, ", beside.mark, beside.word),
    };
    picture.push_str(&format!(
        "  one cell is {}: {} free, {marked}{} {} {} partly used, {} used\n",
        crate::human::size(cell_bytes),
        SHADES[0],
        SHADES[1],
        SHADES[2],
        SHADES[3],
        SHADES[4],
    ));
    picture
}

/// A power of two, so that cells begin at round places.
fn cell_bytes(size_bytes: u64) -> u64 {
    let cells_max = COLUMNS * ROWS_MAX;
    size_bytes
        .div_ceil(cells_max)
        .next_power_of_two()
        .max(CELL_BYTES_MIN)
}

fn shade(used: &ExtentMap, cell: Extent) -> char {
    let used_bytes: u64 = used.within(cell).map(Extent::len_bytes).sum();
    if used_bytes == 0 {
        return SHADES[0];
    }
    if used_bytes == cell.len_bytes() {
        return SHADES[4];
    }
    // Split in three, so that a single used block is seen and a single free one too.
    let third = u128::from(used_bytes) * 3 / u128::from(cell.len_bytes());
    SHADES[1 + usize::try_from(third).unwrap_or(2).min(2)]
}

#[cfg(test)]
mod tests {
    use super::{Beside, beside, of};
    use klon_partition::{Extent, ExtentMap};

    #[test]
    fn used_and_free_parts_can_be_told_apart() {
        let used: ExtentMap = [(0, 1 << 20), (2 << 20, 4096), (3 << 20, (1 << 20) - 4096)]
            .into_iter()
            .filter_map(|(offset, len)| Extent::new(offset, len))
            .collect();
        let picture = of(&used, 64 << 20);
        let first = picture.lines().next().unwrap();
        assert_eq!(first.chars().skip(2).take(6).collect::<String>(), "██████");
        assert_eq!(picture.lines().count(), 17);
        assert!(picture.ends_with("one cell is 64 KiB: · free, ░ ▒ ▓ partly used, █ used\n"));
    }

    #[test]
    fn what_is_neither_used_nor_free_has_a_mark_where_nothing_is_used() {
        let map = |offset, len| ExtentMap::from_iter(Extent::new(offset, len));
        let zeroes = Beside {
            map: &map(0, 3 << 12),
            mark: '0',
            word: "zeroes",
        };
        let picture = beside(&map(4096, 4096), &zeroes, 4 << 12);
        assert!(picture.starts_with("  0█0·\n"), "{picture}");
        assert!(picture.contains("· free, 0 zeroes, ░"), "{picture}");
    }

    #[test]
    fn any_size_fits() {
        for size in [0, 1, 4096, u64::MAX] {
            assert!(of(&ExtentMap::new(), size).lines().count() <= 17);
        }
    }
}
