# shellcheck shell=bash
# Golden images of ext2, ext3 and ext4. Sourced by make-images.
# shellcheck disable=SC2154 # work and images are make-images' own

# ext_used IMAGE: the used extents by dumpe2fs as JSON: everything but its "Free blocks".
ext_used() {
    dumpe2fs "$1" 2>/dev/null | awk '
        function used(from, to) {
            if (from < to) printf "%s[%d,%d]", comma, from * size, (to - from) * size
            if (from < to) comma = ","
        }
        /^Block count:/ { blocks = $3 }
        /^Block size:/ { size = $3; cluster = 1 }
        /^Cluster size:/ { cluster = $3 / size }
        /^  Free blocks: ./ {
            sub("^  Free blocks: ", "")
            ranges = split($0, range, ", ")
            for (i = 1; i <= ranges; i++) {
                ends = split(range[i], end, "-")
                used(next_used, end[1])
                # Of a range of clusters the first block of the last one is named.
                next_used = (int(end[ends] / cluster) + 1) * cluster
            }
        }
        BEGIN { printf "[" }
        END { used(next_used, blocks); print "]" }'
}

# ext_format NAME SIZE OPTIONS...: an image with fixed identifiers.
ext_format() {
    local name=$1 size=$2
    shift 2
    rm -f "$work/$name.img"
    truncate -s "$size" "$work/$name.img"
    mke2fs -q -F -L "$name" -U 4b6c6f6e-0000-4000-8000-657874666531 \
        -E hash_seed=4b6c6f6e-0000-4000-8000-657874666532,nodiscard "$@" "$work/$name.img" 2>&1 |
        { grep -vE "cannot handle dates|65536" || true; }
}

# ext_fill NAME: files in pieces, by creating many and deleting every other one.
ext_fill() {
    local index
    seq "${lines:-3000}" > "$work/numbers"
    {
        echo "set_current_time 20260101000000"
        echo "mkdir directory"
        for index in {1..20}; do echo "write $work/numbers directory/$index"; done
        for index in {1..19..2}; do echo "rm directory/$index"; done
        echo "symlink link directory/2"
    } > "$work/commands"
    debugfs -w -f "$work/commands" "$work/$1.img" > "$work/log" 2>&1
    e2fsck -fn "$work/$1.img" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}

# ext_image NAME KIND SIZE OPTIONS...: a clean image with files.
ext_image() {
    local name=$1 kind=$2 size=$3
    shift 3
    wanted "$name" || return 0
    ext_format "$name" "$size" "$@"
    ext_fill "$name"
    ext_anonymous "$work/$name.img"
    answers "$name" "$kind" "$(ext_used "$work/$name.img")"
    store "$name"
}

# ext_anonymous IMAGE: clears what the multiple-mount block says of host, device and time.
ext_anonymous() {
    local block
    block=$(dumpe2fs -h "$1" 2>/dev/null | awk '/^MMP block number:/ { print $4 }')
    [[ -n $block ]] || return 0
    dd if=/dev/zero of="$1" bs=1 count=104 seek=$((block * 1024 + 8)) conv=notrunc status=none
}

# ext_seed NAME KIND SIZE OPTIONS...: one small enough to start a fuzzer from.
ext_seed() {
    local lines=300
    ext_image "$@"
}

# ext_dirty NAME KIND HAZARD COMMAND: a volume that must be copied whole.
ext_dirty() {
    local name=$1 kind=$2 hazard=$3 command=$4
    wanted "$name" || return 0
    ext_format "$name" 8M -t "$kind" -b 1024
    ext_fill "$name"
    debugfs -w -R "$command" "$work/$name.img" > "$work/log" 2>&1
    answers "$name" "$kind" "[[0,$(stat -c %s "$work/$name.img")]]" "$hazard"
    store "$name"
}

ext_images() {
    ext_image ext2 ext2 4M -t ext2 -b 1024
    ext_image ext2-rev0 ext2 4M -r 0 -O none -b 2048
    ext_image ext3 ext3 16M -t ext3 -b 1024 -I 128
    ext_image ext4 ext4 32M -t ext4 -b 4096
    ext_image ext4-1k-32bit ext4 24M -t ext4 -b 1024 -O ^64bit,^flex_bg
    ext_image ext4-64k ext4 80M -t ext4 -b 65536 -O ^has_journal
    ext_image ext4-uninit ext4 40M -t ext4 -b 1024 -O ^metadata_csum,uninit_bg
    ext_image ext4-plain ext4 20M -t ext4 -b 1024 -O ^metadata_csum,^uninit_bg,^resize_inode
    ext_image ext4-metabg ext4 60M -t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode,^flex_bg
    ext_image ext4-bigalloc ext4 60M -t ext4 -b 1024 -O bigalloc -C 16384
    ext_image ext4-super2 ext4 40M -t ext4 -b 1024 -O sparse_super2
    ext_image ext4-supers ext4 30M -t ext4 -b 1024 -O ^sparse_super,^resize_inode,^flex_bg
    ext_image ext4-new ext4 20M -t ext4 -b 1024 \
        -O orphan_file,fast_commit,inline_data,casefold,metadata_csum_seed
    ext_image ext4-mmp ext4 20M -t ext4 -b 1024 -O mmp,^metadata_csum
    ext_image ext4-odd ext4 20001K -t ext4 -b 1024
    ext_seed ext2-seed ext2 200K -t ext2 -b 1024 -N 64 -I 128
    ext_seed ext3-seed ext3 2500K -t ext3 -b 1024 -N 64 -J size=1 -O ^resize_inode
    local plain=^has_journal,^metadata_csum,^resize_inode
    ext_seed ext4-seed ext4 300K -t ext4 -b 1024 -N 64 -O "$plain,^uninit_bg"
    ext_seed ext4-seed-csum ext4 300K -t ext4 -b 1024 -N 64 -O ^has_journal,^resize_inode
    ext_seed ext4-seed-uninit ext4 600K -t ext4 -b 1024 -N 64 -g 256 -O "$plain,uninit_bg"
    ext_seed ext4-seed-metabg ext4 600K -t ext4 -b 1024 -N 64 -g 256 -O "$plain,meta_bg"
    ext_seed ext4-seed-big ext4 600K -t ext4 -b 1024 -N 64 -O "$plain,bigalloc" -C 4096
    ext_dirty ext4-recover ext4 needs_recovery "feature needs_recovery"
    ext_dirty ext4-errors ext4 errors "set_super_value state 3"
    ext_dirty ext2-unclean ext2 not_cleanly_unmounted "set_super_value state 0"
}
