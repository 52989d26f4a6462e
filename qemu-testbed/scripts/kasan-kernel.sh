#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the kernel of debug-kernel.sh once more with clang and KASAN, below
# root/build/kasan-kernel: it finds accesses to freed memory and beyond the end of objects. The
# checkers that the debug kernel already has and that cost most are off. About 20 minutes with
# four processors, once; `make torture KERNEL=kasan` boots it.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
"$TOP/qemu-testbed/scripts/debug-kernel.sh" || exit
exec 9>"$CACHE/kasan-lock"; flock -w 3600 9 || die "another build of this kernel is running"
stamp=$CACHE/kasan-$(kernel_release)-$(sha256sum "$0" | cut -c1-12).done
[ -f "$stamp" ] && exit 0

tree=$ROOT/build/kasan-kernel
say "KASAN kernel: unpacking the source"
rm -rf "$tree"; mkdir -p "$tree"
tar -C "$tree" --strip-components=1 -xf "$ROOT/usr/src/linux-source-7.2.tar.xz"
cp "$ROOT/build/debug-kernel/.config" "$tree/.config"
{
	for o in KASAN KASAN_GENERIC KASAN_INLINE KASAN_VMALLOC; do echo "CONFIG_$o=y"; done
	for o in DEBUG_KMEMLEAK DEBUG_OBJECTS SLUB_DEBUG_ON PROVE_LOCKING LOCK_STAT FAULT_INJECTION PAGE_POISONING KASAN_OUTLINE; do
		echo "CONFIG_$o=n"
	done
} >"$tree/fragment"
flags="LLVM=-19 LOCALVERSION="
say "KASAN kernel: configuring"
quietly kasan-config.log in_root sh -ec "cd /build/kasan-kernel && make $flags olddefconfig &&
	LLVM=-19 scripts/kconfig/merge_config.sh -m .config fragment && make $flags olddefconfig"
for o in RUST KASAN KASAN_VMALLOC DEBUG_ATOMIC_SLEEP DEBUG_LIST FILE_LOCKING VIRTIO_CONSOLE; do
	grep -q "^CONFIG_$o=y" "$tree/.config" || die "the KASAN kernel would lack $o"
done
say "KASAN kernel: compiling"
quietly kasan-build.log in_root nice -n 19 make -j"$(nproc)" -C /build/kasan-kernel $flags bzImage modules
touch "$stamp"
say "KASAN kernel: ready"
