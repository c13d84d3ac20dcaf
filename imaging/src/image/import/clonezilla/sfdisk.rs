//! The dump of a partition table as `sfdisk --dump` prints it, of old versions, too.

use klon_partition::table::{Partition, PartitionType, Scheme, Table};
use klon_partition::{Error, Extent, Geometry, Result};
use std::str::FromStr;

/// The table for a disk of `geometry`.
pub(super) fn parse(text: &str, geometry: Geometry) -> Result<Table> {
    let header = |key: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(found, _)| found.trim() == key);
        values.next().map(|(_, value)| value.trim())
    };
    let sector_bytes = match header("sector-size") {
        Some(size) => number(size, "sector-size")?,
        None => geometry.logical_sector_bytes.into(),
    };
    let sector_bytes = u32::try_from(sector_bytes).unwrap_or(0);
    if !sector_bytes.is_power_of_two() || !(512..=65536).contains(&sector_bytes) {
        return Err(wrong("sector-size", &sector_bytes.to_string()));
    }
    let geometry = Geometry::new(geometry.size_bytes, sector_bytes);
    let id = header("label-id").unwrap_or_default();
    let mut table = match header("label") {
        Some("gpt") => {
            let mut table = Table::new_gpt(geometry, parsed(id, "label-id")?)?;
            let sector = |key| header(key).and_then(|value| value.parse::<u64>().ok());
            let at = |sector: u64| sector.checked_mul(sector_bytes.into());
            let first = sector("first-lba").and_then(at);
            let end = sector("last-lba").and_then(|last| at(last.checked_add(1)?));
            // Partitions may lie where it says, as far as the disk has room for that.
            if let (Some(first), Some(end)) = (first, end)
                && let Some(usable) = Extent::between(first, end)
            {
                table.usable = usable.intersection(table.usable).unwrap_or(table.usable);
            }
            table
        }
        Some("dos") | None => {
            let digits = id.trim_start_matches("0x");
            Table::new_mbr(geometry, u32::from_str_radix(digits, 16).unwrap_or(0))?
        }
        Some(other) => {
            return Err(Error::unsupported(
                format!("a partition table of kind {other}"),
                "restore it with Clonezilla, and image that disk",
            ));
        }
    };
    for line in text.lines().filter(|line| line.starts_with("/dev/")) {
        table
            .partitions
            .extend(partition(line, table.scheme, sector_bytes)?);
    }
    table.partitions.sort_by_key(|partition| partition.number);
    Ok(table)
}

/// `/dev/sda1 : start= 2048, size= 4096, type=83, bootable`; `None` for an empty slot.
fn partition(line: &str, scheme: Scheme, sector_bytes: u32) -> Result<Option<Partition>> {
    let (node, fields) = line
        .split_once(" :")
        .or_else(|| line.split_once(": "))
        .ok_or_else(|| wrong("line", line))?;
    let digits = node.trim().rsplit(|c: char| !c.is_ascii_digit()).next();
    let slot: u32 = parsed(digits.unwrap_or_default(), "number")?;
    let fields = split(fields);
    let field = |key: &str| {
        let mut pairs = fields.iter().filter_map(|field| field.split_once('='));
        let found = pairs.find(|(found, _)| found.trim() == key);
        found.map(|(_, value)| value.trim().trim_matches('"').trim())
    };
    let sectors = |key: &'static str| number(field(key).unwrap_or_default(), key);
    let bytes = |key| sectors(key).map(|count| count.checked_mul(sector_bytes.into()));
    let (start, len) = (bytes("start")?, bytes("size")?);
    let (Some(start), Some(len)) = (start, len) else {
        return Err(wrong("size", line));
    };
    let Some(extent) = Extent::new(start, len) else {
        return Ok(None);
    };
    let kind = field("type").or_else(|| field("Id")).unwrap_or_default();
    let partition_type = match scheme {
        Scheme::Gpt => PartitionType::Gpt(parsed(kind, "type")?),
        Scheme::Mbr => match u8::from_str_radix(kind, 16) {
            Ok(0) => return Ok(None),
            Ok(byte) => PartitionType::Mbr(byte),
            Err(_) => return Err(wrong("type", kind)),
        },
    };
    Ok(Some(Partition {
        number: slot,
        extent,
        partition_type,
        guid: match scheme {
            Scheme::Gpt => Some(parsed(field("uuid").unwrap_or_default(), "uuid")?),
            Scheme::Mbr => None,
        },
        name: unescaped(field("name").unwrap_or_default()),
        attributes: attributes(field("attrs").unwrap_or_default()),
        is_bootable: fields.iter().any(|field| field.trim() == "bootable"),
    }))
}

/// The fields of a line; commas in quotes are part of one.
fn split(fields: &str) -> Vec<String> {
    let (mut all, mut is_quoted) = (vec![String::new()], false);
    for letter in fields.chars() {
        is_quoted ^= letter == '"';
        match (letter, all.last_mut()) {
            (',', _) if !is_quoted => all.push(String::new()),
            (letter, Some(last)) => last.push(letter),
            (_, None) => {}
        }
    }
    all
}

/// Names may hold bytes as `\x20`.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex = behind.strip_prefix(b"x").and_then(|hex| hex.get(..2));
        let byte = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `RequiredPartition NoBlockIOProtocol LegacyBIOSBootable GUID:59,63`.
fn attributes(text: &str) -> u64 {
    let words = text.split_whitespace();
    words.fold(0, |all, word| match word {
        "RequiredPartition" | "RequiredPartiton" => all | 1,
        "NoBlockIOProtocol" => all | 1 << 1,
        "LegacyBIOSBootable" => all | 1 << 2,
        word => {
            let bits = word.strip_prefix("GUID:").unwrap_or(word).split(',');
            let bits = bits.filter_map(|bit| bit.parse::<u32>().ok());
            bits.filter(|bit| *bit < 64)
                .fold(all, |all, bit| all | 1 << bit)
        }
    })
}

fn parsed<T: FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse().map_err(|_| wrong(what, text))
}

fn number(text: &str, what: &str) -> Result<u64> {
    parsed(text, what)
}

fn wrong(what: &str, found: &str) -> Error {
    Error::Invalid(format!(
        "the table that sfdisk dumped: {what} is not understood: {found:?}"
    ))
}
