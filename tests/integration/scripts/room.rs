//! Where scripts build and where they put what they make.

use super::world::World;
use std::path::Path;

/// A cargo that builds where it was told to, and says so.
const CARGO: &str = r#"
case "$*" in
*--version*) exit 0 ;;
*metadata*) echo "{\"target_directory\":\"${CARGO_TARGET_DIR:-${CARGO_BUILD_TARGET_DIR:-$S/configured}}\"}"; exit ;;
esac
to=${CARGO_TARGET_DIR:-${CARGO_BUILD_TARGET_DIR:-$S/configured}}
case $to in /*) ;; *) echo "relative to $PWD: $to" >&2; exit 1 ;; esac
mkdir -p "$to/release"
printf '#!/bin/sh\necho "built in %s"\n' "$to" >"$to/release/klon"
chmod +x "$to/release/klon"
echo "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":null}"
echo "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"klon\"},\"executable\":\"$to/release/klon\"}"
"#;

/// A df that knows two places.
const DF: &str = r#"
for place; do :; done
echo Avail
case $place in
*/small* | /tmp) echo 400 ;;
*/tiny*) echo 300 ;;
*) echo 9000 ;;
esac
"#;

fn world() -> World {
    let world = World::new();
    world.stub("cargo", CARGO);
    world.stub("df", DF);
    world.stub("date", "");
    std::os::unix::fs::symlink("/usr/bin/jq", world.path("bin/jq")).unwrap();
    world
}

/// A script that builds klon and runs it, beside the others.
fn built(world: &World) -> String {
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/common.sh");
    let script = format!(". '{}'\nbuild_klon --release\n\"$klon\"", common.display());
    world.file("script", &script);
    world.run_at(&world.path("script"), &[]).expect(0).stdout
}

#[test]
fn the_program_that_was_just_built_is_run_wherever_cargo_puts_it() {
    let mut relative = world();
    relative.set("CARGO_TARGET_DIR", "target2");
    let expected = relative.path("target2");
    assert_eq!(
        built(&relative),
        format!("built in {}\n", expected.display())
    );
    let mut relative = world();
    relative.set("CARGO_BUILD_TARGET_DIR", "a b/target");
    let expected = relative.path("a b/target");
    assert_eq!(
        built(&relative),
        format!("built in {}\n", expected.display())
    );
    // In its configuration.
    let configured = world();
    let expected = configured.path("configured");
    assert_eq!(
        built(&configured),
        format!("built in {}\n", expected.display())
    );
}

#[test]
fn a_demo_without_room_ends_before_the_build() {
    let mut world = world();
    std::fs::create_dir(world.path("small")).unwrap();
    let small = world.path("small").display().to_string();
    world.set("TMPDIR", &small);
    let outcome = world.run("demo", &[]).expect(1);
    outcome.says(&[
        &small,
        "400 MiB free",
        "1500 MiB are needed",
        "TMPDIR=DIRECTORY",
    ]);
    assert!(!outcome.stdout.contains("Building"), "{}", outcome.stdout);
    // A directory for what stays.
    world.set("KLON_DEMO_DIR", &format!("{small}/demo"));
    world
        .run("demo", &[])
        .expect(1)
        .says(&[&small, "400 MiB free", "1500 MiB"]);
    world.set("KLON_DEMO_DIR", &small);
    world
        .run("demo", &[])
        .expect(1)
        .says(&["is there", "a new directory"]);
    world.set("KLON_DEMO_DIR", "");
    // Where cargo builds.
    world.set("TMPDIR", &world.path("tmp").display().to_string());
    world.set("CARGO_TARGET_DIR", "tiny");
    let outcome = world.run("demo", &[]).expect(1);
    outcome.says(&[
        "/tiny has 300 MiB free",
        "building takes 400 MiB",
        "CARGO_TARGET_DIR=DIRECTORY",
    ]);
    assert!(!outcome.stdout.contains("Building"), "{}", outcome.stdout);
}

#[test]
fn a_small_tmp_leads_to_var_tmp_where_nobody_asked_for_a_place() {
    let mut world = world();
    world.set("TMPDIR", "");
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/common.sh");
    let script = |mib: u32| {
        format!(
            ". '{}'\nneed_temporary {mib}\necho \"$TMPDIR\"",
            common.display()
        )
    };
    world.file("script", &script(1500));
    let outcome = world.run_at(&world.path("script"), &[]).expect(0);
    assert_eq!(outcome.stdout, "/var/tmp\n");
    outcome.says(&["/tmp has 400 MiB free", "/var/tmp is taken"]);
    world.file("script", &script(300));
    assert_eq!(
        world.run_at(&world.path("script"), &[]).expect(0).stdout,
        "/tmp\n"
    );
    world.file("script", &script(10_000));
    let outcome = world.run_at(&world.path("script"), &[]).expect(1);
    outcome.says(&["/tmp has 400 MiB free", "10000 MiB are needed"]);
}

#[test]
fn scripts_are_found_through_links() {
    let world = World::new();
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup");
    std::os::unix::fs::symlink(setup, world.path("klon-setup")).unwrap();
    std::os::unix::fs::symlink(world.path("klon-setup"), world.path("again")).unwrap();
    for link in ["klon-setup", "again"] {
        world.run_at(&world.path(link), &["--build-only"]).expect(0);
    }
    let missing = World::new();
    missing.lacks(&["jq"]);
    missing.of_a_user();
    std::os::unix::fs::symlink(world.path("klon-setup"), missing.path("link")).unwrap();
    missing
        .run_at(&missing.path("link"), &["--build-only"])
        .expect(1)
        .says(&["setup: 1 package is missing"]);
}
