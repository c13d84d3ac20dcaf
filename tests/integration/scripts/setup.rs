//! `scripts/setup`: packages.

use super::world::{BUILD, World};

const WHOLE: &str = "apt-get update && apt-get install --no-install-recommends --no-remove";

fn without_three() -> World {
    let world = World::new();
    world.lacks(&["gcc", "jq", "mtools"]);
    world
}

#[test]
fn what_is_there_is_not_installed() {
    let world = World::new();
    let outcome = world.run("setup", &["--build-only"]).expect(0);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    assert_eq!(world.apt_calls(), [""; 0]);
}

#[test]
fn what_is_missing_comes_in_one_transaction_that_removes_nothing() {
    let world = without_three();
    let outcome = world.run("setup", &["--build-only"]).expect(0);
    outcome.says(&[
        "installing from Debian",
        "gcc jq mtools",
        "400 MB",
        "two minutes",
    ]);
    let calls = world.apt_calls();
    assert!(
        calls.len() == 2 && calls[0].ends_with(" update"),
        "{calls:?}"
    );
    for part in [
        "--no-install-recommends",
        "--no-remove",
        "--yes",
        " gcc jq mtools",
    ] {
        assert!(calls[1].contains(part), "{part}: {calls:?}");
    }
    // All that the tests need, at once as well.
    let world = World::new();
    world.run("setup", &[]).expect(0);
    let calls = world.apt_calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    for package in [
        " xfsprogs",
        " qemu-system-x86",
        " qemu-utils",
        " fuse3",
        " zstd",
    ] {
        assert!(calls[1].contains(package), "{package}: {calls:?}");
    }
    // And single ones, without a look at Rust.
    let world = World::new();
    world.without("rustc");
    world.run("setup", &["--packages", "cpio", "jq"]).expect(0);
    assert!(
        world.apt_calls()[1].ends_with(" cpio"),
        "{:?}",
        world.calls()
    );
}

#[test]
fn a_user_without_sudo_is_told_the_whole_command() {
    let world = without_three();
    world.of_a_user();
    let outcome = world.run("setup", &["--build-only"]).expect(1);
    let whole = format!("su -c '{WHOLE} gcc jq mtools'");
    outcome.says(&[
        "3 packages are missing",
        "no sudo",
        "then the same script again",
        &whole,
    ]);
    assert_eq!(world.apt_calls(), [""; 0]);
    // One whom sudo does not let.
    world.stub("sudo", "exit 1");
    let outcome = world.run("setup", &["--build-only"]).expect(1);
    outcome.says(&["sudo does not let this user", &whole]);
    assert_eq!(world.apt_calls(), [""; 0]);
    // And one whom it does.
    world.stub(
        "sudo",
        "[ \"$1\" != --validate ] || exit 0; echo sudo >>\"$S/calls\"; exec \"$@\"",
    );
    world.run("setup", &["--build-only"]).expect(0);
    assert_eq!(
        world.calls().iter().filter(|call| *call == "sudo").count(),
        2
    );
}

#[test]
fn a_system_without_apt_is_judged_by_its_commands() {
    let world = without_three();
    for program in ["apt-get", "dpkg", "dpkg-query"] {
        world.without(program);
    }
    let outcome = world.run("setup", &["--build-only"]).expect(1);
    outcome.says(&[
        "without apt-get",
        "by its own means",
        "curl gcc",
        "mtools",
        "the same script again",
    ]);
    for command in [
        "curl", "gcc", "mkfs.fat", "debugfs", "sfdisk", "jq", "mcopy",
    ] {
        world.stub(command, "");
    }
    world.run("setup", &["--build-only"]).expect(0);
}

#[test]
fn servers_that_cannot_be_reached_are_named_as_the_reason() {
    let world = without_three();
    world.file(
        "apt",
        "echo 'E: Failed to fetch http://example.org/x  Temporary failure resolving'; exit 100",
    );
    let outcome = world.run("setup", &["--build-only"]).expect(1);
    outcome.says(&[
        "Temporary failure",
        "can't be reached",
        &format!("{WHOLE} gcc jq mtools"),
    ]);
    // A package that is in no list, with servers that answer, is another reason.
    let world = without_three();
    let fails = "case \" $* \" in *' install '*) echo 'E: Unable to locate package mtools'; exit 100;; esac";
    world.file("apt", fails);
    let outcome = world.run("setup", &["--build-only"]).expect(1);
    outcome.says(&[
        "Unable to locate package mtools",
        "could not install",
        WHOLE,
    ]);
    assert!(!outcome.stderr.contains("reached"), "{}", outcome.stderr);
}

#[test]
fn who_holds_the_lock_of_apt_is_waited_for() {
    for message in [
        "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (unattended-upgr)",
        "E: Unable to lock directory /var/lib/apt/lists/",
        "dpkg: error: dpkg frontend lock was locked by another process with pid 7",
    ] {
        let world = without_three();
        let script = "echo x >>\"$S/tries\"; [ $(grep -c x \"$S/tries\") -gt 3 ] || { echo 'MESSAGE'; exit 100; }";
        world.file("apt", &script.replace("MESSAGE", message));
        let outcome = world.run("setup", &["--build-only"]).expect(0);
        outcome.says(&["waiting for it, up to ten minutes"]);
        assert_eq!(
            outcome.stderr.matches("waiting").count(),
            1,
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn what_apt_has_left_out_is_noticed() {
    let world = without_three();
    world.file("apt", "set -- update");
    let outcome = world.run("setup", &["--build-only"]).expect(1);
    outcome.says(&["still missing: gcc jq mtools"]);
}

/// As apt says it of a `qemu-utils` that is newer than what the sources have.
const CONFLICT: &str = "
case \" $* \" in
*' --allow-downgrades '* | *' update '*) ;;
*' --target-release '*) [ -e \"$S/backports\" ] || exit 100 ;;
*)
    echo 'The following packages will be REMOVED:'
    echo '  qemu-utils'
    echo 'The following NEW packages will be installed:'
    echo 'E: Packages need to be removed but remove is disabled.'
    exit 100
    ;;
esac";

#[test]
fn what_would_be_removed_stays_or_is_named() {
    let world = without_three();
    world.file("apt", CONFLICT);
    world.file(
        "apt-cache",
        "echo 'qemu-utils | 1:7.2 | http://example.org Packages'",
    );
    let outcome = world.run("setup", &["--build-only"]).expect(1);
    outcome.says(&[
        "qemu-utils is newer here",
        "--no-remove --allow-downgrades gcc jq mtools qemu-utils=1:7.2",
    ]);
    let mut ci = without_three();
    ci.file("apt", CONFLICT);
    ci.file(
        "apt-cache",
        "echo 'qemu-utils | 1:7.2 | http://example.org Packages'",
    );
    ci.set("CI", "true");
    ci.run("setup", &["--build-only"])
        .expect(0)
        .says(&["CI takes qemu-utils=1:7.2"]);
    // Where this machine has backports, all of it comes from there.
    let backports = without_three();
    backports.file("apt", CONFLICT);
    backports.file("backports", "");
    let codename = "sed -n 's/^VERSION_CODENAME=//p' /etc/os-release";
    backports.file("apt-cache", &format!("echo \"n=$({codename})-backports\""));
    let outcome = backports.run("setup", &["--build-only"]).expect(0);
    outcome.says(&["qemu-utils is there from", "-backports"]);
    let calls = backports.apt_calls();
    let last = calls.last().unwrap();
    assert!(
        last.contains("--target-release") && last.contains("--no-remove"),
        "{calls:?}"
    );
}

#[test]
fn packages_of_several_architectures_are_there_once_this_one_is() {
    let world = World::new();
    world.file("packages/libc6-dev", "installed amd64\ninstalled i386\n");
    world.file("packages/ca-certificates", "installed all\n");
    world.run("setup", &["--build-only"]).expect(0);
    assert_eq!(world.apt_calls(), [""; 0]);
    for (state, is_missing) in [
        ("installed i386\n", true),
        ("config-files amd64\n", true),
        ("half-installed amd64\ninstalled i386\n", true),
        ("not-installed i386\ninstalled amd64\n", false),
    ] {
        world.file("packages/libc6-dev", state);
        let _ = std::fs::remove_file(world.path("calls"));
        world.run("setup", &["--build-only"]).expect(0);
        assert_eq!(!world.apt_calls().is_empty(), is_missing, "{state}");
    }
    assert!(BUILD.contains(&"libc6-dev"));
}

#[test]
fn a_missing_home_is_found_in_the_accounts() {
    let mut world = World::new();
    world.set("HOME", "");
    world.without("getent");
    world.stub("getent", "echo \"x:x:0:0::$S/home:/bin/sh\"");
    world.run("setup", &["--build-only"]).expect(0);
    world.without("getent");
    world.stub("getent", "exit 2");
    world
        .run("setup", &["--build-only"])
        .expect(1)
        .says(&["HOME is not set", "set HOME"]);
}
