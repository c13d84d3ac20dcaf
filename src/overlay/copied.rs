//! An XFS of which a smaller one gets the files: a new filesystem with the same UUID, label and features, and all that
//! xfsdump and xfsrestore keep: owners, modes, times, links, holes, extended attributes, ACLs, project IDs and flags.

use super::mounted::{COPIED_FROM, COPIED_TO, mounted};
use super::namespace::RoomPaths;
use super::tool::{PLACES, Program, failed, output, run};
use super::trees::Copied;
use anyhow::{Context as _, Result, anyhow};
use klon_partition::Shown as _;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MKFS: Program = Program::new("mkfs.xfs", "xfsprogs");
const XFS_ADMIN: Program = Program::new("xfs_admin", "xfsprogs");
const XFS_INFO: Program = Program::new("xfs_info", "xfsprogs");
const XFS_REPAIR: Program = Program::new("xfs_repair", "xfsprogs");
const XFSDUMP: &str = "xfsdump";
const XFSRESTORE: &str = "xfsrestore";
/// What `xfs_info` says, and how mkfs.xfs is told the same: the option, and the word of both.
const FEATURES: [(&str, &str); 10] = [
    ("-b", "bsize"),
    ("-s", "sectsz"),
    ("-i", "isize"),
    ("-i", "sparse"),
    ("-i", "nrext64"),
    ("-m", "finobt"),
    ("-m", "rmapbt"),
    ("-m", "reflink"),
    ("-m", "bigtime"),
    ("-m", "inobtcount"),
];

/// How an XFS is recognized.
struct Named {
    /// Its UUID.
    uuid: String,
    /// Its label; none is empty.
    label: String,
}

/// Makes the new filesystem on the second volume of the room, and copies all files of the first to it.
///
/// # Errors
/// What a program says; that something is not the same afterwards.
pub(super) fn xfs(paths: &RoomPaths) -> Result<()> {
    let named = named(&paths.volume)?;
    let from = paths.mount_point.clone();
    let to = paths.second_mount_point.clone();
    let source = mounted(&paths.volume, &from, &COPIED_FROM)?;
    let made = make(paths, &from, &named);
    let copied = made.and_then(|()| {
        let target = mounted(&paths.second, &to, &COPIED_TO)?;
        let done = copy(&from, &to).and_then(|()| {
            let trees = Copied {
                from: &from,
                to: &to,
            };
            trees.mend()?;
            let wrong = trees.difference()?;
            wrong.map_or(Ok(()), |wrong| {
                Err(anyhow!("the copy is not the same: {wrong}"))
            })
        });
        let unmounted = target.unmount();
        done.and(unmounted)
    });
    let unmounted = source.unmount();
    copied.and(unmounted)?;
    run(XFS_REPAIR, [OsStr::new("-n"), paths.second.as_os_str()]).context("the new filesystem")
}

/// How the filesystem is called.
fn named(volume: &Path) -> Result<Named> {
    let options = ["-l", "-u"].map(OsStr::new).into_iter();
    let said = output(XFS_ADMIN, options.chain([volume.as_os_str()]))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    match (of("UUID = "), of("label = ")) {
        (Some(uuid), Some(label)) if said.status.success() => Ok(Named {
            uuid: uuid.trim().to_owned(),
            label: label.trim().trim_matches('"').to_owned(),
        }),
        _ => Err(failed(XFS_ADMIN.name, &said)),
    }
}

/// A new filesystem like the one that is mounted at `like`.
fn make(paths: &RoomPaths, like: &Path, named: &Named) -> Result<()> {
    let said = output(XFS_INFO, [like.as_os_str()])?;
    if !said.status.success() {
        return Err(failed(XFS_INFO.name, &said));
    }
    let arguments = arguments(&String::from_utf8_lossy(&said.stdout), named)?;
    let all = arguments.iter().map(OsStr::new);
    run(MKFS, all.chain([paths.second.as_os_str()]))
}

/// How mkfs.xfs is told to make one like that.
fn arguments(info: &str, named: &Named) -> Result<Vec<String>> {
    let value = |word: &str| {
        let words = info.split(|c: char| c.is_ascii_whitespace() || c == ',');
        let found = words
            .filter_map(|it| it.split_once('='))
            .find(|(key, _)| *key == word);
        found.map(|(_, value)| value.to_owned())
    };
    let is_set = |word: &str| value(word).is_some_and(|value| value != "0");
    if !is_set("crc") {
        return Err(anyhow!(
            "it is an XFS of version 4, which is not made any more"
        ));
    }
    if !info.contains("=internal") || !info.contains("realtime =none") {
        return Err(anyhow!(
            "its log or a part for realtime files lies on another device"
        ));
    }
    let mut arguments = vec!["-q".to_owned(), "-f".to_owned(), "-K".to_owned()];
    for (option, word) in FEATURES {
        // A program that does not say it does not know it.
        if let Some(value) = value(word) {
            let word = match word {
                "bsize" | "isize" | "sectsz" => "size",
                word => word,
            };
            arguments.extend([option.to_owned(), format!("{word}={value}")]);
        }
    }
    if is_set("ascii-ci") {
        arguments.extend(["-n".to_owned(), "version=ci".to_owned()]);
    }
    arguments.extend(["-m".to_owned(), format!("uuid={}", named.uuid)]);
    if !named.label.is_empty() {
        arguments.extend(["-L".to_owned(), named.label.to_owned()]);
    }
    Ok(arguments)
}

/// Lets xfsdump write all files to xfsrestore.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut dump = command(XFSDUMP);
    dump.args(["-J", "-F", "-l", "0", "-L", "klon", "-M", "klon", "-"]);
    dump.arg(from).stdout(Stdio::piped());
    let mut dump = start(dump)?;
    let pipe = dump.stdout.take().context("what xfsdump writes")?;
    let mut restore = command(XFSRESTORE);
    restore.args(["-J", "-F", "-"]).arg(to);
    restore.stdin(pipe).stdout(Stdio::null());
    let restored = start(restore).and_then(|child| Ok(child.wait_with_output()?));
    let dumped = dump.wait_with_output()?;
    let restored = restored?;
    for (program, ended) in [(XFSRESTORE, &restored), (XFSDUMP, &dumped)] {
        let said = String::from_utf8_lossy(&ended.stderr);
        // They end with success when a single file fails.
        if !ended.status.success() || said.contains("WARNING") || said.contains("ERROR") {
            return Err(failed(program, ended));
        }
    }
    Ok(())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", PLACES).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn start(mut command: Command) -> Result<Child> {
    let program = command.get_program().shown();
    command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            anyhow!("the program {program} is missing: apt install xfsdump")
        }
        _ => anyhow::Error::from(error).context(format!("starting {program}")),
    })
}

#[cfg(test)]
mod tests {
    use super::{Named, arguments};

    const INFO: &str = "\
meta-data=/dev/loop1             isize=512    agcount=4, agsize=38400 blks
         =                       sectsz=512   attr=2, projid32bit=1
         =                       crc=1        finobt=1, sparse=1, rmapbt=1
         =                       reflink=1    bigtime=1 inobtcount=1 nrext64=0
data     =                       bsize=4096   blocks=153600, imaxpct=25
         =                       sunit=0      swidth=0 blks
naming   =version 2              bsize=4096   ascii-ci=0, ftype=1
log      =internal log           bsize=4096   blocks=16384, version=2
         =                       sectsz=512   sunit=0 blks, lazy-count=1
realtime =none                   extsz=4096   blocks=0, rtextents=0
";

    fn named() -> Named {
        Named {
            uuid: "u".to_owned(),
            label: "a label".to_owned(),
        }
    }

    #[test]
    fn a_new_filesystem_is_like_the_old_one() {
        let found = arguments(INFO, &named()).unwrap().join(" ");
        assert_eq!(
            found,
            "-q -f -K -b size=4096 -s size=512 -i size=512 -i sparse=1 -i nrext64=0 -m finobt=1 -m rmapbt=1 \
             -m reflink=1 -m bigtime=1 -m inobtcount=1 -m uuid=u -L a label"
        );
        let other = INFO.replace("ascii-ci=0", "ascii-ci=1");
        assert!(
            arguments(&other, &named())
                .unwrap()
                .join(" ")
                .contains("-n version=ci")
        );
    }

    #[test]
    fn what_can_t_be_made_again_is_refused() {
        for (is, was) in [
            ("crc=1", "crc=0"),
            ("=internal", "=external"),
            ("=none", "=/dev/b"),
        ] {
            assert!(
                arguments(&INFO.replace(is, was), &named()).is_err(),
                "{was}"
            );
        }
    }
}
