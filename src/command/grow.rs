//! `klon grow`: the partition of a clone, and the filesystem in it, made as large as there is room.

use crate::cli::{Common, Consent, GrowArgs};
use crate::confirm::{self, Loss};
use crate::error::{Advice, refused};
use crate::grow::{Done, Growing, Outlook, carry_out, look, settle};
use crate::human;
use crate::messages::say;
use crate::named::Place;
use crate::output;
use crate::records;
use anyhow::Result;
use klon_imaging::RecordStore;
use klon_partition::system::System;
use klon_partition::{Extent, Identity};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// What `--json` says.
#[derive(Serialize)]
struct Answer<'a> {
    event: &'static str,
    target: &'a str,
    identity: &'a Identity,
    /// The number of the partition; null for a volume without a table around it.
    partition: Option<u32>,
    filesystem: String,
    /// Whether nothing was written.
    dry_run: bool,
    /// Where the volume lies and lay.
    extent: Extent,
    from_bytes: u64,
    to_bytes: u64,
    /// Where its filesystem ended, and ends; the latter left out where nothing was written.
    filesystem_from_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    filesystem_to_bytes: Option<u64>,
    /// Whether there is data of no partition where it grows.
    takes_data: bool,
    /// Whether a record of a clone says that it was grown; left out where nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<bool>,
}

/// Grows what is on a target.
///
/// # Errors
/// When it can't grow, is in use, or consent is missing.
pub fn run(args: &GrowArgs, common: &Common) -> Result<ExitCode> {
    let system = System::current()?;
    let records = records::store(common)?;
    let place = Place::resolve(&args.target, &system)?;
    let growing = match look(place, &system)? {
        Outlook::Grows(growing) => growing,
        Outlook::Full(_, Some(full)) if !args.dry_run && settle(&full, &records)? => {
            let done = Done {
                extent: full.extent,
                filesystem_bytes: full.filesystem_bytes,
                is_recorded: true,
            };
            report(&full, Some(&done), common)?;
            return Ok(ExitCode::SUCCESS);
        }
        Outlook::Full(why, _) => return Err(refused(format!("nothing can grow. {why}"))),
    };
    if args.dry_run {
        report(&growing, None, common)?;
        return Ok(ExitCode::SUCCESS);
    }
    ask(&growing, &args.consent, &records)?;
    let done = carry_out(&growing, &records, &system)?;
    report(&growing, Some(&done), common)?;
    Ok(ExitCode::SUCCESS)
}

/// Grows what was restored to `target`, where it can grow. That it is restored was said already, and
/// consented to.
///
/// # Errors
/// As [`run`]; with what is complete all the same.
pub fn after_restore(target: &Path, common: &Common) -> Result<()> {
    let grow = || -> Result<()> {
        let system = System::current()?;
        let records = records::store(common)?;
        let growing = match look(Place::resolve(target, &system)?, &system)? {
            Outlook::Grows(growing) => growing,
            Outlook::Full(why, _) => {
                say(&format!("klon: nothing was grown. {why}"));
                return Ok(());
            }
        };
        if growing.takes_data {
            return Err(refused(format!(
                "it would grow over data in no partition:\n{}\nTo do it, run `klon grow`, which asks",
                growing.described()
            )));
        }
        let done = carry_out(&growing, &records, &system)?;
        report(&growing, Some(&done), common)
    };
    let advice = "The restore itself is complete, and what it brought back is whole";
    grow().map_err(|error| match error.downcast_ref::<Advice>() {
        Some(more) => {
            let advice = format!("{advice}. {more}");
            error.context(Advice(advice))
        }
        None => error.context(Advice(advice.to_owned())),
    })
}

/// Asks: for the identity where data may be lost, or where no record says that this is a clone.
fn ask(growing: &Growing, consent: &Consent, records: &RecordStore) -> Result<()> {
    let identities = [&growing.identity, &growing.disk_identity];
    let is_clone = identities.iter().any(|it| records.path(it).exists());
    let described = growing.described();
    if growing.takes_data || !is_clone {
        let unknown = "\n    no record here says that it is a clone: it may be an original";
        let description = format!("{described}{}", if is_clone { "" } else { unknown });
        let loss = Loss {
            identity: &growing.identity,
            description: &description,
        };
        return confirm::ask(&loss, consent);
    }
    let mut given = consent.confirm.iter();
    let is_any = |given: &String| identities.iter().any(|it| confirm::is_meant(given, it));
    if let Some(wrong) = given.find(|given| !is_any(given)) {
        return Err(refused(format!(
            "--confirm names {}, but what would grow is {}\n{described}",
            klon_partition::text::quoted(wrong),
            growing.identity
        )));
    }
    let after = "Then it is no longer a clone block for block. A later clone to it makes it one again and undoes the \
                 growth";
    if consent.yes || confirm::yes(&format!("This will grow\n{described}\n{after}"))? {
        return Ok(());
    }
    Err(refused(format!(
        "nobody said that it shall be done. Nothing was written. This would grow\n{described}\n{after}. To do it, \
         add: --yes"
    )))
}

fn report(growing: &Growing, done: Option<&Done>, common: &Common) -> Result<()> {
    let extent = done.map_or(growing.extent, |done| done.extent);
    if common.json {
        return Ok(output::json(&Answer {
            event: "grown",
            target: &growing.given,
            identity: &growing.identity,
            partition: growing.partition.as_ref().map(|it| it.number),
            filesystem: growing.kind.to_string(),
            dry_run: done.is_none(),
            extent,
            from_bytes: growing.extent.len_bytes(),
            to_bytes: growing.to_bytes(),
            filesystem_from_bytes: growing.filesystem_bytes,
            filesystem_to_bytes: done.map(|done| done.filesystem_bytes),
            takes_data: growing.takes_data,
            recorded: done.map(|done| done.is_recorded),
        })?);
    }
    if common.quiet {
        return Ok(());
    }
    let Some(done) = done else {
        return Ok(output::line(&format!(
            "Would grow\n{}",
            growing.described()
        ))?);
    };
    let what = match &growing.partition {
        Some(partition) => format!("{}, partition {}", growing.given, partition.number),
        None => growing.given.clone(),
    };
    let mut text = format!(
        "{what}: the {} grew from {} to {}",
        growing.kind,
        human::size(growing.filesystem_bytes),
        human::size(done.filesystem_bytes)
    );
    if done.is_recorded {
        text.push_str(". Its record says so: a later clone to it asks, compares both sides, and its growth goes");
    }
    Ok(output::line(&text)?)
}
