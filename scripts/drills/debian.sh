# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# shellcheck disable=SC2030,SC2031,SC2317 # a subshell with functions of its own, which its trap calls
# An installed Debian on a disk, for drills of scripts/boot-test: `install_debian` copies the system of base.sh.

# install_debian KIND IMAGE SIZE: an installed system on a new disk. KIND:
#   gpt    ESP, BIOS boot partition and ext4: boots by UEFI and by BIOS
#   mbr    ext4 alone under an MBR, GRUB before it: boots by BIOS
#   btrfs  as gpt, with a Btrfs that has the root and /home as subvolumes
#   lvm    as gpt, with a volume group whose volume `root` has the ext4, and 250 MiB that no volume has
install_debian() (
    kind=$1 image=$2
    target=$(mktemp --directory) loops=()
    clean_up() {
        ! mountpoint --quiet "$target" || umount --recursive "$target"
        ! mountpoint --quiet "$target.base" || umount "$target.base"
        [ "${#loops[@]}" = 0 ] || losetup --detach "${loops[@]}"
        rm -r "$target.boot"
        rmdir "$target" "$target.base"
    }
    trap clean_up EXIT
    mkdir "$target.base" "$target.boot"
    rm -f "$image"
    truncate --size="$3" "$image"
    uuid=$(cat /proc/sys/kernel/random/uuid)
    table
    root_volume
    mount -o loop,ro "$base" "$target.base"
    cp --archive "$target.base/." "$target"
    echo "$fstab" >"$target/etc/fstab"
    mkdir -p "$target/boot/grub"
    version=$(basename "$target"/lib/modules/*)
    cat >"$target/boot/grub/grub.cfg" <<GRUB
linux $grub_path/boot/vmlinuz-$version root=UUID=$uuid $root_flags ro console=ttyS0 loglevel=4 mitigations=off no_timer_check
initrd $grub_path/boot/initrd.img-$version
boot
GRUB
    echo first >"$target/etc/marker"
    boot_loader
)

# table: writes it, and sets $start and $size of what the system is in.
table() {
    start=136314880
    if [ "$kind" = mbr ]; then
        start=1048576
        sfdisk --quiet "$image" <<<$'label: dos\nstart=2048, type=83, bootable'
    else
        sfdisk --quiet "$image" <<TABLE
label: gpt
start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=bios
start=2MiB, size=64MiB, type=uefi, name=ESP
start=130MiB, type=$([ "$kind" = lvm ] && echo lvm || echo linux), name=root
TABLE
    fi
    # What is behind the table is the last partition, but for the backup of a GPT.
    size=$(($(stat --format=%s "$image") / 1048576 * 1048576 - start - 1048576))
}

# loop: makes a loop device over that place of the image, as $device.
loop() {
    device=$(losetup --find --show --offset "$start" --sizelimit "$size" "$image")
    loops+=("$device")
}

# root_volume: makes and mounts the filesystem of the system. Sets its $fstab, and what GRUB must know of it: how it
# calls the volume, where the system is in it, and what the kernel must be told.
root_volume() {
    fstab="UUID=$uuid / ext4 defaults 0 1"
    grub_volume=,gpt3 grub_path='' root_flags=''
    [ "$kind" != mbr ] || grub_volume=,msdos1
    loop
    [ "$kind" != lvm ] || volume_group
    if [ "$kind" = btrfs ]; then
        grub_path=/@ root_flags=rootflags=subvol=@
        fstab="UUID=$uuid / btrfs subvol=@ 0 0"$'\n'"UUID=$uuid /home btrfs subvol=@home 0 0"
        mkfs.btrfs --quiet --uuid "$uuid" --metadata single "$device" >/dev/null
        mount "$device" "$target"
        btrfs subvolume create "$target/@" >/dev/null
        btrfs subvolume create "$target/@home" >/dev/null
        umount "$target"
        mount -o subvol=@ "$device" "$target"
    else
        mkfs.ext4 -q -U "$uuid" "$device"
        mount "$device" "$target"
    fi
}

# volume_group: makes it on $device, which is the volume afterwards. The kernel of this machine may have no device
# mapper: the first volume of a group lies where the group's room begins.
volume_group() {
    local begins
    grub_volume=lvm/klon-root
    size=$((size - (250 << 20)))
    volume_manager pvcreate "$device" >/dev/null
    volume_manager vgcreate klon "$device" >/dev/null
    volume_manager lvcreate --activate n --zero n --wipesignatures n --size "$((size >> 22 << 2))M" --name root klon >/dev/null
    begins=$(volume_manager pvs --noheadings --nosuffix --units b --options pe_start)
    start=$((start + begins)) size=$((size >> 22 << 22))
    loop
}

# volume_manager COMMAND [ARGUMENT…]: LVM of that device alone, which leaves nothing on this machine.
volume_manager() {
    local command=$1 said
    shift
    said=$(lvm "$command" --quiet --devices "$device" --driverloaded n \
        --config 'backup { backup = 0 archive = 0 } devices { hints = "none" }' "$@" 2>"$target.boot/lvm") ||
        stop "lvm $command: $(cat "$target.boot/lvm")"
    echo "$said"
}

# boot_loader: GRUB where grub-install puts it; the kernel of this machine may have neither FAT nor partitions on loop
# devices. It finds its folder by the number of the partition, by UEFI by the UUID.
boot_loader() {
    local modules=(part_gpt part_msdos ext2 search search_fs_uuid configfile normal linux echo)
    local boot=$target.boot core_lba=2048
    [ "$kind" != mbr ] || core_lba=1
    [ "$kind" != btrfs ] || modules+=(btrfs)
    [ "$kind" != lvm ] || modules+=(lvm)
    grub-mkimage --directory="$target/usr/lib/grub/i386-pc" --format=i386-pc --output="$boot/core.img" \
        --prefix="($grub_volume)$grub_path/boot/grub" biosdisk "${modules[@]}"
    # Where the rest of it begins, in its first sector and in that of the disk.
    le64 $((core_lba + 1)) | dd of="$boot/core.img" bs=1 seek=500 conv=notrunc status=none
    cp "$target/usr/lib/grub/i386-pc/boot.img" "$boot/boot.img"
    le64 "$core_lba" | dd of="$boot/boot.img" bs=1 seek=92 conv=notrunc status=none
    dd if="$boot/core.img" of="$image" bs=512 seek="$core_lba" conv=notrunc status=none
    dd if="$boot/boot.img" of="$image" bs=1 count=440 conv=notrunc status=none
    [ "$kind" != mbr ] || return 0
    # shellcheck disable=SC2016 # the variables are GRUB's
    printf 'search --no-floppy --fs-uuid --set=root %s\nset prefix=($root)%s/boot/grub\nconfigfile $prefix/grub.cfg\n' \
        "$uuid" "$grub_path" >"$boot/early.cfg"
    grub-mkimage --directory="$target/usr/lib/grub/x86_64-efi" --format=x86_64-efi --output="$boot/bootx64.efi" \
        --config="$boot/early.cfg" --prefix=/boot/grub fat "${modules[@]}"
    truncate --size=64M "$boot/esp"
    mkfs.fat -F 32 "$boot/esp" >/dev/null
    mmd -i "$boot/esp" ::EFI ::EFI/BOOT
    mcopy -i "$boot/esp" "$boot/bootx64.efi" ::EFI/BOOT/BOOTX64.EFI
    dd if="$boot/esp" of="$image" bs=1M seek=2 conv=notrunc,sparse status=none
    printf 'UUID=%s /boot/efi vfat umask=0077,x-systemd.device-timeout=15min 0 1\n' "$(blkid --probe --match-tag UUID --output value "$boot/esp")" \
        >>"$target/etc/fstab"
}

# le64 NUMBER: its eight bytes, the lowest first.
le64() {
    local byte
    # shellcheck disable=SC2059
    for byte in 0 8 16 24 32 40 48 56; do printf "\\x$(printf %02x $((($1 >> byte) & 255)))"; done
}
