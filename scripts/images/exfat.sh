# shellcheck shell=bash
# Golden images of exFAT. Sourced by make-images. Needs root: mkfs.exfat takes the sector size from
# a device, and exfat-fuse mounts nothing else for root.
# shellcheck disable=SC2154 # work and images are make-images' own

# exfat_used NAME: the used extents as JSON, from partclone's domain map. To it comes the excess
# space after the last cluster, which partclone leaves out.
exfat_used() {
    local image=$work/$1.img heap sector cluster clusters offset length status
    rm -f "$work/domain"
    partclone.exfat -q -L "$work/partclone.log" -D -s "$image" -o "$work/domain" > /dev/null 2>&1
    sector=$((1 << $(exfat_figure "$image" "Sector Size Bits")))
    heap=$(($(exfat_figure "$image" "Cluster Heap Offset") * sector))
    cluster=$(exfat_figure "$image" "Cluster size")
    clusters=$(exfat_figure "$image" "Cluster Count")
    {
        while read -r offset length status; do
            [[ $status != + ]] || echo "[$((offset)),$((length))]"
        done < "$work/domain"
        offset=$((heap + clusters * cluster))
        length=$(($(exfat_figure "$image" "Volume Length") * sector - offset))
        ((length == 0)) || echo "[$offset,$length]"
    } | jq -cs 'reduce .[] as $next ([];
        if length > 0 and .[-1][0] + .[-1][1] == $next[0]
        then .[-1][1] += $next[1] else . + [$next] end)'
}

# exfat_figure IMAGE NAME: a figure of dump.exfat.
exfat_figure() {
    dump.exfat "$1" | awk -F '\t' -v name="$2" 'index($0, name) == 1 { print $NF; exit }'
}

# exfat_format NAME SIZE SECTOR OPTIONS...: a volume with a fixed serial number.
exfat_format() {
    local image=$work/$1.img size=$2 sector=$3 device
    shift 3
    rm -f "$image"
    truncate -s "$size" "$image"
    device=$(losetup --find --show --sector-size "$sector" "$image")
    # The label is read in the characters of the locale.
    LC_ALL=C.UTF-8 mkfs.exfat "$@" "$device" > /dev/null &&
        tune.exfat -I 0x4B4C4F4E "$device" > /dev/null
    local status=$?
    losetup --detach "$device"
    return "$status"
}

# exfat_fill NAME SECTOR: a chained file in pieces, contiguous ones, and free clusters between
# others.
exfat_fill() {
    local device index mounted=$work/mounted
    mkdir -p "$mounted"
    device=$(losetup --find --show --sector-size "$2" "$work/$1.img")
    mount.exfat-fuse "$device" "$mounted" > /dev/null
    mkdir -p "$mounted/directory/below"
    for index in {1..10}; do
        seq 1000 > "$mounted/directory/numbers up to 1000, copy $index"
        seq "$index" > "$mounted/directory/below/$index"
    done
    for index in {1..9..2}; do
        rm "$mounted/directory/numbers up to 1000, copy $index"
    done
    seq 6000 > "$mounted/large"
    for index in 2 6 8; do
        rm "$mounted/directory/numbers up to 1000, copy $index"
    done
    seq 7000 >> "$mounted/large"
    : > "$mounted/empty"
    umount "$mounted"
    losetup --detach "$device"
}

# exfat_image NAME SIZE SECTOR OPTIONS...: formatted, filled, answered, stored.
exfat_image() {
    wanted "$1" || return 0
    exfat_format "$@"
    exfat_fill "$1" "$3"
    fsck.exfat -n "$work/$1.img" > /dev/null
    answers "$1" exfat "$(exfat_used "$1")"
    store "$1"
}

# exfat_marked_image NAME FLAGS HAZARD: all of it is used.
exfat_marked_image() {
    wanted "$1" || return 0
    exfat_format "$1" 1M 512 -c 512 -b 512
    # VolumeFlags
    printf '%b' "$2" | dd of="$work/$1.img" bs=1 seek=106 conv=notrunc status=none
    answers "$1" exfat "[[0,$((1 << 20))]]" "$3"
    store "$1"
}

exfat_images() {
    exfat_image exfat 4M 512 -L Größe -b 1M
    exfat_image exfat-512 2M 512 -c 512 -b 512 -L "half a kibi"
    exfat_image exfat-4k-sectors 3M 4096 -c 4096 -b 4096
    exfat_image exfat-64k 4090K 512 -c 64K -b 64K
    exfat_image exfat-2m 64M 512 -c 2M
    exfat_image exfat-packed 3M 512 -b 512K --pack-bitmap
    if wanted exfat-seed; then
        exfat_format exfat-seed 256K 512 -c 512 -b 512
        answers exfat-seed exfat "$(exfat_used exfat-seed)"
        store exfat-seed
    fi
    exfat_marked_image exfat-dirty '\002' not_cleanly_unmounted
    exfat_marked_image exfat-failing '\004' errors
}
