//! Which of two volumes is the original: by records, by names that hint at it, and by the consent of
//! the user to clone the other way.

use crate::confirm::Question;
use crate::error::{refused, usage};
use crate::human;
use crate::jobs::VolumeJob;
use crate::messages::say;
use crate::named::identity::partition_identity;
use crate::named::open::OpenPlace;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::{Manifest, RecordStore, Role};
use klon_partition::Shown;
use klon_partition::{Identity, ReadAt};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Refuses targets that are originals of other clones; with `is_forced` notes in the jobs what
/// must be consented to instead. Notes what each clone is for.
///
/// # Errors
/// [`refused`] names the clone of which the target is the original.
pub fn check(jobs: &mut [VolumeJob], records: &RecordStore, is_forced: bool) -> Result<()> {
    let manifests = records.manifests()?;
    if is_forced && jobs.iter().any(|job| job.is_planned) {
        return Err(usage(
            "--force-direction is for one SOURCE and TARGET. The targets of a plan are clones",
        ));
    }
    for job in jobs {
        let Some(source) = &job.source else { continue };
        // Whatever is known of one of them may be true of the other: the user must say.
        if job.is_ambiguous {
            continue;
        }
        let (from, to) = (&source.identity, &job.target.identity);
        let Some(against) = against(&manifests, from, to, job.is_planned) else {
            let lost = job
                .target
                .now
                .as_ref()
                .filter(|_| !is_forced && !job.is_planned);
            let lost = lost.map_or_else(Vec::new, |now| partitions(&now.open));
            if let Some(original) = original_among(&manifests, to, &lost) {
                return Err(refused(format!(
                    "{} holds an original: {} {}. To overwrite it anyway, add --force-direction",
                    job.target.place.given,
                    original.source,
                    story(original, from)
                )));
            }
            if is_clone(&manifests, from) {
                job.role = Role::Copy;
            }
            hint(job, source, &manifests);
            continue;
        };
        if &against.target == from && goes_back_to_device(job) {
            job.role = Role::Restore;
            continue;
        }
        let story = story(against, from);
        if !is_forced {
            let advice = if job.is_planned {
                "Leave it out with --only, or make a plan with another target"
            } else {
                "To overwrite the original anyway, add --force-direction"
            };
            return Err(refused(format!(
                "{to} {story}. {advice}. If you don't want that clone any more, delete its record \
                 {}",
                records.path(&against.target).shown()
            )));
        }
        let is_swap = against.role == Role::Copy && &against.target == from;
        job.role = if is_swap { Role::Backup } else { Role::Restore };
        job.reversal = Some(format!(
            "{to} {story}.{}",
            which_is_newer(against, job, source)
        ));
    }
    Ok(())
}

/// Whether a plain file goes to a device. One that was made of it is no drive that might be taken for the
/// original, so to bring it back is a restore: the device must be named, as for any other.
fn goes_back_to_device(job: &VolumeJob) -> bool {
    let kind = |path: &Path| path.metadata().map(|metadata| metadata.file_type());
    let is_file = |path: &Path| kind(path).is_ok_and(|kind| kind.is_file());
    let is_device = |path: &Path| kind(path).is_ok_and(|kind| kind.is_block_device());
    let source = job.source.as_ref();
    let source = source.is_some_and(|source| is_file(&source.path));
    source && !job.is_planned && is_device(&job.target.place.path)
}

/// The record that makes `target` an original, which `source` must not overwrite. A backup that was copied
/// is no original for another source. The targets of a plan are never originals.
fn against<'a>(
    manifests: &'a [Manifest],
    source: &Identity,
    target: &Identity,
    is_planned: bool,
) -> Option<&'a Manifest> {
    let mut originals = manifests.iter().filter(|manifest| {
        &manifest.source == target
            && &manifest.target != target
            && manifest.role != Role::Restore
            && (manifest.role != Role::Copy || !is_planned && &manifest.target == source)
            && !is_turned(manifests, manifest)
    });
    let first = originals
        .clone()
        .find(|manifest| &manifest.target == source);
    first.or_else(|| originals.next())
}

/// The partitions of a disk as records know them. A table that can't be relied on names none: such a
/// disk is unknown content.
fn partitions(open: &OpenPlace) -> Vec<Identity> {
    let is_told = open.partition.is_none() && open.layout.doubt().is_none();
    let table = open.layout.table.as_ref().filter(|_| is_told);
    let Some(table) = table else {
        return Vec::new();
    };
    let identity = |partition| partition_identity(table, partition);
    table.partitions.iter().filter_map(identity).collect()
}

/// The record that makes one of these partitions of the disk `whole` the original of a backup. A clone of a disk
/// has the same partitions, and is no original.
fn original_among<'a>(
    manifests: &'a [Manifest],
    whole: &Identity,
    partitions: &[Identity],
) -> Option<&'a Manifest> {
    manifests.iter().find(|manifest| {
        manifest.role == Role::Backup
            && partitions.contains(&manifest.source)
            && &manifest.target != whole
            && !is_clone(manifests, whole)
    })
}

/// Refuses to lay out anew what a record knows as the original of a backup: a drive, or partitions
/// of it.
///
/// # Errors
/// [`refused`] names the backup of which the drive is the original.
pub fn check_drive(drive: &OpenPlace, identity: &Identity, records: &RecordStore) -> Result<()> {
    let manifests = records.manifests()?;
    let mut lost = partitions(drive);
    lost.push(identity.clone());
    let Some(original) = original_among(&manifests, identity, &lost) else {
        return Ok(());
    };
    Err(refused(format!(
        "{} is or holds an original: {} {}. If you don't want that clone any more, delete its \
         record {}",
        drive.place.given,
        original.source,
        story(original, identity),
        records.path(&original.target).shown()
    )))
}

/// What a drive is or has that records know as the original of a backup, with what they say of it.
///
/// # Errors
/// When the records can't be read.
pub fn originals_on(
    drive: &OpenPlace,
    identity: &Identity,
    records: &RecordStore,
) -> Result<Vec<(Identity, String)>> {
    let manifests = records.manifests()?;
    let mut lost = partitions(drive);
    lost.push(identity.clone());
    let one = |lost: &Identity| {
        let original = original_among(&manifests, identity, std::slice::from_ref(lost))?;
        Some((original.source.clone(), story(original, identity)))
    };
    Ok(lost.iter().filter_map(one).collect())
}

/// Whether a record knows it as the clone of an original.
fn is_clone(manifests: &[Manifest], identity: &Identity) -> bool {
    manifests.iter().any(|manifest| {
        &manifest.target == identity
            && manifest.role != Role::Restore
            && !is_turned(manifests, manifest)
    })
}

/// Whether the user has said since that the former copy is the original now. Only such a run is
/// recorded as a backup that goes the other way.
fn is_turned(manifests: &[Manifest], of: &Manifest) -> bool {
    of.role == Role::Copy
        && manifests.iter().any(|other| {
            other.role == Role::Backup
                && (&other.source, &other.target) == (&of.target, &of.source)
                && other.ended_unix_seconds() >= of.ended_unix_seconds()
        })
}

/// What a record says of the target, for a sentence that begins with it.
fn story(against: &Manifest, source: &Identity) -> String {
    let direction = if &against.target == source {
        ": this would clone the backup over its original"
    } else {
        ""
    };
    format!(
        "is the source of the clone {} made {}{direction}",
        against.target,
        human::date(against.ended_unix_seconds())
    )
}

/// Which of the two was changed since the clone was made, as far as change tokens tell.
fn which_is_newer(against: &Manifest, job: &VolumeJob, source: &SourceEnd) -> String {
    if against.target != source.identity {
        return String::new();
    }
    let Some(recorded) = against.token else {
        return " Nothing on such volumes says which of the two changed since the backup"
            .to_owned();
    };
    let original = job.target.now.as_ref().and_then(|now| {
        let device: &dyn ReadAt = &*now.open.device;
        let found = now.open.recognized()?;
        found.change_token(&device).ok().flatten()
    });
    let is_kept = |token: klon_partition::filesystem::ChangeToken| token.0 == recorded.0;
    let kept = (original.map(is_kept), source.usage.token.map(is_kept));
    let story = match kept {
        (Some(true), Some(true)) => "Neither has changed since the backup",
        (Some(true), Some(false)) => "Only the backup has changed since it was made",
        (Some(true), None) => "The original has not changed since; the backup may have",
        (Some(false), Some(true)) => {
            "THE ORIGINAL HAS CHANGED SINCE: its changes would be lost. The backup has not changed"
        }
        (Some(false), Some(false)) => {
            "THE ORIGINAL HAS CHANGED SINCE: its changes would be lost. The backup has changed, too"
        }
        (Some(false), None) => {
            "THE ORIGINAL HAS CHANGED SINCE: its changes would be lost. The backup may have changed, too"
        }
        (None, Some(true)) => "The original may have changed since; the backup has not",
        (None, Some(false)) => "The backup has changed since; the original may have, too",
        (None, None) => "Nothing says whether either has changed since",
    };
    format!(" {story}")
}

/// Without a record, names still hint: those that plans give to clones.
fn hint(job: &VolumeJob, source: &SourceEnd, manifests: &[Manifest]) {
    let Some(name) = &source.clone_name else {
        return;
    };
    let is_known = |identity| {
        let mut manifests = manifests.iter();
        manifests.any(|one| &one.target == identity || &one.source == identity)
    };
    if job.target.clone_name.is_some() || is_known(&job.target.identity) {
        return;
    }
    say(&format!(
        "klon: warning: the source {} is named {name}, as klon names clones, and the target {} is \
         not. If the target is the original, this overwrites it with its backup. No record on \
         this machine says which of the two is the original",
        source.name, job.target.place.given
    ));
}

/// What the user is asked before an original is cloned over, with `there` on it: both must be named.
pub fn question(job: &VolumeJob, source: &SourceEnd, there: &str, reversal: &str) -> Question {
    Question {
        identity: job.target.identity.clone(),
        origin: Some(source.identity.clone()),
        description: format!(
            "{there}\n  which is the ORIGINAL that {} ({}) is a backup of\n  {reversal}",
            source.name, source.identity
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{against, is_clone, original_among, story};
    use crate::testing::{manifest, serial};
    use klon_imaging::{Manifest, Role};

    fn is_against(manifests: &[Manifest], source: &str, target: &str) -> bool {
        against(manifests, &serial(source), &serial(target), false).is_some()
    }

    #[test]
    fn an_original_is_not_cloned_over() {
        let manifests = [manifest("disk", "backup", Role::Backup, 1)];
        assert!(is_against(&manifests, "backup", "disk"));
        assert!(is_against(&manifests, "other", "disk"));
        assert!(!is_against(&manifests, "disk", "backup"));
    }

    #[test]
    fn the_record_of_the_same_two_is_told_first() {
        let manifests = [
            manifest("disk", "first", Role::Backup, 1),
            manifest("disk", "second", Role::Backup, 2),
        ];
        let found = against(&manifests, &serial("second"), &serial("disk"), false);
        assert_eq!(found.unwrap().target, serial("second"));
    }

    #[test]
    fn what_was_brought_back_makes_no_original() {
        let manifests = [manifest("backup", "disk", Role::Restore, 1)];
        assert!(!is_against(&manifests, "disk", "backup"));
    }

    #[test]
    fn a_copy_of_a_backup_makes_it_an_original_for_that_copy_alone() {
        let manifests = [manifest("backup", "copy", Role::Copy, 1)];
        assert!(is_against(&manifests, "copy", "backup"));
        assert!(!is_against(&manifests, "disk", "backup"));
        let planned = against(&manifests, &serial("copy"), &serial("backup"), true);
        assert!(planned.is_none());
    }

    #[test]
    fn a_copy_that_became_the_original_is_turned_from_then_on() {
        let copy = manifest("backup", "copy", Role::Copy, 5);
        let turned = |ended| {
            [
                copy.clone(),
                manifest("copy", "backup", Role::Backup, ended),
            ]
        };
        assert!(is_clone(std::slice::from_ref(&copy), &serial("copy")));
        assert!(!is_clone(&turned(6), &serial("copy")));
        assert!(is_clone(&turned(4), &serial("copy")));
    }

    #[test]
    fn a_disk_is_held_by_its_partitions_unless_it_is_a_clone() {
        let mut manifests = vec![manifest("part", "backup", Role::Backup, 1)];
        let parts = [serial("part")];
        let found = original_among(&manifests, &serial("disk"), &parts);
        assert_eq!(found.unwrap().source, serial("part"));
        manifests.push(manifest("whole", "disk", Role::Backup, 1));
        assert!(original_among(&manifests, &serial("disk"), &parts).is_none());
    }

    #[test]
    fn the_story_says_when_a_backup_would_go_over_its_original() {
        let record = manifest("disk", "backup", Role::Backup, 0);
        let text = story(&record, &serial("backup"));
        assert!(text.starts_with("is the source of the clone"), "{text}");
        assert!(text.ends_with("this would clone the backup over its original"));
        assert!(!story(&record, &serial("other")).contains("over its original"));
    }
}
