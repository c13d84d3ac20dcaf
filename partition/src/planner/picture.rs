//! A picture of the drive in text: a bar in proportion, and a list of what is on it.

mod bar;

use super::layout::{Plan, PlannedVolume};
use super::new_table::{name, new_usable};
use super::size::human_size;
use super::slots::is_extended;
use crate::extent::{Extent, ExtentMap};
use crate::table::{Partition, Table};
use crate::text::printable;
use bar::Segment;

/// Free space below this is not listed: it is what alignment leaves.
const FREE_SHOWN_BYTES: u64 = 8 << 20;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns; at least 40 are used.
    pub width: usize,
    /// Only ASCII characters, for terminals without box drawing.
    pub is_ascii: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            width: 80,
            is_ascii: false,
        }
    }
}

impl Plan {
    /// The drive as planned, with what of it is there already when its table is `current`.
    ///
    /// Lines end in a line feed and have no trailing spaces.
    #[must_use]
    pub fn picture(&self, current: Option<&Table>, style: Style) -> String {
        let width = style.width.max(40);
        let entries = self.entries(current);
        let drive = &self.drive;
        let mut lines = vec![clip(
            &format!(
                "{}   {}   {}, sectors of {} bytes",
                drive.identity,
                human_size(drive.size_bytes),
                match self.table.is_new {
                    true => format!("new {}", name(self.table.scheme)),
                    false => format!("{} kept", name(self.table.scheme)),
                },
                drive.logical_sector_bytes
            ),
            width,
            style.is_ascii,
        )];
        let segments: Vec<Segment> = entries.iter().map(Entry::segment).collect();
        lines.extend(bar::draw(&segments, width, style.is_ascii));
        lines.extend(table(&entries, width, style.is_ascii));
        lines
            .iter()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    fn entries(&self, current: Option<&Table>) -> Vec<Entry> {
        let current = current.filter(|_| self.changes(current).is_ok());
        let mut entries: Vec<Entry> = Vec::new();
        for volume in &self.volumes {
            let is_there = current.is_some_and(|table| {
                let mut partitions = table.partitions.iter();
                partitions.any(|there| {
                    there.extent == volume.extent
                        && there.number == volume.number
                        && there.guid == volume.guid
                })
            });
            entries.push(Entry::of_volume(volume, is_there));
        }
        let kept = self.kept.iter().filter(|there| !is_extended(there));
        entries.extend(kept.map(Entry::of_kept));
        let taken: ExtentMap = entries.iter().map(|entry| entry.extent).collect();
        let drive = &self.drive;
        let usable = new_usable(
            self.table.scheme,
            drive.size_bytes,
            drive.logical_sector_bytes,
        );
        let gaps = taken.complement(drive.size_bytes);
        let free = usable.into_iter().flat_map(|usable| gaps.within(usable));
        let shown = free.filter(|extent| extent.len_bytes() >= FREE_SHOWN_BYTES);
        entries.extend(shown.map(Entry::of_free));
        entries.sort_by_key(|entry| entry.extent);
        entries
    }
}

/// A line of the list.
struct Entry {
    extent: Extent,
    number: Option<u32>,
    name: String,
    source: String,
    used: String,
    filesystem: String,
    state: &'static str,
}

impl Entry {
    fn of_volume(volume: &PlannedVolume, is_there: bool) -> Self {
        let source = &volume.source;
        Self {
            extent: volume.extent,
            number: Some(volume.number),
            name: volume.name.clone(),
            source: match source.partition {
                Some(number) => format!("{} #{number}", source.identity),
                None => source.identity.to_string(),
            },
            used: volume.used_bytes.map(human_size).unwrap_or_default(),
            filesystem: volume
                .filesystem
                .map(|kind| kind.to_string())
                .unwrap_or_default(),
            state: if is_there { "there" } else { "new" },
        }
    }

    fn of_kept(partition: &Partition) -> Self {
        Self {
            number: Some(partition.number),
            name: partition.name.clone(),
            state: "kept",
            ..Self::of_free(partition.extent)
        }
    }

    fn of_free(extent: Extent) -> Self {
        Self {
            extent,
            number: None,
            name: "free".to_owned(),
            source: String::new(),
            used: String::new(),
            filesystem: String::new(),
            state: "",
        }
    }

    fn segment(&self) -> Segment {
        let (tag, label) = match self.number {
            Some(number) if self.name.is_empty() => (number.to_string(), self.state.to_owned()),
            Some(number) => (number.to_string(), self.name.clone()),
            None => (String::new(), self.name.clone()),
        };
        Segment {
            bytes: self.extent.len_bytes(),
            tag,
            label,
        }
    }

    fn cells(&self) -> [String; 7] {
        let number = self.number.map(|number| number.to_string());
        [
            number.unwrap_or_default(),
            printable(&self.name),
            printable(&self.source),
            human_size(self.extent.len_bytes()),
            self.used.clone(),
            self.filesystem.clone(),
            self.state.to_owned(),
        ]
    }
}

const HEADS: [&str; 7] = ["#", "Name", "Source", "Size", "Used", "Filesystem", "State"];
const IS_RIGHT: [bool; 7] = [true, false, false, true, true, false, false];
const NAME: usize = 1;
const SOURCE: usize = 2;

fn table(entries: &[Entry], width: usize, is_ascii: bool) -> Vec<String> {
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(entries.iter().map(Entry::cells));
    let mut widths = [0; 7];
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(columns(cell));
        }
    }
    // What is too wide costs the source first, then the name.
    let gaps = (widths.len() - 1) * 2;
    for (column, least) in [(SOURCE, 14), (NAME, 10), (SOURCE, 6)] {
        let excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        widths[column] = widths[column]
            .saturating_sub(excess)
            .max(least.min(widths[column]));
    }
    let line = |row: &[String; 7]| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let cell = clip(cell, widths[column], is_ascii);
            let padding = " ".repeat(widths[column].saturating_sub(columns(&cell)));
            match IS_RIGHT[column] {
                true => format!("{padding}{cell}"),
                false => format!("{cell}{padding}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// `text` in at most `width` characters; what is cut off in its middle is marked.
fn clip(text: &str, width: usize, is_ascii: bool) -> String {
    let mark = if is_ascii { "~" } else { "…" };
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let (head, tail) = (room.div_ceil(2), room / 2);
    let start: String = characters.iter().take(head).collect();
    let end: String = characters.iter().skip(characters.len() - tail).collect();
    format!("{start}{mark}{end}")
}
