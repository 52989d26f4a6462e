#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# cluster-image.sh MIRROR: makes what the two machines of the cluster tests boot, below
# cluster/ of the cache:
#   base.img      a complete Debian 13 with systemd, corosync, pacemaker, crmsh, MariaDB and
#                 drbd-utils from the archive; every machine writes to an overlay of its own
#   vmlinuz       the kernel of the full flavour
#   initrd.cpio   busybox and the modules for the root disk; it copies the machine's own files
#                 into the root before systemd starts
# Nothing is configured here beyond what a package installs, except that services which only
# cost time in a virtual machine are masked, and that the agent of the testbed is a service.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
release=$(full_release)
target=/build/cluster                   # in the build root, removed at the end
image=$ROOT$target; out=$CACHE/cluster
packages="systemd-sysv udev dbus kmod xz-utils iproute2 iputils-ping procps psmisc init-system-helpers
	corosync pacemaker pacemaker-cli-utils crmsh resource-agents mariadb-server
	drbd-utils lvm2 xfsprogs e2fsprogs ocfs2-tools fdisk heartbeat"
masked="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
	fstrim.timer logrotate.timer man-db.timer getty@tty1.service serial-getty@ttyS0.service
	systemd-timesyncd.service systemd-hwdb-update.service
	systemd-journal-catalog-update.service systemd-pcrphase.service ldconfig.service
	lvm2-monitor.service lvm2-lvmpolld.socket systemd-tpm2-setup.service systemd-tpm2-setup-early.service
	modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service
	sys-kernel-debug.mount sys-kernel-tracing.mount console-setup.service keyboard-setup.service"

mount_proc() { unshare -m sh -ec 'mount -t proc proc "$0/proc"; mount --bind /dev "$0/dev"; exec chroot "$0" "$@"' "$image" "$@"; }

rm -rf "$image"; mkdir -p "$image" "$out"
say "cluster: Debian 13 (about 350 MB to fetch)"
quietly cluster-debootstrap.log debootstrap --variant=minbase --include=ca-certificates trixie "$image" "$1"
echo "deb $1 trixie-backports main" >"$image/etc/apt/sources.list.d/backports.list"
printf '#!/bin/sh\nexit 101\n' >"$image/usr/sbin/policy-rc.d"; chmod 755 "$image/usr/sbin/policy-rc.d"
mkdir -p "$image/etc/dpkg/dpkg.cfg.d"
printf 'path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\nforce-unsafe-io\n' \
	>"$image/etc/dpkg/dpkg.cfg.d/testbed"
quietly cluster-update.log mount_proc apt-get -q update
say "cluster: corosync, pacemaker, MariaDB and the rest"
quietly cluster-packages.log mount_proc env DEBIAN_FRONTEND=noninteractive \
	apt-get -qy install --no-install-recommends $packages "linux-modules-$release"
quietly cluster-kernel.log mount_proc sh -ec "cd /tmp; apt-get -q download linux-binary-$release
	dpkg-deb -x linux-binary-*.deb /tmp/kernel; cp -n /tmp/kernel/usr/lib/modules/$release/* /usr/lib/modules/$release/ || true
	cp \$(find /tmp/kernel -name 'vmlinuz*' -type f | head -n 1) /tmp/vmlinuz; rm -rf /tmp/kernel /tmp/*.deb; apt-get clean
	# the place of our module: until the machine's own is copied there, it is the C driver
	mkdir -p /usr/lib/modules/$release/updates
	xz -dc /usr/lib/modules/$release/kernel/drivers/block/drbd/drbd.ko.xz >/usr/lib/modules/$release/updates/drbd.ko
	depmod $release"
mv "$image/tmp/vmlinuz" "$out/vmlinuz"
cp "$image/usr/lib/modules/$release/updates/drbd.ko" "$out/drbd-c.ko"
rm -rf "$image/usr/sbin/policy-rc.d" "$image/var/lib/apt/lists"/*

say "cluster: agent, network, masks"
for unit in $masked; do ln -sf /dev/null "$image/etc/systemd/system/$unit"; done
mkdir -p "$image/usr/lib/testbed" "$image/etc/systemd/system/multi-user.target.wants"
cat >"$image/etc/systemd/system/testbed-agent.service" <<-'END'
	[Unit]
	Description=Commands of the testbed
	After=network-online.target dbus.service multi-user.target
	Wants=network-online.target
	[Service]
	Environment=HOME=/root TERM=vt100 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	ExecStart=/bin/sh /usr/lib/testbed/agent
	KillMode=process
	TasksMax=infinity
	[Install]
	WantedBy=multi-user.target
END
ln -sf /etc/systemd/system/testbed-agent.service "$image/etc/systemd/system/multi-user.target.wants/"
mount_proc systemctl -q enable systemd-networkd
# Pacemaker starts these, or the test that wants them
for unit in mariadb drbd ocfs2 o2cb heartbeat; do mount_proc systemctl -q disable "$unit.service"; done
# drivers of devices that no test uses
for name in ahci iTCO_wdt i2c_i801 lpc_ich psmouse pcspkr kvm_amd kvm_intel ccp cfg80211 serio_raw evdev aesni_intel; do
	echo "blacklist $name"
done >"$image/etc/modprobe.d/testbed.conf"
# an empty machine-id: a missing one would make systemd enable every service at the first boot
: >"$image/etc/machine-id"; rm -f "$image/var/lib/dbus/machine-id" "$image/etc/hostname"
printf '/dev/disk/by-label/root / ext4 defaults 0 0\n' >"$image/etc/fstab"

say "cluster: initramfs and disk image"
early=$ROOT/build/cluster-initrd; rm -rf "$early"; mkdir -p "$early"/{bin,proc,sys,dev,root,lib,overlay}
cp "$ROOT/usr/bin/busybox" "$early/bin/busybox"
for name in virtio_blk ext4 crc32c_intel; do
	mount_proc modprobe -S "$release" --show-depends "$name" 2>/dev/null || true
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
	name=$(basename "${file%.xz}")
	xz -dc "$image/$file" >"$early/lib/$name"
	echo "/bin/busybox insmod /lib/$name" >>"$early/lib/load"
done
cat >"$early/init" <<-'END'
	#!/bin/busybox sh
	b=/bin/busybox
	$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
	. /lib/load
	i=0
	until disk=$($b findfs LABEL=root 2>/dev/null) || [ $i = 100 ]; do i=$((i + 1)); $b sleep 0.1; done
	$b mount -t ext4 "$disk" /root || exec $b sh
	# the first boot: the files of this machine
	[ -e /root/etc/hostname ] || $b cp -af /overlay/. /root/
	$b umount /proc /sys
	exec $b switch_root /root /sbin/init
END
chmod 755 "$early/init"
(cd "$early" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$out/initrd.cpio"
rm -rf "$early"
echo "$release" >"$out/release"
size=$(($(du -sm "$image" | cut -f1) + 1500))
rm -f "$ROOT/build/cluster.img"
quietly cluster-image.log in_root mke2fs -q -t ext4 -L root -m 0 -O ^metadata_csum_seed -d "$target" /build/cluster.img "${size}M"
mv "$ROOT/build/cluster.img" "$out/base.img"
rm -rf "$image"
quietly cluster-qemu-img.log in_root env DEBIAN_FRONTEND=noninteractive \
	apt-get -qy install --no-install-recommends qemu-utils
say "cluster: image of $(du -m "$out/base.img" | cut -f1) MB ready"
