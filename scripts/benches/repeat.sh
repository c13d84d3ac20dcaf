# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of the script that sources this
# Repeated clones: each of klon's rungs beside a first clone, dd, partclone and rsync, on ext4, XFS and
# Btrfs, after a share of what is in use has changed. Part of scripts/bench, whose $klon, $directory,
# $runs, $loops and functions it uses.
#
# Each timed run of klon's has a change of its own before it, of the same size, so that each finds
# what the others found. Devices are flushed before each run, so that nothing is read from memory.

used_list=${KLON_BENCH_USED:-2048}
churn_list=${KLON_BENCH_CHURN:-0.1 1 10}
# yes: contents of all but small files are zero, and dug out of the volume's file, which then takes
# little of the disk whatever is in use. No other tool is measured then.
is_hollow=${KLON_BENCH_HOLLOW:-}
if [ -n "$short" ]; then
    used_list=${KLON_BENCH_USED:-64}
    churn_list=${KLON_BENCH_CHURN:-1}
    runs=1
fi
# The user's word; there may be no ledger here.
word=--assume-clean-since-record
files_py=$root/scripts/benches/files.py

# sectors LOOP FIELD: a field of its /sys/block statistics.
sectors() { awk -v field="$2" '{ print $field }' "/sys/block/${1##*/}/stat"; }

# all_sectors: read of $source, read of $target, written to $target.
all_sectors() {
    if is_root; then
        printf '%s %s %s\n' "$(sectors "$source" 3)" "$(sectors "$target" 3)" "$(sectors "$target" 7)"
    else
        echo '0 0 0'
    fi
}

# timed_repeat NAME COMMAND…: adds to NAME.times
# "seconds cpu-seconds peak-KiB source-MiB target-MiB written-MiB".
timed_repeat() {
    local name=$1 before after
    shift
    sync source.img
    if is_root; then
        blockdev --flushbufs "$source"
        blockdev --flushbufs "$target"
    fi
    before=$(all_sectors)
    /usr/bin/time --quiet --output=time --format='%e %U %S %M' "$@" >output 2>&1 ||
        { tail -n 5 output >&2; stop "$name failed"; }
    if is_root; then blockdev --flushbufs "$target"; fi
    after=$(all_sectors)
    awk -v before="$before" -v after="$after" '{
        split(before, b); split(after, a)
        printf "%s %s %s %.1f %.1f %.1f\n", $1, $2 + $3, $4,
            (a[1] - b[1]) / 2048, (a[2] - b[2]) / 2048, (a[3] - b[3]) / 2048 }' time >>"$name.times"
}

# by_klon NAME OPTION…: a clone from $source to $target, until it is durable.
by_klon() {
    local name=$1
    shift
    timed_repeat "$name" "$klon" clone "$source" "$target" --yes --confirm "$directory/target.img" --json "$@"
}

# said KEY: what the last run of klon said of its volume.
said() { jq --raw-output "select(.event == \"summary\") | .$1" output; }

# middle FILE FIELD: the median.
middle() { cut -d' ' -f"$2" "$1" | sort -n | sed -n "$((($(wc -l <"$1") + 1) / 2))p"; }

# row_of NAME TITLE: a row of the table.
row_of() {
    local field values=()
    [ -e "$1.times" ] || return 0
    for field in 1 2 3 4 5 6; do values+=("$(middle "$1.times" "$field")"); done
    awk -v title="$2" -v of="$(middle metadata.times 1)" -v v="${values[*]}" 'BEGIN {
        split(v, x)
        printf "| %s | %.2f | %.1f | %.0f | %.0f | %.0f | %.2f | %.0f |\n", title, x[1],
            (of > 0 ? x[1] / of : 0), x[4], x[5], x[6], x[2], x[3] / 1024 }'
}

# mount_at DEVICE POINT
mount_at() {
    local options=defaults
    [ "$of" != xfs ] || options=nouuid
    mkdir -p "$2"
    mount -o "$options" "$1" "$2"
}

# in_source COMMAND…: runs it with the source mounted at mnt.
in_source() {
    mount_at "$source" mnt
    mounted=$directory/mnt
    "$@"
    umount mnt
    mounted=
}

# change SEED: that share of what is in use; sets $written_bytes.
change() {
    if ! is_root; then
        change_source "$1"
        written_bytes=$(((keep_mib / 100 + 1) << 20))
        return
    fi
    written_bytes=$(in_source python3 "$files_py" churn mnt "$churn_bytes" "$1")
}

# volume_of NAME: a sparse file of the volume's size, on a loop device for root; sets $device.
volume_of() {
    rm -f "$1"
    truncate --size="${volume_mib}M" "$1"
    device "$1"
}

format() {
    case $of in
    # Without a journal, whose empty log klon leaves zero on a clone, all that is in use can be compared.
    ext4) mke2fs -q -F -t ext4 -O ^has_journal -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$1" 2>/dev/null ;;
    xfs) mkfs.xfs -q -f -K "$1" ;;
    btrfs) mkfs.btrfs -q -f -K "$1" >/dev/null 2>&1 ;;
    esac
}

# dig: gives back what is zero in the source's file, with nothing being written to it.
dig() {
    sync --file-system mnt
    fsfreeze --freeze mnt
    fallocate --dig-holes source.img
    fsfreeze --unfreeze mnt
}

fill_source() {
    local part left=$used_mib seed=1
    [ -n "$is_hollow" ] || { python3 "$files_py" fill mnt $((used_mib << 20)) 1; return; }
    while [ "$left" -gt 0 ]; do
        part=$((left > 1024 ? 1024 : left))
        python3 "$files_py" fill mnt $((part << 20)) "$seed" zero
        dig
        left=$((left - part)) seed=$((seed + 1))
    done
}

# same_as_source: whether the target has every byte in use, and is sound by the filesystem's own tool.
same_as_source() {
    [ -z "$is_hollow" ] || return 0
    "$klon" map "$source" --json | python3 "$files_py" differ "$source" "$target"
    case $of in
    ext4) e2fsck -fn "$target" ;;
    xfs) xfs_repair -n "$target" ;;
    btrfs) btrfs check --readonly "$target" ;;
    esac >checked 2>&1 || { cat checked >&2; stop "the clone of $of is damaged"; }
}

# let_go NAME: removes a volume with its loop device.
let_go() {
    local kept=() loop
    for loop in "${loops[@]}"; do
        if [ "$(losetup --noheadings --output BACK-FILE "$loop")" = "$directory/$1" ]; then
            losetup --detach "$loop"
        else
            kept+=("$loop")
        fi
    done
    loops=("${kept[@]}")
    rm -f "$1"
}

# first_clones: what a clone of everything takes, by each tool.
first_clones() {
    local number tool
    for number in $(seq "$runs"); do
        for tool in first dd partclone; do
            volume_of target.img
            target=$device
            rm -rf "$KLON_RECORDS"
            case $tool in
            first) by_klon first --rung full ;;
            dd) timed_repeat dd dd if="$source" of="$target" bs=4M iflag=direct oflag=direct conv=notrunc,fsync ;;
            partclone)
                timed_repeat partclone sh -c "partclone.$of -b -F -s '$source' -O '$target' -L partclone.log &&
                    sync '$target'"
                ;;
            esac
            if is_root; then let_go target.img; fi
        done
    done
}

# timed_rsync NAME: of the trees, from the mounted source to a volume of the same kind that is not klon's.
timed_rsync() {
    local target=$for_rsync options=defaults
    [ "$of" != xfs ] || options=nouuid
    timed_repeat "$1" ./by_rsync "$options" "$source" "$target"
}

# by_rung RUNG NUMBER: a change, and a clone that finds it; rsync comes along.
by_rung() {
    local rung=$1 options=(--rung "$1")
    change "$2"
    # Chosen by klon itself, as users do.
    [ "$rung" != metadata ] || options=("$word")
    by_klon "$rung" "${options[@]}"
    if [ "$rung" = metadata ]; then
        printf '%s of %s %%: %s bytes written to files; rung %s, %s files unchanged of %s, %s bytes of metadata read, %s of target checked, %s audited\n' \
            "$of" "$churn" "$written_bytes" "$(said rung)" "$(said files_unchanged)" "$(said files_examined)" \
            "$(said metadata_read_bytes)" "$(said checked_bytes)" "$(said audited_bytes)"
        [ "$(said rung)" = metadata ] || stop "rung metadata was not taken: $(said reason)"
    fi
    [ -z "$short" ] || same_as_source
    [ -n "$for_rsync" ] || return 0
    if [ "$rung" = metadata ]; then timed_rsync rsync; else timed_rsync untimed; fi
}

repeats() {
    local number rung seed=100
    volume_of target.img
    target=$device
    rm -rf "$KLON_RECORDS"
    # Zeroes of the source take no room on a new target when both are compared.
    by_klon untimed --rung "$([ -n "$is_hollow" ] && echo compare || echo full)"
    for_rsync=
    if [ -z "$is_hollow" ] && is_root; then
        volume_of rsync.img
        for_rsync=$device
        format "$for_rsync"
        timed_rsync untimed
    fi
    for churn in $churn_list; do
        churn_bytes=$(awk -v mib="$used_mib" -v share="$churn" 'BEGIN { printf "%d", mib * 1048576 * share / 100 }')
        rm -f metadata.times digest.times compare.times rsync.times
        for number in $(seq "$runs"); do
            for rung in metadata digest compare; do
                seed=$((seed + 1))
                by_rung "$rung" "$seed"
            done
        done
        [ -n "$short" ] || same_as_source
        table_of
    done
}

table_of() {
    printf '\n| %s, %s MiB in use, %s %% changed | s | ÷ metadata | source read | target read | written | CPU s | peak MiB |\n' \
        "$of" "$used_mib" "$churn"
    printf '|---|--:|--:|--:|--:|--:|--:|--:|\n'
    row_of metadata 'klon, rung metadata'
    row_of digest 'klon, rung digest'
    row_of compare 'klon, rung compare'
    row_of first 'klon, first clone'
    row_of dd dd
    row_of partclone "partclone.$of"
    row_of rsync 'rsync -aHAX --inplace'
    printf '\n'
}

# What rsync is run by, as time(1) takes a program.
write_rsync() {
    cat >by_rsync <<SCRIPT
#!/bin/bash
set -e
mount -o "ro,\$1" "\$2" mnt
mount -o "\$1" "\$3" other
rsync -aHAX --inplace --delete mnt/ other/
umount mnt other
SCRIPT
    chmod +x by_rsync
    mkdir -p mnt other
}

bench_repeat() {
    local kinds=${KLON_BENCH_ONLY:-ext4 xfs btrfs}
    if ! is_root; then
        kinds=ext4
        used_list=$keep_mib
    fi
    printf 'median of %s runs; MiB; %s\n' "$runs" \
        "$(is_root && echo 'loop devices with direct I/O' || echo 'plain files: bytes are not counted')"
    write_rsync
    for of in $kinds; do
        for used_mib in $used_list; do
            # Half as much is free; XFS wants 300 MiB.
            volume_mib=$((used_mib * 3 / 2 < 400 ? 400 : used_mib * 3 / 2))
            if is_root; then
                volume_of source.img
                source=$device
                format "$source"
                in_source fill_source
            else
                volume_mib=$size_mib
                make_source
                source=$directory/source.img
            fi
            [ -n "$is_hollow" ] || first_clones
            repeats
            if is_root; then
                let_go rsync.img
                let_go target.img
                let_go source.img
            fi
            rm -f ./*.times
        done
    done
}
