# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# Ten days of small changes of an ext4 volume in one image: what each day adds, beside what truly
# changed. Part of scripts/bench, whose $klon, $directory, $size_mib and functions it uses.

# change_day DAY: about 1 % of what is in use: files new, written anew and gone, and pages here and
# there in large ones, as databases and virtual machines write them.
change_day() {
    local day=$1 number
    mounted=$directory/mnt
    mkdir -p "$mounted"
    mount -o loop source.img "$mounted"
    for number in $(seq $((keep_mib * 7 / 1000 / 2 + 1))); do
        head --bytes=512K /dev/urandom >"$mounted/$((number % 8 + 1))/new-$day-$number"
        { seq "$day$number" $((day * 10 + 80000)) 2>&1 || true; } | head --bytes=512K >"$mounted/text-$number"
    done
    rm -f "$mounted"/*/new-$((day - 3))-*
    for number in $(seq $((keep_mib * 768 / 1000))); do
        dd if=/dev/urandom of="$mounted/$((number % 8 + 1))/noise" bs=4096 count=1 conv=notrunc status=none \
            seek=$(((number * 7919 + day * 104729) % (keep_mib * 16)))
    done
    umount "$mounted"
    mounted=
}

# changed OLD NEW: MiB of blocks of 4 KiB that differ, and what zstd makes of them.
changed() {
    python3 - "$1" "$2" >blocks <<'PYTHON'
import sys

with open(sys.argv[1], "rb") as old, open(sys.argv[2], "rb") as new:
    while now := new.read(1 << 20):
        before = old.read(1 << 20)
        if before != now:
            for at in range(0, len(now), 4096):
                if before[at : at + 4096] != now[at : at + 4096]:
                    sys.stdout.buffer.write(now[at : at + 4096])
PYTHON
    zstd -q -f blocks -o blocks.zst
    awk -v plain="$(stat -c %s blocks)" -v packed="$(stat -c %s blocks.zst)" \
        'BEGIN { printf "%9.1f %10.1f", plain / 1048576, packed / 1048576 }'
}

# allocated FILE: MiB that it takes.
allocated() { du --block-size=1K "$1" | awk '{ printf "%.1f", $1 / 1024 }'; }

# same_day DAY: in short runs, whether what was restored is as on that day; klon's own word is not enough.
same_day() {
    [ -n "$short" ] || return 0
    same_used "day-$1" restored
}

bench_days() {
    is_root || { echo "bench: days needs root" >&2; exit 1; }
    local day chunk line
    printf 'ext4 of %s MiB, half of it in use; 1 %% changes each day\n\n' "$size_mib"
    printf '%4s %9s %10s' day changed compressed
    for chunk in $chunks; do printf ' %11s' "+ of $chunk"; done
    printf '    (MiB)\n'
    for day in $(seq 10); do
        if [ "$day" -gt 1 ]; then change_day "$day"; fi
        cp --sparse=always source.img "day-$day"
        line='-          -'
        if [ "$day" -gt 1 ]; then line=$(changed "day-$((day - 1))" "day-$day"); fi
        printf '%4s %20s' "$day" "$line"
        for chunk in $chunks; do
            "$klon" image source.img "$chunk.klon" --chunk "$chunk" --quiet --json >output
            jq --raw-output 'select(.event == "imaged") | .added_bytes' output |
                awk '{ printf " %11.1f", $1 / 1048576 }'
        done
        printf '\n'
    done
    for chunk in $chunks; do
        for day in 10 1 5 8 3; do
            "$klon" restore "$chunk.klon@$day" restored --in-place --quiet --json >/dev/null
            "$klon" verify restored "day-$day" --quiet --json >/dev/null
            same_day "$day"
        done
        line=$(allocated "$chunk.klon")
        "$klon" prune "$chunk.klon" --keep-last 3 --yes --quiet --json >/dev/null
        "$klon" verify "$chunk.klon" --quiet --json >/dev/null
        printf '\nchunks of %s: %s MiB; %s after prune --keep-last 3, whole; ' "$chunk" "$line" \
            "$(allocated "$chunk.klon")"
        for day in 8 9 10; do "$klon" image "day-$day" three.klon --chunk "$chunk" --quiet --json >/dev/null; done
        printf '%s when made of those three alone\n' "$(allocated three.klon)"
        rm -f three.klon restored
        rm -rf records
    done
}
