# shellcheck shell=bash
# Golden images of read-only filesystems and swap. Sourced by make-images.
# shellcheck disable=SC2154 # work and images are make-images' own

# small_tree: a few files, some of which compress.
small_tree() {
    [[ ! -d $work/tree ]] || return 0
    mkdir -p "$work/tree/directory"
    seq 3000 > "$work/tree/numbers"
    head -c 20000 /dev/zero > "$work/tree/zeroes"
    seq 4000 | sha256sum > "$work/tree/directory/digest"
    ln -s numbers "$work/tree/link"
    find "$work/tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# small_answers NAME KIND USED: label and UUID as blkid sees them; these may lack both.
small_answers() {
    local image=$work/$1.img label uuid
    label=$(blkid -p -s LABEL -o value "$image" || true)
    uuid=$(blkid -p -s UUID -o value "$image" || true)
    jq -cn --arg kind "$2" --arg name "$label" --arg uuid "$uuid" --argjson used "$3" \
        --arg hazard "${4:-}" \
        '{kind: $kind, label: $name, uuid: $uuid, used: $used}
         + if $hazard == "" then {} else {hazard: $hazard} end' > "$images/$1.used.json"
    store "$1"
}

# squashfs_image NAME OPTIONS...: a partition of 300 KiB with an image in it.
squashfs_image() {
    local name=$1 size
    wanted "$name" || return 0
    shift
    small_tree
    rm -f "$work/$name.img"
    mksquashfs "$work/tree" "$work/$name.img" -all-root -quiet -no-progress "$@" > /dev/null
    truncate -s 300K "$work/$name.img"
    size=$(unsquashfs -s "$work/$name.img" | sed -n 's/^Filesystem size \([0-9]*\) bytes.*/\1/p')
    small_answers "$name" squashfs "[[0,$(((size + 4095) / 4096 * 4096))]]"
}

# erofs_image NAME OPTIONS...: the same with EROFS.
erofs_image() {
    local name=$1 blocks
    wanted "$name" || return 0
    shift
    small_tree
    rm -f "$work/$name.img"
    mkfs.erofs --all-root -T "$SOURCE_DATE_EPOCH" -U 4b6c6f6e-0000-4000-8000-65726f667301 "$@" \
        "$work/$name.img" "$work/tree" > /dev/null
    truncate -s 300K "$work/$name.img"
    blocks=$(dump.erofs -s "$work/$name.img" | sed -n 's/^Filesystem blocks: *//p')
    small_answers "$name" erofs "[[0,$((blocks * 4096))]]"
}

# iso9660_image NAME OPTIONS...: the same with ISO 9660; used is what xorriso says of the session,
# and the partitions that sfdisk sees.
iso9660_image() {
    local name=$1 blocks used
    wanted "$name" || return 0
    shift
    small_tree
    rm -f "$work/$name.img"
    xorriso -as mkisofs -quiet -R -V KLON "$@" -o "$work/$name.img" "$work/tree" 2> /dev/null
    truncate -s 2M "$work/$name.img"
    blocks=$(xorriso -indev "$work/$name.img" -toc 2> /dev/null |
        sed -n 's/^ISO session .*, *\([0-9]*\)s , .*/\1/p')
    used=$({
        echo "0 $((blocks * 2048))"
        { sfdisk -d "$work/$name.img" 2> /dev/null || true; } |
            sed -n 's/.*start= *\([0-9]*\), size= *\([0-9]*\),.*/\1 \2/p' |
            awk '{ print $1 * 512, ($1 + $2) * 512 }'
    } | sort -n | awk '
        $1 > end { if (NR > 1) printf "[%d,%d],", start, end - start; start = $1; end = $2; next }
        $2 > end { end = $2 }
        END { printf "[%d,%d]", start, end - start }')
    small_answers "$name" iso9660 "[$used]"
}

# swap_image NAME PAGE SIGNATURE: swap space, or one with the signature of a suspended system.
swap_image() {
    local name=$1 page=$2 signature=${3:-} size
    wanted "$name" || return 0
    rm -f "$work/$name.img"
    truncate -s 1M "$work/$name.img"
    mkswap -q -p "$page" -L pages -U 4b6c6f6e-0000-4000-8000-737761700001 "$work/$name.img" \
        2> /dev/null
    if [[ -z $signature ]]; then
        small_answers "$name" swap "[[0,$page]]"
    else
        printf '%s\0' "$signature" |
            dd of="$work/$name.img" bs=1 seek=$((page - 10)) conv=notrunc status=none
        size=$(stat -c %s "$work/$name.img")
        small_answers "$name" swap "[[0,$size]]" hibernated
    fi
}

small_images() {
    squashfs_image squashfs
    squashfs_image squashfs-xz -comp xz -b 1M
    squashfs_image squashfs-plain -noI -noD -noF -noX -no-exports
    erofs_image erofs
    erofs_image erofs-lz4 -zlz4hc -C65536 -Eztailpacking
    erofs_image erofs-unsummed -Enosbcrc,force-inode-extended
    head -c 100000 /dev/zero | tr '\0' e > "$work/efi"
    iso9660_image iso9660
    iso9660_image iso9660-joliet -J -iso-level 3
    iso9660_image iso9660-appended -append_partition 2 0xef "$work/efi"
    swap_image swap 4096
    swap_image swap-64k 65536
    swap_image swap-suspended 4096 S1SUSPEND
}
