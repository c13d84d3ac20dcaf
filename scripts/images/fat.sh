# shellcheck shell=bash
# Golden images of FAT12, FAT16 and FAT32. Sourced by make-images.
# shellcheck disable=SC2154 # work and images are make-images' own

# fat_field IMAGE OFFSET SIZE: a little-endian number.
fat_field() {
    od -An -v --endian=little -tu"$3" -j "$2" -N "$3" "$1" | tr -d ' '
}

# fat12_used IMAGE: the same from the FAT's bytes, because partclone 0.3.23 misreads 12-bit
# entries and leaves files out.
fat12_used() {
    local sector fat data cluster total root
    sector=$(fat_field "$1" 11 2)
    fat=$(($(fat_field "$1" 14 2) * sector))
    root=$(($(fat_field "$1" 17 2) * 32))
    data=$((fat + $(fat_field "$1" 16 1) * $(fat_field "$1" 22 2) * sector + root))
    cluster=$(($(fat_field "$1" 13 1) * sector))
    total=$(fat_field "$1" 19 2)
    ((total != 0)) || total=$(fat_field "$1" 32 4)
    od -An -v -tu1 -w3 -j "$fat" -N "$(($(fat_field "$1" 22 2) * sector))" "$1" |
        awk -v data="$data" -v cluster="$cluster" -v total="$((total * sector))" '
            function used(from, to) {
                if (from >= to) return
                printf "%s[%d,%d]", comma, from, to - from
                comma = ","
            }
            function entry(value) {
                if (index_ >= 2 && index_ < count + 2 && value == 0) {
                    from = data + (index_ - 2) * cluster
                    used(start, from)
                    start = from + cluster
                }
                index_++
            }
            BEGIN { count = int((total - data) / cluster); printf "[" }
            NF == 3 { entry($1 + $2 % 16 * 256); entry(int($2 / 16) + $3 * 16) }
            END { used(start, total); print "]" }'
}

# fat_format NAME SIZE OPTIONS...: a volume with fixed identifiers.
fat_format() {
    local name=$1 size=$2
    shift 2
    rm -f "$work/$name.img"
    truncate -s "$size" "$work/$name.img"
    mkfs.fat --invariant -i 4B4C4F4E "$@" "$work/$name.img" > /dev/null
}

# fat_fill NAME: a file in pieces and free clusters between others, by deleting some.
fat_fill() {
    local image=$work/$1.img index
    seq 1000 > "$work/numbers"
    seq 12000 > "$work/large"
    touch -d "@$SOURCE_DATE_EPOCH" "$work/numbers" "$work/large"
    mmd -i "$image" ::/directory
    for index in {1..10}; do
        mcopy -m -i "$image" "$work/numbers" "::/directory/numbers up to 1000, copy $index"
    done
    for index in {1..9..2}; do
        mdel -i "$image" "::/directory/numbers up to 1000, copy $index"
    done
    mcopy -m -i "$image" "$work/large" ::/LARGE.TXT
    for index in 2 6 8; do
        mdel -i "$image" "::/directory/numbers up to 1000, copy $index"
    done
}

# fat_poke NAME OFFSET ESCAPES: overwrites bytes.
fat_poke() {
    printf '%b' "$3" | dd of="$work/$1.img" bs=1 seek="$2" conv=notrunc status=none
}

# fat_image NAME KIND SIZE OPTIONS...: formatted, filled, answered, stored.
fat_image() {
    local name=$1 kind=$2 size=$3 used
    shift 3
    wanted "$name" || return 0
    fat_format "$name" "$size" "$@"
    fat_fill "$name"
    if [[ $kind == fat12 ]]; then
        used=$(fat12_used "$work/$name.img")
    else
        used=$(partclone_used fat "$work/$name.img")
    fi
    answers "$name" "$kind" "$used"
    store "$name"
}

# fat_dirty_image NAME KIND OFFSET ESCAPES: all of it is used.
fat_dirty_image() {
    wanted "$1" || return 0
    fat_format "$1" 4M -F "${2#fat}" -s 1 -f 1
    fat_poke "$1" "$3" "$4"
    answers "$1" "$2" "[[0,$((4 << 20))]]" "$5"
    store "$1"
}

# Volumes that the kernel's vfat had mounted when the machine was switched off.
fat_busy_images() {
    local name
    wanted fat16-busy || wanted fat32-busy || return 0
    fat_format fat16-busy 5M -F 16 -s 1 -n BUSY
    fat_format fat32-busy 34M -F 32 -s 1 -n BUSY
    "$root/scripts/guest" --modules "vfat nls_utf8 nls_cp437 nls_iso8859-1" \
        "$root/scripts/images/guest/fat-busy" "$work/fat16-busy.img" "$work/fat32-busy.img"
    for name in fat16-busy fat32-busy; do
        wanted "$name" || continue
        answers "$name" "${name%-busy}" "[[0,$(stat -c %s "$work/$name.img")]]" not_cleanly_unmounted
        store "$name"
    done
}

fat_images() {
    # mtools stamps what it makes with SOURCE_DATE_EPOCH.
    export MTOOLS_SKIP_CHECK=1
    fat_image fat12-floppy fat12 1440K -F 12 -n FLOPPY
    fat_image fat12-4k-sectors fat12 5M -F 12 -S 4096 -f 1
    fat_image fat16 fat16 5M -F 16 -s 1 -n SIXTEEN
    fat_image fat16-unaligned fat16 9M -F 16 -s 2 -a -R 7
    fat_image fat16-4-fats fat16 5M -F 16 -s 1 -f 4
    fat_image fat32-esp fat32 34M -F 32 -s 1 -n ESP
    fat_image fat32-one-fat fat32 34M -F 32 -s 1 -f 1 -R 64 -a
    fat_dirty_image fat16-dirty fat16 37 '\001' not_cleanly_unmounted
    fat_dirty_image fat32-dirty fat32 65 '\001' not_cleanly_unmounted
    fat_busy_images
}
