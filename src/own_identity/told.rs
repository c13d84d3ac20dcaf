//! What klon says of an identity before it makes a clone that has it.

use super::references::References;
use crate::listing::NAMED_MAX;
use crate::messages::say;
use crate::source::SourceEnd;
use klon_imaging::record::{Named, OwnName};

/// Names what the clone has otherwise than its source.
pub(super) fn announce(name: &str, source: &SourceEnd, found: &References) {
    say(&format!(
        "klon: {name} has an identity of its own, which {} does not have",
        source.name
    ));
    let own = source.own_identity.iter().flat_map(|own| &own.names);
    say_some(own.map(line));
    say_some(
        found
            .changed
            .iter()
            .map(|file| format!("  changed for that: {file}")),
    );
    for what in &found.untouched {
        say(&format!("klon: warning: {name}: {what}"));
    }
}

/// The first of some lines, and how many more there are.
fn say_some(lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    for line in lines.iter().take(NAMED_MAX) {
        say(line);
    }
    let more = lines.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        say(&format!("  and {more} more"));
    }
}

fn line(name: &OwnName) -> String {
    let what = match name.of {
        Named::Disk => "disk",
        Named::Partition => "partition",
        Named::Filesystem => "filesystem",
    };
    format!("  {what} {} becomes {}", name.from, name.to)
}

#[cfg(test)]
mod tests {
    use super::line;
    use klon_imaging::record::{Named, OwnName};

    #[test]
    fn both_names_are_told() {
        let name = OwnName {
            of: Named::Filesystem,
            from: "A".to_owned(),
            to: "B".to_owned(),
        };
        assert_eq!(line(&name), "  filesystem A becomes B");
    }
}
