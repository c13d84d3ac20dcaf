# shellcheck shell=bash
# Golden images of LVM2 physical volumes. Sourced by make-images. All are made in one run of
# scripts/guest, because this machine's kernel may lack the device mapper.
# shellcheck disable=SC2154 # work, images and root are make-images' own

# The images, in the order of the guest's disks /dev/vda, /dev/vdb, …, their sizes and hazards.
lvm2_disks=(lvm2:4M lvm2-ring:4M lvm2-boot:4M lvm2-orphan:4M lvm2-thin:16M lvm2-cache:40M
    lvm2-raid:16M lvm2-move:4M lvm2-several:4M:multi_device lvm2-other:4M:multi_device)

# lvm2_script: what the guest does.
lvm2_script() {
    cat << 'SCRIPT'
mkdir -p /etc/lvm /run/lvm /run/lock/lvm /tmp
export LVM_SUPPRESS_FD_WARNINGS=1
cat > /etc/lvm/lvm.conf << 'CONFIGURATION'
devices {
    filter = [ "a|^/dev/vd.$|", "r|.*|" ]
    use_devicesfile = 0
    hints = "none"
    obtain_device_list_from_udev = 0
}
global { use_lvmpolld = 0 use_lvmlockd = 0 thin_check_executable = "" cache_check_executable = "" }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
backup { backup = 0 archive = 0 }
CONFIGURATION
{
    # Logical volumes around holes.
    holes() {
        for name in a b c d; do lvm lvcreate -n $name -l 3 $1; done
        lvm lvremove -y $1/b
        lvm lvcreate -n e -l 5 $1
        lvm lvremove -y $1/c
    }
    lvm vgcreate -s 64k plain /dev/vda
    holes plain

    lvm pvcreate --metadatasize 32k --dataalignment 64k --metadatacopies 2 /dev/vdb
    lvm vgcreate -s 64k ring /dev/vdb
    holes ring
    # Until the text of the first area goes around its end.
    tag=$(printf '%0800d' 0)
    while :; do
        tag=$tag$((${#tag} % 10))
        lvm vgchange --addtag $tag ring
        set -- $(lvm pvck --dump headers /dev/vdb | awk '
            $1 == "mda_header_1.size" { size = $2 }
            $1 ~ /^mda_header_1.raw_locn.0..(offset|size)$/ { end += $2 }
            END { print end, size }')
        [ $1 -le $2 ] || break
    done

    lvm pvcreate --bootloaderareasize 256k --dataalignment 192k --dataalignmentoffset 7s /dev/vdc
    lvm vgcreate -s 4k boot /dev/vdc
    holes boot
    lvm pvcreate --metadatacopies 2 /dev/vdd

    lvm vgcreate -s 64k thin /dev/vde
    lvm lvcreate -y --type thin-pool -l 40 --poolmetadatasize 2m -n pool thin
    lvm lvcreate -y -V 20m -n volume thin --thinpool pool
    lvm lvcreate -y -s -n snapshot thin/volume
    lvm lvcreate -y -l 20 -n origin thin
    lvm lvcreate -y -s -l 5 -n cow thin/origin

    lvm vgcreate -s 128k cached /dev/vdf
    lvm lvcreate -y -l 60 -n slow cached
    lvm lvcreate -y -l 80 -n fast cached
    lvm lvconvert -y --type cache --cachevol fast cached/slow
    lvm lvcreate -y -l 60 -n slow2 cached
    lvm lvcreate -y -an -l 40 -n fast2 cached
    lvm lvconvert -y --type writecache --cachevol fast2 cached/slow2

    lvm vgcreate -s 64k raid /dev/vdg
    lvm lvcreate -y --type raid1 -m 1 --alloc anywhere -l 10 -n one raid
    lvm lvcreate -y --type raid5 -i 2 --alloc anywhere -l 10 -n five raid
    lvm lvcreate -y --type mirror -m 1 --alloc anywhere -l 10 -n mirror raid
    lvm lvcreate -y --type striped -i 1 -l 4 -n striped raid

    lvm vgcreate -s 64k moving /dev/vdh
    lvm lvcreate -y -l 20 -n volume moving
    # The move ends when it is looked at again; before that the power goes.
    lvm pvmove -i 300 --alloc anywhere /dev/vdh:0-9 /dev/vdh:25-34 < /dev/null &
    until lvm lvs -a moving | grep -q pvmove; do sleep 1; done

    lvm vgcreate -s 64k several /dev/vdi /dev/vdj
    lvm lvcreate -y --type striped -i 2 -l 8 -n striped several
    lvm lvcreate -y --type raid1 -m 1 -l 5 -n mirrored several
    holes several
} > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
for disk in a b c d e f g h i j; do
    lvm pvs --segments --noheadings --nosuffix --units b --separator , \
        -o pe_start,vg_extent_size,pvseg_start,pvseg_size,segtype,pv_ba_start,pv_ba_size \
        /dev/vd$disk 2>/dev/null | sed "s/^ */segment $disk,/"
    lvm pvck --dump headers /dev/vd$disk 2>/dev/null | awk -v disk=$disk '
        $1 ~ /^mda_header_[12].start$/ { start = $2 }
        $1 ~ /^mda_header_[12].size$/ { print "area " disk "," start "," $2 }'
done
sync
SCRIPT
}

# lvm2_used DISK: the used extents by pvs and pvck as JSON: what is before the first physical
# extent, the areas, and the extents of segments.
lvm2_used() {
    awk -F '[ ,]' -v disk="$1" '
        $2 != disk { next }
        $1 == "area" { print $3, $3 + $4 }
        $1 == "segment" {
            print 0, $3
            if ($9) print $8, $8 + $9
            if ($7 != "free" && $7 != "") print $3 + $4 * $5, $3 + $4 * ($5 + $6)
        }' "$work/lvm2.answers" | sort -n | awk '
        function flush() { if (end) printf "%s[%d,%d]", comma, start, end - start; if (end) comma = "," }
        BEGIN { printf "[" }
        end && $1 <= end { if ($2 > end) end = $2; next }
        { flush(); start = $1; end = $2 }
        END { flush(); print "]" }'
}

lvm2_images() {
    local disk name size hazard used files=() letters=abcdefghij index=0 is_wanted=
    for disk in "${lvm2_disks[@]}"; do
        IFS=: read -r name size _ <<< "$disk"
        ! wanted "$name" || is_wanted=1
        rm -f "$work/$name.img"
        truncate -s "$size" "$work/$name.img"
        files+=("$work/$name.img")
    done
    [[ $is_wanted ]] || return 0
    lvm2_script > "$work/lvm2.guest"
    "$root/scripts/guest" --with lvm \
        --modules "dm-mod dm-thin-pool dm-cache dm-cache-smq dm-writecache dm-snapshot dm-mirror
            dm-log dm-raid raid1 raid456" \
        "$work/lvm2.guest" "${files[@]}" > "$work/lvm2.answers" ||
        { cat "$work/lvm2.answers" >&2; exit 1; }
    for disk in "${lvm2_disks[@]}"; do
        IFS=: read -r name size hazard <<< "$disk"
        used=$(lvm2_used "${letters:index:1}")
        index=$((index + 1))
        wanted "$name" || continue
        [[ -z $hazard ]] || used="[[0,$(stat -c %s "$work/$name.img")]]"
        answers "$name" lvm2 "$used" "$hazard"
        store "$name"
    done
}
