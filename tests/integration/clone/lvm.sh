export DM_DISABLE_UDEV=1 KLON_RECORDS=/tmp/records
mkdir -p /run/lock /run/lvm /etc/lvm /mnt/m /mnt/copy
mount -t tmpfs tmpfs /tmp
cat > /etc/lvm/lvm.conf <<'CONF'
activation { udev_sync=0
udev_rules=0 }
global { use_lvmpolld=0
thin_check_executable="" }
CONF
quiet() { "$@" >/tmp/said 2>&1 || { cat /tmp/said; return 1; }; }
# What is tried is told after a line `-- name`, with its code.
try() {
    echo "-- $1"
    shift
    "$@" 2>&1 </dev/null && echo "code 0" || echo "code $?"
}
snapshots() { lvm lvs --noheadings -o lv_name vg | grep -c klon- || true; }
volume() {
    quiet /bin/mke2fs -F -t ext4 /dev/vg/$1
    mount -t ext4 /dev/vg/$1 /mnt/m
    head -c 3000000 /dev/urandom >/mnt/m/before
    (i=0; while :; do echo $i >/mnt/m/$((i % 40)); i=$((i + 1)); usleep 30000; done) 2>/dev/null &
    writer=$!
}
unmount() {
    kill $writer
    wait $writer 2>/dev/null || true
    umount /mnt/m
}
# What the clone holds must be whole, and as it was when it was written.
check() {
    try "check of $1" /bin/e2fsck -fn /dev/vdb
    mount -t ext4 -o ro /dev/vdb /mnt/copy
    try "file of $1" cmp /mnt/m/before /mnt/copy/before
    umount /mnt/copy
}
quiet lvm pvcreate /dev/vda
quiet lvm vgcreate vg /dev/vda
quiet lvm lvcreate -y -Wn -Zn -L 48M -n thick vg
quiet lvm lvcreate -y -L 64M -T vg/pool
quiet lvm lvcreate -y -V 48M -T vg/pool -n thin

volume thick
try "a thick volume" klon clone /dev/vg/thick /dev/vdb --yes --confirm /dev/vdb
check thick
try "a thick volume again" klon clone /dev/vg/thick /dev/vdb --json
try "a dry run" klon clone /dev/vg/thick /dev/vdb --dry-run
try "too large" klon clone /dev/vg/thick /dev/vdb --still snapshot --snapshot-size 50G
try "frozen instead" klon clone /dev/vg/thick /dev/vdb --snapshot-size 50G
check "the frozen one"
try "frozen when asked" klon clone /dev/vg/thick /dev/vdb --json --still freeze
hook='echo "hook with $(lvm lvs --noheadings -o lv_name vg | grep -c klon-) of $KLON_MOUNT_POINTS" >&2'
try "hooks" klon clone /dev/vg/thick /dev/vdb --before-freeze "$hook" --after-thaw "$hook"
try "a hook that fails" klon clone /dev/vg/thick /dev/vdb --before-freeze "exit 7"
try "an image is frozen, too" klon image /dev/vg/thick /tmp/a.klon --json --still freeze
try "by no snapshot" klon clone /dev/vg/thick /dev/vdb --still refuse
echo "-- left over 1"
snapshots

# A run that waits for the reader of its image, and has its snapshot.
mkfifo /tmp/pipe
begin() {
    klon image /dev/vg/thick - $1 >/tmp/pipe 2>/tmp/told &
    run=$!
    exec 3</tmp/pipe
    until grep -q "is read from its snapshot" /tmp/told; do usleep 200000; done
}
begin
kill -9 $run
exec 3<&-
until [ "$(snapshots)" = 0 ]; do sleep 1; done
echo "-- the run alone was killed"
cat /tmp/told
begin
# Processes that end meanwhile are none.
keeper=$(grep -ls 'keep-snapsho[t]' /proc/[0-9]*/cmdline || true)
keeper=${keeper#/proc/}
kill -9 ${keeper%/cmdline}
kill -9 $run
exec 3<&-
echo "-- both were killed"
snapshots
begin "--snapshot-size 4M"
echo "-- the next run"
cat /tmp/told
dd if=/dev/zero of=/mnt/m/much bs=1M count=16 2>/dev/null
sync
cat <&3 >/dev/null
exec 3<&-
wait $run && code=0 || code=$?
echo "-- more than it had room for"
cat /tmp/told
echo "code $code"
echo "-- left over 2"
snapshots
unmount

volume thin
# What was cloned there before would have to be named to be given up.
dd if=/dev/zero of=/dev/vdb bs=1M count=50 2>/dev/null
try "a thin volume" klon clone /dev/vg/thin /dev/vdb --yes --confirm /dev/vdb
check thin
unmount
try "a volume that is not mounted" klon clone /dev/vg/thin /dev/vdb --still snapshot
try "no volume of LVM" klon clone /dev/vdb /tmp/new --still snapshot
echo "-- left over 3"
snapshots
