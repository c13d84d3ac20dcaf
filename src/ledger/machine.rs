//! What is seen of the machine: which one it is, which boot, its clocks.

use super::NotCovered;
use super::state::Moment;
use crate::error::plain_words;
use klon_imaging::Digest;
use klon_imaging::clock::since_1970;
use klon_partition::Shown as _;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// What stands before the machine's id where it is digested: machine-id(5) asks programs not to show the id
/// itself.
const PURPOSE: &str = "klon ledger ";
/// Files that container managers make in a container.
const OF_CONTAINERS: [&str; 3] = ["run/systemd/container", ".dockerenv", "run/.containerenv"];

/// Looks at the machine whose root directory is `root`.
///
/// # Errors
/// Why no ledger can be kept or believed here.
pub fn moment(root: &Path) -> Result<Moment, NotCovered> {
    if is_container(root) {
        return Err(NotCovered::Container);
    }
    let machine = read(root, "etc/machine-id")?;
    // While a system is set up its id is empty, or "uninitialized".
    if machine.len() != 32 || !machine.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(NotCovered::NoMachineId);
    }
    let boot = read(root, "proc/sys/kernel/random/boot_id")?;
    if boot.len() != 36 {
        return Err(NotCovered::System(format!("{boot:?} is no id of a boot")));
    }
    let uptime = read(root, "proc/uptime")?;
    let up_milliseconds = milliseconds(&uptime)
        .ok_or_else(|| NotCovered::System(format!("{uptime:?} is no time since a boot")))?;
    let unix_milliseconds = since_1970(SystemTime::now()).as_millis();
    Ok(Moment {
        machine: Digest::of(format!("{PURPOSE}{machine}").as_bytes()).to_string(),
        boot,
        unix_milliseconds: i64::try_from(unix_milliseconds).unwrap_or(i64::MAX),
        up_milliseconds,
    })
}

/// A container shares its kernel, so that its boots say nothing of the machine's disks.
fn is_container(root: &Path) -> bool {
    let is_made = OF_CONTAINERS.iter().any(|name| root.join(name).exists());
    // Only root may read it, and only root keeps a ledger.
    let environment = fs::read(root.join("proc/1/environ")).unwrap_or_default();
    let mut variables = environment.split(|&byte| byte == 0);
    is_made || variables.any(|variable| variable.starts_with(b"container="))
}

fn read(root: &Path, name: &str) -> Result<String, NotCovered> {
    let path = root.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(error) => Err(NotCovered::System(format!(
            "{}: {}",
            path.shown(),
            plain_words(&error.to_string())
        ))),
    }
}

/// The first field of /proc/uptime: seconds with two decimals, as proc_uptime(5) has it.
fn milliseconds(uptime: &str) -> Option<i64> {
    let (seconds, hundredths) = uptime.split(' ').next()?.split_once('.')?;
    let hundredths: u8 = Some(hundredths)
        .filter(|text| text.len() == 2)?
        .parse()
        .ok()?;
    let seconds: i64 = seconds.parse().ok()?;
    seconds
        .checked_mul(1000)?
        .checked_add(i64::from(hundredths) * 10)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_since_the_boot() {
        assert_eq!(milliseconds("12.34 99.00"), Some(12_340));
        assert_eq!(milliseconds("0.05"), Some(50));
        for text in [
            "",
            "12",
            "12.3",
            "x.00 1",
            "12.-1",
            "9223372036854775807.00",
        ] {
            assert_eq!(milliseconds(text).filter(|&time| time >= 0), None, "{text}");
        }
    }
}
