//! Writing the formats.

use super::Request;
use crate::cli::FormatArg;
use crate::output::Stream;
use anyhow::Result;
use klon_imaging::Observer;
use klon_imaging::image::export::bmap::BmapFile;
use klon_imaging::image::export::qcow2::{self, Qcow2File};
use klon_imaging::image::export::{ExportJob, Exported, NewFile, RawFile, RawStream, export};
use std::path::PathBuf;

/// Level of zstd for qcow2.
const LEVEL: i32 = 3;

/// To standard output.
pub(super) fn stream(job: &ExportJob<'_>, observer: &dyn Observer) -> Result<Exported> {
    let mut output = RawStream::new(Stream::open()?);
    let done = export(job, &mut output, observer)?;
    output.fill_to(done.size_bytes)?;
    Ok(done)
}

/// To a file.
pub(super) fn file(
    job: &ExportJob<'_>,
    request: &Request<'_>,
    observer: &dyn Observer,
) -> Result<Exported> {
    match request.format {
        FormatArg::Raw => raw(job, request, observer),
        FormatArg::Qcow2 => qcow2(job, request, observer),
        FormatArg::Bmap => bmap(job, request, observer),
    }
}

fn raw(job: &ExportJob<'_>, request: &Request<'_>, observer: &dyn Observer) -> Result<Exported> {
    let size_bytes = job.device.geometry().size_bytes;
    let file = NewFile::create(request.output, size_bytes, request.make.force)?;
    let done = export(job, &mut RawFile(&file), observer)?;
    file.into_place(size_bytes)?;
    Ok(done)
}

fn qcow2(job: &ExportJob<'_>, request: &Request<'_>, observer: &dyn Observer) -> Result<Exported> {
    let size_bytes = job.device.geometry().size_bytes;
    let room_bytes = qcow2::capacity_bytes(&job.data, size_bytes);
    let file = NewFile::create(request.output, room_bytes, request.make.force)?;
    let level = request.compress.then_some(LEVEL);
    let mut writer = Qcow2File::new(&file, job.wanted.clone(), size_bytes, level)?;
    let done = export(job, &mut writer, observer)?;
    let len_bytes = writer.finish()?;
    file.into_place(len_bytes)?;
    Ok(done)
}

fn bmap(job: &ExportJob<'_>, request: &Request<'_>, observer: &dyn Observer) -> Result<Exported> {
    let size_bytes = job.device.geometry().size_bytes;
    let mut path = request.output.as_os_str().to_owned();
    path.push(".bmap");
    let path = PathBuf::from(path);
    let file = NewFile::create(request.output, size_bytes, request.make.force)?;
    // Refused now rather than in the end.
    drop(NewFile::create(&path, 0, request.make.force)?);
    let mut writer = BmapFile::new(&file, &job.wanted, size_bytes);
    let done = export(job, &mut writer, observer)?;
    let map = writer.finish();
    let map_bytes = map.len() as u64;
    let map_file = NewFile::create(&path, map_bytes, request.make.force)?;
    map_file.write_at(map.as_bytes(), 0)?;
    if request.make.force {
        // So that at no time a map stands beside a file that is not its.
        let _ = std::fs::remove_file(&path);
    }
    file.into_place(size_bytes)?;
    map_file.into_place(map_bytes)?;
    Ok(done)
}
