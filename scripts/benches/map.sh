# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of the script that sources this
# Maps of large volumes: klon beside partclone and the filesystems' own tools. Part of scripts/bench,
# whose $klon, $directory, $runs and $loops it uses.
#
# The volumes are sparse, so that their size costs no disk; each is freed before the next is made.
# They hold small files of which some were deleted, and, where the filesystem is mounted by the
# kernel, large files without content, of which some were deleted as well, so that the allocation
# records of most of the volume have been written.

files=${KLON_BENCH_FILES:-200000}
# In how many directories they are.
folders=200
# What sizes are in: short runs have volumes of as many GiB as others have TiB.
unit=T
if [ -n "$short" ]; then
    folders=20
    unit=G
fi

# largest_file: bytes of the largest file that the filesystem under $directory takes, up to 16 TiB.
largest_file() {
    local tib
    largest=16$unit
    if [ -n "$short" ]; then return 0; fi
    for tib in 16 15 12 8 4 2 1; do
        truncate --size="${tib}T" largest 2>/dev/null && break
    done
    rm -f largest
    largest=${tib}T
}

# small_files POINT COUNT: files of 4 KiB, every third deleted again.
small_files() {
    local folder each=$(($2 / folders))
    for folder in $(seq "$folders"); do
        mkdir "$1/$folder"
        head --bytes=$((each * 4))K /dev/urandom |
            split --bytes=4K --suffix-length=4 --numeric-suffixes - "$1/$folder/a-name-of-usual-length-"
    done
    sync --file-system "$1"
    find "$1" -type f -name '*[147]' -delete
}

# large_files POINT SIZE_GIB: preallocates 400 files that take half of the volume, deletes a third.
large_files() {
    local number
    mkdir "$1/large"
    for number in $(seq 400); do
        fallocate --length=$(($2 * 1024 / 2 / 400))M "$1/large/$number"
    done
    find "$1/large" -name '*[147]' -delete
}

# in_kernel SIZE_GIB OPTIONS: fills the volume on $device through a mount.
in_kernel() {
    mkdir -p mnt
    mounted=$directory/mnt
    mount -o "$2" "$device" mnt
    large_files mnt "$1"
    small_files mnt "$files"
    umount mnt
    mounted=
}

# Through FUSE fewer files, because each takes its time.
in_fuse() {
    mkdir -p mnt
    mounted=$directory/mnt
    ntfs-3g -o big_writes "$device" mnt
    small_files mnt $((files / 4))
    umount mnt
    mounted=
    # It has written all when it has let go of the device.
    while pgrep --full "^ntfs-3g .*$device " >/dev/null; do sleep 0.1; done
}

# Through mtools: mcopy searches a directory for each file that it puts there.
in_mtools() {
    mkdir tree
    small_files tree $((files / 10))
    MTOOLS_SKIP_CHECK=1 mcopy -s -Q -i "$device" tree ::/ 2>/dev/null
    rm -r tree
    for folder in $(seq 3 3 "$folders"); do
        MTOOLS_SKIP_CHECK=1 mdeltree -i "$device" "::/tree/$folder" 2>/dev/null
    done
}

# sectors_read: of $device since it was made, past the page cache.
sectors_read() { awk '{ print $3 }' "/sys/block/${device##*/}/stat"; }

# measure_map TOOL COMMAND…: adds to TOOL.times "seconds cpu-seconds peak-KiB read-MiB" a run.
measure_map() {
    local tool=$1 number before after
    shift
    : >"$tool.times"
    for number in $(seq "$runs"); do
        rm -f map.out
        blockdev --flushbufs "$device"
        [ -n "$short" ] || echo 3 >/proc/sys/vm/drop_caches
        before=$(sectors_read)
        /usr/bin/time --quiet --output=time --format='%e %U %S %M' "$@" >output 2>&1 ||
            { tail -5 output >&2; echo "bench: $tool failed in run $number" >&2; exit 1; }
        after=$(sectors_read)
        awk -v sectors=$((after - before)) '{ print $1, $2 + $3, $4, sectors / 2048 }' time >>"$tool.times"
    done
}

# row NAME: the best run of the tool in NAME.times.
row() {
    local best of_klon
    best=$(sort -n "$1.times" | head -1)
    of_klon=$(sort -n klon.times | cut -d' ' -f1 | head -1)
    awk -v name="$1" -v k="$of_klon" '{ ratio = k > 0 ? sprintf("%.1f", $1 / k) : "-"
        printf "  %-22s %8.2f %8s %8.2f %9.0f %9.1f\n", name, $1, ratio, $2, $3 / 1024, $4 }' <<<"$best"
}

# compare FILESYSTEM: klon, partclone and the filesystem's own tool on $device.
compare() {
    local tools=(klon) of own
    of=$1
    measure_map klon "$klon" map "$device"
    measure_map "partclone.$of" "partclone.$of" -q -D -L partclone.log -s "$device" -o map.out
    mv map.out partclone.map
    covers "$of" "$device"
    tools+=("partclone.$of")
    case $of in
    ext4) own=(dumpe2fs "$device") ;;
    xfs) own=(xfs_db -r -c 'freesp -d' "$device") ;;
    btrfs) own=(btrfs inspect-internal dump-tree -t extent "$device") ;;
    ntfs) own=(ntfsinfo -m "$device") ;;
    fat) own=(fsck.fat -n "$device") ;;
    esac
    if [ "$of" != ntfs ]; then
        measure_map "${own[0]}" "${own[@]}"
        tools+=("${own[0]}")
    fi
    "$klon" map "$device" >output
    sed -n 's/^[^:]*: //p' output | head -1 | sed 's/^/  klon: /'
    printf '  %-22s %8s %8s %8s %9s %9s\n' tool seconds ÷klon cpu-s peak-MiB read-MiB
    local tool
    for tool in "${tools[@]}"; do row "$tool"; done
}

# volume NAME SIZE: a sparse file of that size on $device; ends the one before.
volume() {
    if [ -n "${device:-}" ]; then losetup --detach "$device"; fi
    loops=()
    rm -f volume.img
    truncate --size="$2" volume.img
    device volume.img
    printf '%s of %s\n' "$1" "$2"
}

gibibytes() {
    case $1 in
    *T) echo $((${1%T} * 1024)) ;;
    *G) echo "${1%G}" ;;
    esac
}

# covers FILESYSTEM DEVICE: in short runs, whether klon has in use what partclone has, and not all. Of Btrfs
# partclone keeps what was freed, too; its superblock says how much is in use, of which parts lie twice.
covers() {
    [ -n "$short" ] || return 0
    if [ "$1" = btrfs ]; then
        local least most found
        least=$(btrfs inspect-internal dump-super "$2" | awk '$1 == "bytes_used" { print $2 }')
        most=$((least * 2))
        found=$("$klon" map "$2" --json | jq --slurp '.[-1].extents | map(.[1]) | add')
        printf 'klon %s bytes, Btrfs %s\n' "$found" "$least"
        [ "$found" -ge "$least" ] && [ "$found" -le "$most" ]
        return
    fi
    "$klon" map "$2" --json >klon.map
    python3 - klon.map partclone.map <<'PYTHON'
import json
import sys

with open(sys.argv[1]) as lines:
    found = json.loads(lines.read().splitlines()[-1])
used = sorted((start, start + size) for start, size in found["extents"])
total, needed, missing, at = sum(end - start for start, end in used), 0, 0, 0
for line in open(sys.argv[2]):
    fields = line.split()
    if len(fields) != 3 or fields[2] != "+":
        continue
    start, size = int(fields[0], 0), int(fields[1], 0)
    end = start + size
    needed += size
    while at < len(used) and used[at][1] <= start:
        at += 1
    missing += size
    here = at
    while here < len(used) and used[here][0] < end:
        missing -= min(end, used[here][1]) - max(start, used[here][0])
        here += 1
print(f"klon {total} bytes, partclone {needed}, of which klon lacks {missing}")
sys.exit(needed == 0 or missing != 0 or total > needed * 2)
PYTHON
}

bench_map() {
    local which=${KLON_BENCH_ONLY:-ext4 xfs btrfs ntfs fat} one
    is_root || { echo 'bench: map needs root for loop devices and mounts' >&2; exit 2; }
    largest_file
    printf '%s files of 4 KiB (NTFS: a quarter, FAT: a tenth), a third of them deleted; sparse volumes on loop devices\n' "$files"
    printf 'with direct I/O, caches dropped; best of %s runs; files here hold at most %s\n' "$runs" "$largest"
    for one in $which; do
        case $one in
        ext4)
            volume ext4 "8$unit"
            mke2fs -q -F -t ext4 -E lazy_itable_init=1,nodiscard "$device" 2>/dev/null
            in_kernel "$(gibibytes "8$unit")" noinit_itable
            ;;
        xfs)
            volume XFS "$largest"
            mkfs.xfs -q -f -K "$device"
            in_kernel "$(gibibytes "$largest")" defaults
            ;;
        btrfs)
            volume Btrfs "4$unit"
            mkfs.btrfs -q -f -K "$device" >/dev/null 2>&1
            in_kernel "$(gibibytes "4$unit")" nodiscard
            ;;
        ntfs)
            volume NTFS "8$unit"
            mkfs.ntfs -F -q -f -p 0 -H 0 -S 0 "$device" >/dev/null 2>&1
            in_fuse
            ;;
        fat)
            # Fewer clusters would be no FAT32.
            if [ -n "$short" ]; then volume FAT32 4G; else volume FAT32 1T; fi
            mkfs.fat -F 32 -s 64 "$device" >/dev/null
            in_mtools
            ;;
        esac
        printf '  %s of disk\n' "$(du --human-readable volume.img | cut -f1)"
        compare "$one"
    done
}
