# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# Shows that a clone boots: a Debian kernel boots by UEFI and GRUB from a disk (ESP + ext4 root) in
# QEMU; the disk is cloned to a drive by a plan, changed, cloned again; then the drive boots alone,
# and what was changed is there. So does what comes back from an image of it.

# What the initial ramdisk must load to reach the root, in this order.
modules=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk
    crc16 crc32c_generic crc32c-intel libcrc32c mbcache jbd2 ext4)

make_initrd() {
    mkdir -p initrd/{bin,dev,proc,sys,mnt,modules}
    cp /bin/busybox initrd/bin/
    local module file
    for module in "${modules[@]}"; do
        file=$(find kernel/lib/modules/ -name "$module.ko" | head -n 1)
        [ -z "$file" ] || cp "$file" "initrd/modules/$module.ko"
    done
    printf '%s\n' "${modules[@]}" >initrd/modules/order
    cat >initrd/init <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    [ ! -e "/modules/$module.ko" ] || insmod "/modules/$module.ko" 2>/dev/null
done </modules/order
sleep 1
for word in $(cat /proc/cmdline); do
    case $word in root=UUID=*) device=$(findfs "${word#root=}") ;; esac
done
mount -t ext4 "$device" /mnt && exec switch_root /mnt /sbin/init
echo "KLON: no root at $device; there are $(echo /dev/vd*)"
poweroff -f
INIT
    chmod +x initrd/init
    (cd initrd && find . | cpio --quiet --create --format=newc | gzip -1) >initrd.img
}

uuid=6b6c6f6e-0000-4000-8000-626f6f740001

make_boot_disk() {
    mkdir -p tree/{bin,boot,dev,etc,proc,sbin,sys}
    cp /bin/busybox tree/bin/
    cp "kernel/boot/vmlinuz-$version" tree/boot/vmlinuz
    cp initrd.img tree/boot/initrd.img
    echo first >tree/etc/marker
    cat >tree/sbin/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "KLON: booted from $(/bin/busybox awk '$2 == "/" { d = $1 } END { print d }' /proc/mounts)," \
    "marker $(/bin/busybox cat /etc/marker)"
/bin/busybox mount -o remount,ro /
/bin/busybox poweroff -f
INIT
    chmod +x tree/sbin/init
    cat >grub.cfg <<GRUB
search --no-floppy --fs-uuid --set=root $uuid
linux /boot/vmlinuz root=UUID=$uuid console=ttyS0 quiet
initrd /boot/initrd.img
boot
GRUB
    grub-mkstandalone --format x86_64-efi --output bootx64.efi --install-modules \
        "part_gpt ext2 fat search search_fs_uuid linux normal boot echo" --modules "part_gpt ext2" \
        --locales "" --fonts "" --themes "" "boot/grub/grub.cfg=grub.cfg" 2>/dev/null
    truncate --size=320M boot.img
    sfdisk --quiet boot.img <<'TABLE'
label: gpt
start=1MiB, size=40MiB, type=uefi, name=ESP
start=41MiB, size=278MiB, type=linux, name=root
TABLE
    truncate --size=40M esp.img
    mkfs.fat -F 32 -s 1 esp.img >/dev/null
    mmd -i esp.img ::EFI ::EFI/BOOT
    mcopy -i esp.img bootx64.efi ::EFI/BOOT/BOOTX64.EFI
    dd if=esp.img of=boot.img bs=1M seek=1 conv=notrunc,sparse status=none
    mke2fs -q -t ext4 -U "$uuid" -d tree -E "offset=$((41 << 20))" boot.img 278M
}

# Boots a copy-on-write view of a disk, and prints what its init said.
boot() {
    timeout 240 qemu-system-x86_64 -accel tcg -machine q35 -m 512 -nographic -no-reboot \
        -bios /usr/share/ovmf/OVMF.fd -nic none \
        -drive "file=$1,format=raw,if=virtio,snapshot=on" </dev/null 2>&1 |
        tr -d '\r' | sed -n 's/.*KLON: //p'
}

expect() {
    printf '%s\n' "$2"
    case $2 in *"marker $1") ;; *) stop "expected a boot with marker $1" ;; esac
}

# mark TEXT: changes the source.
mark() {
    echo "$1" >marker
    printf 'rm etc/marker\nwrite marker etc/marker\n' |
        debugfs -w -f - "boot.img?offset=$((41 << 20))" >/dev/null 2>&1
}

heading "Making a boot disk with a Debian kernel"
ln -s "$("$root"/scripts/guest --kernel)" kernel
version=$(basename kernel/lib/modules/*)
make_initrd
make_boot_disk

heading "Booting the disk itself"
expect first "$(boot boot.img)"

heading "Cloning it to a drive, changing it, cloning again"
truncate --size=1G drive.img
klon plan --quiet --drive drive.img Boot=boot.img -o plan.toml
klon prepare --quiet plan.toml --yes --confirm drive.img
klon clone plan.toml
mark second
klon clone plan.toml

heading "Booting the drive alone"
expect second "$(boot drive.img)"

heading "Booting a clone of the whole disk on a larger one"
truncate --size=2G larger.img
klon clone --quiet boot.img larger.img
expect second "$(boot larger.img)"

heading "Imaging it twice, and booting what is restored onto a disk full of noise"
klon image boot.img backup.klon
mark third
klon image boot.img backup.klon
rm larger.img
head --bytes=400M /dev/urandom >restored.img
klon restore --quiet backup.klon@1 restored.img --yes --confirm restored.img
expect second "$(boot restored.img)"
klon restore backup.klon restored.img
expect third "$(boot restored.img)"
echo "What was cloned and restored boots."
