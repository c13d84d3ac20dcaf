# shellcheck shell=bash
# What drills of installed systems do: the running system clones its disk, what comes of it boots.

# boots FIRMWARE SERIAL FILE MARKER: a disk boots alone. It is not written to, so that a clone stays one.
boots() {
    heading "Booting $3 alone ($1)"
    disk "$2" "$3" snapshot=on
    in_guest "$1" check "$2" "$4"
}

# cycle KIND FIRMWARE…: cloned while it runs, booted, changed and cloned again, booted, lost and brought back.
cycle() {
    local kind=$1 firmware what
    shift
    heading "Installing a Debian ($kind)"
    install_debian "$kind" source.img 1200M
    truncate --size=1600M drive.img
    truncate --size=2G new.img
    for what in first again; do
        heading "The running system clones its own disk ($what)"
        disk source source.img
        disk drive drive.img
        in_guest "$1" backup "$what"
    done
    # The drive gets a GPT, and by that the loader of an MBR finds nothing.
    if [ "$kind" != mbr ]; then
        for firmware; do boots "$firmware" drive drive.img second; done
    fi
    heading "One command from the backup drive brings it back to a larger disk"
    disk drive drive.img
    disk new new.img
    in_guest base restore
    for firmware; do boots "$firmware" new new.img second; done
}

drill_gpt() { cycle gpt uefi bios; }
drill_mbr() { cycle mbr bios; }

# drill_live: with the EFI system partition mounted for writing, and again while it still runs.
drill_live() {
    # Two clones in one guest, on a machine that may have other things to do.
    # shellcheck disable=SC2034 # in_guest has it.
    local drill_seconds=1800
    heading "Installing a Debian (gpt)"
    install_debian gpt source.img 1200M
    truncate --size=1600M drive.img
    heading "The running system clones its own disk, and again what has changed"
    disk source source.img
    disk drive drive.img
    in_guest uefi live
    boots uefi drive drive.img second
}
