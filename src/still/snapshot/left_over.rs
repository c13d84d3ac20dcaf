//! Snapshots that runs of klon left behind: they were killed, or the machine went down.

use super::NAME;
use super::lvm::{Lvm, Volume};
use super::owner::{Owner, TAG};
use crate::messages::say;
use anyhow::Result;

/// Removes the snapshots of runs that have ended, and tells of them. What can't be removed is in nobody's way,
/// so it is told alone.
///
/// # Errors
/// What LVM says when it can't be asked.
pub fn remove_left_over(lvm: &Lvm) -> Result<()> {
    let own = Owner::own()?;
    for volume in lvm.volumes(None)? {
        if !is_left_over(&volume, &own) {
            continue;
        }
        let name = volume.full_name();
        say(&match remove(lvm, &name) {
            Ok(()) => format!(
                "klon: the snapshot {name} was left behind by a run that was killed; klon removed it"
            ),
            Err(error) => format!(
                "klon: warning: the snapshot {name} was left behind by a run that was killed, and can't \
                 be removed: {error:#}. By hand: lvremove {name}"
            ),
        });
    }
    Ok(())
}

/// Whether klon made it, by its name and both tags, in a run that has ended.
fn is_left_over(volume: &Volume, own: &Owner) -> bool {
    let is_klons = volume.name.starts_with(NAME) && volume.tags.iter().any(|tag| tag == TAG);
    let is_snapshot = volume.origin.is_some();
    let mut owners = volume.tags.iter().filter_map(|tag| Owner::of_tag(tag));
    is_klons && is_snapshot && owners.next().is_some_and(|owner| owner.has_ended(own))
}

/// Removes a snapshot.
pub(super) fn remove(lvm: &Lvm, name: &str) -> Result<()> {
    lvm.run(["lvremove", "--force", "--yes", "--quiet", name])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::lvm::Volume;
    use super::super::owner::Owner;
    use super::is_left_over;

    #[test]
    fn only_what_klon_made_in_a_run_that_ended_is_left_over() {
        let own = Owner::own().unwrap();
        let tag = own.tag();
        let ended = format!("{}1", tag);
        let of = |name: &str, tags: &[&str], origin: Option<&str>| {
            let volume = Volume {
                name: name.into(),
                tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
                origin: origin.map(str::to_owned),
                ..Volume::default()
            };
            is_left_over(&volume, &own)
        };
        assert!(of("klon-1", &["klon", &ended], Some("root")));
        assert!(!of("klon-1", &["klon", &tag], Some("root")), "it goes on");
        assert!(!of("klon-1", &["klon"], Some("root")));
        assert!(!of("klon-1", &[&ended], Some("root")));
        assert!(!of("root-klon", &["klon", &ended], Some("root")));
        assert!(!of("klon-1", &["klon", &ended], None), "no snapshot");
    }
}
