//! Volumes that are mounted for writing: brought to rest for moments, and cloned in passes.

use super::end::{Context, End, listed};
use crate::cli::HookArgs;
use crate::error::{INTERRUPTED, code, message};
use crate::messages::say;
use crate::signals::interrupt_flag;
use crate::source::live::Live;
use crate::still::{Freezer, Hooks, How, Role, in_the_way, refusal, writers};
use anyhow::{Context as _, Result};
use klon_imaging::clone::Job;
use klon_imaging::clone::Watch;
use klon_imaging::clone::live::{self, AtRest, LiveJob, Look, Rest};
use klon_imaging::{CloneSummary, Error as ImagingError, Result as ImagingResult};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Clones those that are mounted for writing, all of them as they are at the same moment.
///
/// # Errors
/// The failure of the first volume, with what stands on the targets now.
pub(super) fn clone_live(
    ends: &[End<'_>],
    jobs: &[Job<'_>],
    with: Context<'_>,
) -> Result<Vec<(usize, CloneSummary)>> {
    let mut volumes = Vec::new();
    for (index, end) in ends.iter().enumerate() {
        volumes.extend(end.source.live.as_ref().map(|source| (index, source)));
    }
    let Some(&(first, Live { longest, .. })) = volumes.first() else {
        return Ok(Vec::new());
    };
    let held: Vec<(PathBuf, Option<How>)> = volumes
        .iter()
        .flat_map(|(_, source)| source.held())
        .collect();
    let targets: Vec<(Role, PathBuf)> = volumes
        .iter()
        .map(|&(index, _)| (Role::Target, ends[index].job.target.place.path.clone()))
        .collect();
    let hooks = with.run.policy.hooks.as_ref();
    let mut sources = Sources::begin(&held, *longest, &targets, hooks)?;
    let looks: Vec<_> = volumes
        .iter()
        .map(|&(index, source)| {
            move |since| {
                let found = source.look(ends[index].source, with.run.system, since);
                found.map_err(refused)
            }
        })
        .collect();
    let beside: Vec<_> = volumes
        .iter()
        .map(|&(_, source)| move || source.changed())
        .collect();
    let of = |((&(index, _), look), beside)| LiveJob {
        job: Job {
            watch: None,
            ..jobs[index]
        },
        look,
        beside: Some(beside),
    };
    let looks = looks.iter().map(|look| look as &Look<'_>);
    let beside = beside.iter().map(|watch| watch as &Watch<'_>);
    let all = volumes.iter().zip(looks).zip(beside).map(of);
    let all: Vec<LiveJob<'_>> = all.collect();
    let options = with.run.policy.options_for(ends[first].job);
    let done = live::clone(&all, &mut sources, with.of_clone(&options));
    let done = done.map_err(|stopped| {
        let members: Vec<&str> = volumes
            .iter()
            .map(|&(index, _)| &*ends[index].job.name)
            .collect();
        ends[first].told(stopped, &listed(&members), with.run.records)
    })?;
    Ok(volumes.iter().map(|&(index, _)| index).zip(done).collect())
}

/// The sources of a run, brought to rest together.
pub struct Sources {
    freezer: Freezer,
    hooks: Option<Hooks>,
    longest: Duration,
    /// Where volumes are mounted that can't be brought to rest.
    restless: Vec<PathBuf>,
}

/// Where what is mounted that has no way.
fn of_none(held: &[(PathBuf, Option<How>)]) -> Vec<PathBuf> {
    let all = held.iter().filter(|(_, how)| how.is_none());
    all.map(|(at, _)| at.clone()).collect()
}

impl Sources {
    /// Makes ready to bring to rest what is mounted there, in those ways, for as long as `longest` at once. What has no
    /// way is left as it is. `written` is written to meanwhile.
    ///
    /// # Errors
    /// A refusal when one can't be brought to rest, or what is written lies on one.
    pub fn begin(
        held: &[(PathBuf, Option<How>)],
        longest: Duration,
        written: &[(Role, PathBuf)],
        hooks: Option<&HookArgs>,
    ) -> Result<Self> {
        let mounts: Vec<PathBuf> = held.iter().map(|(at, _)| at.clone()).collect();
        let obstacles = in_the_way(written, &mounts)?;
        if !obstacles.is_empty() {
            return Err(refusal(&obstacles));
        }
        let find = |args| Hooks::find(args, &mounts, interrupt_flag().context("signals")?);
        Ok(Self {
            freezer: Freezer::holding(held, longest)?,
            hooks: hooks.map(find).transpose()?,
            longest,
            restless: of_none(held),
        })
    }
}

impl Rest for Sources {
    fn rest(&mut self) -> ImagingResult<Box<dyn AtRest + Send + '_>> {
        let hooks = &mut self.hooks;
        if let Some(hooks) = hooks {
            hooks.before().map_err(refused)?;
        }
        match self.freezer.freeze() {
            Ok(frozen) => Ok(Box::new(Frozen { frozen, hooks })),
            Err(error) => {
                after(hooks);
                Err(refused(error))
            }
        }
    }

    fn longest(&self) -> Duration {
        self.longest
    }

    fn writers(&self) -> Vec<String> {
        self.restless.iter().flat_map(|at| writers(at)).collect()
    }
}

/// The error of a source that can't be brought to rest or looked at.
pub fn refused(error: anyhow::Error) -> ImagingError {
    if code(&error) == INTERRUPTED {
        return ImagingError::Interrupted;
    }
    let said = message(&error);
    let said = said.strip_prefix("refused: ").unwrap_or(&said);
    ImagingError::Refused(said.to_owned())
}

/// Lets go on what was brought to rest before the freeze. Nothing of the clone depends on it.
fn after(hooks: &mut Option<Hooks>) {
    if let Some(hooks) = hooks
        && let Err(error) = hooks.after()
    {
        say(&format!("klon: warning: {}", message(&error)));
    }
}

struct Frozen<'a> {
    frozen: crate::still::Frozen<'a>,
    hooks: &'a mut Option<Hooks>,
}

impl AtRest for Frozen<'_> {
    fn since(&self) -> SystemTime {
        self.frozen.since()
    }

    fn left(&self) -> Duration {
        self.frozen.left()
    }

    fn end(self: Box<Self>) -> ImagingResult<Duration> {
        #[cfg(debug_assertions)]
        keep_frozen();
        let Self { frozen, hooks } = *self;
        let ended = frozen.thaw();
        after(hooks);
        ended.map_err(refused)
    }
}

/// For tests: copies what is frozen before it goes on, by a command that a variable names, so that a clone
/// can be compared with it. No release has it.
#[cfg(debug_assertions)]
fn keep_frozen() {
    if let Some(command) = std::env::var_os("KLON_TEST_WHILE_FROZEN") {
        let status = std::process::Command::new("sh")
            .arg("-c")
            .arg(command)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "KLON_TEST_WHILE_FROZEN failed"
        );
    }
}
