# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of the script that sources this
# Very many small files: what a look at all of them takes, beside the tools that read the same metadata.
# Part of scripts/bench, whose $klon, $directory, $runs, $loops and functions, and those of repeat.sh, it
# uses.
#
# Two files of three have a block, of zeroes, and those are dug out of the volume's file: its metadata is
# as it would be, and ten million files take some GiB of disk.

many=${KLON_BENCH_MANY:-10000000}
# How many are made before zeroes are dug out.
many_step=1000000

# make_many: so many files in the source.
make_many() {
    local made=0 step
    while [ "$made" -lt "$many" ]; do
        step=$((many - made < many_step ? many - made : many_step))
        python3 "$files_py" many mnt "$made" "$step"
        made=$((made + step))
        dig
    done
}

# format_many: with room for so many inodes.
format_many() {
    case $of in
    ext4) mke2fs -q -F -t ext4 -N $((many + 100000)) -E lazy_itable_init=1,nodiscard "$1" 2>/dev/null ;;
    *) format "$1" ;;
    esac
}

# found_by NAME COMMAND…: measures it; its output goes nowhere.
found_by() {
    local name=$1 number
    shift
    for number in $(seq "$runs"); do timed_repeat "$name" "$@"; done
}

row_of_files() {
    local field values=()
    [ -e "$1.times" ] || return 0
    for field in 1 2 3 4 5; do values+=("$(middle "$1.times" "$field")"); done
    awk -v title="$2" -v v="${values[*]}" 'BEGIN {
        split(v, x)
        printf "| %s | %.1f | %.1f | %.0f | %.0f | %.0f |\n", title, x[1], x[2], x[4], x[5], x[3] / 1024 }'
    rm "$1.times"
}

# write_find: mounts the source, looks at each file, as time(1) takes a program.
write_find() {
    cat >by_find <<SCRIPT
#!/bin/bash
set -e
mount -o ro "\$1" mnt
find mnt -printf '%i %s %C@ %T@\n' | wc -l
umount mnt
SCRIPT
    chmod +x by_find
    mkdir -p mnt
}

bench_files() {
    local tool
    is_root || stop "files needs root for loop devices and mounts"
    write_find
    printf '%s files, two of three with a block of 4 KiB; median of %s runs; loop devices with direct I/O\n' \
        "$many" "$runs"
    for of in ${KLON_BENCH_ONLY:-ext4 xfs btrfs}; do
        # A block, an inode and a name for each.
        volume_mib=$((many / 150 + 600))
        is_hollow=yes
        volume_of source.img
        source=$device
        format_many "$source"
        in_source make_many
        volume_of target.img
        target=$device
        rm -rf "$KLON_RECORDS"
        by_klon untimed --rung compare
        rm -f untimed.times
        found_by klon "$klon" clone "$source" "$target" --dry-run --json --audit none "$word"
        printf '%s: rung %s, %s of %s files unchanged, %s bytes of metadata read for that; %s bytes of disk\n' "$of" \
            "$(said_before rung)" "$(said_before files_unchanged)" "$(said_before files_examined)" \
            "$(said_before metadata_read_bytes)" "$(du --block-size=1 source.img | cut -f1)"
        case $of in
        ext4) tool=e2image && found_by tool e2image -r "$source" /dev/null ;;
        xfs) tool=xfs_metadump && found_by tool xfs_metadump -o "$source" metadump.out && rm -f metadump.out ;;
        btrfs) tool='btrfs dump-tree' && found_by tool sh -c "btrfs inspect-internal dump-tree '$source' >/dev/null" ;;
        esac
        found_by find ./by_find "$source"
        printf '\n| %s, %s files | s | CPU s | source read (MiB) | target read (MiB) | peak MiB |\n' "$of" "$many"
        printf '|---|--:|--:|--:|--:|--:|\n'
        row_of_files klon 'klon clone --dry-run'
        row_of_files tool "$tool"
        row_of_files find 'find, mounted'
        printf '\n'
        let_go target.img
        let_go source.img
    done
}

# said_before KEY: what the last dry run of klon said of its volume.
said_before() { jq --raw-output "select(.event == \"preview\") | .$1" output; }
