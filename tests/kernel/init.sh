#!/bin/busybox sh
# The guest's first program: this machine's / comes in, read-only, and the real work starts there.
b=/bin/busybox
$b mkdir -p /proc /host
$b mount -t proc proc /proc
for module in $($b cat /modules/order); do
  $b insmod "/modules/$module" || echo "no module $module"
done
if $b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 host /host; then
  $b mount -t proc proc /host/proc
  $b mount -t sysfs sysfs /host/sys
  $b mount -t devtmpfs devtmpfs /host/dev
  $b mount -t tmpfs tmpfs /host/run
  . /settings
  $b chroot /host /bin/bash "$REPOSITORY/tests/kernel/guest.sh" "$GUEST" "$PYTHON" "$REPOSITORY" "$SYSTEM"
fi
$b poweroff -f
