//! The table of changes: each is prepared in a folder of its own and made there later, by bash.

mod allocated;
mod btrfs;
mod in_place;
mod named;
mod ntfs;
mod past;

pub(super) use past::PAST;

/// Where a change can be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    All,
    Ext,
    Xfs,
    Btrfs,
    Ntfs,
    /// Where files can share blocks.
    Shared,
}

/// A change of a mounted tree.
pub(super) struct Change {
    pub(super) name: &'static str,
    pub(super) on: On,
    pub(super) prepare: &'static str,
    pub(super) make: &'static str,
    /// Whether the file `f` must be proven afterwards all the same.
    pub(super) keeps: bool,
}

/// What the scripts share. `lie` sets the time of modification back after a write.
pub(super) const SHELL: &str = r#"
long() { touch -d @1000000000 "$1"; }
noise() { head -c "$2" /dev/urandom >"$1"; long "$1"; }
put() {
    head -c "$3" /dev/urandom | dd of="$1" bs=64K iflag=fullblock oflag=seek_bytes seek="$2" conv=notrunc status=none
}
lie() { put "$@"; long "$1"; }
io() {
    local file=$1 command arguments=()
    shift
    for command; do arguments+=(-c "$command"); done
    local said
    said=$(xfs_io "${arguments[@]}" "$file" 2>&1) || return
    case $said in *"not supported"* | *"nvalid argument"* | *ermission*) echo "$said" >&2; return 1 ;; esac
}
plain() { : >"$1"; chattr +C "$1"; noise "$1" 48K; }
pieces() {
    local i
    for ((i = 0; i < $2; i++)); do head -c 3000 /dev/urandom | dd of="$1" bs=1 seek=$((i * 16384)) conv=notrunc status=none; done
    sync "$1"
}
"#;

const FILE: &str = "noise f 48K";
const SPARSE: &str = "truncate -s 256K f; put f 0 4K; put f 128K 8K";
const UNWRITTEN: &str = "xfs_io -f -c 'falloc 0 128k' f || truncate -s 128K f; put f 0 4K";
const TWO: &str = "noise f 48K; noise g 48K";

const fn change(name: &'static str, prepare: &'static str, make: &'static str) -> Change {
    Change {
        name,
        on: On::All,
        prepare,
        make,
        keeps: false,
    }
}

const fn only(on: On, change: Change) -> Change {
    Change { on, ..change }
}

const fn keeps(change: Change) -> Change {
    Change {
        keeps: true,
        ..change
    }
}

/// All changes that a volume of this kind can have.
pub(super) fn all(on: On) -> impl Iterator<Item = &'static Change> {
    let tables = [
        in_place::IN_PLACE,
        allocated::ALLOCATED,
        named::NAMED,
        past::PREPARED,
        btrfs::BTRFS,
        ntfs::NTFS,
    ];
    let all = tables.into_iter().flatten();
    let fits = move |wanted: On| match wanted {
        On::All => true,
        On::Shared => matches!(on, On::Xfs | On::Btrfs),
        only => only == on,
    };
    let lacks = move |name: &str| on == On::Ntfs && ntfs::LACKS.contains(&name);
    all.filter(move |change| fits(change.on) && !lacks(change.name))
}
