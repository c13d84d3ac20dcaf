//! A system of stand-ins: nothing of this machine's packages, Rust and accounts is on PATH.

use crate::support::Outcome;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What every system has.
const BASICS: &[&str] = &[
    "awk", "basename", "bash", "cat", "chmod", "cp", "cut", "dirname", "du", "env", "getent",
    "grep", "head", "ln", "ls", "mkdir", "mktemp", "readlink", "rm", "sed", "seq", "sh", "sort",
    "tail", "touch", "tr",
];

/// The lists of `scripts/setup`.
pub(super) const BUILD: &[&str] = &[
    "ca-certificates",
    "curl",
    "gcc",
    "libc6-dev",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "jq",
    "mtools",
];

/// Says what was asked of it, then does what `$S/apt` says; the packages are there afterwards.
const APT: &str = r#"
echo "apt-get $*" >>"$S/calls"
[ ! -e "$S/apt" ] || . "$S/apt"
case " $* " in *" install "*) ;; *) exit 0 ;; esac
for word; do
    case $word in -* | install | *::*) ;; *) echo "installed amd64" >"$S/packages/${word%%=*}" ;; esac
done
"#;

const DPKG_QUERY: &str = r#"
for word; do :; done
cat "$S/packages/$word" 2>/dev/null
"#;

/// The version of the Rust that is pinned.
pub(super) const PINNED: &str = "1.95.0";

/// The system, until dropped.
pub(super) struct World {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl World {
    /// A Debian with apt, root at the keyboard, the pinned Rust, and all that a build needs.
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let world = Self {
            directory,
            variables: Vec::new(),
        };
        for folder in ["bin", "packages", "home", "tmp"] {
            fs::create_dir(world.path(folder)).unwrap();
        }
        for name in BASICS {
            let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
            let found = found.iter().find(|path| path.exists()).expect(name);
            symlink(found, world.path("bin").join(name)).unwrap();
        }
        world.stub("id", "echo 0");
        world.stub("sleep", "");
        world.stub("dpkg", "echo amd64");
        world.stub("dpkg-query", DPKG_QUERY);
        world.stub("apt-get", APT);
        world.stub(
            "apt-cache",
            "[ ! -e \"$S/apt-cache\" ] || . \"$S/apt-cache\"",
        );
        world.rust(PINNED);
        world.has(BUILD);
        world
    }

    /// A path in its directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file that the stand-ins look at.
    pub(super) fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A program on PATH: lines for the shell, which know the system's directory as `$S`.
    pub(super) fn stub(&self, name: &str, script: &str) {
        self.program(&format!("bin/{name}"), script);
    }

    /// The same anywhere.
    pub(super) fn program(&self, at: &str, script: &str) {
        let path = self.path(at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// Without that program.
    pub(super) fn without(&self, name: &str) {
        fs::remove_file(self.path("bin").join(name)).unwrap();
    }

    /// With a Rust of that version, whole, on PATH.
    pub(super) fn rust(&self, version: &str) {
        self.stub(
            "rustc",
            &format!("echo 'rustc {version} (abcdef 2026-01-01)'"),
        );
        for part in ["cargo", "cargo-fmt", "cargo-clippy"] {
            self.stub(part, "echo \"$(basename \"$0\") $*\" >>\"$S/calls\"");
        }
    }

    /// With these packages.
    pub(super) fn has(&self, packages: &[&str]) {
        for package in packages {
            self.file(&format!("packages/{package}"), "installed amd64\n");
        }
    }

    /// Without these packages.
    pub(super) fn lacks(&self, packages: &[&str]) {
        for package in packages {
            fs::remove_file(self.path("packages").join(package)).unwrap();
        }
    }

    /// An ordinary user's, without sudo.
    pub(super) fn of_a_user(&self) {
        self.stub("id", "echo 1000");
    }

    /// With a variable.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Runs a script of the repository with nothing but these variables and HOME.
    pub(super) fn run(&self, script: &str, arguments: &[&str]) -> Outcome {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts")
            .join(script);
        self.run_at(&script, arguments)
    }

    /// Runs a script by a path.
    pub(super) fn run_at(&self, script: &Path, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(self.path("bin/bash"));
        command.arg(script).args(arguments).env_clear();
        command.env("PATH", self.path("bin"));
        command.env("S", self.directory.path());
        command.env("TMPDIR", self.path("tmp"));
        command.env("HOME", self.path("home"));
        for (name, value) in &self.variables {
            match value.as_str() {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        let output = command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let left = fs::read_dir(self.path("tmp")).unwrap().count();
        assert_eq!(left, 0, "the script leaves files");
        Outcome::new(arguments, &output)
    }

    /// What was asked of the stand-ins, a line each.
    pub(super) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What was asked of apt.
    pub(super) fn apt_calls(&self) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls.filter(|call| call.starts_with("apt-get ")).collect()
    }
}
