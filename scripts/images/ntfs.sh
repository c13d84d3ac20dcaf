# shellcheck shell=bash
# Golden images of NTFS. Sourced by make-images.
# shellcheck disable=SC2154 # work and images are make-images' own

# ntfs_answers NAME [HAZARD]: writes NAME.used.json from partclone's domain map. To it comes what
# lies after the last whole cluster, which partclone leaves out: slack and backup boot sector.
ntfs_answers() {
    local image=$work/$1.img size clusters cluster label used
    size=$(stat -c %s "$image")
    label=$(blkid -p -s LABEL -o value "$image" || true)
    if [[ -n ${2:-} ]]; then
        used="[[0,$size]]"
    else
        rm -f "$work/domain"
        partclone.ntfs -q -L "$work/partclone.log" -D -s "$image" -o "$work/domain" > /dev/null 2>&1
        cluster=$(ntfsinfo -m "$image" | awk '/Cluster Size:/ { print $3 }')
        clusters=$(ntfsinfo -m "$image" | awk '/Volume Size in Clusters:/ { print $5 }')
        used=$({
            while read -r offset length status; do
                [[ $status != + ]] || echo "[$((offset)),$((length))]"
            done < "$work/domain"
            echo "[$((clusters * cluster)),$((size - clusters * cluster))]"
        } | jq -cs 'reduce .[] as $next ([];
            if length > 0 and .[-1][0] + .[-1][1] == $next[0]
            then .[-1][1] += $next[1] else . + [$next] end)')
    fi
    jq -cn --arg name "$label" --arg uuid "$(blkid -p -s UUID -o value "$image")" \
        --argjson used "$used" --arg hazard "${2:-}" \
        '{kind: "ntfs", label: $name, uuid: $uuid, used: $used}
         + if $hazard == "" then {} else {hazard: $hazard} end' > "$images/$1.used.json"
}

# ntfs_format NAME SIZE OPTIONS...: a volume with a fixed serial number and times.
ntfs_format() {
    local name=$1 size=$2
    shift 2
    rm -f "$work/$name.img"
    truncate -s "$size" "$work/$name.img"
    mkfs.ntfs -q -F -f -T "$@" "$work/$name.img" > /dev/null 2>&1
    # The serial number, in the boot sector and its backup.
    printf 'KLONNTFS' | dd of="$work/$name.img" bs=1 seek=72 conv=notrunc status=none
    dd if="$work/$name.img" of="$work/$name.img" bs=512 count=1 conv=notrunc status=none \
        seek=$(($(stat -c %s "$work/$name.img") / 512 - 1))
}

# ntfs_fill NAME: files through ntfscp, which needs no mount; the last is in no one's way.
ntfs_fill() {
    local index
    head -c 14000 /dev/zero | tr '\0' n > "$work/numbers"
    head -c 109000 /dev/zero | tr '\0' l > "$work/large"
    for index in 1 2 3; do
        ntfscp -f -q "$work/$1.img" "$work/numbers" "/numbers $index" > /dev/null 2>&1
    done
    ntfscp -f -q "$work/$1.img" "$work/large" "/large" > /dev/null 2>&1
    # Files that become smaller leave clusters between others.
    echo short > "$work/short"
    ntfscp -f -q "$work/$1.img" "$work/short" "/numbers 2" > /dev/null 2>&1
}

# ntfs_store NAME: stores the image without the table of $UpCase, 128 KiB that hardly compress and
# that no map depends on. (With it blanked, ntfs-3g does not mount the volume.)
ntfs_store() {
    local image=$work/$1.img cluster lcn count
    cluster=$(ntfsinfo -f -m "$image" | awk '/Cluster Size:/ { print $3 }')
    read -r lcn count < <(ntfsinfo -f -v -i 10 "$image" | awk '/Runlist:/ { getline; print $2, $3 }')
    dd if=/dev/zero of="$image" bs="$cluster" count=$((count)) conv=notrunc status=none \
        seek=$((lcn))
    store "$1"
}

# ntfs_image NAME SIZE OPTIONS...: formatted, filled, answered, stored.
ntfs_image() {
    wanted "$1" || return 0
    ntfs_format "$@"
    ntfs_fill "$1"
    ntfs_answers "$1"
    ntfs_store "$1"
}

ntfs_images() {
    ntfs_image ntfs 8M -L Windows
    ntfs_image ntfs-512 2M -c 512 -L "half a kibi"
    ntfs_image ntfs-seed 1025K -c 512
    ntfs_image ntfs-4k-sectors 8M -s 4096 -c 4096
    ntfs_image ntfs-64k 24M -c 65536
    ntfs_image ntfs-2m 64M -c 2097152
    if wanted ntfs-dirty; then
        ntfs_format ntfs-dirty 2M -c 512
        ntfsfix "$work/ntfs-dirty.img" > /dev/null
        ntfs_answers ntfs-dirty not_cleanly_unmounted
        ntfs_store ntfs-dirty
    fi
    if wanted ntfs-hibernated; then
        ntfs_format ntfs-hibernated 2M -c 512
        { printf hibr; head -c 8000 /dev/zero; } > "$work/sleep"
        ntfscp -f -q "$work/ntfs-hibernated.img" "$work/sleep" /hiberfil.sys > /dev/null 2>&1
        ntfs_answers ntfs-hibernated hibernated
        ntfs_store ntfs-hibernated
    fi
}
