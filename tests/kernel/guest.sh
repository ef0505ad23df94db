#!/usr/bin/env bash
# In the guest, as root on a kernel of its own: guest.sh GUEST PYTHON REPOSITORY SYSTEM. Loads drivers, starts udev, then
# runs tests/kernel/GUEST_guest.py. Its lines and its exit code go out on the second serial port.
guest=$1 python=$2 repository=$3
export SYSTEM=$4
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$repository
exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 raw

case $guest in
  usb) modules=(vhci-hcd usbhid hid-generic) ;;
  ble)
    # The kernel cannot load by itself here what Bluetooth encrypts with.
    modules=(sha3_generic jitterentropy_rng hmac sha512_generic ctr drbg ecb cmac ecdh_generic hci_vhci)
    # Where bluetoothd remembers devices.
    mount -t tmpfs tmpfs /var/lib
    PYTHONPATH+=:$SYSTEM/../bumble
    ;;
esac
for module in "${modules[@]}"; do
  modprobe -d "$SYSTEM" "$module" || echo "no module $module"
done
ip link set lo up
mkdir -p /run/udev
# udevadm is the daemon too when it is called by that name.
(exec -a systemd-udevd "$SYSTEM/bin/udevadm" --daemon)

cd "$repository" || exit
"$python" -m "tests.kernel.${guest}_guest"
echo "exit $?"
