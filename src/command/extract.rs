//! `klon extract`: a partition or a range of a snapshot, as it was.

use super::export::{self, Range, Request, Words};
use crate::cli::{Common, ExtractArgs, FormatArg};
use anyhow::Result;
use std::process::ExitCode;

/// Makes a file of a partition or a range.
///
/// # Errors
/// As of an export.
pub fn run(args: &ExtractArgs, common: &Common) -> Result<ExitCode> {
    let range = args.range.as_deref().map(Range::parse).transpose()?;
    let request = Request {
        image: &args.image,
        range,
        output: &args.output,
        format: FormatArg::Raw,
        compress: false,
        make: args.make,
        words: Words {
            event: "extracted",
            verb: "extract",
            doing: "extracting",
        },
    };
    export::make(&request, common)
}
