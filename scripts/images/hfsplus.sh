# shellcheck shell=bash
# Golden images of HFS+. Sourced by make-images.
# shellcheck disable=SC2154 # root, work and images are make-images' own

# hfsplus_image NAME SIZE OPTIONS...: a clean volume with files.
hfsplus_image() {
    local name=$1 tool=$root/scripts/images/hfsplus.py
    wanted "$name" || return 0
    shift
    python3 "$tool" make "$work/$name.img" "$@"
    answers "$name" hfsplus "$(python3 "$tool" used "$work/$name.img")"
    # Blkid misses a first leaf that is not at the start of a block.
    jq -c '.label = "klon"' "$images/$name.used.json" > "$work/answers"
    mv "$work/answers" "$images/$name.used.json"
    store "$name"
}

# hfsplus_whole NAME HAZARD OPTIONS...: one that must be copied whole.
hfsplus_whole() {
    local name=$1 hazard=$2 size
    wanted "$name" || return 0
    shift 2
    python3 "$root/scripts/images/hfsplus.py" make "$work/$name.img" "$@"
    size=$(stat -c %s "$work/$name.img")
    answers "$name" hfsplus "[[0,$size]]" "$hazard"
    store "$name"
}

# hfsplus_xorriso NAME: the HFS+ volume of a hybrid image, cut out by its Apple partition map.
hfsplus_xorriso() {
    local name=$1 start blocks
    wanted "$name" || return 0
    mkdir -p "$work/tree/folder"
    seq 3000 > "$work/tree/numbers"
    seq 300 > "$work/tree/folder/more"
    xorriso -outdev "$work/hybrid.iso" -hfsplus on -volid KLONISO -volume_date all_file_dates \
        2026010100000000 -volume_date uuid 2026010100000000 -map "$work/tree" / 2> "$work/log"
    # The third entry of the map: 2048-byte blocks, pmPyPartStart and pmPartBlkCnt.
    read -r start blocks < <(od -An -j $((3 * 2048 + 8)) -N 8 --endian=big -tu4 "$work/hybrid.iso")
    dd if="$work/hybrid.iso" of="$work/$name.img" bs=2048 skip="$start" count="$blocks" status=none
    answers "$name" hfsplus "$(python3 "$root/scripts/images/hfsplus.py" used "$work/$name.img")"
    store "$name"
}

hfsplus_wrapped() {
    local name=$1
    wanted "$name" || return 0
    python3 "$root/scripts/images/hfsplus.py" make "$work/inner.img" 1048576 --files 5
    python3 "$root/scripts/images/hfsplus.py" wrap "$work/inner.img" "$work/$name.img"
    answers "$name" hfsplus "[[0,$(stat -c %s "$work/$name.img")]]" unknown_feature
    store "$name"
}

hfsplus_images() {
    hfsplus_image hfsplus 4194304 --attributes --bad --past-end
    hfsplus_image hfsplus-512 3145728 --block 512 --node 1024 --tree 131072
    hfsplus_image hfsplus-512-pieces 20971520 --block 512 --pieces 10 --catalog-pieces 11
    hfsplus_image hfsplus-2k-slack 2099200 --block 2048 --pieces 1
    hfsplus_image hfsplus-64k 16777216 --block 65536 --node 8192 --files 12
    hfsplus_image hfsplus-journal 4194304 --journal little
    hfsplus_image hfsplus-journal-big 4194304 --journal big --block 1024
    hfsplus_image hfsplus-smaller 4194304 --fs-size 2097152 --files 8
    hfsplus_image hfsx 3145728 --signature HX --attributes
    hfsplus_xorriso hfsplus-xorriso
    hfsplus_whole hfsplus-dirty not_cleanly_unmounted 1048576 --flags 0 --files 5
    hfsplus_whole hfsplus-recover needs_recovery 2097152 --journal full --files 5
    hfsplus_whole hfsplus-elsewhere external_journal 2097152 --journal other --files 5
    hfsplus_wrapped hfsplus-wrapper
}
