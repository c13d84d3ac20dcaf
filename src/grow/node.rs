//! What a tool is given to work on: the node of a partition or disk, a file that is a volume, or a loop
//! device that shows a part of a file.

use super::tool::{Ran, Tool, missing};
use anyhow::{Context as _, Result};
use klon_partition::Extent;
use klon_partition::Shown;
use klon_partition::system::System;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A node for a tool.
pub struct Node {
    path: PathBuf,
    // The kernel detaches the loop device as soon as nobody has it open, so that none stays behind, however
    // klon ends.
    _window: Option<File>,
}

/// How a file is shown to a tool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As the file that it is.
    AsItIs,
    /// By a loop device.
    Device,
    /// By a loop device that can't be written.
    DeviceToRead,
}

impl Node {
    /// The node of `part` of a disk or file; `None` is all of it. A file that is a volume by itself is
    /// shown by a loop device only where the tool takes nothing else.
    ///
    /// # Errors
    /// When the kernel does not know the partition, or no loop device can be had.
    pub fn new(disk: &Path, part: Option<Extent>, needs_device: bool) -> Result<Self> {
        let form = match needs_device {
            true => Form::Device,
            false => Form::AsItIs,
        };
        Self::with(disk, part, form)
    }

    /// As [`new`](Self::new), for a tool or a mount that only reads. A file always gets a loop device, which
    /// can't be written.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn to_read(disk: &Path, part: Option<Extent>) -> Result<Self> {
        Self::with(disk, part, Form::DeviceToRead)
    }

    fn with(disk: &Path, part: Option<Extent>, form: Form) -> Result<Self> {
        let is_read_only = form == Form::DeviceToRead;
        let metadata = disk.metadata().with_context(|| disk.shown())?;
        let plain = |path: &Path| Self {
            path: path.to_owned(),
            _window: None,
        };
        if !metadata.file_type().is_block_device() {
            return match (part, form) {
                (None, Form::AsItIs) => Ok(plain(disk)),
                (part, _) => Self::window(disk, part, is_read_only),
            };
        }
        let Some(extent) = part else {
            return Ok(plain(disk));
        };
        let known = System::current()?.disk_of(disk)?;
        let node = known.as_ref().and_then(|known| known.partition_at(extent));
        match node {
            Some(node) => Ok(plain(&node.path)),
            // The kernel does not show the partitions of this disk.
            None => Self::window(disk, part, is_read_only),
        }
    }

    fn window(file: &Path, part: Option<Extent>, is_read_only: bool) -> Result<Self> {
        let tool = Tool::find("losetup").ok_or_else(|| missing("losetup"))?;
        let mut arguments = vec!["--find".into(), "--show".into()];
        if is_read_only {
            arguments.push("--read-only".into());
        }
        if let Some(part) = part {
            let (offset, size) = (part.offset_bytes(), part.len_bytes());
            arguments.extend(
                [format!("--offset={offset}"), format!("--sizelimit={size}")].map(Into::into),
            );
        }
        arguments.extend(["--".into(), file.as_os_str().to_owned()]);
        let Ran { status, said } = tool.run(&arguments)?;
        let path = PathBuf::from(&said);
        if !status.success() || !path.starts_with("/dev") {
            anyhow::bail!("losetup failed ({status}): {said}");
        }
        if !is_read_only && let Some(tool) = Tool::find("blockdev") {
            // The kernel remembers of a device what an earlier user of it wanted.
            tool.run(&["--setrw".into(), path.clone().into_os_string()])?;
        }
        let opened = OpenOptions::new()
            .read(true)
            .write(!is_read_only)
            .open(&path);
        let opened = opened.with_context(|| path.shown());
        // It stays as long as it is open here.
        let Ran { status, said } = tool.run(&["--detach".into(), path.clone().into_os_string()])?;
        if !status.success() {
            anyhow::bail!("losetup failed ({status}): {said}");
        }
        Ok(Self {
            path,
            _window: Some(opened?),
        })
    }

    /// The node.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
