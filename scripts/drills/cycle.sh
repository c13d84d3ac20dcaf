# shellcheck shell=bash
# What drills of installed systems do: the running system clones its disk, what comes of it boots.

# boots FIRMWARE SERIAL FILE MARKER [unwritten]: a disk boots alone, as klon said. It is not written to, so that a clone stays one.
boots() {
    heading "Booting $3 alone ($1)"
    klon check-boot "$3" | tail -n 1
    disk "$2" "$3" snapshot=on
    in_guest "$1" check "$2" "${@:4}"
}

# clean FILE: the checkers of its filesystems find nothing, and no journal waits to be replayed.
clean() (
    heading "Checking the filesystems on $1"
    device=
    # shellcheck disable=SC2317 # the trap calls it
    detach() { [ -z "$device" ] || losetup --detach "$device"; }
    trap detach EXIT
    while read -r start size; do
        device=$(losetup --find --show --read-only --offset "$start" --sizelimit "$size" "$1")
        case $(blkid --probe --match-tag TYPE --output value "$device") in
        ext4) e2fsck -fn "$device" 2>&1 | tail -n 1 && ! dumpe2fs -h "$device" 2>&1 | grep needs_recovery ;;
        btrfs) btrfs check --readonly "$device" 2>&1 | grep 'no error found' ;;
        vfat) fsck.fat -n "$device" | tail -n 1 ;;
        esac || stop "the filesystem at byte $start is not clean"
        losetup --detach "$device" && device=
    done < <(sfdisk --json "$1" | jq --raw-output '.partitiontable.partitions[] | "\(.start * 512) \(.size * 512)"')
)

# live KIND SIZE FIRMWARE: an installed system clones its disk while it runs, and again while it still does. With the
# clone attached, another boot would mount one of two volumes with the same UUID.
live() {
    # Two clones in one guest, on a machine that may have other things to do.
    # shellcheck disable=SC2034 # in_guest has it.
    local drill_seconds=1800
    heading "Installing a Debian ($1)"
    install_debian "$1" source.img "$2"
    truncate --size=1800M drive.img
    heading "The running system clones its own disk, and again what has changed"
    disk source source.img
    disk drive drive.img
    in_guest "$3" live "$1"
    clean drive.img
}

# cycle KIND FIRMWARE…: cloned while it runs, booted, lost and brought back.
cycle() {
    local kind=$1 firmware
    shift
    live "$kind" 1200M "$1"
    if [ "$kind" = mbr ]; then
        # The drive gets a GPT, and by that the loader of an MBR finds nothing.
        names drive.img "nothing on this disk is started"
    else
        for firmware; do boots "$firmware" drive drive.img second; done
    fi
    rm source.img
    heading "One command from the backup drive brings it back to a larger disk"
    truncate --size=2G new.img
    disk drive drive.img
    disk new new.img
    in_guest base restore
    clean new.img
    for firmware; do boots "$firmware" new new.img second; done
    rm new.img
    back 1200M "$1"
    back 1000M "$@"
}

# back SIZE FIRMWARE…: one command brings what was on source.img back to a new disk, which boots.
back() {
    local firmware
    heading "One command from the backup drive brings it back to a disk of $1"
    truncate --size="$1" back.img
    klon restore drive.img Boot=back.img --shrink
    sfdisk --verify back.img
    clean back.img
    shift
    for firmware; do boots "$firmware" new back.img second; done
    rm back.img
}

# names FILE TEXT: klon says that this is missing on a disk.
names() {
    local told status=0
    told=$(klon check-boot "$1") || status=$?
    grep "^MISSING.*$2" <<<"$told" || stop "klon check-boot did not miss \"$2\": $told"
    [ "$status" = 1 ] || stop "klon check-boot has missed it, and ended with $status"
}

# starts_not FILE MISSING SAID: firmware starts no system from a disk, and says why; klon names what is missing.
starts_not() {
    heading "Not booting $1"
    names "$1" "$2"
    disk drive "$1" snapshot=on
    console_says uefi "$3" || stop "the machine did not say \"$3\""
}

drill_gpt() { cycle gpt uefi bios; }
drill_mbr() { cycle mbr bios; }
drill_live() {
    live gpt 1200M uefi
    boots uefi drive drive.img second
}
drill_live_btrfs() {
    live btrfs 1400M uefi
    boots uefi drive drive.img second
    rm source.img
    back 1000M uefi bios
}
drill_live_lvm() {
    live lvm 1500M uefi
    boots uefi drive drive.img second
}

# start_of TYPE: where the partition of drive.img with that type begins, in bytes.
start_of() { sfdisk --json drive.img | jq ".partitiontable.partitions[] | select(.type == \"$1\") | .start * 512"; }

# drill_lacking: of a clone that lacks something klon names it, and it does not boot; the whole one does.
drill_lacking() {
    local esp system kernel
    heading "Installing a Debian (gpt), and cloning its disk"
    install_debian gpt source.img 1200M
    truncate --size=1600M drive.img
    klon plan --quiet --drive drive.img Boot=source.img -o plan.toml
    klon prepare --quiet plan.toml --yes --confirm drive.img
    klon clone --quiet plan.toml
    esp=$(start_of C12A7328-F81F-11D2-BA4B-00A0C93EC93B) system=$(start_of 0FC63DAF-8483-4772-8E79-3D69D8477DE4)
    kernel=$(debugfs -R 'ls -p /boot' "drive.img?offset=$system" 2>/dev/null | cut -d/ -f6 | grep '^vmlinuz-')
    boots uefi drive drive.img first unwritten
    cp --sparse=always drive.img loader.img
    mdel -i "loader.img@@$esp" ::EFI/BOOT/BOOTX64.EFI
    starts_not loader.img "UEFI: .* has no loader" "No bootable option or device was found\|Shell>"
    cp --sparse=always drive.img kernel.img
    debugfs -w -R "rm /boot/$kernel" "kernel.img?offset=$system" >/dev/null 2>&1
    starts_not kernel.img "$kernel" "error: file"
    cp --sparse=always drive.img volume.img
    tune2fs -U random "volume.img?offset=$system" >/dev/null
    starts_not volume.img "root: UUID=.* is not on this disk" "error: no such device"
}
