# shellcheck shell=bash
# Golden images of F2FS. Sourced by make-images.
# shellcheck disable=SC2154 # root and work are make-images' own

# f2fs_used IMAGE: the used extents by dump.f2fs as JSON: all before the main area, and the blocks
# of it that the SIT has as valid.
f2fs_used() {
    (cd "$work" && dump.f2fs -s 0~-1 "$1" > /dev/null)
    {
        dump.f2fs -d 1 "$1" | tr -d '[]:' | awk '$1 == "main_blkaddr" { print "main", $NF }
            $1 == "log_blocksize" { print "log", $NF }'
        cat "$work/dump_sit"
    } | awk '
        function flush() {
            if (last > first) printf "%s[%d,%d]", comma, first * size, (last - first) * size
            if (last > first) comma = ","
        }
        BEGIN {
            printf "["
            for (i = 0; i < 16; i++) value[sprintf("%x", i)] = i
        }
        $1 == "main" { main = last = $2 }
        $1 == "log" { size = 2 ^ $2 }
        $1 == "segno:" { block = main + $2 * 512 }
        /^  / {
            for (i = 1; i <= NF; i++) {
                byte = value[substr($i, 1, 1)] * 16 + value[substr($i, 2, 1)]
                for (bit = 128; bit >= 1; bit /= 2) {
                    if (byte >= bit) {
                        byte -= bit
                        if (block != last) { flush(); first = block }
                        last = block + 1
                    }
                    block++
                }
            }
        }
        END { flush(); print "]" }'
}

# f2fs_format NAME SIZE OPTIONS...: an empty image.
f2fs_format() {
    local name=$1 size=$2
    shift 2
    rm -f "$work/$name.img"
    truncate -s "$size" "$work/$name.img"
    mkfs.f2fs -q -f -r -l "$name" -U 4b6c6f6e-0000-4000-8000-663266730001 -T 1767225600 "$@" \
        "$work/$name.img" > "$work/log"
}

# f2fs_load NAME DIRECTORY: adds files, at a path of its own.
f2fs_load() {
    local index
    rm -rf "$work/tree"
    mkdir -p "$work/tree/directory"
    seq 90000 > "$work/tree/numbers"
    for index in {1..30}; do seq $((index * 150)) > "$work/tree/directory/file$index"; done
    sload.f2fs -T 1767225600 -t "$2" -f "$work/tree" "$work/$1.img" > "$work/log"
}

# f2fs_keep NAME [HAZARD]: stores it with its answers.
f2fs_keep() {
    local size
    size=$(stat -c %s "$work/$1.img")
    if [ $# -gt 1 ]; then
        answers "$1" f2fs "[[0,$size]]" "$2"
    else
        answers "$1" f2fs "$(f2fs_used "$work/$1.img")"
    fi
    store "$1"
}

# f2fs_image NAME SIZE OPTIONS...: a clean image with files.
f2fs_image() {
    wanted "$1" || return 0
    f2fs_format "$@"
    f2fs_load "$1" /
    f2fs_load "$1" /again
    f2fs_keep "$1"
}

# f2fs_guest NAME SCRIPT: the kernel of scripts/guest runs a script on a new image; then the power
# fails.
f2fs_guest() {
    f2fs_format "$1" 64M
    printf '%s\n' "$2" > "$work/script"
    "$root/scripts/guest" --modules f2fs "$work/script" "$work/$1.img"
}

f2fs_images() {
    # shellcheck disable=SC2016 # that is for the guest to expand
    local fill='mount -t f2fs /dev/vda /mnt
        for i in $(seq 300); do seq $((i % 40 * 70)) > /mnt/file$i; done
        sync
        rm /mnt/file*[147]
        for i in $(seq 2 9 300); do echo again >> /mnt/file$i; done'
    if wanted f2fs-new; then
        f2fs_format f2fs-new 64M
        f2fs_keep f2fs-new
    fi
    f2fs_image f2fs 96M
    f2fs_image f2fs-features 99M \
        -O extra_attr,inode_checksum,sb_checksum,quota,lost_found,encrypt,casefold -C utf8
    f2fs_image f2fs-sections 140M -s 2 -z 2
    f2fs_image f2fs-large-nat 96M -i -w 4096
    if wanted f2fs-ro; then
        f2fs_format f2fs-ro 40M -O ro
        f2fs_load f2fs-ro /
        f2fs_keep f2fs-ro
    fi
    if wanted f2fs-aged; then
        f2fs_guest f2fs-aged "$fill; umount /mnt"
        f2fs_keep f2fs-aged
    fi
    if wanted f2fs-cut; then
        f2fs_guest f2fs-cut "$fill"
        f2fs_keep f2fs-cut not_cleanly_unmounted
    fi
    if wanted f2fs-synced; then
        # The checkpoint is still that of the unmount before.
        f2fs_guest f2fs-synced "$fill; umount /mnt; mount -t f2fs /dev/vda /mnt
            echo synced | dd of=/mnt/synced conv=fsync 2> /dev/null"
        f2fs_keep f2fs-synced needs_recovery
    fi
    if wanted f2fs-in-place; then
        # The one block that differs from the unmounted state is where it was.
        f2fs_guest f2fs-in-place "$fill; umount /mnt; mount -t f2fs /dev/vda /mnt
            echo synced | dd of=/mnt/file39 conv=notrunc 2> /dev/null
            sync -d /mnt/file39"
        f2fs_keep f2fs-in-place
    fi
}
