//! `scripts/setup`: the Rust that klon is built and tested with.

use super::world::{PINNED, World};

/// rustup's installer as curl gives it: a Rust in `~/.cargo/bin`.
const INSTALLER: &str = r#"
echo curl >>"$S/calls"
cat <<'SCRIPT'
echo "rustup-init $*" >>"$S/calls"
mkdir -p "$HOME/.cargo/bin"
for part in cargo cargo-fmt cargo-clippy rustc; do
    printf '#!/bin/sh\necho rustc 1.95.0\n' >"$HOME/.cargo/bin/$part"
    chmod +x "$HOME/.cargo/bin/$part"
done
SCRIPT
"#;

/// rustup with a toolchain `stable`, of the version in `$S/stable`; what it was asked to install is there
/// afterwards. Its rustc and cargo are those of the toolchain that is asked for, or of the pinned one.
const RUSTUP: &str = r#"
case "$*" in
"toolchain list") echo "stable-x86_64-unknown-linux-gnu (default)" ;;
*) echo "rustup $*" >>"$S/calls"; [ ! -e "$S/offline" ] || exit 1; touch "$S/whole" ;;
esac
"#;

const PROXY: &str = r#"
if [ -e "$S/whole" ]; then echo "rustc 1.95.0 (abcdef)"; exit 0; fi
case ${RUSTUP_TOOLCHAIN:-} in
stable*) echo "rustc $(cat "$S/stable") (abcdef)" ;;
*) [ -e "$S/PART" ] && echo "rustc 1.95.0 (abcdef)" ;;
esac
"#;

/// With all packages of the tests.
fn world() -> World {
    let world = World::new();
    world.run("setup", &[]).expect(0);
    std::fs::remove_file(world.path("calls")).unwrap();
    world
}

fn with_rustup(world: &World, stable: &str, parts: &[&str]) {
    world.stub("rustup", RUSTUP);
    world.file("stable", stable);
    for part in ["rustc", "cargo", "cargo-fmt", "cargo-clippy"] {
        world.stub(part, &PROXY.replace("PART", part));
    }
    for part in parts {
        world.file(part, "");
    }
}

#[test]
fn debians_own_rust_is_told_apart_from_the_pinned_one() {
    for version in ["1.63.0", "1.85.0", "1.94.9", "1.97.0", "1.97.0-nightly"] {
        let world = world();
        world.rust(version);
        world.stub("curl", INSTALLER);
        let outcome = world.run("setup", &[]).expect(0);
        outcome.says(&[
            "installing Rust 1.95.0 with rustup",
            &format!("beside Rust {version}"),
        ]);
        let asked = format!("--default-toolchain {PINNED}");
        assert!(
            world.calls().iter().any(|call| call.contains(&asked)),
            "{:?}",
            world.calls()
        );
        // The new one comes first from now on.
        assert_eq!(world.run("setup", &[]).expect(0).stderr, "", "{version}");
    }
}

#[test]
fn any_rust_that_is_new_enough_builds() {
    for (version, is_enough) in [
        ("1.97.0", true),
        ("1.95.2", true),
        ("2.0.0", true),
        ("1.94.1", false),
    ] {
        let world = World::new();
        world.rust(version);
        world.stub("curl", INSTALLER);
        let outcome = world.run("setup", &["--build-only"]).expect(0);
        assert_eq!(
            outcome.stderr.is_empty(),
            is_enough,
            "{version}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_rustup_that_lacks_the_toolchain_or_parts_of_it_is_asked_for_them() {
    let whole: &[&str] = &["rustc", "cargo", "cargo-fmt", "cargo-clippy"];
    for parts in [&whole[..0], &whole[..2], &whole[..3]] {
        let world = world();
        with_rustup(&world, "1.99.0", parts);
        world
            .run("setup", &[])
            .expect(0)
            .says(&["installing Rust 1.95.0 with rustup"]);
        let asked = "rustup toolchain install 1.95.0 --profile minimal --component clippy --component rustfmt";
        assert!(
            world.calls().contains(&asked.to_owned()),
            "{parts:?}: {:?}",
            world.calls()
        );
    }
    // The same version under another name does.
    for (stable, parts) in [("1.95.0", &whole[..0]), ("1.99.0", whole)] {
        let world = world();
        with_rustup(&world, stable, parts);
        assert_eq!(world.run("setup", &[]).expect(0).stderr, "");
    }
}

#[test]
fn a_rust_that_cannot_be_had_is_said_with_what_to_do() {
    let world = world();
    world.without("rustc");
    world.stub(
        "curl",
        "echo 'curl: (6) Could not resolve host' >&2; exit 6",
    );
    let outcome = world.run("setup", &[]).expect(1);
    outcome.says(&[
        "https://sh.rustup.rs",
        "put Rust 1.95.0 with clippy and rustfmt on PATH",
    ]);
    with_rustup(&world, "1.99.0", &[]);
    world.file("offline", "");
    let outcome = world.run("setup", &[]).expect(1);
    outcome.says(&[
        "could not install Rust 1.95.0",
        "on PATH, and run the same script again",
    ]);
}

#[test]
fn without_cargo_fuzz_the_command_that_installs_it_is_named_before_anything_else_happens() {
    let world = World::new();
    let outcome = world.run("fuzz", &["1", "ext"]).expect(1);
    outcome
        .says(&["cargo-fuzz is not installed. To install it: cargo install cargo-fuzz --version"]);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert_eq!(world.calls(), [""; 0]);
}
