# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# The system that drills of scripts/boot-test install: made by mmdebstrap, and kept.

system_packages=(btrfs-progs dosfstools e2fsprogs fdisk grub-efi-amd64-bin grub-pc-bin grub2-common
    initramfs-tools kmod linux-image-cloud-amd64 lvm2 systemd-sysv udev zstd)

# base: sets $base (a system beside those that are installed: it brings them back), $vmlinuz and $initrd.
base() {
    local cache suite made
    cache=${CARGO_TARGET_DIR:-${CARGO_BUILD_TARGET_DIR:-$root/target}}/boot-test
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    grep --quiet '^ID=debian$' /etc/os-release || stop "these drills install the Debian of this machine, and it has none."
    made=$cache/$suite-$(cat "$guest_scripts/drill" "${BASH_SOURCE[0]}" | sha256sum | head -c 12)
    base=$made/base.img vmlinuz=$made/vmlinuz initrd=$made/initrd
    mkdir -p "$cache"
    (
        # Another run may be making it.
        flock 9
        [ -e "$made/ready" ] || make_base
    ) 9>"$cache/lock"
}

# make_base: makes those files, and `ready` when they are whole.
make_base() {
    local tree=$made/tree
    # As a folder, root alone can make it; mke2fs takes a tree, and what it has no owner for is root's.
    [ "$(id -u)" = 0 ] || stop "run this as root: the system is made with its own owners and devices."
    rm -rf "$made"
    mkdir "$made"
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
