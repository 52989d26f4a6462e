#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# build-module.sh [stock|full|debug|kasan]: builds drbd.ko of this checkout in the build root and prints
# where it is. "full" is for the full flavour of the stock kernel (setup.sh cluster), "debug" and "kasan" for
# the kernels of debug-kernel.sh and kasan-kernel.sh.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
flavour=${1:-stock}
compiler="CC=$GCC HOSTCC=$GCC"
key=$(printf %s "$TOP" | sha256sum | cut -c1-12)
out=/build/module-$flavour-$key
mkdir -p "$ROOT/build/source-$key" "$ROOT$out"
case $flavour in
stock) tree=/usr/src/linux-source-7.2; release="LOCALVERSION= KERNELRELEASE=$(kernel_release)" ;;
full) tree=/build/kernel-full; release="LOCALVERSION= KERNELRELEASE=$(full_release)" ;;
debug) tree=/build/debug-kernel; release="LOCALVERSION=" ;;
kasan) tree=/build/kasan-kernel; release="LOCALVERSION="; compiler="LLVM=-19" ;;
*) die "unknown flavour $flavour: stock, full, debug or kasan" ;;
esac
log=$CACHE/log/module-$flavour-$key.log; mkdir -p "$CACHE/log"
unshare -m sh -ec 'mount -t proc proc "$0/proc"; mount --bind "$1" "$0/build/source-$2"; mount --bind /dev "$0/dev"
	root=$0; shift 2; exec chroot "$root" "$@"' "$ROOT" "$TOP" "$key" \
	make -C $tree M="/build/source-$key" MO="$out" $compiler $release modules >"$log" 2>&1 ||
	{ grep -E -A12 '^(error|warning)|Error|rror:' "$log" | tail -n 60 >&2; die "drbd.ko does not compile (whole output: $log)"; }
if grep -E '^warning|warning:' "$log" | grep -v 'objtool' | grep -q .; then grep -A8 -E 'warning:' "$log" | head -n 40 >&2; fi
echo "$ROOT$out/drbd.ko"
