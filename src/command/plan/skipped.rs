//! `--skip NAME:NUMBER`: partitions of a source that are left out of a plan.

use crate::error::usage;
use anyhow::Result;
use klon_partition::planner::{Source, SourceRequest};
use klon_partition::text::quoted;

/// Takes what is named out of the sources.
///
/// # Errors
/// [`usage`] for what is no partition of a source, and where nothing of one would remain.
pub fn leave_out(named: &[String], requests: &mut [SourceRequest]) -> Result<()> {
    for text in named {
        let parsed = text.rsplit_once(':');
        let parsed = parsed.and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, number): (&str, u32) = parsed.ok_or_else(|| {
            usage(format!(
                "--skip {}: expected the name of a source and the number of a partition, as in Boot:4",
                quoted(text)
            ))
        })?;
        let mut all = requests.iter_mut();
        let request = all.find(|request| request.name == name).ok_or_else(|| {
            usage(format!(
                "--skip names {}, which is not a source of this plan",
                quoted(name)
            ))
        })?;
        take_out(&mut request.source, number)
            .map_err(|why| usage(format!("--skip {text}: {why}")))?;
    }
    Ok(())
}

fn take_out(source: &mut Source, number: u32) -> Result<(), String> {
    let before = source.volumes.len();
    source
        .volumes
        .retain(|volume| volume.number != Some(number));
    match (source.volumes.len(), before) {
        (0, _) => Err("nothing of the source would remain".to_owned()),
        (now, before) if now == before => Err(format!("the source has no partition {number}")),
        _ => Ok(()),
    }
}
