# shellcheck shell=bash
# What scripts of drills share, in a guest.

say() { printf '== %s\n' "$*"; }

fail() {
    printf 'DRILL FAILED: %s\n' "$*"
    exit 1
}

# node SERIAL: the disk of that serial number.
node() {
    local disk
    for disk in /sys/block/*; do
        if [ "$(cat "$disk/serial" 2>/dev/null)" = "$1" ]; then
            echo "/dev/${disk##*/}"
            return 0
        fi
    done
    fail "there is no disk with the serial number $1"
}

# writers_begin, writers_end: someone writes to the root and to /home meanwhile.
writers_begin() {
    local place
    writers=()
    for place in /srv/written /home/written; do
        bash ./write "$place" &
        writers+=($!)
    done
}
writers_end() {
    kill "${writers[@]}"
    wait "${writers[@]}" 2>/dev/null || true
}

# check_written: all that has its name is whole, and nothing is of a later moment than the rest.
check_written() {
    local place file count first second
    for place in /srv/written /home/written; do
        count=0
        for file in "$place"/file-*; do
            [ "file-$(sha256sum "$file" | head -c 64)" = "${file##*/}" ] || fail "$file is not whole"
            count=$((count + 1))
        done
        first=$(head --bytes=8 "$place/pair") second=$(dd if="$place/pair" bs=8 skip=4096 count=1 status=none)
        [ $((10#${first:-0})) -ge $((10#${second:-0})) ] || fail "$place/pair: $first before $second"
        say "$place: $count files are whole; pair: $first and $second"
    done
}
