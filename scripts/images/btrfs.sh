# shellcheck shell=bash
# Golden images of Btrfs. Sourced by make-images.
# shellcheck disable=SC2154 # work and images are make-images' own

# btrfs_used IMAGE: the used extents by dump-tree as JSON: every copy of every extent, the first
# mebibyte, and the superblock's copy at 64 MiB where the volume is that large.
btrfs_used() {
    local size nodes
    size=$(stat -c %s "$1")
    nodes=$(btrfs inspect-internal dump-super "$1" | awk '/^nodesize/ { print $2 }')
    {
        echo "0 1048576"
        ((size < (64 << 20) + 4096)) || echo "$((64 << 20)) 4096"
        { btrfs inspect-internal dump-tree -t chunk "$1"
          btrfs inspect-internal dump-tree -t extent "$1"; } | tr -d '()' | awk -v nodes="$nodes" '
            function used(start, len, chunk, copy) {
                for (chunk = chunks; first[chunk] > start; chunk--) continue
                for (copy = 0; copy < copies[chunk]; copy++)
                    print place[chunk, copy] + start - first[chunk], len
            }
            $5 == "CHUNK_ITEM" { first[++chunks] = $6 }
            $1 == "stripe" && $3 == "devid" { place[chunks, copies[chunks]++] = $6 }
            $5 == "EXTENT_ITEM" { used($4, $6) }
            $5 == "METADATA_ITEM" { used($4, nodes) }'
    } | sort -n | awk '
        function flush() {
            if (end > start) { printf "%s[%d,%d]", comma, start, end - start; comma = "," }
        }
        $1 > end { flush(); start = $1 }
        $1 + $2 > end { end = $1 + $2 }
        BEGIN { printf "[" }
        END { flush(); print "]" }'
}

# btrfs_format NAME SIZE OPTIONS...: a volume with files in it, checked.
btrfs_format() {
    local name=$1 size=$2 tree=$work/tree index
    shift 2
    rm -rf "$work/$name.img" "$tree"
    truncate -s "$size" "$work/$name.img"
    mkdir -p "$tree/directory"
    # Files of this size lie in extents of their own, not in a tree.
    for index in {1..20}; do seq "$index" 1200 > "$tree/directory/numbers-$index"; done
    for index in {1..200}; do echo "$index" > "$tree/a-small-file-in-the-tree-$index"; done
    ln -s directory/numbers-2 "$tree/link"
    find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    mkfs.btrfs -q -L "$name" -U 4b6c6f6e-0000-4000-8000-627472667331 -r "$tree" \
        "$@" "$work/$name.img" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    btrfs check --check-data-csum "$work/$name.img" > "$work/log" 2>&1 ||
        { cat "$work/log" >&2; exit 1; }
}

# btrfs_image NAME SIZE OPTIONS...: formatted, filled, answered, stored.
btrfs_image() {
    wanted "$1" || return 0
    btrfs_format "$@"
    answers "$1" btrfs "$(btrfs_used "$work/$1.img")"
    store "$1"
}

# btrfs_log_image NAME SIZE: one whose superblock names a log tree; all of it is used.
btrfs_log_image() {
    local image=$work/$1.img
    wanted "$1" || return 0
    btrfs_format "$1" "$2" --mixed --csum sha256
    # log_root, at 0x60; then csum, over all of the superblock that follows it.
    printf '\0\0\120\1' | dd of="$image" bs=1 seek=$((65536 + 96)) conv=notrunc status=none
    dd if="$image" bs=1 skip=$((65536 + 32)) count=$((4096 - 32)) status=none | sha256sum |
        cut -c -64 | sed 's/../\\x&/g' | xargs -0 printf '%b' | head -c 32 |
        dd of="$image" bs=1 seek=65536 conv=notrunc status=none
    answers "$1" btrfs "[[0,$(stat -c %s "$image")]]" needs_recovery
    store "$1"
}

btrfs_images() {
    btrfs_image btrfs 128M
    btrfs_image btrfs-mixed 32M --mixed
    btrfs_image btrfs-old 128M -n 4096 -m single -d single --csum xxhash \
        -O ^skinny-metadata,^no-holes,^extref -R ^free-space-tree
    btrfs_image btrfs-64k 272M -n 65536 -d dup --csum blake2
    btrfs_log_image btrfs-log 32M
}
