# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the script that sources this
# Disks in QEMU, for drills of scripts/boot-test: `in_guest` runs a script of guest/ as root of a running system, whose
# disks are named by their serial numbers.

# disk SERIAL FILE [OPTIONS]: a disk for `in_guest`.
disk() {
    disks+=(-drive "if=none,id=$1,format=raw,file=$2,cache=unsafe,discard=unmap${3:+,$3}"
        -device "virtio-blk-pci,drive=$1,serial=$1${4:+,$4}")
}

# in_guest FIRMWARE SCRIPT [ARGUMENT…]: boots the first of $disks (FIRMWARE: uefi or bios; or base, a
# system beside them), runs a script of guest/ there, and prints what it prints; the status is that
# of the script. 99: it never came so far, and the console is shown. The system is shut down afterwards.
in_guest() {
    local firmware=$1 script=$2 work status=0
    shift 2
    work=$(mktemp --directory)
    mkdir "$work/drill"
    cp "$guest_scripts"/* "$work/drill/"
    # A program that was built for debugging is large.
    strip -o "$work/drill/klon" "$klon"
    cp "$guest_scripts/$script" "$work/drill/run"
    printf '%q ' "$@" >"$work/drill/arguments"
    tar --create --file "$work/drill.tar" --directory "$work/drill" .
    truncate --size=%1M "$work/drill.tar"
    machine "$firmware" "$work"
    timeout "${drill_seconds:-600}" "${qemu[@]}" -serial "file:$work/output" \
        -drive "if=none,id=drill,format=raw,file=$work/drill.tar,readonly=on" \
        -device virtio-blk-pci,drive=drill,serial=drill </dev/null >"$work/qemu" 2>&1 || status=98
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

# console_says FIRMWARE TEXT: whether the console of a machine that boots the first of $disks says so, within five
# minutes; prints the words. The machine is switched off then.
console_says() {
    local work pid said=1
    work=$(mktemp --directory)
    machine "$1" "$work"
    "${qemu[@]}" </dev/null >"$work/qemu" 2>&1 &
    pid=$!
    for _ in $(seq 300); do
        sleep 1
        if tr -cd '[:print:]\n' <"$work/console" 2>/dev/null | grep --only-matching -- "$2" >"$work/words"; then
            said=0 && break
        fi
        kill -0 "$pid" 2>/dev/null || break
    done
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
    if [ "$said" = 0 ]; then
        echo "the machine says: $(head -n 1 "$work/words")"
    else
        tr -cd '[:print:]\n' <"$work/console" | tail -n 30 >&2
    fi
    rm -rf "$work"
    return "$said"
}

# machine FIRMWARE DIRECTORY: sets $qemu to what runs it. Takes $disks.
machine() {
    qemu=(qemu-system-x86_64 -accel "tcg,thread=multi" -machine q35 -cpu max -smp 2 -m 1024 -display none -no-reboot
        -nic none -serial "file:$2/console")
    case $1 in
    uefi)
        cp /usr/share/OVMF/OVMF_VARS_4M.fd "$2/vars"
        qemu+=(-drive "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
            -drive "if=pflash,format=raw,file=$2/vars")
        ;;
    bios) ;;
    base)
        # shellcheck disable=SC2054
        disks+=(-drive "if=none,id=base,format=raw,file=$base,snapshot=on"
            -device virtio-blk-pci,drive=base,serial=base)
        qemu+=(-kernel "$vmlinuz" -initrd "$initrd" -append "root=LABEL=base rw console=ttyS0 loglevel=4 mitigations=off no_timer_check init=/usr/local/sbin/drill")
        ;;
    esac
    qemu+=("${disks[@]}")
    disks=()
}
