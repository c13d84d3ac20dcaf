# shellcheck shell=bash
# Images by partclone with checksums that Debian 12's doesn't know. Sourced by make-images.
# shellcheck disable=SC2154 # work and images are make-images' own
#
# PARTCLONE_FAT names a partclone.fat of 0.3.47, configured with libxxhash. Without it these images
# stay as they are.

partclone_images() {
    wanted partclone && [[ -n ${PARTCLONE_FAT:-} ]] || return 0
    local mode
    truncate -s 1M "$work/volume"
    mkfs.fat -F 12 -n KLON -i 4B4C4F4E --invariant "$work/volume" > /dev/null
    seq 1 4000 > "$work/numbers"
    mcopy -i "$work/volume" "$work/numbers" ::numbers
    "$PARTCLONE_FAT" -q -c -a2 -k5 -L "$work/log" -s "$work/volume" -o "$work/xxh64" 2> /dev/null
    "$PARTCLONE_FAT" -q -c -a3 -k3 -K -L "$work/log" -s "$work/volume" -o "$work/xxh128" 2> /dev/null
    for mode in xxh64 xxh128; do
        "$PARTCLONE_FAT" -q -r -C -L "$work/log" -s "$work/$mode" -O "$work/again" 2> /dev/null
        cmp "$work/volume" "$work/again" || exit 1
        zstd -q -19 -c "$work/$mode" > "$images/partclone-$mode.zst"
    done
    zstd -q -19 -c "$work/volume" > "$images/partclone-volume.zst"
}
