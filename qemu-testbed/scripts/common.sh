# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts of the testbed: where things are, and how to say what happens.
# Source it with the checkout as $TOP.
set -euo pipefail

CACHE=${DRBD_RS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/drbd-rs}
ROOT=$CACHE/root                        # Debian 13 build root
VM=$CACHE/vm                            # what the virtual machines boot
GCC=x86_64-linux-gnu-gcc-14
KERNEL_WANTED=${DRBD_KERNEL:-7.2.12+deb13-cloud-amd64}
STARTED=$(date +%s)

say() { printf '[%3ds] %s\n' "$(($(date +%s) - STARTED))" "$*" >&2; }
die() { say "failed: $*"; exit 1; }

# quietly LOG COMMAND...: run it, keep the output in LOG, show its end only on failure
quietly() {
	local log=$CACHE/log/$1; shift
	mkdir -p "$CACHE/log"
	"$@" >"$log" 2>&1 </dev/null || { tail -n 30 "$log" >&2; die "$1 (whole output: $log)"; }
}

# in_root COMMAND...: run in the build root with /proc mounted, in a mount namespace of its own
in_root() {
	unshare -m sh -ec 'mount -t proc proc "$0/proc"; mount -t tmpfs tmpfs "$0/tmp"; mount --bind /dev "$0/dev"; exec chroot "$0" "$@"' \
		"$ROOT" "$@"
}

# unpack_kernel IMAGE OUT: the kernel without its compression, which costs an emulated processor a second at every boot
unpack_kernel() {
	cp "$1" "$ROOT/build/vmlinuz-packed"
	in_root sh -c '/usr/src/linux-source-7.2/scripts/extract-vmlinux /build/vmlinuz-packed >/build/vmlinux-unpacked' ||
		die "the kernel image $1 cannot be unpacked"
	cp "$ROOT/build/vmlinux-unpacked" "$2.new" && mv "$2.new" "$2"         # a machine may be booting from the old one
	rm "$ROOT/build/vmlinuz-packed" "$ROOT/build/vmlinux-unpacked"
}

kernel_release() { cat "$CACHE/kernel-release"; }

# The same kernel with all drivers and file systems: the flavour without a name.
full_release() { kernel_release | sed 's/-cloud-/-/'; }
