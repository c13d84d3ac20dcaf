//! `klon ledger` on a system of files, whose boots, clocks and mounts the tests make.

use crate::support::Klon;
use crate::support::klon::Outcome;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

const QUIET: &str = "\
21 1 0:30 / / ro - overlay overlay ro
22 21 0:5 / /proc rw - proc proc rw
23 21 8:3 / /old rw - ext4 /dev/sda3 ro
";
const BUSY: &str = "\
21 1 0:30 / / ro - overlay overlay ro
23 21 8:3 / /data rw - xfs /dev/sdb1 rw
";

/// A system under a directory, with klon beside it.
struct System {
    klon: Klon,
}

impl System {
    fn new() -> Self {
        let system = Self { klon: Klon::new() };
        system.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        system.put(
            "proc/filesystems",
            "nodev\toverlay\nnodev\tproc\n\text4\n\txfs\n",
        );
        system.put("proc/self/mountinfo", QUIET);
        fs::create_dir_all(system.path("usr/lib/systemd")).unwrap();
        system.boot(1);
        system
    }

    fn path(&self, name: &str) -> PathBuf {
        self.klon.path("root").join(name)
    }

    fn ledger_file(&self) -> PathBuf {
        self.path("var/lib/klon/ledger")
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The machine has booted; nothing has been called yet.
    fn boot(&self, number: u32) {
        let id = format!("{number:08x}-0000-4000-8000-000000000000\n");
        self.put("proc/sys/kernel/random/boot_id", &id);
        self.put("proc/uptime", "3.10 5.00\n");
    }

    fn run(&self, action: &str) -> Outcome {
        let mut arguments = vec!["ledger", "--root", "root"];
        arguments.extend(action.split(' '));
        self.klon.run(&arguments)
    }

    fn ok(&self, action: &str) -> String {
        self.run(action).expect(0).stdout
    }

    fn status(&self) -> Value {
        self.run("status --json").expect(0).last()
    }

    /// systemd can start all of it, with a volume that is mounted after the ledger has counted.
    fn starts_in_order(&self) {
        let units = self.path("etc/systemd/system");
        let volume = "[Mount]\nWhat=/dev/null\nWhere=/data\n";
        self.put("etc/systemd/system/data.mount", volume);
        let wanted = "etc/systemd/system/local-fs.target.d/data.conf";
        self.put(wanted, "[Unit]\nRequires=data.mount\nAfter=data.mount\n");
        let names = ["", "-clock"].map(|name| format!("klon-ledger{name}.service"));
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "basic.target"])
            .args(names)
            .env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !said.contains("cycle"), "{said}");
        assert!(!said.contains("klon"), "{said}");
    }

    fn is_not_covered(&self, reason: &str) {
        let status = self.status();
        assert_eq!(status["is_covered"], false, "{status}");
        let told = status["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{reason:?} is not in {told:?}");
        let words = self.ok("status");
        assert!(
            words.starts_with("Nothing covers this machine: "),
            "{words}"
        );
        assert!(status.get("unclean_count").is_none());
    }
}

#[test]
fn boots_and_shutdowns_are_counted() {
    let system = System::new();
    system.is_not_covered("keeps no ledger. `klon ledger install`");
    system.ok("install");
    let status = system.status();
    assert_eq!(status["is_covered"], true);
    assert_eq!(status["is_installed"], true);
    assert_eq!(
        (&status["unclean_count"], &status["boots_count"]),
        (&0.into(), &1.into())
    );
    // A clean end.
    system.ok("shutdown");
    system.is_not_covered("this boot is over");
    system.boot(2);
    system.is_not_covered("has not counted this boot");
    assert!(system.ok("boot").contains("ended cleanly"));
    assert!(system.ok("boot").contains("already"));
    let status = system.status();
    assert_eq!(
        (&status["unclean_count"], &status["boots_count"]),
        (&0.into(), &2.into())
    );
    let text = include_str!("../../../JSON.md");
    let mut keys = status.as_object().unwrap().keys();
    assert!(
        keys.all(|key| text.contains(&format!("`{key}`"))),
        "{status}"
    );
    let words = system.ok("status");
    assert!(
        words.starts_with("The ledger covers this machine since 2"),
        "{words}"
    );
    // An unclean one.
    system.boot(3);
    assert!(system.ok("boot").contains("now counted 1 unclean shutdown"));
    let status = system.status();
    assert_eq!(
        (&status["unclean_count"], &status["boots_count"]),
        (&1.into(), &1.into())
    );
    // A boot that was never counted ends cleanly.
    system.boot(4);
    system.ok("shutdown");
    system.boot(5);
    assert!(system.ok("boot").contains("ended cleanly"));
    assert_eq!(system.status()["unclean_count"], 2);
}

#[test]
fn what_can_still_be_written_to_is_no_clean_end() {
    let system = System::new();
    system.ok("install");
    system.put("proc/self/mountinfo", BUSY);
    let outcome = system.run("shutdown").expect(3);
    outcome.says(&["refused: /data can still be written to", "Unmount first"]);
    system.put("proc/self/mountinfo", QUIET);
    system.put("sys/fs/xfs/sdc1/log/log_head_lsn", "1:2\n");
    system.put("sys/class/block/sdc1/dev", "8:33\n");
    system
        .run("shutdown")
        .expect(3)
        .says(&["/dev/sdc1 can still"]);
    system.boot(2);
    assert!(system.ok("boot").contains("now counted 1 unclean"));
}

#[test]
fn a_time_is_covered_or_not() {
    let system = System::new();
    system.ok("install");
    let since = |time: &str| {
        let arguments = ["ledger", "--root", "root", "status", "--since", time];
        let words = system.klon.ok(&arguments).stdout;
        (
            system.klon.json(&arguments)["is_covered_since"].clone(),
            words,
        )
    };
    let (is_covered, words) = since("2099-01-01 00:00:00");
    assert_eq!(
        (is_covered, words.starts_with("Yes: ")),
        (true.into(), true)
    );
    let (is_covered, words) = since("2020-01-01 00:00:00");
    assert_eq!(
        (is_covered, words.starts_with("No: ")),
        (false.into(), true)
    );
    system.run("status --since yesterday").expect(2);
}

#[test]
fn doubts_are_named_and_nothing_is_covered() {
    let system = System::new();
    system.ok("install");
    let kept = fs::read(system.ledger_file()).unwrap();
    let mut damaged = kept.clone();
    damaged[40] ^= 1;
    fs::write(system.ledger_file(), damaged).unwrap();
    system.is_not_covered("can't be believed: it is damaged");
    assert!(system.ok("boot").contains("A new ledger begins"));
    system.put("etc/machine-id", "ffffffffffffffffffffffffffffffff\n");
    system.is_not_covered("another machine's");
    assert!(system.ok("boot").contains("another machine's"));
    assert_eq!(system.status()["unclean_count"], 1);
    system.put("etc/machine-id", "uninitialized\n");
    system.is_not_covered("this machine has no id");
    system.put("run/systemd/container", "docker\n");
    system.is_not_covered("container");
    for action in ["install", "boot", "shutdown"] {
        system.run(action).expect(3).says(&["container"]);
    }
}

#[test]
fn a_clock_that_is_set_back_is_told() {
    let system = System::new();
    system.ok("install");
    system.put("proc/uptime", "3603.10 5.00\n");
    assert_eq!(
        system.status()["clock_set_back_seconds"].as_u64().unwrap() / 10,
        360
    );
    system.put("proc/uptime", "3.10 5.00\n");
    let set_back = system.status()["clock_set_back_seconds"].as_u64().unwrap();
    assert_eq!(
        set_back / 10,
        360,
        "that it is right again makes nothing good"
    );
    assert!(system.ok("status").contains("The clock was set back by 36"));
}

#[test]
fn a_ledger_that_can_t_be_written_is_not_believed() {
    let system = System::new();
    system.ok("install");
    system.ok("shutdown");
    system.boot(2);
    // No file may become larger than nothing, as where the volume is full.
    let line = "ulimit -f 0; $K ledger --root root boot";
    let outcome = system.klon.shell(line).expect(4);
    outcome.says(&["can't be written, so klon removed it"]);
    assert!(!system.ledger_file().exists());
    system.is_not_covered("keeps no ledger");
}

#[test]
fn units_are_as_systemd_wants_them_and_go_again() {
    let system = System::new();
    assert_eq!(system.status()["is_installed"], false);
    system.ok("install");
    system.ok("install");
    let service = fs::read_to_string(system.path("etc/systemd/system/klon-ledger.service"));
    let service = service.unwrap();
    let call = format!(
        "{} ledger --ledger /var/lib/klon/ledger",
        env!("CARGO_BIN_EXE_klon")
    );
    assert!(
        service.contains(&format!("ExecStart={call} boot\n")),
        "{service}"
    );
    let hook = system.path("usr/lib/systemd/system-shutdown/klon-ledger");
    let text = fs::read_to_string(&hook).unwrap();
    assert!(text.ends_with(&format!("exec {call} shutdown\n")), "{text}");
    assert_eq!(
        fs::metadata(&hook).unwrap().permissions().mode() & 0o777,
        0o755
    );
    for name in [
        "sysinit.target.wants/klon-ledger.service",
        "timers.target.wants/klon-ledger-clock.timer",
    ] {
        let unit = system.path("etc/systemd/system").join(name);
        assert!(fs::metadata(&unit).unwrap().is_file(), "{name}");
    }
    system.starts_in_order();
    system.ok("remove");
    system.ok("remove");
    assert!(!hook.exists() && !system.ledger_file().exists());
    assert_eq!(system.status()["is_installed"], false);
    fs::remove_dir_all(system.path("usr/lib/systemd")).unwrap();
    system
        .run("install")
        .expect(3)
        .says(&["this system has no systemd"]);
    assert!(!system.ledger_file().exists());
}
