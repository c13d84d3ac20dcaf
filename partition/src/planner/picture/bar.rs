//! The bar: one cell per partition or free space, as wide as its share of the drive.

use crate::text::printable;

/// A part of the drive.
pub(super) struct Segment {
    pub(super) bytes: u64,
    /// Drawn where nothing else fits: the number.
    pub(super) tag: String,
    /// Drawn behind it where there is room.
    pub(super) label: String,
}

/// Corners and lines: left, between, right for the top and the bottom; horizontal; vertical.
struct Ink {
    top: [&'static str; 3],
    bottom: [&'static str; 3],
    horizontal: &'static str,
    vertical: &'static str,
}

const UNICODE: Ink = Ink {
    top: ["┌", "┬", "┐"],
    bottom: ["└", "┴", "┘"],
    horizontal: "─",
    vertical: "│",
};

const ASCII: Ink = Ink {
    top: ["+", "+", "+"],
    bottom: ["+", "+", "+"],
    horizontal: "-",
    vertical: "|",
};

/// Draws three lines of at most `width` columns.
pub(super) fn draw(segments: &[Segment], width: usize, is_ascii: bool) -> Vec<String> {
    if segments.is_empty() {
        return Vec::new();
    }
    let ink = if is_ascii { ASCII } else { UNICODE };
    let cells = merged(segments, width);
    let widths = widths(&cells, width);
    let rule = |[left, between, right]: [&str; 3]| {
        let lines: Vec<String> = widths.iter().map(|&w| ink.horizontal.repeat(w)).collect();
        format!("{left}{}{right}", lines.join(between))
    };
    let texts = cells.iter().zip(&widths);
    let texts: Vec<String> = texts.map(|(cell, &width)| text(cell, width)).collect();
    let vertical = ink.vertical;
    vec![
        rule(ink.top),
        format!("{vertical}{}{vertical}", texts.join(vertical)),
        rule(ink.bottom),
    ]
}

struct Cell {
    bytes: u128,
    tag: String,
    label: String,
}

impl Cell {
    /// The least width that shows the tag.
    fn least(&self) -> usize {
        self.tag.chars().count().max(1)
    }
}

/// Cells for the segments; where they are too many for the width, the smallest neighbors in one.
fn merged(segments: &[Segment], width: usize) -> Vec<Cell> {
    let to_cell = |segment: &Segment| Cell {
        bytes: u128::from(segment.bytes),
        tag: segment.tag.clone(),
        label: printable(&segment.label),
    };
    let mut cells: Vec<Cell> = segments.iter().map(to_cell).collect();
    let needed = |cells: &[Cell]| cells.iter().map(|cell| cell.least() + 1).sum::<usize>() + 1;
    while cells.len() > 1 && needed(&cells) > width {
        let pair = |index: &usize| cells[*index].bytes + cells[*index + 1].bytes;
        let Some(index) = (0..cells.len() - 1).min_by_key(pair) else {
            break;
        };
        let second = cells.remove(index + 1);
        let first = &mut cells[index];
        first.bytes += second.bytes;
        first.tag = "+".to_owned();
        first.label = String::new();
    }
    cells
}

/// Widths that fill the line: each its least, the rest in proportion.
fn widths(cells: &[Cell], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = cells.iter().map(Cell::least).collect();
    let borders = cells.len() + 1;
    let inner = width.saturating_sub(borders);
    let mut left = inner.saturating_sub(widths.iter().sum());
    let total: u128 = cells.iter().map(|cell| cell.bytes).sum();
    // One column at a time to whoever is furthest below its share: at most `width` rounds.
    while left > 0 && total > 0 {
        let below = |&index: &usize| {
            let due = cells[index].bytes * inner as u128;
            let has = widths[index] as u128 * total;
            (
                due.saturating_sub(has),
                cells[index].bytes,
                cells.len() - index,
            )
        };
        let Some(index) = (0..cells.len()).max_by_key(below) else {
            break;
        };
        widths[index] += 1;
        left -= 1;
    }
    widths
}

fn text(cell: &Cell, width: usize) -> String {
    let full = match (cell.tag.as_str(), cell.label.as_str()) {
        ("", label) => format!(" {label}"),
        (tag, label) => format!(" {tag} {label}"),
    };
    let length = full.chars().count();
    let text = if length <= width {
        full
    } else if cell.tag.is_empty() && width < 6 {
        String::new()
    } else if width >= cell.tag.chars().count() + 6 {
        full.chars().take(width).collect()
    } else {
        let space = if width > cell.least() { " " } else { "" };
        format!("{space}{}", cell.tag)
    };
    format!("{text:width$}")
}
