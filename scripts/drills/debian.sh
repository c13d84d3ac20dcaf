# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# shellcheck disable=SC2030,SC2031,SC2317 # a subshell with functions of its own, which its trap calls
# An installed Debian in QEMU, for drills of scripts/boot-test: `base` makes a system by mmdebstrap and keeps
# it, `install_debian` installs it on a disk, `in_guest` runs a script of guest/ as
# root of a running system, whose disks are named by their serial numbers.

guest_scripts=$root/scripts/drills/guest
system_packages=(dosfstools e2fsprogs fdisk grub-efi-amd64-bin grub-pc-bin grub2-common
    initramfs-tools kmod linux-image-cloud-amd64 systemd-sysv udev zstd)

# base: sets $base (a system beside those that are installed: it brings them back), $vmlinuz and $initrd.
base() {
    local cache suite made tree
    cache=${CARGO_TARGET_DIR:-${CARGO_BUILD_TARGET_DIR:-$root/target}}/boot-test
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    grep --quiet '^ID=debian$' /etc/os-release || stop "these drills install the Debian of this machine, and it has none."
    made=$cache/$suite-$(cat "$guest_scripts/drill" "${BASH_SOURCE[0]}" | sha256sum | head -c 12)
    base=$made/base.img vmlinuz=$made/vmlinuz initrd=$made/initrd
    [ ! -e "$made/ready" ] || return 0
    rm -rf "$made" && mkdir -p "$made"
    tree=$made/tree
    # As a folder, root alone can make it; mke2fs takes a tree, and what it has no owner for is root's.
    [ "$(id -u)" = 0 ] || stop "run this as root: the system is made with its own owners and devices."
    mmdebstrap --quiet --variant=minbase --mode=root \
        --include="${system_packages[*]}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --aptopt='Apt::Install-Recommends "0"' \
        "$suite" "$tree" || stop "mmdebstrap could not make a Debian (what it says is above)."
    furnish "$tree"
    cp "$tree"/boot/vmlinuz-* "$vmlinuz"
    cp "$tree"/boot/initrd.img-* "$initrd"
    mke2fs -q -t ext4 -L base -d "$tree" "$base" 1500M
    rm -rf "$tree"
    touch "$made/ready"
}

# furnish TREE: what drills need of a system, and nothing that takes long in an emulated machine.
furnish() {
    install -m 755 "$guest_scripts/drill" "$1/usr/local/sbin/drill"
    cat >"$1/etc/systemd/system/drill.service" <<'UNIT'
[Unit]
Description=What a drill of klon does here
After=local-fs.target systemd-udevd.service

[Service]
ExecStart=/usr/local/sbin/drill
KillMode=process
UNIT
    mkdir -p "$1/drill" "$1/boot/efi"
    ln -sf /etc/systemd/system/drill.service "$1/etc/systemd/system/multi-user.target.wants/drill.service"
    local unit
    for unit in getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer \
        e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer systemd-logind.service lvm2-monitor.service \
        systemd-update-utmp.service systemd-pstore.service dev-hugepages.mount dev-mqueue.mount \
        sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
        modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service \
        modprobe@loop.service systemd-binfmt.service systemd-journal-flush.service getty.target \
        getty-static.service systemd-update-utmp-runlevel.service systemd-user-sessions.service; do
        ln -sf /dev/null "$1/etc/systemd/system/$unit"
    done
    mkdir -p "$1/etc/systemd/journald.conf.d"
    printf '[Journal]\nStorage=volatile\n' >"$1/etc/systemd/journald.conf.d/drill.conf"
    echo drill >"$1/etc/hostname"
    echo 6b6c6f6e00004000800000626f6f7404 >"$1/etc/machine-id"
    rm -f "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*_*
}

# install_debian KIND IMAGE SIZE: an installed system on a new disk. KIND:
#   gpt    ESP, BIOS boot partition and ext4: boots by UEFI and by BIOS
#   mbr    ext4 alone under an MBR, GRUB before it: boots by BIOS
install_debian() (
    kind=$1 image=$2
    target=$(mktemp --directory) start=136314880
    clean_up() {
        ! mountpoint --quiet "$target" || umount --recursive "$target"
        ! mountpoint --quiet "$target.base" || umount "$target.base"
        rm -r "$target.boot"
        rmdir "$target" "$target.base"
    }
    trap clean_up EXIT
    mkdir "$target.base" "$target.boot"
    rm -f "$image"
    truncate --size="$3" "$image"
    if [ "$kind" = mbr ]; then
        start=1048576
        sfdisk --quiet "$image" <<<$'label: dos\nstart=2048, type=83, bootable'
    else
        sfdisk --quiet "$image" <<'TABLE'
label: gpt
start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=bios
start=2MiB, size=64MiB, type=uefi, name=ESP
start=130MiB, type=linux, name=root
TABLE
    fi
    # What is behind the table is the last partition, but for the backup of a GPT.
    size=$(($(stat --format=%s "$image") / 1048576 * 1048576 - start - 1048576))
    uuid=$(cat /proc/sys/kernel/random/uuid)
    mkfs.ext4 -q -U "$uuid" -E "offset=$start" "$image" "$((size >> 10))K"
    mount -o "loop,offset=$start,sizelimit=$size" "$image" "$target"
    mount -o loop,ro "$base" "$target.base"
    cp --archive "$target.base/." "$target"
    mkdir -p "$target/boot/grub"
    version=$(basename "$target"/lib/modules/*)
    printf 'UUID=%s / ext4 defaults 0 1\n' "$uuid" >"$target/etc/fstab"
    cat >"$target/boot/grub/grub.cfg" <<GRUB
linux /boot/vmlinuz-$version root=UUID=$uuid ro console=ttyS0 loglevel=4 mitigations=off no_timer_check
initrd /boot/initrd.img-$version
boot
GRUB
    echo first >"$target/etc/marker"
    boot_loader
)

# boot_loader: GRUB where grub-install puts it; the kernel of this machine may have neither FAT nor partitions on loop
# devices. It finds its folder by the number of the partition, by UEFI by the UUID.
boot_loader() {
    local modules=(part_gpt part_msdos ext2 search search_fs_uuid configfile normal linux echo)
    local boot=$target.boot number=3 core_lba=2048
    [ "$kind" != mbr ] || { number=1 && core_lba=1; }
    grub-mkimage --directory="$target/usr/lib/grub/i386-pc" --format=i386-pc --output="$boot/core.img" \
        --prefix="(,$([ "$kind" = mbr ] && echo msdos || echo gpt)$number)/boot/grub" biosdisk "${modules[@]}"
    # Where the rest of it begins, in its first sector and in that of the disk.
    le64 $((core_lba + 1)) | dd of="$boot/core.img" bs=1 seek=500 conv=notrunc status=none
    cp "$target/usr/lib/grub/i386-pc/boot.img" "$boot/boot.img"
    le64 "$core_lba" | dd of="$boot/boot.img" bs=1 seek=92 conv=notrunc status=none
    dd if="$boot/core.img" of="$image" bs=512 seek="$core_lba" conv=notrunc status=none
    dd if="$boot/boot.img" of="$image" bs=1 count=440 conv=notrunc status=none
    [ "$kind" != mbr ] || return 0
    # shellcheck disable=SC2016 # the variables are GRUB's
    printf 'search --no-floppy --fs-uuid --set=root %s\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' \
        "$uuid" >"$boot/early.cfg"
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

# disk SERIAL FILE [OPTIONS]: a disk for `in_guest`.
disk() {
    disks+=(-drive "if=none,id=$1,format=raw,file=$2,cache=unsafe,discard=unmap${3:+,$3}"
        -device "virtio-blk-pci,drive=$1,serial=$1${4:+,$4}")
}

# in_guest FIRMWARE SCRIPT [ARGUMENT…]: boots the first of $disks (FIRMWARE: uefi or bios; or base, a
# system beside them), runs a script of guest/ there, and prints what it prints; the status is that
# of the script. 99: it never came so far, and the console is shown. The system is shut down afterwards.
in_guest() {
    local firmware=$1 script=$2 work status=0 options=()
    shift 2
    work=$(mktemp --directory)
    mkdir "$work/drill"
    cp "$klon" "$guest_scripts"/* "$work/drill/"
    cp "$guest_scripts/$script" "$work/drill/run"
    printf '%q ' "$@" >"$work/drill/arguments"
    tar --create --file "$work/drill.tar" --directory "$work/drill" .
    truncate --size=%1M "$work/drill.tar"
    case $firmware in
    uefi)
        cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/vars"
        options=(-drive "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
            -drive "if=pflash,format=raw,file=$work/vars")
        ;;
    bios) ;;
    base)
        # shellcheck disable=SC2054
        disks+=(-drive "if=none,id=base,format=raw,file=$base,snapshot=on"
            -device virtio-blk-pci,drive=base,serial=base)
        options=(-kernel "$vmlinuz" -initrd "$initrd" -append "root=LABEL=base rw console=ttyS0 loglevel=4 mitigations=off no_timer_check init=/usr/local/sbin/drill")
        ;;
    esac
    timeout "${drill_seconds:-600}" qemu-system-x86_64 -accel tcg,thread=multi -machine q35 -cpu max -smp 2 \
        -m 1024 -display none -no-reboot -nic none "${options[@]}" -serial "file:$work/console" \
        -serial "file:$work/output" "${disks[@]}" \
        -drive "if=none,id=drill,format=raw,file=$work/drill.tar,readonly=on" \
        -device virtio-blk-pci,drive=drill,serial=drill </dev/null >"$work/qemu" 2>&1 || status=98
    disks=()
    tr -d '\r' <"$work/output" >"$work/text"
    # The firmware says something there, too.
    sed '0,/KLON BEGIN$/d; /^KLON EXIT /,$d' "$work/text"
    [ "$status" = 0 ] || tail -n 5 "$work/qemu" >&2
    status=$(sed -n 's/^KLON EXIT //p' "$work/text" | tail -n 1)
    if [ -z "$status" ]; then
        status=99
        tr -cd '[:print:]\n' <"$work/console" | tail -n 30 >&2
    fi
    rm -rf "$work"
    return "$status"
}
