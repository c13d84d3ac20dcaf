//! LVM's own program: it is asked about volumes, and makes and removes snapshots.

use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::text::sealed_bytes;
use serde::Deserialize;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the program may be. A name is not searched for in the user's path, as klon is root.
const PLACES: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];
/// What is asked of each volume.
const FIELDS: &str = "lv_uuid,lv_name,vg_uuid,vg_name,lv_size,lv_attr,pool_lv,origin,vg_free,vg_extent_size,\
                      data_percent,metadata_percent,lv_tags,lv_dm_path";

/// The program.
#[derive(Clone, Debug)]
pub struct Lvm(PathBuf);

/// What LVM says of a logical volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// Its UUID, without dashes.
    pub uuid: String,
    /// Its name in its group.
    pub name: String,
    /// UUID of its group, without dashes.
    pub group_uuid: String,
    /// The name of its group.
    pub group: String,
    /// Its size. For a snapshot that is not thin, this is its reserve for writes to the origin.
    pub size_bytes: u64,
    /// Ten letters (lvs(8), "lv_attr").
    pub attributes: String,
    /// The name of its pool, if it is thin.
    pub pool: Option<String>,
    /// The name of its origin, if it is a snapshot.
    pub origin: Option<String>,
    /// What its group has free.
    pub group_free_bytes: u64,
    /// The extents in which its group gives room.
    pub extent_bytes: u64,
    /// How much is used of a snapshot's room, or of a pool's.
    pub data_percent: Option<f64>,
    /// How much is used of a pool's room for metadata.
    pub metadata_percent: Option<f64>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its node under /dev/mapper.
    pub node: PathBuf,
}

/// As lvs reports it: everything is text.
#[derive(Debug, Deserialize)]
struct Row {
    lv_uuid: String,
    lv_name: String,
    vg_uuid: String,
    vg_name: String,
    lv_size: String,
    lv_attr: String,
    pool_lv: String,
    origin: String,
    vg_free: String,
    vg_extent_size: String,
    data_percent: String,
    metadata_percent: String,
    lv_tags: String,
    lv_dm_path: String,
}

#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    lv: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    report: Vec<Report>,
}

impl Volume {
    /// `GROUP/NAME`, as LVM's programs take it.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// Whether it is a thin volume, which takes its room from a pool.
    pub fn is_thin(&self) -> bool {
        self.attributes.starts_with('V')
    }

    /// Whether it is a snapshot whose room was full, so that it lost its content.
    pub fn is_invalid(&self) -> bool {
        // The state, and `S` or `I` for snapshots; a merge that failed is `m` or `M`.
        let is_snapshot = self.attributes.starts_with(['s', 'S']);
        let state = self.attributes.chars().nth(4);
        let is_full = self.data_percent.is_some_and(|percent| percent >= 100.0);
        is_snapshot && (is_full || matches!(state, Some('I' | 'S' | 'X')))
    }
}

impl Lvm {
    /// The program, where it is installed.
    pub fn find() -> Option<Self> {
        let mut places = PLACES.iter().map(|place| Path::new(place).join("lvm"));
        places.find(|program| program.is_file()).map(Self)
    }

    /// All logical volumes, or those of a group.
    ///
    /// # Errors
    /// What LVM says.
    pub fn volumes(&self, group: Option<&str>) -> Result<Vec<Volume>> {
        let arguments = [
            "lvs",
            "--reportformat",
            "json",
            "--units",
            "b",
            "--nosuffix",
            "--options",
            FIELDS,
        ];
        let said = self.run(arguments.into_iter().chain(group))?;
        read(&said).context("what lvs says of logical volumes")
    }

    /// Runs one of LVM's commands, to its end. What it asks is answered with no.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Vec<u8>> {
        let arguments: Vec<A> = arguments.into_iter().collect();
        let mut command = Command::new(&self.0);
        command
            .args(&arguments)
            .env("LC_ALL", "C")
            .env("PATH", PLACES.join(":"))
            // klon's own files are not LVM's business, and it does not get them.
            .env("LVM_SUPPRESS_FD_WARNINGS", "1")
            // Ctrl-C is for klon: a command that changes a group is not to be cut short.
            .process_group(0)
            .stdin(Stdio::null());
        let name = arguments.first().map(sealed_name).unwrap_or_default();
        let output = command.output();
        let output = output.with_context(|| format!("starting {name}"))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = said.lines().map(str::trim).collect();
        let said = sealed_bytes(lines.join("; ").as_bytes());
        Err(anyhow::anyhow!("{name} failed ({}): {said}", output.status))
    }
}

fn sealed_name(argument: impl AsRef<OsStr>) -> String {
    klon_partition::text::sealed(argument)
}

/// The volumes of a report.
fn read(report: &[u8]) -> Result<Vec<Volume>> {
    let answer: Answer = serde_json::from_slice(report)?;
    let rows = answer.report.into_iter().flat_map(|report| report.lv);
    rows.map(volume).collect()
}

fn volume(row: Row) -> Result<Volume> {
    let bytes = |text: &str| {
        let bytes = text.parse::<u64>();
        bytes.with_context(|| format!("{text:?} is no size"))
    };
    let percent = |text: &str| match text {
        "" => Ok(None),
        text => text.parse().map(Some),
    };
    let some = |text: String| (!text.is_empty()).then_some(text);
    for name in [&row.lv_name, &row.vg_name, &row.origin, &row.pool_lv] {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let is_name = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
        if !name.chars().all(is_name) {
            return Err(refused(format!("{name:?} is no name of LVM")));
        }
    }
    let tags = row.lv_tags.split(',').filter(|tag| !tag.is_empty());
    Ok(Volume {
        uuid: row.lv_uuid.replace('-', ""),
        name: row.lv_name,
        group_uuid: row.vg_uuid.replace('-', ""),
        group: row.vg_name,
        size_bytes: bytes(&row.lv_size)?,
        attributes: row.lv_attr,
        pool: some(row.pool_lv),
        origin: some(row.origin),
        group_free_bytes: bytes(&row.vg_free)?,
        extent_bytes: bytes(&row.vg_extent_size)?,
        data_percent: percent(&row.data_percent)?,
        metadata_percent: percent(&row.metadata_percent)?,
        tags: tags.map(str::to_owned).collect(),
        node: row.lv_dm_path.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Volume, read};

    /// As lvs 2.03.16 prints it, but for the lines.
    const REPORT: &str = r#"{"report":[{"lv":[
        {"lv_uuid":"0Ab1cd-efgh-ijkl-mnop-qrst-uvwx-yz0123","lv_name":"klon-1-root",
         "vg_uuid":"ZZZZZZ-0000-0000-0000-0000-0000-000000","vg_name":"vg","lv_size":"67108864",
         "lv_attr":"sri-a-s---","pool_lv":"","origin":"root","vg_free":"4194304",
         "vg_extent_size":"4194304","data_percent":"12.50","metadata_percent":"",
         "lv_tags":"klon,klon.run.a.b.1.2.3","lv_dm_path":"/dev/mapper/vg-klon--1--root"}]}],"log":[]}"#;

    #[test]
    fn a_report_is_read() {
        let volumes = read(REPORT.as_bytes()).unwrap();
        let [volume] = &volumes[..] else {
            panic!("{volumes:?}")
        };
        assert_eq!(volume.full_name(), "vg/klon-1-root");
        assert_eq!(volume.uuid, "0Ab1cdefghijklmnopqrstuvwxyz0123");
        assert_eq!(volume.origin.as_deref(), Some("root"));
        assert_eq!(
            (volume.pool.as_deref(), volume.data_percent),
            (None, Some(12.5))
        );
        assert_eq!(volume.tags, ["klon", "klon.run.a.b.1.2.3"]);
        assert!(!volume.is_thin() && !volume.is_invalid());
        assert_eq!(read(br#"{"report":[{}]}"#).unwrap(), []);
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let wrong = [
            "".to_owned(),
            "{}".to_owned(),
            REPORT.replace("67108864", "64M"),
            REPORT.replace("\"vg\"", "\"v g\""),
            REPORT.replace("12.50", "much"),
        ];
        for text in wrong {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_snapshot_that_overflowed_is_invalid() {
        let of = |attributes: &str, percent| Volume {
            attributes: attributes.into(),
            data_percent: percent,
            ..Volume::default()
        };
        assert!(of("swi-I-s---", Some(100.0)).is_invalid());
        assert!(of("sri-I-s---", None).is_invalid());
        assert!(of("sri-a-s---", Some(100.0)).is_invalid());
        assert!(!of("sri-a-s---", Some(99.99)).is_invalid());
        assert!(
            !of("Vri-a-tz--", Some(100.0)).is_invalid(),
            "thin, and all of it is there"
        );
    }
}
