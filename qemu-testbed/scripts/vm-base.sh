#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Makes vm/vmlinux, vm/base.cpio and vm/drbd-c.ko from the build root: the stock kernel without its
# compression (an emulated processor takes a second to undo it), busybox, the drbd-utils and e2fsprogs
# of Debian with their libraries, and the stock modules the tests use.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
release=$(kernel_release)
base=$VM/base; rm -rf "$base"
mkdir -p "$base"/{bin,sbin,usr/bin,usr/sbin,usr/lib/drbd,lib64,proc,sys,dev,tmp,run,var/lib/drbd,var/run/drbd,var/lock,etc,mnt,root}
mkdir -p "$base/lib/x86_64-linux-gnu" "$base/lib/modules/$release/kernel"

cp "$ROOT/usr/bin/busybox" "$base/bin/busybox"
for applet in $("$base/bin/busybox" --list); do
	[ "$applet" = busybox ] || ln -sf busybox "$base/bin/$applet"
done

programs="usr/sbin/drbdadm usr/sbin/drbdsetup usr/sbin/drbdmeta usr/lib/drbd/drbdsetup-84 usr/lib/drbd/drbdadm-84
	usr/sbin/mke2fs usr/sbin/e2fsck usr/sbin/dmsetup usr/sbin/blkdiscard usr/sbin/fstrim usr/bin/kmod"
for program in $programs; do
	[ -e "$ROOT/$program" ] || continue
	mkdir -p "$base/$(dirname "$program")"
	rm -f "$base/bin/$(basename "$program")" "$base/$program"
	cp -L "$ROOT/$program" "$base/$program"
done
ln -s mke2fs "$base/usr/sbin/mkfs.ext4"

# shared libraries, transitively
pending=$(find "$base/usr" -type f -perm -u+x)
while [ -n "$pending" ]; do
	next=""
	for file in $pending; do
		for library in $(readelf -d "$file" 2>/dev/null | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'); do
			[ -e "$base/lib/x86_64-linux-gnu/$library" ] && continue
			cp -L "$ROOT/usr/lib/x86_64-linux-gnu/$library" "$base/lib/x86_64-linux-gnu/"
			next="$next $base/lib/x86_64-linux-gnu/$library"
		done
	done
	pending=$next
done
cp -L "$ROOT/usr/lib64/ld-linux-x86-64.so.2" "$base/lib64/"
for library in libc.so.6 libm.so.6 libgcc_s.so.1; do        # for our own binaries
	cp -L "$ROOT/usr/lib/x86_64-linux-gnu/$library" "$base/lib/x86_64-linux-gnu/" 2>/dev/null || true
done

stock=$ROOT/usr/lib/modules/$release
for name in drbd lru_cache brd null_blk virtio_net virtio_blk virtio-rng net_failover failover \
	dm-mod dm-delay dm-flakey dm-bufio libcrc32c crc32c-cryptoapi loop configfs; do
	file=$(find "$stock/kernel" -name "$name.ko.xz" | head -n 1)
	[ -z "$file" ] || xz -dc "$file" >"$base/lib/modules/$release/kernel/$name.ko"
done
# a machine may be booting from the old files
replace() { cp "$1" "$2.new" && mv "$2.new" "$2"; }
replace "$base/lib/modules/$release/kernel/drbd.ko" "$VM/drbd-c.ko"
cp "$stock"/modules.{builtin,order} "$base/lib/modules/$release/"
cp "$stock"/modules.builtin.modinfo "$base/lib/modules/$release/" 2>/dev/null || true
mkdir -p "$ROOT/build/depmod/lib"; rm -rf "$ROOT/build/depmod/lib/modules"
cp -r "$base/lib/modules" "$ROOT/build/depmod/lib/"
in_root depmod -b /build/depmod "$release"
cp "$ROOT/build/depmod/lib/modules/$release"/modules.* "$base/lib/modules/$release/"

printf 'root:x:0:0:root:/root:/bin/sh\n' >"$base/etc/passwd"; printf 'root:x:0:\n' >"$base/etc/group"
printf 'hosts: files\n' >"$base/etc/nsswitch.conf"
printf '127.0.0.1 localhost\n10.0.0.1 node1\n10.0.0.2 node2\n' >"$base/etc/hosts"
(cd "$base" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$VM/base.cpio.new"
mv "$VM/base.cpio.new" "$VM/base.cpio"
[ -x "$ROOT/usr/bin/zstd" ] || in_root env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends zstd
packed=$stock/vmlinuz; [ -e "$packed" ] || packed=$ROOT/boot/vmlinuz-$release
unpack_kernel "$packed" "$VM/vmlinux"
