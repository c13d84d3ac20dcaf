# shellcheck shell=bash
# What klon's scripts share; each begins with it. Sets $root, finds Rust and the tools of root on PATH,
# and has functions to set up, to look for room, and to build klon.

root=$(dirname "$(dirname "$(readlink --canonicalize "${BASH_SOURCE[0]}")")")
script_name=$(basename "$0")

# say TEXT: tells what happens.
say() { printf '%s: %s\n' "$script_name" "$*" >&2; }

# stop TEXT: tells why it ends here.
stop() {
    say "$*"
    exit 1
}

# Cron, some CI and systemd's units have none.
if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6) || true
    [ -n "$HOME" ] || stop "HOME is not set, and this account has no directory; set HOME, then run it again."
    export HOME
fi
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH:/usr/sbin:/sbin"
# cargo is run in $root, where the pinned toolchain holds.
for variable in CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR; do
    case ${!variable:-/} in
    /*) ;;
    *) export "$variable=$PWD/${!variable}" ;;
    esac
done

# The only Rust that is tested, by rust-toolchain.toml, and the oldest that builds klon.
rust_pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$root/rust-toolchain.toml")
rust_oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")

# rust_version: of the compiler that would be taken; nothing is downloaded for the answer.
rust_version() { (cd "$root" && RUSTUP_AUTO_INSTALL=0 rustc --version 2>/dev/null | cut -d' ' -f2) || true; }

# rust_is_whole: whether that is the pinned one, with cargo, format and lints.
rust_is_whole() {
    local part
    [ "$(rust_version)" = "$rust_pinned" ] || return 1
    for part in cargo cargo-fmt cargo-clippy; do
        (cd "$root" && RUSTUP_AUTO_INSTALL=0 "$part" --version >/dev/null 2>&1) || return 1
    done
}

# rust_builds: whether what is there can build klon.
rust_builds() {
    local found
    found=$(rust_version)
    [ -n "$found" ] && (cd "$root" && RUSTUP_AUTO_INSTALL=0 cargo --version >/dev/null 2>&1) &&
        printf '%s\n' "$rust_oldest" "$found" | sort --version-sort --check=quiet
}

# choose_rust: where rustup has the pinned version under another name (`stable`), that is taken.
choose_rust() {
    local toolchain
    if rust_is_whole || ! command -v rustup >/dev/null; then return 0; fi
    while read -r toolchain _; do
        if RUSTUP_TOOLCHAIN=$toolchain rust_is_whole; then
            export RUSTUP_TOOLCHAIN=$toolchain
            return 0
        fi
    done < <(rustup toolchain list 2>/dev/null)
}

# set_up [ARGUMENT…]: what scripts/setup does, for this script.
set_up() {
    "$root/scripts/setup" "$@"
    choose_rust
}

# free_mib DIRECTORY: what an ordinary user may still write there.
free_mib() { df --output=avail --block-size=1M "$1" | tail -n 1 | tr -d ' '; }

# target_directory: where cargo builds.
target_directory() {
    (cd "$root" && cargo metadata --quiet --locked --no-deps --format-version 1) | jq --raw-output .target_directory
}

# need_target MIB: stops unless cargo may have so much room, with what is there already.
need_target() {
    local place there free
    place=$(target_directory)
    mkdir -p "$place"
    there=$(du --summarize --block-size=1M "$place" 2>/dev/null | cut -f1)
    free=$(free_mib "$place")
    [ $((free + there)) -ge "$1" ] || stop "$place has $free MiB free, and building takes $1 MiB. Name a" \
        "place with more room: CARGO_TARGET_DIR=DIRECTORY $0"
}

# need_temporary MIB: exports a TMPDIR with so much room: that of the caller, or /tmp, or, where nobody
# asked for a place, /var/tmp, as /tmp may be in memory. Stops where there is none.
need_temporary() {
    local asked=${TMPDIR:-} place=${TMPDIR:-/tmp}
    [ -d "$place" ] || stop "TMPDIR=$place is not a directory."
    place=$(readlink --canonicalize "$place")
    if [ "$(free_mib "$place")" -lt "$1" ] && [ -z "$asked" ] && [ "$(free_mib /var/tmp)" -ge "$1" ]; then
        say "/tmp has $(free_mib /tmp) MiB free and $1 MiB are needed for a while: /var/tmp is taken."
        place=/var/tmp
    fi
    [ "$(free_mib "$place")" -ge "$1" ] || stop "$place has $(free_mib "$place") MiB free, and $1 MiB are" \
        "needed for a while. Name a place with more room: TMPDIR=DIRECTORY $0"
    export TMPDIR=$place
}

# build_klon [OPTION…]: sets $klon to the program that cargo has just built, wherever it was told to.
build_klon() {
    local built
    built=$(cd "$root" && cargo build --locked --message-format=json-render-diagnostics "$@")
    klon=$(jq --raw-output 'select(.reason == "compiler-artifact" and .target.name == "klon")
        | .executable // empty' <<<"$built" | tail -n 1)
    [ -x "$klon" ] || stop "cargo has built klon, but did not say where."
}
