//! What klon says of an identity before it makes a clone that has it.

use crate::messages::say;
use crate::source::SourceEnd;
use klon_imaging::record::{Named, OwnIdentity, OwnName};

/// Names what the clone has otherwise than its source.
pub(super) fn announce(name: &str, source: &SourceEnd, own: &OwnIdentity) {
    say(&format!(
        "klon: {name} has an identity of its own, which {} does not have:",
        source.name
    ));
    for name in &own.names {
        say(&line(name));
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
