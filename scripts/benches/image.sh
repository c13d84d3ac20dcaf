# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# Images beside partclone with zstd and qemu-img with zstd, of the same half-compressible ext4 volume.
# Part of scripts/bench, whose $klon, $directory, $runs and functions it uses.

# What compresses well, as programs and texts do: the system's own files.
#
# compressible FROM MIB: that many MiB of it; its makers end with the pipe.
compressible() {
    (
        set +o pipefail
        tar --create --file=- --ignore-failed-read /usr/lib /usr/share 2>/dev/null |
            tail --bytes=+"$1" 2>/dev/null | head --bytes="$2M"
    )
}

# A half-full ext4 volume, half of whose content compresses; its free space holds junk.
make_mixed_source() {
    mkdir tree
    head --bytes="${junk_mib}M" /dev/urandom >tree/junk
    local number part=$((keep_mib / 16))
    for number in $(seq 8); do
        mkdir "tree/$number"
        compressible $((number * 1000000)) "$part" >"tree/$number/text"
        head --bytes="${part}M" /dev/urandom >"tree/$number/noise"
    done
    junk source.img
    # Without blocks reserved for descriptors: they would hold junk, which klon does not copy.
    mke2fs -q -F -t ext4 -O ^resize_inode -E nodiscard,lazy_itable_init=0 -d tree source.img
    debugfs -w -R 'rm junk' source.img 2>/dev/null
    rm -r tree
}

# timed NAME TARGET COMMAND: runs a shell command with cold caches until TARGET is durable.
timed() {
    local name=$1
    target=$2 measure "$name" bash -o pipefail -c "$3"
}

# same_image SNAPSHOT: in short runs, whether $target is as the source was then.
same_image() {
    [ -n "$short" ] || return 0
    same_used "source-$1.img" "$target"
}

# sizes NAME FILE: what a file takes, in MiB, for the table's heading.
file_mib() { du --block-size=1M "$1" | cut -f1; }

create() {
    local number
    [ -z "$short" ] || cp --sparse=always source.img source-1.img
    for number in $(seq "$runs"); do
        rm -f image.klon image.zst image.qcow2
        timed klon image.klon "'$klon' image '$source' image.klon --quiet" || return
        timed partclone image.zst \
            "partclone.ext4 -c -F -s '$source' -o - -L partclone.log | zstd -q -T0 -f -o image.zst" || return
        timed qemu-img image.qcow2 \
            "qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd -T none '$source' image.qcow2"
    done
    printf '\nmake an image: klon %s MiB, partclone %s MiB, qemu-img %s MiB\n' "$(file_mib image.klon)" \
        "$(file_mib image.zst)" "$(file_mib image.qcow2)"
    table klon partclone qemu-img
    rm -f ./*.times
}

append() {
    local number before
    before=$(file_mib image.klon)
    for number in $(seq "$runs"); do
        change_source "$number"
        timed klon image.klon "'$klon' image '$source' image.klon --quiet"
        timed partclone again.zst \
            "partclone.ext4 -c -F -s '$source' -o - -L partclone.log | zstd -q -T0 -f -o again.zst"
    done
    printf '\nagain, 1 %% changed: klon adds %s MiB, partclone %s MiB\n' \
        $((($(file_mib image.klon) - before) / runs)) "$(file_mib again.zst)"
    table klon partclone
    rm -f ./*.times again.zst
}

restore() {
    local number
    for number in $(seq "$runs"); do
        junk target.img
        rm -rf records
        timed klon "$target" "'$klon' restore image.klon@1 '$target' --quiet --yes --confirm '$directory/target.img'"
        same_image 1
        junk target.img
        timed partclone "$target" "zstd -dcq image.zst | partclone.ext4 -r -F -s - -o '$target' -L partclone.log"
        junk target.img
        timed qemu-img "$target" "qemu-img convert -n -f qcow2 -O raw -t none image.qcow2 '$target'"
    done
    printf '\nrestore onto noise\n'
    table klon partclone qemu-img
    rm -f ./*.times
}

# Onto what is there but for 1 %.
restore_again() {
    local number
    for number in $(seq "$runs"); do
        timed other "$target" "'$klon' restore image.klon '$target' --quiet --in-place"
        rm -f other.times
        same_used source.img "$target"
        timed klon "$target" "'$klon' restore image.klon@1 '$target' --quiet --in-place"
        same_image 1
        timed partclone "$target" "zstd -dcq image.zst | partclone.ext4 -r -F -s - -o '$target' -L partclone.log"
    done
    printf '\nrestore onto what differs by some percent\n'
    table klon partclone
    rm -f ./*.times
}

# Blocks of 4 KiB, far from each other, one at a time and eight at a time.
count=2000
chunk_list="64K 128K 256K 1M 4M 16M"
if [ -n "$short" ]; then
    count=100
    chunk_list="64K 16M"
fi
reads=(-c "$count" -s 4096 -S 50003968)

# served IMAGE COMMAND…: runs it while klon serves an image at $socket; sets $peak to the MiB that took.
served() {
    local image=$1 server
    shift
    socket=$directory/nbd.socket
    "$klon" serve "$image" --socket "$socket" --quiet &
    server=$!
    until [ -e "$socket" ]; do sleep 0.1; done
    "$@"
    peak=$(awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$server/status")
    kill "$server"
    wait "$server" || true
}

# klon_reads NAME DEPTH: of what is served.
klon_reads() {
    local number
    for number in $(seq "$runs"); do
        timed "$1" source.img "qemu-img bench -f raw -d $2 ${reads[*]} 'nbd+unix:///?socket=$socket'"
    done
}

random_reads() {
    local number depth
    for depth in 1 8; do
        served image.klon@1 klon_reads klon "$depth"
        for number in $(seq "$runs"); do
            timed qemu-img source.img "qemu-img bench -f qcow2 -d $depth ${reads[*]} image.qcow2"
        done
        printf '\n%s reads of 4 KiB, %s at a time, klon over NBD (%s MiB), qemu-img from its qcow2\n' \
            "$count" "$depth" "$peak"
        table klon qemu-img
        rm -f ./*.times
    done
}

# What smaller and larger chunks cost and gain.
chunk_sizes() {
    local size number made making mib
    printf '\n%-7s %8s %8s %9s %14s %14s\n' chunks MiB make-s peak-MiB "$count-reads-s" serve-peak-MiB
    for size in $chunk_list; do
        for number in $(seq "$runs"); do
            rm -f sized.klon
            timed made sized.klon "'$klon' image '$source' sized.klon --chunk $size --quiet"
        done
        made=$(median made 1) making=$(median made 3) mib=$(file_mib sized.klon)
        served sized.klon klon_reads read 1
        printf '%-7s %8s %8.2f %9.0f %14.2f %14s\n' "$size" "$mib" "$made" $((making / 1024)) \
            "$(median read 1)" "$peak"
        rm -f ./*.times
    done
    rm -f sized.klon
}

bench_image() {
    create
    append
    random_reads
    chunk_sizes
    restore
    restore_again
}
