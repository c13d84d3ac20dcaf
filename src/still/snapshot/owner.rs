//! Whose a snapshot is: the run of klon that made it, as a tag of LVM says, and whether that run still goes on.

use anyhow::{Context as _, Result};
use klon_imaging::Digest;
use std::fs;
use std::path::Path;
use std::process;

/// The tag of every snapshot that klon makes.
pub const TAG: &str = "klon";
/// What the tag begins with that names a run.
const RUN: &str = "klon.run.";
/// What stands before the machine's id where it is digested: machine-id(5) asks programs not to show it.
const PURPOSE: &str = "klon snapshot ";
/// How many hexadecimal digits of that digest are kept.
const MACHINE_LEN: usize = 16;

/// A process of a machine, told apart from any that has its number later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// A digest of the machine's id; `none` if it has no id.
    machine: String,
    /// The id of the boot, without dashes.
    boot: String,
    /// The namespace in which the process has its number.
    namespace: u64,
    process: u32,
    /// When the process began, in ticks since the boot.
    begun: u64,
}

impl Owner {
    /// This process.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn own() -> Result<Self> {
        let process = process::id();
        let unread = "reading /proc, which says which run a snapshot is of";
        Ok(Self {
            machine: machine(),
            boot: boot().context(unread)?,
            namespace: namespace().context(unread)?,
            process,
            begun: begun(process).context(unread)?,
        })
    }

    /// The tag that names it.
    pub fn tag(&self) -> String {
        let Self {
            machine,
            boot,
            namespace,
            process,
            begun,
        } = self;
        format!("{RUN}{machine}.{boot}.{namespace}.{process}.{begun}")
    }

    /// The process that a tag names; `None` for other tags.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let mut parts = tag.strip_prefix(RUN)?.split('.');
        let owner = Self {
            machine: parts.next()?.to_owned(),
            boot: parts.next()?.to_owned(),
            namespace: parts.next()?.parse().ok()?,
            process: parts.next()?.parse().ok()?,
            begun: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    /// Whether it is certain that the process has ended. Of another machine, or in another namespace,
    /// nobody here can tell.
    pub fn has_ended(&self, own: &Self) -> bool {
        if self.machine != own.machine {
            return false;
        }
        if self.boot != own.boot {
            return true;
        }
        self.namespace == own.namespace && begun(self.process) != Some(self.begun)
    }
}

fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim_end();
    if id.is_empty() {
        return "none".to_owned();
    }
    let digest = Digest::of(format!("{PURPOSE}{id}").as_bytes()).to_string();
    digest.chars().take(MACHINE_LEN).collect()
}

fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim_end().replace('-', ""))
}

/// `pid:[4026531836]`
fn namespace() -> Option<u64> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    let number = link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?;
    number.parse().ok()
}

/// When a process began (proc_pid_stat(5), field 22); `None` when there is no such process, or it has ended
/// and nobody has asked how.
fn begun(process: u32) -> Option<u64> {
    let stat = fs::read(Path::new("/proc").join(process.to_string()).join("stat")).ok()?;
    begun_in(&stat)
}

/// The name of a program, in brackets, may hold anything, so the fields are counted behind the last bracket.
fn begun_in(stat: &[u8]) -> Option<u64> {
    const STATE: usize = 0;
    const BEGUN: usize = 19;
    let behind = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields = std::str::from_utf8(stat.get(behind..)?).ok()?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    if matches!(*fields.get(STATE)?, "Z" | "X") {
        return None;
    }
    fields.get(BEGUN)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Owner, begun_in};

    #[test]
    fn a_run_is_found_by_its_tag_while_it_lives() {
        let own = Owner::own().unwrap();
        let tag = own.tag();
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '.';
        assert!(tag.chars().all(is_allowed), "{tag}");
        assert_eq!(Owner::of_tag(&tag), Some(own.clone()));
        assert!(!own.has_ended(&own));
        for other in [
            "klon",
            "klon.run.",
            "klon.run.a.b.1.2",
            "klon.run.a.b.1.2.x",
        ] {
            assert_eq!(Owner::of_tag(other), None, "{other}");
        }
        assert_eq!(Owner::of_tag(&format!("{tag}.1")), None);
    }

    #[test]
    fn only_a_run_that_certainly_ended_has_ended() {
        let own = Owner::own().unwrap();
        let with = |change: &dyn Fn(&mut Owner)| {
            let mut other = own.clone();
            change(&mut other);
            other.has_ended(&own)
        };
        assert!(
            with(&|other| other.begun += 1),
            "its number was given again"
        );
        assert!(with(&|other| other.process = u32::MAX));
        assert!(with(&|other| other.boot = "before".into()));
        assert!(!with(&|other| {
            other.machine = "another".into();
            other.boot = "before".into();
        }));
        assert!(!with(&|other| {
            other.namespace += 1;
            other.process = u32::MAX;
        }));
    }

    #[test]
    fn the_name_of_a_program_does_not_move_the_fields() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let of = |state: &str| begun_in(format!("7 (a) b (c) {state} {rest}").as_bytes());
        assert_eq!(of("S"), Some(4711));
        assert_eq!(of("Z"), None);
        assert_eq!(begun_in(b"7 (a"), None);
    }
}
