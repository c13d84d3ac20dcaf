//! `klon serve`: an image as read-only network block devices.

mod listen;

use crate::cli::{Common, ServeArgs};
use crate::image::ImageName;
use crate::output;
use crate::signals::Stop;
use anyhow::{Context as _, Result};
use klon_imaging::serve::nbd::Server;
use klon_imaging::serve::{Exports, ImageExports, Listing};
use klon_partition::Shown;
use listen::Bound;
use serde::Serialize;
use std::process::ExitCode;

/// How many clients there may be at once.
const CLIENTS_MAX: usize = 64;

/// The answer of `klon serve --json`, once it listens.
#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    uri: String,
    snapshot: u64,
    exports: Vec<Served<'a>>,
}

/// One export.
#[derive(Serialize)]
struct Served<'a> {
    name: &'a str,
    description: &'a str,
    uri: String,
}

/// Serves until it is ended.
///
/// # Errors
/// When an image can't be read, or the address is in use.
pub fn run(args: &ServeArgs, common: &Common) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let name = ImageName::parse(&args.image)?;
    let image = name.open()?;
    let exports = ImageExports::new(image, name.snapshot).with_context(|| name.path.shown())?;
    let bound = listen::bind(args)?;
    report(&exports, &bound, args, common)?;
    let (listener, _socket) = bound.into_parts();
    let server = Server {
        listener,
        exports: &exports,
        clients_max: CLIENTS_MAX,
    };
    server.run(&stop).context("serving")?;
    Ok(ExitCode::SUCCESS)
}

fn report(exports: &ImageExports, bound: &Bound, args: &ServeArgs, common: &Common) -> Result<()> {
    let snapshot = exports.default_number();
    if common.json {
        let listed = exports.list();
        output::json(&Listening {
            event: "listening",
            uri: bound.uri(""),
            snapshot,
            exports: listed
                .iter()
                .map(|Listing { name, description }| Served {
                    name,
                    description,
                    uri: bound.uri(name),
                })
                .collect(),
        })?;
    } else if !common.quiet {
        output::line(&format!(
            "{}: snapshot {snapshot} can be read at {}, the others by their numbers. To stop: Ctrl-C",
            args.image.shown(),
            bound.uri(""),
        ))?;
    }
    Ok(())
}
