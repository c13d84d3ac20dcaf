# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# How long volumes are frozen by repeated live clones while whole files are rewritten. Part of scripts/bench, whose
# $klon, $directory, $runs, $loops and functions it uses; needs root.

used_list=${KLON_BENCH_USED:-1024}
churn_list=${KLON_BENCH_CHURN:-0.1 1 10}
# Seconds of writing before each run.
pause=${KLON_BENCH_PAUSE:-15}
if [ -n "$short" ]; then
    used_list=${KLON_BENCH_USED:-64}
    churn_list=${KLON_BENCH_CHURN:-10}
    pause=1
fi

# rewrite USED_MIB PERCENT: rewrites one file of 1 MiB after another, so many percent a minute.
rewrite() {
    local number=0 between
    between=$(awk -v mib="$1" -v percent="$2" 'BEGIN { printf "%.3f", 6000 / mib / percent }')
    while [ -e writing ]; do
        head --bytes=1M /dev/urandom >"mnt/$((number * 7919 % $1))"
        number=$((number + 1))
        sleep "$between"
    done
}

# same_files: in short runs, whether the clone has the files of the source; klon's own word is not enough.
same_files() {
    local side
    umount mnt
    for side in "$source" "$target"; do
        mount -o ro "$side" mnt
        (cd mnt && find . -type f -exec sha256sum {} + | sort) >"${side##*/}.sums"
        umount mnt
    done
    cmp "${source##*/}.sums" "${target##*/}.sums"
}

# freeze_row FILESYSTEM USED_MIB PERCENT
freeze_row() {
    local of=$1 used_mib=$2 percent=$3 number writer size_mib=$(($2 * 2 + 512))
    rm -rf source.img target.img records frozen
    truncate --size="${size_mib}M" source.img target.img
    device source.img
    local source=$device
    device target.img
    local target=$device
    case $of in
    ext4) mke2fs -q -F -t ext4 "$source" ;;
    xfs) mkfs.xfs -q -f "$source" ;;
    btrfs) mkfs.btrfs -q -f "$source" >/dev/null ;;
    esac
    mkdir -p mnt
    mount "$source" mnt
    for number in $(seq 0 $((used_mib - 1))); do
        head --bytes=1M /dev/urandom >"mnt/$number"
    done
    sync -f mnt
    "$klon" clone "$source" "$target" --yes --quiet >/dev/null
    touch writing
    rewrite "$used_mib" "$percent" &
    writer=$!
    for number in $(seq "$runs"); do
        sleep "$pause"
        "$klon" clone "$source" "$target" --yes --confirm "$directory/target.img" --json --audit none >said ||
            stop "a clone of $of failed"
        jq --raw-output 'select(.event == "summary") | .volumes[0] | "\(.frozen_seconds) \(.rung)"' said >>frozen
    done
    rm writing
    wait "$writer"
    if [ -n "$short" ]; then
        "$klon" clone "$source" "$target" --yes --confirm "$directory/target.img" --quiet >/dev/null
        same_files
    else
        umount mnt
    fi
    for number in "${loops[@]}"; do losetup --detach "$number"; done
    loops=()
    sort -n frozen | awk -v what="$of | $used_mib | $percent" '{ all[NR] = $1; rung = $2 } END {
        printf "| %s | %.2f | %.2f | %s |\n", what, all[int((NR + 1) / 2)], all[NR], rung }'
}

bench_freeze() {
    is_root || stop "freeze needs root"
    local of used percent
    printf '%s runs each; seconds frozen at once\n\n' "$runs"
    printf '| | MiB in use | rewritten a minute, %% | median | worst | rung |\n| --- | --- | --- | --- | --- | --- |\n'
    for of in ${KLON_BENCH_ONLY:-ext4 xfs btrfs}; do
        for used in $used_list; do
            for percent in $churn_list; do freeze_row "$of" "$used" "$percent"; done
        done
    done
}
