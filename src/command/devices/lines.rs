//! What `klon devices` says to people of a disk and of each of its volumes.

use super::{Answer, VolumeAnswer};
use crate::human;
use klon_imaging::Consistency;
use klon_partition::table::Scheme;
use klon_partition::text::printable;
use klon_partition::{Identity, Shown};

/// A disk, and a line for each of its volumes.
pub(super) fn text(answer: &Answer) -> String {
    let mut parts = vec![human::size(answer.size_bytes)];
    if let Some(disk) = &answer.disk {
        parts.extend(disk.model.clone());
        parts.extend(
            disk.serial
                .as_ref()
                .map(|serial| format!("serial {serial}")),
        );
        parts.push(disk.transport.to_string());
        let traits = [
            (disk.is_rotational, "rotational"),
            (disk.is_removable, "removable"),
        ];
        parts.extend(
            traits
                .iter()
                .filter(|(is_so, _)| *is_so)
                .map(|(_, name)| (*name).to_owned()),
        );
    }
    parts.extend(answer.container.map(|container| format!("in {container}")));
    parts.extend(match (answer.table, &answer.error) {
        (Some(Scheme::Gpt), _) => Some("GPT".to_owned()),
        (Some(Scheme::Mbr), _) => Some("MBR".to_owned()),
        (None, None) => Some("no partition table".to_owned()),
        // What is on it was not seen.
        (None, Some(_)) => None,
    });
    parts.extend(answer.role.map(str::to_owned));
    let mut text = format!("{}  {}\n", answer.path.shown(), parts.join(", "));
    for volume in &answer.volumes {
        text.push_str(&volume_line(volume));
    }
    if answer
        .volumes
        .iter()
        .all(|volume| volume.volume.partition.is_some())
    {
        if let Some(of) = &answer.clone_of {
            let of = clone_of(of, answer.clone_consistency);
            text.push_str(&format!("  {of}\n"));
        }
        if let Some(of) = &answer.unfinished_clone_of {
            text.push_str(&format!("  {}\n", unfinished(of, answer.is_staged)));
        }
    }
    if let Some(error) = &answer.error {
        text.push_str(&format!("  ! {error}\n"));
    }
    for finding in &answer.findings {
        text.push_str(&format!("  ! {finding}\n"));
    }
    for one in &answer.uses {
        text.push_str(&format!("  in use: {one}\n"));
    }
    text
}

fn clone_of(source: &Identity, consistency: Option<Consistency>) -> String {
    match consistency.and_then(Consistency::told) {
        None => format!("clone of {source}"),
        Some(told) => format!("clone of {source}, which {told}"),
    }
}

fn volume_line(answer: &VolumeAnswer) -> String {
    let volume = &answer.volume;
    let number = volume
        .partition
        .as_ref()
        .map_or(String::new(), |part| part.number.to_string());
    let name = volume
        .partition
        .as_ref()
        .map_or(String::new(), |part| printable(&part.name));
    let size_bytes = volume.extent.len_bytes();
    let used_bytes = volume
        .filesystem
        .as_ref()
        .and_then(|filesystem| filesystem.used_bytes);
    let used = used_bytes.map_or_else(
        || human::size(size_bytes),
        |used| format!("{} of {} used", human::size(used), human::size(size_bytes)),
    );
    let mut notes = Vec::new();
    notes.extend(
        answer
            .mounts
            .iter()
            .map(|mount| format!("mounted at {}", mount.at.shown())),
    );
    notes.extend(
        answer
            .clone_of
            .as_ref()
            .map(|source| clone_of(source, answer.clone_consistency)),
    );
    notes.extend(
        answer
            .unfinished_clone_of
            .as_ref()
            .map(|of| unfinished(of, answer.is_staged)),
    );
    let hazards = volume
        .filesystem
        .iter()
        .flat_map(|filesystem| &filesystem.hazards);
    notes.extend(hazards.map(ToString::to_string));
    notes.extend(answer.advice.map(str::to_owned));
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!("  ({})", notes.join("; "))
    };
    let content = printable(&answer.content);
    format!("  {number:>3}  {name:<20}  {content:<22}  {used}{notes}\n")
}

fn unfinished(source: &str, is_staged: bool) -> String {
    let finish = if is_staged {
        "; klon finish completes it"
    } else {
        ""
    };
    format!("UNFINISHED clone of {source}{finish}")
}
