//! Rooms stand in an order, and none imports one that stands behind it.

use super::Source;
use super::circles::graph;
use std::collections::BTreeSet;

/// A crate's folder, and its rooms from the lowest up: a room imports only those named before it. A line is
/// what could stand in any order when it was written.
pub(super) type House = (&'static str, &'static [&'static str]);

pub(super) const HOUSES: &[House] = &[
    (
        "partition/src/",
        &[
            "durable extent locks text",
            "bytes error identity own_id",
            "device",
            "outside system table",
            "filesystem",
            "inspect",
            "planner",
            "carried",
        ],
    ),
    (
        "imaging/src/",
        &[
            "buffer chunk clock durable extents hex nbd packed pieces pipeline rung section spot tally",
            "error foreign mark own_file",
            "intent plan progress source target_writer",
            "record stage",
            "change verify live",
            "clone image",
            "rescue serve",
        ],
    ),
    (
        "src/",
        &[
            "error exact human inventory json likeness mending messages signals threads cli",
            "advice confirm ledger listing mount output picture records zone",
            "files_hit image manual plan_file foreign progress",
            "overlay explain named",
            "description guard",
            "lay_out still target dormant",
            "finish source",
            "jobs side",
            "boot_code boot_fields direction outside own_identity plan_copy testing",
            "report",
            "grow minimum",
            "run",
            "command",
        ],
    ),
];

/// Arrows that lead up, as `folder/from → folder/to`, and rooms that the list lacks or has in vain.
pub(super) fn upward(sources: &[Source], houses: &[House]) -> Vec<(String, String)> {
    let mut offenders = Vec::new();
    for (folder, lines) in houses {
        let graph = graph(sources, folder);
        let order: Vec<&str> = lines.iter().flat_map(|line| line.split(' ')).collect();
        let place = |file: &str| order.iter().position(|room| *room == room_of(file));
        let there: BTreeSet<&str> = graph.keys().map(|file| room_of(file)).collect();
        let listed: BTreeSet<&str> = order.iter().copied().chain(["lib", "main"]).collect();
        for room in there.difference(&listed) {
            let name = format!("{folder}{room}");
            offenders.push((
                name.clone(),
                format!("{name} has no place in tidy/floors.rs"),
            ));
        }
        for room in order.iter().filter(|room| !there.contains(**room)) {
            let name = format!("{folder}{room}");
            offenders.push((
                name.clone(),
                format!("{name} is gone; tidy/floors.rs has it"),
            ));
        }
        for (from, to) in graph
            .iter()
            .flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
        {
            if let (Some(low), Some(high)) = (place(from), place(to))
                && high > low
            {
                let arrow = format!("{folder}{from} → {folder}{to}");
                offenders.push((arrow.clone(), arrow));
            }
        }
    }
    offenders
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}
