//! Hooks in directories and on the command line, in order, failing and too slow.

use super::Hooks;
use crate::cli::HookArgs;
use crate::error::{code, message};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A directory in which hooks note that they were run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn note(&self, what: &str) -> String {
        let log = self.0.path().join("log");
        format!(
            "echo {what} $KLON_HOOK $KLON_MOUNT_POINTS >>'{}'",
            log.to_str().unwrap()
        )
    }

    fn put(&self, name: &str, line: &str, mode: u32) {
        let path = self.0.path().join("hooks").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn args(&self, before: &[String], after: &[String]) -> HookArgs {
        HookArgs {
            before_freeze: before.iter().map(Into::into).collect(),
            after_thaw: after.iter().map(Into::into).collect(),
            hooks: Some(self.0.path().join("hooks")),
            hook_timeout: Duration::from_secs(60),
        }
    }

    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.0.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

fn find(args: &HookArgs) -> anyhow::Result<Hooks> {
    Hooks::find(args, &["/srv".into()], Arc::default())
}

#[test]
fn they_are_run_in_order_around_the_freeze() {
    let place = Place::new();
    place.put("before-freeze/20-b", &place.note("20"), 0o755);
    place.put("before-freeze/10-a", &place.note("10"), 0o755);
    place.put("before-freeze/15-not-executable", &place.note("15"), 0o644);
    place.put("before-freeze/10-a.dpkg-old", &place.note("old"), 0o755);
    place.put("after-thaw/10-a", &place.note("10"), 0o755);
    let args = place.args(&[place.note("first")], &[place.note("then")]);
    let mut hooks = find(&args).unwrap();
    assert!(place.log().is_empty());
    hooks.before().unwrap();
    let before = ["10", "20", "first"].map(|name| format!("{name} before-freeze /srv"));
    assert_eq!(place.log(), before);
    hooks.after().unwrap();
    hooks.after().unwrap();
    drop(hooks);
    let after = ["then", "10"].map(|name| format!("{name} after-thaw /srv"));
    assert_eq!(place.log(), [&before[..], &after].concat());
}

#[test]
fn one_that_fails_ends_the_run_and_what_was_begun_goes_on() {
    let place = Place::new();
    place.put("before-freeze/10-a", "exit 7", 0o755);
    place.put("before-freeze/20-b", &place.note("20"), 0o755);
    place.put("after-thaw/10-a", &place.note("10"), 0o755);
    place.put("after-thaw/20-b", &place.note("20"), 0o755);
    place.put("after-thaw/30-c", "kill -9 $$", 0o755);
    let args = place.args(&[place.note("first")], &[place.note("then")]);
    let error = find(&args).unwrap().before().unwrap_err();
    assert_eq!(code(&error), 3);
    let said = message(&error);
    for part in [
        "10-a failed with exit code 7",
        "nothing was frozen",
        "30-c was ended by signal 9",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // Those whose part before the freeze was never run have nothing to set going again.
    assert_eq!(place.log(), ["10 after-thaw /srv"]);
}

#[test]
fn what_takes_too_long_is_ended_with_all_that_it_has_started() {
    let place = Place::new();
    place.put("after-thaw/x", "exit 3", 0o755);
    let line = format!("(sleep 5; {}) & wait", place.note("late"));
    let mut args = place.args(&[line], &[]);
    args.hook_timeout = Duration::from_secs(1);
    let mut hooks = find(&args).unwrap();
    let said = message(&hooks.before().unwrap_err());
    assert!(
        said.contains("took longer than 1s") && said.contains("exit code 3"),
        "{said}"
    );
    // A clone that is told to end does not wait for hooks.
    let flag = Arc::new(AtomicBool::new(false));
    args.hook_timeout = Duration::from_secs(100);
    args.before_freeze = vec!["sleep 100".into()];
    let mut hooks = Hooks::find(&args, &[], Arc::clone(&flag)).unwrap();
    flag.store(true, Ordering::Relaxed);
    let said = message(&hooks.before().unwrap_err());
    assert!(said.contains("told to end"), "{said}");
    assert!(place.log().is_empty(), "{:?}", place.log());
}

#[test]
fn a_program_that_others_can_change_is_refused_and_so_is_an_empty_directory() {
    let place = Place::new();
    let said = message(&find(&place.args(&[], &[])).unwrap_err());
    assert!(said.contains("no hooks in"), "{said}");
    place.put("before-freeze/x", "true", 0o777);
    let said = message(&find(&place.args(&[], &[])).unwrap_err());
    assert!(said.contains("others can change the hook"), "{said}");
}

#[test]
fn those_for_after_the_thaw_are_run_when_the_run_fails() {
    let place = Place::new();
    place.put("after-thaw/x", &place.note("x"), 0o755);
    let mut hooks = find(&place.args(&[], &[])).unwrap();
    hooks.before().unwrap();
    drop(hooks);
    assert_eq!(place.log(), ["x after-thaw /srv"]);
    // Nothing was begun, so nothing is to be set going again.
    drop(find(&place.args(&[], &[])).unwrap());
    assert_eq!(place.log().len(), 1);
}
