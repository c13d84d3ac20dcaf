//! Lists of changed ranges that other programs make.
//!
//! - JSON: an array of `[offset_bytes, len_bytes]`, or of objects with `offset` and `length` in bytes, as
//!   `nbdinfo --json --map=qemu:dirty-bitmap:NAME` and `rbd diff --format json` print them. Of the former, what is
//!   called `clean` did not change. Or an object that says, too, with which run of klon the list begins:
//!   `{"since": RUN, "changed": [...]}`.
//! - XML of `thin_delta` (thin-provisioning-tools): ranges in blocks of `data_block_size` sectors of 512
//!   bytes, with or without its `--verbose`. All but what it calls `same` changed.
//!
//! A list that can't be understood to its last range is an error: what is not named would be left out.

use klon_partition::{Error, Extent, ExtentMap, Result};
use roxmltree::{Document, Node, ParsingOptions};
use serde::Deserialize;
use std::fmt::Display;
use uuid::Uuid;

const NODES_MAX: u32 = 1 << 24;
const SECTOR_BYTES: u64 = 512;
/// What `thin_delta` calls ranges that changed.
const CHANGED: [&str; 3] = ["different", "left_only", "right_only"];

/// A list of changed ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeList {
    /// The ranges that it names as changed.
    pub changed: ExtentMap,
    /// The run of klon with which it begins, where it says so.
    pub since: Option<Uuid>,
}

/// A JSON list that says with which run it begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dated {
    since: Uuid,
    changed: Vec<Listed>,
}

/// One range of a JSON list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Pair(u64, u64),
    Named {
        offset: u64,
        length: u64,
        #[serde(default)]
        description: Option<String>,
    },
}

/// The ranges that a list names as changed, of a device of `size_bytes` bytes.
///
/// # Errors
/// [`Error::Invalid`] for what is no such list, or one of a larger device.
pub fn changed(text: &str, size_bytes: u64) -> Result<ChangeList> {
    match text.trim_start().starts_with('<') {
        true => Ok(ChangeList {
            changed: of_thin_delta(text, size_bytes)?,
            since: None,
        }),
        false => of_json(text, size_bytes),
    }
}

fn of_json(text: &str, size_bytes: u64) -> Result<ChangeList> {
    let (listed, since) = match text.trim_start().starts_with('{') {
        false => (serde_json::from_str(text).map_err(invalid)?, None),
        true => {
            let dated: Dated = serde_json::from_str(text).map_err(invalid)?;
            (dated.changed, Some(dated.since))
        }
    };
    let changed = of_listed(listed, size_bytes)?;
    Ok(ChangeList { changed, since })
}

fn of_listed(listed: Vec<Listed>, size_bytes: u64) -> Result<ExtentMap> {
    let mut changed = Vec::new();
    for one in listed {
        let (offset_bytes, len_bytes, description) = match one {
            Listed::Pair(offset_bytes, len_bytes) => (offset_bytes, len_bytes, None),
            Listed::Named {
                offset,
                length,
                description,
            } => (offset, length, description),
        };
        let end_bytes = offset_bytes.checked_add(len_bytes);
        let is_within = end_bytes.is_some_and(|end_bytes| end_bytes <= size_bytes);
        if !is_within {
            return Err(invalid(format!(
                "the range of {len_bytes} bytes at byte {offset_bytes} goes beyond the source"
            )));
        }
        if description.as_deref() != Some("clean") {
            changed.extend(Extent::new(offset_bytes, len_bytes));
        }
    }
    Ok(changed.into_iter().collect())
}

fn of_thin_delta(text: &str, size_bytes: u64) -> Result<ExtentMap> {
    let options = ParsingOptions {
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(invalid)?;
    let root = document.root_element();
    let mut diffs = root.children().filter(Node::is_element);
    let (Some(diff), None) = (diffs.next(), diffs.next()) else {
        return Err(invalid(
            "it does not hold one comparison of two thin volumes",
        ));
    };
    if (root.tag_name().name(), diff.tag_name().name()) != ("superblock", "diff") {
        return Err(invalid("it is no output of thin_delta"));
    }
    let sectors = number(root, "data_block_size")?;
    let block_bytes = sectors
        .checked_mul(SECTOR_BYTES)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| invalid(format!("blocks of {sectors} sectors")))?;
    let mut changed = Vec::new();
    for kind in diff.children().filter(Node::is_element) {
        let name = kind.tag_name().name();
        if name != "same" && !CHANGED.contains(&name) {
            return Err(invalid(format!("a range of an unknown kind, {name:?}")));
        }
        let mut ranges: Vec<Node<'_, '_>> = kind.children().filter(Node::is_element).collect();
        if ranges.is_empty() {
            ranges.push(kind);
        }
        for range in ranges {
            let extent = blocks(range, block_bytes, size_bytes)?;
            changed.extend(Some(extent).filter(|_| name != "same"));
        }
    }
    Ok(changed.into_iter().collect())
}

/// A range in blocks. The last block may reach beyond the volume.
fn blocks(range: Node<'_, '_>, block_bytes: u64, size_bytes: u64) -> Result<Extent> {
    let (begin, length) = (number(range, "begin")?, number(range, "length")?);
    let bytes = |blocks: u64| blocks.checked_mul(block_bytes);
    let ends = bytes(begin).zip(begin.checked_add(length).and_then(bytes));
    let ends = ends.filter(|(_, end)| *end < size_bytes.saturating_add(block_bytes));
    let extent = ends.and_then(|(start, end)| Extent::between(start, end.min(size_bytes)));
    extent.ok_or_else(|| {
        invalid(format!(
            "the range of {length} blocks at block {begin} goes beyond the source"
        ))
    })
}

fn number(node: Node<'_, '_>, name: &str) -> Result<u64> {
    let text = node.attribute(name).unwrap_or_default();
    text.parse().map_err(|_| {
        let tag = node.tag_name().name();
        invalid(format!("{tag}: {name}: expected a number, found {text:?}"))
    })
}

fn invalid(why: impl Display) -> Error {
    Error::Invalid(format!("the list of changed ranges can't be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::ChangeList;
    use klon_partition::{Extent, ExtentMap, Result};
    use proptest::prelude::*;

    const SIZE: u64 = 10_000_000;

    fn changed(text: &str, size_bytes: u64) -> Result<ExtentMap> {
        let ChangeList { changed, since } = super::changed(text, size_bytes)?;
        assert_eq!(since, None);
        Ok(changed)
    }

    #[test]
    fn a_list_may_say_with_which_run_it_begins() {
        const RUN: &str = "5f0c1f6e-94a3-4c55-8a4e-0f7c1d3f7e10";
        let text = format!(r#" {{"since": "{RUN}", "changed": [[4096, 512]]}}"#);
        let list = super::changed(&text, SIZE).unwrap();
        assert_eq!(list.since, Some(RUN.parse().unwrap()));
        assert_eq!(list.changed, map(&[(4096, 4608)]));
        for wrong in [
            text.replace("5f", "xx"),
            text.replace("changed", "other"),
            text.replace(" {", r#"{"more": 1, "#),
            text.replace("512", "99999999"),
        ] {
            super::changed(&wrong, SIZE).unwrap_err();
        }
    }

    fn map(ranges: &[(u64, u64)]) -> ExtentMap {
        let extents = ranges
            .iter()
            .filter_map(|&(start, end)| Extent::between(start, end));
        extents.collect()
    }

    #[test]
    fn lists_in_json() {
        let pairs = "[[4096, 8192], [0, 512], [65536, 0]]";
        assert_eq!(
            changed(pairs, SIZE).unwrap(),
            map(&[(0, 512), (4096, 12288)])
        );
        let named = r#"[{"offset":0,"length":65536,"type":0,"description":"clean"},
            {"offset":65536,"length":131072,"type":1,"description":"dirty"}]"#;
        assert_eq!(changed(named, SIZE).unwrap(), map(&[(65536, 196_608)]));
        let rbd = r#"[{"offset":4194304,"length":4194304,"exists":"false"}]"#;
        assert_eq!(changed(rbd, SIZE).unwrap(), map(&[(4_194_304, 8_388_608)]));
        assert!(changed("[]", SIZE).unwrap().is_empty());
        for wrong in [
            "",
            "{}",
            "[[0]]",
            "[[0, 1], 5]",
            "[[-1, 5]]",
            "[[0, 10000001]]",
            "[[18446744073709551615, 2]]",
            r#"[{"offset":0}]"#,
            r#"[[0, 1]"#,
        ] {
            changed(wrong, SIZE).unwrap_err();
        }
    }

    #[test]
    fn lists_of_thin_delta() {
        let text = |ranges: &str| {
            format!(
                "<superblock uuid=\"\" time=\"1\" transaction=\"2\" data_block_size=\"128\" \
                 nr_data_blocks=\"0\">\n  <diff left=\"1\" right=\"2\">{ranges}</diff>\n</superblock>"
            )
        };
        let terse = text(
            "<same begin=\"0\" length=\"2\"/><different begin=\"2\" length=\"1\"/>\
             <left_only begin=\"5\" length=\"1\"/><right_only begin=\"152\" length=\"1\"/>",
        );
        let expected = [(131_072, 196_608), (327_680, 393_216), (9_961_472, SIZE)];
        assert_eq!(changed(&terse, SIZE).unwrap(), map(&expected));
        let verbose = text(
            "<same><range begin=\"0\" left_data_begin=\"9\" length=\"2\"/></same>\
             <different><range begin=\"2\" length=\"1\"/><range begin=\"5\" length=\"1\"/></different>",
        );
        assert_eq!(changed(&verbose, SIZE).unwrap(), map(&expected[..2]));
        for wrong in [
            text("<other begin=\"0\" length=\"2\"/>"),
            text("<same begin=\"0\"/>"),
            text("<different begin=\"x\" length=\"2\"/>"),
            text("<different begin=\"0\" length=\"154\"/>"),
            text("<different begin=\"153\" length=\"1\"/>"),
            text("<different begin=\"18446744073709551615\" length=\"1\"/>"),
            text("").replace("128", "0"),
            text("").replace("diff", "dump"),
            "<superblock data_block_size=\"128\"/>".to_owned(),
            "<a".to_owned(),
        ] {
            changed(&wrong, SIZE).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_or_not(text in "[\\[\\]{}<>0-9a-z\", /=:]{0,80}") {
            let _ = super::changed(&text, SIZE);
        }
    }
}
