# shellcheck shell=bash
# Golden images of XFS. Sourced by make-images.
# shellcheck disable=SC2154 # work and images are make-images' own

# xfs_used IMAGE: the used extents by xfs_db as JSON: everything but what its freesp lists, and
# the blocks that groups hold in reserve (AGFL), which freesp takes for free.
xfs_used() {
    local group groups
    groups=$(xfs_db -r -c 'sb 0' -c 'p agcount' "$1" | awk '{ print $3 }')
    {
        xfs_db -r -c 'sb 0' -c 'p agblocks blocksize dblocks' "$1"
        for ((group = 0; group < groups; group++)); do
            xfs_db -r -c "agf $group" -c 'p flfirst flcount' -c "agfl $group" -c 'p bno' "$1" |
                sed "s/^bno/group $group bno/"
        done
        xfs_db -r -c 'freesp -d' "$1"
    } | awk '
        function used(from, to) {
            if (from < to) printf "%s[%d,%d]", comma, from * size, (to - from) * size
            if (from < to) comma = ","
        }
        $2 == "=" { value[$1] = $3 }
        $1 == "group" {
            for (i = 0; i < value["flcount"]; i++) {
                split($(5 + (value["flfirst"] + i) % (NF - 4)), entry, ":")
                reserve[$2 * value["agblocks"] + entry[2]] = 1
            }
        }
        NF == 3 && $1 $2 $3 ~ /^[0-9]+$/ {
            start = $1 * value["agblocks"] + $2
            if (start in reserve) next
            starts[++extents] = start
            lens[start] = $3
        }
        BEGIN { printf "[" }
        END {
            size = value["blocksize"]
            for (i = 2; i <= extents; i++) {
                start = starts[i]
                for (j = i - 1; j > 0 && starts[j] > start; j--) starts[j + 1] = starts[j]
                starts[j + 1] = start
            }
            for (i = 1; i <= extents; i++) {
                used(next_used, starts[i])
                next_used = starts[i] + lens[starts[i]]
            }
            used(next_used, value["dblocks"])
            print "]"
        }'
}

# xfs_format NAME SIZE OPTIONS...: an image with files.
xfs_format() {
    local name=$1 size=$2 index
    shift 2
    rm -f "$work/$name.img"
    truncate -s "$size" "$work/$name.img"
    seq 3000 > "$work/numbers"
    {
        printf '/dev/null\n0 0\nd--755 0 0\ndirectory d--755 0 0\n'
        for index in {1..20}; do printf 'file%d ---644 0 0 %s\n' "$index" "$work/numbers"; done
        printf '$\n$\n'
    } > "$work/prototype"
    # With these three, mkfs.xfs makes volumes below 300 MiB, as for xfsprogs' own tests.
    TEST_DIR=. TEST_DEV=. QA_CHECK_FS=. mkfs.xfs -q -L "${name:0:12}" -p "$work/prototype" \
        -m uuid=4b6c6f6e-0000-4000-8000-786673000001 "$@" "$work/$name.img" 2>&1 |
        { grep -v "V4 filesystems are deprecated" || true; }
}

# xfs_image NAME SIZE OPTIONS...: a clean image.
xfs_image() {
    local name=$1
    wanted "$name" || return 0
    xfs_format "$@"
    xfs_repair -n -o force_geometry "$work/$name.img" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    answers "$name" xfs "$(xfs_used "$work/$name.img")"
    store "$name"
}

# xfs_dirty NAME HAZARD: one whose log's last operation has no unmount flag, or whose
# superblock says that it is unfinished.
xfs_dirty() {
    local name=$1 hazard=$2 start size
    wanted "$name" || return 0
    xfs_format "$name" 16M
    if [[ $hazard == needs_recovery ]]; then
        start=$(xfs_db -r -c 'sb 0' -c 'p logstart' "$work/$name.img" | awk '{ print $3 }')
        # oh_flags of the first operation, after the record's header.
        printf '\0' | dd of="$work/$name.img" bs=1 seek=$((start * 4096 + 512 + 9)) \
            conv=notrunc status=none
    else
        xfs_db -x -c 'sb 0' -c 'write -d inprogress 1' "$work/$name.img" > "$work/log"
    fi
    size=$(stat -c %s "$work/$name.img")
    answers "$name" xfs "[[0,$size]]" "$hazard"
    store "$name"
}

xfs_images() {
    xfs_image xfs 16M
    xfs_image xfs-1k-groups 96M -b size=1024 -d agsize=16m -m rmapbt=1
    xfs_image xfs-4k-sectors 16M -s size=4096
    xfs_image xfs-64k 144M -b size=65536
    xfs_image xfs-plain 16M -b size=1024 -m finobt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0
    xfs_image xfs-v4 16M -m crc=0
    xfs_image xfs-v4-512 16M -m crc=0 -b size=512 -l version=1
    xfs_dirty xfs-recover needs_recovery
    xfs_dirty xfs-unfinished damaged
}
