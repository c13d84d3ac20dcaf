//! The ways by which the sources of a run stand still, and what must be undone when it has ended.

use super::Hooks;
use super::snapshot::size::SnapshotSize;
use super::snapshot::{Lvm, LvmSnapshot, Origin, Unsuited, Watched, remove_left_over};
use crate::cli::{HookArgs, StillArg, StillArgs};
use crate::error::{Advice, message, refused, usage};
use crate::guard;
use crate::human;
use crate::messages::say;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::signals::interrupt_flag;
use crate::source::watch::Watch;
use anyhow::{Context as _, Result};
use klon_imaging::Consistency;
use klon_imaging::change::Rested;
use klon_partition::ReadAt;
use klon_partition::system::System;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// How the sources of a run stand still.
pub struct Ways {
    how: StillArg,
    size: Option<SnapshotSize>,
    /// What is run around each snapshot.
    hooks: Option<HookArgs>,
    /// Whether nothing may be made, as the run only says what it would do.
    is_dry_run: bool,
    is_quiet: bool,
    /// Whether what earlier runs left behind was looked for.
    has_looked: Cell<bool>,
    made: RefCell<Vec<Rc<LvmSnapshot>>>,
}

impl Ways {
    /// As the user wants it.
    ///
    /// # Errors
    /// [`usage`] for the size of a snapshot that is never made.
    pub fn new(args: &StillArgs, is_dry_run: bool, is_quiet: bool) -> Result<Self> {
        let makes_snapshots = matches!(args.still, StillArg::Auto | StillArg::Snapshot);
        if args.snapshot_size.is_some() && !makes_snapshots {
            return Err(usage(
                "--snapshot-size is for --still auto and --still snapshot: no other way makes a snapshot",
            ));
        }
        Ok(Self {
            how: args.still,
            size: args.snapshot_size,
            hooks: Some(args.hooks.clone()),
            is_dry_run,
            is_quiet,
            ..Self::none()
        })
    }

    /// For a command that takes sources as they are: one that changes is refused.
    pub const fn none() -> Self {
        Self {
            how: StillArg::Refuse,
            size: None,
            hooks: None,
            is_dry_run: true,
            is_quiet: true,
            has_looked: Cell::new(false),
            made: RefCell::new(Vec::new()),
        }
    }

    /// Lets `run` open sources and do its work. When all that it opened is closed, what was made for it is
    /// removed.
    ///
    /// # Errors
    /// As `run`; else when something that was made can't be removed.
    pub fn around<T>(self, run: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let done = run(&self);
        let mut ended = Ok(());
        for snapshot in self.made.take() {
            if let Err(error) = snapshot.end() {
                match (&done, &ended) {
                    (Ok(_), Ok(())) => ended = Err(error),
                    _ => say(&format!("klon: warning: {error:#}")),
                }
            }
        }
        let done = done?;
        ended.map(|()| done)
    }

    /// Opens a source, at rest.
    ///
    /// # Errors
    /// When it can't be opened; [`refused`] when it changes, and klon can't bring it to rest in the way that
    /// the user wants.
    pub fn claim(&self, place: &Place, system: &System) -> Result<OpenPlace> {
        match self.rest(place, system)? {
            Stillness::Claimed(open) => Ok(*open),
            Stillness::Moving(moving) => Err(moving.into()),
        }
    }

    /// Opens a source if it is at rest as it is, or by its snapshot.
    ///
    /// # Errors
    /// When it can't be opened; [`refused`] when the user wants a snapshot and there can be none.
    pub fn rest(&self, place: &Place, system: &System) -> Result<Stillness> {
        if place.is_export() {
            return match self.how {
                StillArg::Snapshot => Err(unsuited(place, "it is on a server")),
                _ => Ok(Stillness::Claimed(Box::new(place.claim()?))),
            };
        }
        let still = || guard::still(system, &place.path);
        match self.how {
            StillArg::Snapshot => match self.snapshot(place, system)? {
                Ok(snapshot) => Ok(Stillness::Claimed(Box::new(claim_snapshot(
                    place, &snapshot,
                )?))),
                Err(None) => Err(unsuited(place, "it is no logical volume of LVM")),
                Err(Some(Unsuited(why))) => Err(unsuited(place, &why)),
            },
            StillArg::Auto => {
                let Err(refusal) = still() else {
                    self.look_for_left_over(place, system)?;
                    return Ok(Stillness::Claimed(Box::new(place.claim()?)));
                };
                Ok(match self.snapshot(place, system)? {
                    Ok(snapshot) => Stillness::Claimed(Box::new(claim_snapshot(place, &snapshot)?)),
                    Err(why) => Stillness::Moving(Moving {
                        refusal,
                        no_snapshot: why.map(|Unsuited(why)| why),
                    }),
                })
            }
            _ => {
                self.look_for_left_over(place, system)?;
                Ok(match still() {
                    Ok(()) => Stillness::Claimed(Box::new(place.claim()?)),
                    Err(refusal) => Stillness::Moving(Moving {
                        refusal,
                        no_snapshot: None,
                    }),
                })
            }
        }
    }

    /// Says why a volume of LVM is frozen, and not read from a snapshot.
    pub fn tell_frozen(&self, place: &Place, moving: &Moving) {
        if let Some(why) = moving.no_snapshot.as_ref().filter(|_| !self.is_quiet) {
            say(&format!(
                "klon: {} is frozen for moments, as klon can't read it from a snapshot: {why}",
                place.given
            ));
        }
    }

    /// Makes a snapshot of a source; why there can be none, or `None` for what is no volume of LVM.
    fn snapshot(
        &self,
        place: &Place,
        system: &System,
    ) -> Result<std::result::Result<Rc<LvmSnapshot>, Option<Unsuited>>> {
        let origin = match self.origin(place, system)? {
            Ok(_) if self.is_dry_run => return Ok(Err(Some(Unsuited(DRY_RUN.to_owned())))),
            Ok(origin) => origin,
            Err(why) => return Ok(Err(why)),
        };
        Ok(self.made_of(place, &origin)?.map_err(Some))
    }

    /// Removes what killed runs left behind, when the source is a volume of LVM.
    fn look_for_left_over(&self, place: &Place, system: &System) -> Result<()> {
        let is_wanted = !self.is_dry_run && !self.has_looked.get();
        if is_wanted
            && system.logical_volume(&place.path)?.is_some()
            && let Some(lvm) = Lvm::find()
        {
            self.has_looked.set(true);
            remove_left_over(&lvm)?;
        }
        Ok(())
    }

    /// The volume that can have a snapshot; why not, or `None` for what is no volume of LVM.
    fn origin(
        &self,
        place: &Place,
        system: &System,
    ) -> Result<std::result::Result<Origin, Option<Unsuited>>> {
        let Some(logical) = system.logical_volume(&place.path)? else {
            return Ok(Err(None));
        };
        let Some(lvm) = Lvm::find() else {
            let why = "LVM's own program is missing (no program lvm)";
            return Ok(Err(Some(Unsuited(why.to_owned()))));
        };
        self.look_for_left_over(place, system)?;
        let uses = system.uses(&place.path)?;
        Ok(Origin::find(lvm, &logical, &uses)?.map_err(Some))
    }

    fn made_of(
        &self,
        place: &Place,
        origin: &Origin,
    ) -> Result<std::result::Result<Rc<LvmSnapshot>, Unsuited>> {
        let mut hooks = self.hooks_around(origin)?;
        if let Some(hooks) = &mut hooks {
            hooks.before()?;
        }
        let made = origin.snapshot(self.size);
        if let Some(hooks) = &mut hooks
            && let Err(error) = hooks.after()
        {
            say(&format!("klon: warning: {}", message(&error)));
        }
        let snapshot = match made? {
            Ok(snapshot) => Rc::new(snapshot),
            Err(unsuited) => return Ok(Err(unsuited)),
        };
        self.made.borrow_mut().push(snapshot.clone());
        if !self.is_quiet {
            say(&told(&place.given, &snapshot));
        }
        Ok(Ok(snapshot))
    }

    /// What is run around a snapshot of a mounted volume.
    fn hooks_around(&self, origin: &Origin) -> Result<Option<Hooks>> {
        match &self.hooks {
            Some(args) if !origin.mounts.is_empty() => {
                let flag = interrupt_flag().context("signals")?;
                Hooks::find(args, &origin.mounts, flag).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A source as the ways of a run find it.
pub enum Stillness {
    /// It is at rest, and open.
    Claimed(Box<OpenPlace>),
    /// It changes, and there is no snapshot of it.
    Moving(Moving),
}

/// A source that changes.
pub struct Moving {
    /// The refusal of one that is not frozen.
    refusal: anyhow::Error,
    /// Why klon can't read a volume of LVM from a snapshot.
    no_snapshot: Option<String>,
}

impl From<Moving> for anyhow::Error {
    fn from(moving: Moving) -> Self {
        match moving.no_snapshot {
            None => moving.refusal,
            Some(why) => moving.refusal.context(not_by_snapshot(&why)),
        }
    }
}

/// Why a dry run has no snapshot.
const DRY_RUN: &str = "--dry-run makes no snapshot";

/// What to say of a snapshot that was made.
fn told(name: &str, snapshot: &LvmSnapshot) -> String {
    let room = match snapshot.reserve {
        None => "thin, so it needs no room of its own".to_owned(),
        Some(reserve) => format!(
            "{} for what is written meanwhile{}",
            human::size(reserve.bytes),
            if reserve.is_rest {
                ": all that its volume group has free"
            } else {
                ""
            }
        ),
    };
    format!(
        "klon: {name} is read from its snapshot {} ({room})",
        snapshot.name
    )
}

fn not_by_snapshot(why: &str) -> Advice {
    Advice(format!("klon can't read it from a snapshot: {why}"))
}

fn unsuited(place: &Place, why: &str) -> anyhow::Error {
    refused(format!(
        "{} can't be read from a snapshot: {why}",
        place.given
    ))
}

/// Opens the snapshot in place of its origin, whose name and identity it has.
fn claim_snapshot(place: &Place, snapshot: &LvmSnapshot) -> Result<OpenPlace> {
    let state = &snapshot.state;
    let mut open = place.claim_at(&snapshot.node, |source| -> Arc<dyn ReadAt> {
        Arc::new(Watched::new(source, state.clone()))
    })?;
    open.watch = Some(Watch::of_snapshot(open.own()?, state.clone())?);
    open.rested = Some(Rested {
        since: snapshot.since,
        consistency: Consistency::Snapshot,
        session: None,
    });
    Ok(open)
}
