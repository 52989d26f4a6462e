#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds a small kernel with checkers (lockdep, sleeping in atomic context, list and object
# debugging, kmemleak) from the same source, below root/build/debug-kernel. About 10 minutes
# with four processors, once; `make test-debug` boots it.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
exec 9>"$CACHE/lock"; flock -w 1800 9 || die "another set-up is running"
stamp=$CACHE/debug-$(kernel_release)-$(sha256sum "$0" | cut -c1-12).done
[ -f "$stamp" ] && exit 0

tree=$ROOT/build/debug-kernel
say "debug kernel: unpacking the source"
rm -rf "$tree"; mkdir -p "$tree"
tar -C "$tree" --strip-components=1 -xf "$ROOT/usr/src/linux-source-7.2.tar.xz"

# on: what a virtual machine, the network, the block layer and Rust need, then the checkers
on="64BIT SMP PRINTK PRINTK_TIME TTY SERIAL_8250 SERIAL_8250_CONSOLE BLK_DEV_INITRD BINFMT_ELF
BINFMT_SCRIPT PROC_FS PROC_SYSCTL SYSFS TMPFS DEVTMPFS UNIX98_PTYS MODULES MODULE_UNLOAD BLOCK BLK_DEV MD
EXT4_FS FILE_LOCKING CONFIGFS_FS NET INET IPV6 UNIX PACKET NETDEVICES NET_CORE PCI
VIRTIO_MENU VIRTIO_PCI VIRTIO_BLK VIRTIO_NET VIRTIO_CONSOLE HW_RANDOM HW_RANDOM_VIRTIO ACPI CRYPTO
CRYPTO_HMAC CRYPTO_SHA1 CRYPTO_SHA256 CRYPTO_MD5 CRYPTO_CRC32C CRC32 LIBCRC32C MULTIUSER FUTEX EPOLL
SHMEM AIO POSIX_TIMERS HIGH_RES_TIMERS EVENTFD SIGNALFD TIMERFD SLUB_DEBUG SLUB_DEBUG_ON RUST PREEMPT HZ_250
RELOCATABLE INPUT HYPERVISOR_GUEST PARAVIRT
DEBUG_KERNEL DEBUG_FS KALLSYMS KALLSYMS_ALL PROVE_LOCKING PROVE_RCU DEBUG_ATOMIC_SLEEP DEBUG_LIST
DEBUG_OBJECTS DEBUG_OBJECTS_TIMERS DEBUG_OBJECTS_WORK DEBUG_OBJECTS_FREE DEBUG_KMEMLEAK
DETECT_HUNG_TASK FAULT_INJECTION FAULT_INJECTION_DEBUG_FS FAILSLAB FAIL_PAGE_ALLOC
FAIL_MAKE_REQUEST RUST_DEBUG_ASSERTIONS STACKTRACE UNWINDER_FRAME_POINTER PAGE_POISONING BUG"
modular="BLK_DEV_RAM BLK_DEV_NULL_BLK BLK_DEV_DM DM_DELAY DM_FLAKEY BLK_DEV_LOOP"
{
	for o in $on; do echo "CONFIG_$o=y"; done
	for o in $modular; do echo "CONFIG_$o=m"; done
	# tinyconfig sets SLUB_TINY, which silently drops the checks of the slab allocator
	echo "CONFIG_SLUB_TINY=n"; echo "CONFIG_NR_CPUS=4"; echo "CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE=40000"
} >"$tree/fragment"
flags="CC=$GCC HOSTCC=$GCC LOCALVERSION="
say "debug kernel: configuring"
quietly debug-config.log in_root sh -ec "cd /build/debug-kernel && make $flags tinyconfig &&
	scripts/kconfig/merge_config.sh -m .config fragment && make $flags olddefconfig"
for o in RUST PROVE_LOCKING DEBUG_ATOMIC_SLEEP DEBUG_KMEMLEAK SLUB_DEBUG_ON FILE_LOCKING VIRTIO_CONSOLE; do
	grep -q "^CONFIG_$o=y" "$tree/.config" || die "the debug kernel would lack $o"
done
say "debug kernel: compiling"
quietly debug-build.log in_root nice make -j"$(nproc)" -C /build/debug-kernel $flags bzImage modules
touch "$stamp"
say "debug kernel: ready"
