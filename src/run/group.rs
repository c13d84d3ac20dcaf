//! The volumes of a group are updated as one. klon stages all that can be staged, commits it by one
//! write, and brings it into place; then it writes in place what could not be staged. One volume is a
//! group of one.

use super::end::{Context, End, listed};
use super::live::clone_live;
use super::present::present;
use super::{complete, consent, read_back};
use crate::confirm;
use crate::human;
use crate::jobs::VolumeJob;
use crate::messages::say;
use crate::source::SourceEnd;
use crate::source::watch::Watch;
use crate::target::open::OpenTarget;
use anyhow::{Context as _, Result};
use klon_imaging::clone::{
    self as imaging, Begun, Drive, Ends, Filled, Group, Job, StagedClone, Stopped, Update,
};
use klon_imaging::image::Salvaged;
use klon_imaging::mark::Mark;
use klon_imaging::stage::group::MEMBERS_MAX;
use klon_imaging::{CloneOptions, CloneSummary, Error as ImagingError, Event, Observer};
use klon_partition::{Extent, ExtentMap};

/// The jobs that are updated as one, in the order of the first of each.
pub fn groups(jobs: &[VolumeJob]) -> Vec<Vec<&VolumeJob>> {
    let mut groups: Vec<Vec<&VolumeJob>> = Vec::new();
    for job in jobs {
        let same = groups.iter_mut().find(|group| {
            let first = group.first().and_then(|first| first.group.as_ref());
            job.group.is_some() && first == job.group.as_ref()
        });
        match same {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

/// Clones the volumes of a group.
///
/// # Errors
/// The failure of the first volume, with what stands on each of them now.
pub fn clone_group(jobs: &[&VolumeJob], with: Context<'_>) -> Result<Vec<CloneSummary>> {
    let targets = open_all(jobs, with)?;
    let places: Vec<Extent> = targets.iter().filter_map(OpenTarget::at).collect();
    let mut ends = Vec::new();
    for (job, target) in jobs.iter().zip(&targets) {
        let end = end(job, target, &places, with);
        ends.push(end.with_context(|| format!("cloning {}", job.name))?);
    }
    // Only volumes of one drive can be committed by one write.
    let is_group = places.len() == ends.len() && ends.len() <= MEMBERS_MAX;
    let summaries = if is_group {
        clone_ends(&ends, with)?
    } else {
        let mut summaries = Vec::new();
        for end in ends.chunks(1) {
            summaries.extend(clone_ends(end, with)?);
        }
        summaries
    };
    targets.iter().for_each(OpenTarget::keep);
    if with.run.policy.is_verified {
        for (job, target) in jobs.iter().zip(&targets) {
            read_back::read_back(job, target, with.run, with.progress)?;
        }
    }
    Ok(summaries)
}

/// Opens all targets, and completes what was interrupted.
fn open_all(jobs: &[&VolumeJob], with: Context<'_>) -> Result<Vec<OpenTarget>> {
    let mut targets: Vec<OpenTarget> = Vec::new();
    for job in jobs {
        let open = || {
            let source = job.source.as_ref().context("a clone needs a source")?;
            let size_bytes = source.device.geometry().size_bytes;
            OpenTarget::new(&job.target, size_bytes, &targets, with.run.system)
        };
        let checked = || -> Result<_> {
            let open = open()?;
            consent::still(job, &open, with.run.records, with.run.policy)?;
            Ok(open)
        };
        let open = checked().with_context(|| format!("cloning {}", job.name))?;
        targets.push(open);
    }
    let mut is_changed = false;
    for (job, target) in jobs.iter().zip(&targets) {
        let completed = complete::complete(job, target, &targets, with.run);
        is_changed |= completed.with_context(|| format!("cloning {}", job.name))?;
    }
    if is_changed {
        targets.iter_mut().for_each(OpenTarget::forget);
    }
    Ok(targets)
}

fn end<'a>(
    job: &'a VolumeJob,
    target: &'a OpenTarget,
    places: &[Extent],
    with: Context<'_>,
) -> Result<End<'a>> {
    let source = job.source.as_ref().context("a clone needs a source")?;
    let present = match with.run.policy.options.update {
        Update::InPlace => None,
        Update::Staged => present(job, source, target, with.run.records)?,
    };
    Ok(End {
        job,
        source,
        target,
        present,
        // On other drives, bytes outside of partitions may be a lost partition that someone wants back.
        room: if job.is_planned {
            target.room(places)?
        } else {
            ExtentMap::new()
        },
    })
}

fn clone_ends(ends: &[End<'_>], with: Context<'_>) -> Result<Vec<CloneSummary>> {
    let watches: Vec<_> = ends.iter().map(|end| move || watch(end)).collect();
    let lost: Vec<_> = ends.iter().map(|end| move || lost(end.source)).collect();
    let jobs: Vec<Job<'_>> = ends
        .iter()
        .zip(&watches)
        .zip(&lost)
        .map(|((end, watch), lost)| Job {
            continuity: with.run.policy.continuity.as_ref(),
            ..job(end, watch, lost)
        })
        .collect();
    let mut summaries: Vec<Option<CloneSummary>> = ends.iter().map(|_| None).collect();
    let (mut staged, mut unchanged, mut in_place) = (Vec::new(), Vec::new(), Vec::new());
    let mut taken = ExtentMap::new();
    for (index, summary) in clone_live(ends, &jobs, with)? {
        summaries[index] = Some(summary);
    }
    for (index, (end, job)) in ends.iter().zip(&jobs).enumerate() {
        if end.source.live.is_some() {
            continue;
        }
        if end.present.is_none() {
            in_place.push(index);
            continue;
        }
        let group = job.drive.map(|drive| Group {
            volumes: ends.len(),
            at: drive.at,
            drive_taken: &taken,
        });
        let options = with.run.policy.options_for(end.job);
        match imaging::begin(job, with.of_clone(&options), group) {
            Ok(Begun::Complete(summary)) => {
                summaries[index] = Some(*summary);
                unchanged.push(job);
            }
            Ok(Begun::Staged(one)) => {
                taken = taken.union(one.drive_taken());
                if ends.len() > 1 {
                    with.progress.event(&Event::Staged);
                }
                staged.push((index, *one));
            }
            Err(Stopped {
                error: ImagingError::NoRoom { room_bytes },
                ..
            }) if confirm::yes(&in_place_question(end.job, room_bytes))? => {
                in_place.push(index);
            }
            Err(stopped) => return Err(end.told(stopped, &end.job.name, with.run.records)),
        }
    }
    if !staged.is_empty() && !in_place.is_empty() {
        let names = names(in_place.iter().map(|&index| &ends[index]));
        say(&format!(
            "klon: {names} can't be staged with the rest of the group, so klon writes in place \
             after updating the rest"
        ));
    }
    for (index, summary) in commit(ends, staged, &unchanged, with)? {
        summaries[index] = Some(summary);
    }
    for index in in_place {
        summaries[index] = Some(write_in_place(&ends[index], &jobs[index], with)?);
    }
    Ok(summaries.into_iter().flatten().collect())
}

fn watch(end: &End<'_>) -> klon_partition::Result<Option<String>> {
    let watch = end.source.watch.as_ref();
    let changed = watch.map_or(Ok(None), Watch::changed)?;
    match (changed, &end.job.tracking) {
        (None, Some(tracking)) => tracking.changed(),
        (changed, _) => Ok(changed),
    }
}

/// What was lost before, and what the image no longer has.
fn lost(source: &SourceEnd) -> Filled {
    let Filled { extents, texts } = source.lost_before.clone();
    let now = source.salvaged.as_ref().map(Salvaged::lost);
    let extents = extents.union(&now.unwrap_or_default());
    Filled { extents, texts }
}

fn job<'a>(
    end: &'a End<'_>,
    watch: &'a imaging::Watch<'a>,
    lost: &'a imaging::Lost<'a>,
) -> Job<'a> {
    let space = end.target.space();
    Job {
        present: end.present.as_ref(),
        drive: space
            .drive
            .zip(end.target.at())
            .filter(|_| end.job.is_planned)
            .map(|(device, at)| Drive {
                device,
                room: &end.room,
                is_given_up: end.job.is_drive_given_up,
                at,
            }),
        role: end.job.role,
        watch: Some(watch),
        lost: Some(lost),
        tracked: end.job.tracking.as_ref().map(|found| &found.tracked),
        written_by: &end.source.written_by,
        rested: end.source.rested.as_ref(),
        own_identity: end.source.own_identity.as_ref(),
        ..Job::new(
            &end.job.name,
            Ends {
                source: &*end.source.device,
                usage: &end.source.usage,
                source_identity: &end.source.identity,
                target: &*end.target.volume,
                target_identity: &end.job.target.identity,
            },
        )
    }
}

/// Commits what is staged, and brings it into place.
fn commit(
    ends: &[End<'_>],
    staged: Vec<(usize, StagedClone<'_>)>,
    unchanged: &[&Job<'_>],
    with: Context<'_>,
) -> Result<Vec<(usize, CloneSummary)>> {
    if staged.is_empty() {
        return Ok(Vec::new());
    }
    let (indices, staged): (Vec<usize>, Vec<_>) = staged.into_iter().unzip();
    with.progress.event(&Event::Committing);
    let options = with.run.policy.options;
    let done =
        imaging::commit(staged, unchanged, with.run.records, &options).map_err(|stopped| {
            let mut members = indices.iter().map(|&index| &ends[index]);
            let first = members.clone().next();
            // The one that tells how far it came.
            let is_marked = |end: &&End<'_>| {
                let mark = Mark::read(&end.target.volume);
                mark.is_ok_and(|mark| mark.is_some_and(|mark| mark.staged.is_some()))
            };
            let teller = members.clone().find(is_marked).or(first);
            let name = names(&mut members);
            match teller {
                Some(end) => end.told(stopped, &name, with.run.records),
                None => stopped.error.into(),
            }
        })?;
    for summary in &done {
        with.progress.event(&match ends.len() {
            1 => Event::Finished,
            _ => Event::FinishedOf {
                name: &summary.name,
                total_bytes: summary
                    .tally
                    .used_bytes
                    .saturating_add(summary.unproven_bytes),
            },
        });
    }
    Ok(indices.into_iter().zip(done).collect())
}

fn write_in_place(end: &End<'_>, job: &Job<'_>, with: Context<'_>) -> Result<CloneSummary> {
    let options = CloneOptions {
        update: Update::InPlace,
        ..with.run.policy.options_for(end.job)
    };
    imaging::clone(job, with.run.records, &options, with.progress)
        .map_err(|stopped| end.told(stopped, &end.job.name, with.run.records))
}

/// Names for a sentence: `A`, `A and B`, `A, B and C`.
fn names<'a>(ends: impl Iterator<Item = &'a End<'a>>) -> String {
    let names: Vec<&str> = ends.map(|end| end.job.name.as_str()).collect();
    listed(&names)
}

fn in_place_question(job: &VolumeJob, room_bytes: u64) -> String {
    format!(
        "The changes for {} do not fit in the {} that are free on its drive, so klon can't stage \
         them. Overwrite the earlier clone in place? If the run is interrupted, the clone is \
         unfinished until the next run completes it",
        job.name,
        human::size(room_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::{groups, in_place_question, listed};
    use crate::jobs::VolumeJob;
    use crate::testing::job;

    fn of_group(name: &str, group: Option<&str>) -> VolumeJob {
        VolumeJob {
            group: group.map(str::to_owned),
            ..job(name)
        }
    }

    #[test]
    fn volumes_of_a_group_are_together_in_the_order_of_the_first() {
        let jobs = [
            of_group("Boot", Some("A")),
            of_group("Data", Some("B")),
            of_group("Boot-ESP", Some("A")),
        ];
        let found: Vec<Vec<&str>> = groups(&jobs)
            .iter()
            .map(|group| group.iter().map(|job| job.name.as_str()).collect())
            .collect();
        assert_eq!(found, [vec!["Boot", "Boot-ESP"], vec!["Data"]]);
    }

    #[test]
    fn volumes_without_a_group_stay_alone() {
        let jobs = [of_group("a", None), of_group("b", None)];
        assert_eq!(groups(&jobs).len(), 2);
    }

    #[test]
    fn names_are_listed_as_people_do() {
        assert_eq!(listed(&[]), "");
        assert_eq!(listed(&["A"]), "A");
        assert_eq!(listed(&["A", "B"]), "A and B");
        assert_eq!(listed(&["A", "B", "C"]), "A, B and C");
    }

    #[test]
    fn the_question_says_what_is_at_stake() {
        let text = in_place_question(&job("Boot"), 5 << 20);
        assert!(text.starts_with("The changes for Boot do not fit in the 5 MiB"));
        assert!(text.contains("If the run is interrupted"));
    }
}
