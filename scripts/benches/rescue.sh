# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# A rescue beside ddrescue on the same used extents of the same device with bad sectors, served by
# nbdkit through nbdfuse and a loop device. Part of scripts/bench, whose $klon, $directory, $root,
# $runs and $loops it uses.

# bad_ranges COUNT: offset and size of ranges of one to eight sectors in what is in use, not where
# large extents begin: the bitmaps are there.
bad_ranges() {
    "$klon" map source.img --json | jq --raw-output --argjson count "$1" '
        .extents | map(select(.[1] > 2097152)) | . as $all | range($count)
        | $all[. * 7919 % ($all | length)] as [$offset, $length]
        | ($offset + ($length / 2048 | floor) * 512) as $start
        | ($length * 3 / 4 / 512 - 16 | floor) as $sectors
        | "\($start + 512 * (. * 104729 % $sectors)) \(512 * (1 + . % 8))"'
}

# rescued TOOL COMMAND…: runs it on a new target and map; adds to TOOL.times.
rescued() {
    local tool=$1
    shift
    rm -f target.img map map.domain
    [ -n "$short" ] || echo 3 >/proc/sys/vm/drop_caches
    # Both end with 1 or 0 when sectors stay bad.
    # shellcheck disable=SC2016
    /usr/bin/time --quiet --output=time --format='%e %U %S %M' \
        sh -c '"$@" >output 2>&1; [ $? -le 1 ] && sync target.img' sh "$@" ||
        { cat output >&2; exit 1; }
    awk '{ print $1, $2 + $3, $4 }' time >>"$tool.times"
}

bench_rescue() {
    local count=${KLON_BENCH_BAD:-300}
    is_root || { echo 'bench: rescue needs root for nbdfuse and loop devices' >&2; exit 2; }
    # klon does not read the log of an empty journal, and ddrescue would: without one both read the same.
    tune2fs -O ^has_journal source.img >/dev/null
    bad_ranges "$count" >bad.list
    mkdir bad.mnt
    nbdfuse -r bad.mnt/disk [ nbdkit --foreground --exit-with-parent python \
        "$root/tests/integration/support/bad_disk.py" image="$directory/source.img" \
        bad="$directory/bad.list" delay="${KLON_BENCH_DELAY:-0}" ] >nbdfuse.log 2>&1 &
    # shellcheck disable=SC2034 # for the clean-up
    served=$directory/bad.mnt
    until [ -e bad.mnt/disk ]; do sleep 0.1; done
    device=$(losetup --find --show --read-only --direct-io=on bad.mnt/disk)
    loops+=("$device")
    for _ in $(seq "$runs"); do
        rescued klon "$klon" clone --rescue=map "$device" target.img --retries 1
        cp map klon.map
        cp map.domain domain
        ddrescuelog --list-blocks=- klon.map >klon.bad
        [ -z "$short" ] || mv target.img klon.img
        rescued ddrescue ddrescue -d -r1 -m domain "$device" target.img map
        ddrescuelog --list-blocks=- map >ddrescue.bad
        cmp klon.bad ddrescue.bad
        if [ -n "$short" ]; then
            # ddrescue ends the file where its last rescued byte is.
            truncate --size="$(stat --format=%s klon.img)" target.img
            cmp klon.img target.img
        fi
    done
    printf 'ext4 of %s MiB, half of it in use, %s bad ranges; median of %s runs; the same %s bad sectors\n' \
        "$size_mib" "$count" "$runs" "$(wc -l <klon.bad)"
    table klon ddrescue
    losetup --detach "$device"
    loops=()
}
