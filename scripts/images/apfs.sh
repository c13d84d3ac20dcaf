# shellcheck shell=bash
# Golden images of APFS. Sourced by make-images.
# shellcheck disable=SC2154 # root, work and images are make-images' own
#
# All but one need newer tools than Debian 12 has (its mkapfs makes nothing below 128 MiB, and the
# driver in its apfs-dkms gives up after three transactions): APFS_TOOLS names a directory with
# mkapfs, apfsck and apfs-snap of apfsprogs 0.2.1 and apfs.ko of linux-apfs-rw 0.3.20, built for
# the kernel of scripts/guest. Without it these images stay as they are.

# What is in use is told by partclone, which takes block 0 for the bitmap of a chunk that has none,
# so there must be no such chunk.

# apfs_format NAME SIZE OPTIONS...: an empty container.
apfs_format() {
    local name=$1 size=$2
    shift 2
    rm -f "$work/$name.img"
    truncate -s "$size" "$work/$name.img"
    "${mkapfs:-mkapfs}" -L "$name" -U 4b6c6f6e-0000-4000-8000-617066730001 \
        -u 4b6c6f6e-0000-4000-8000-617066730002 "$@" "$work/$name.img"
}

# apfs_write NAME SCRIPT: mounts the container in the guest and runs SCRIPT there, which has to
# unmount it again.
apfs_write() {
    cat - > "$work/script" << SCRIPT
mount_it() { mount -t apfs -o readwrite /dev/vda /mnt; }
make() { for i in \$(seq \$1 \$2); do seq 1 \$((i * \$3)) > /mnt/directory/file\$i; done; }
remove() { for i in \$(seq \$1 \$2 \$3); do rm /mnt/directory/file\$i; done; }
mount_it
$2
SCRIPT
    "$root"/scripts/guest --modules libcrc32c --with "$APFS_TOOLS/apfs-snap" \
        --with setfattr --with-module "$APFS_TOOLS/apfs.ko" "$work/script" "$work/$1.img"
}

# apfs_store NAME: checks a clean container, and stores it with partclone's answer.
apfs_store() {
    "${APFS_TOOLS:+$APFS_TOOLS/}apfsck" -cw "$work/$1.img" || exit 1
    answers "$1" apfs "$(partclone_used apfs "$work/$1.img")"
    store "$1"
}

# apfs_whole NAME HAZARD: stores one that is copied whole.
apfs_whole() {
    answers "$1" apfs "[[0,$(stat -c %s "$work/$1.img")]]" "$2"
    store "$1"
}

apfs_aged='mkdir /mnt/directory
make 1 40 150
sync
remove 1 2 40
apfs-snap /mnt first
make 50 60 100
remove 2 4 40
mkdir /mnt/directory/deeper
ln -s ../file4 /mnt/directory/deeper/link
umount /mnt'

# Each mount and sync makes a checkpoint, so that both rings go around.
# shellcheck disable=SC2016 # expanded in the guest
apfs_rounds='mkdir /mnt/directory
for round in $(seq 1 30); do
    make $round $((round + 3)) 100
    sync
    remove $round 2 $((round + 2))
    umount /mnt
    mount_it
done
umount /mnt'

# Trees of several levels: files in many extents, many files, an attribute that has blocks of its
# own, and what a snapshot and the next have of each.
# shellcheck disable=SC2016 # expanded in the guest
apfs_split='mkdir /mnt/directory
in_turns() {
    for round in $(seq 1 120); do
        for file; do
            seq $round 2000 | head -c 4096 >> /mnt/directory/$file
        done
    done
}
make 1 400 5
in_turns one two three
setfattr -n osx.large -v "$(seq -s. 1500)" /mnt/directory/one
apfs-snap /mnt first
remove 1 3 400
in_turns two four
apfs-snap /mnt second
remove 2 3 400
rm /mnt/directory/three
seq 1 9000 | dd of=/mnt/directory/one conv=notrunc bs=4096 seek=7 2> /dev/null
umount /mnt'

apfs_images() {
    if wanted apfs-wide; then
        mkapfs=mkapfs apfs_format apfs-wide 128M -s
        apfsck -cw "$work/apfs-wide.img"
        answers apfs-wide apfs "$(partclone_used apfs "$work/apfs-wide.img")"
        store apfs-wide
    fi
    [[ -n ${APFS_TOOLS:-} ]] || return 0
    local mkapfs=$APFS_TOOLS/mkapfs
    if wanted apfs-seed; then
        apfs_format apfs-seed 1M
        apfs_store apfs-seed
    fi
    if wanted apfs; then
        apfs_format apfs 40M
        apfs_write apfs "$apfs_aged"
        apfs_store apfs
    fi
    if wanted apfs-chunks; then
        apfs_format apfs-chunks 136M -s -z
        apfs_write apfs-chunks "$apfs_aged"
        apfs_store apfs-chunks
    fi
    if wanted apfs-seed-rings; then
        apfs_format apfs-seed-rings 3M
        apfs_write apfs-seed-rings "$apfs_rounds"
        apfs_store apfs-seed-rings
    fi
    if wanted apfs-trees; then
        apfs_format apfs-trees 40M
        apfs_write apfs-trees "$apfs_split"
        apfs_store apfs-trees
    fi
    if wanted apfs-unclean; then
        apfs_format apfs-unclean 40M
        apfs_write apfs-unclean "${apfs_aged%umount*}sync; make 70 80 50"
        apfs_whole apfs-unclean not_cleanly_unmounted
    fi
    if wanted apfs-fusion; then
        truncate -s 2M "$work/second.img"
        apfs_format apfs-fusion 2M -F "$work/second.img"
        apfs_whole apfs-fusion multi_device
    fi
}
