#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Makes everything the build and the virtual machines need, below the cache folder:
#   root/      a Debian 13 root with compilers, kernel headers and source, QEMU, drbd-utils
#   root/usr/src/linux-source-*   the kernel tree with its Rust metadata rebuilt and checked
#   vm/        kernel, base.cpio and the stock drbd.ko for the virtual machines
# "setup.sh cluster" also makes what the two Debian machines of `make test-cluster` need:
#   root/build/kernel-full   the tree of the full flavour of the kernel, with its Rust metadata
#   cluster/                 their disk image, kernel and initramfs (cluster-image.sh), and the kernel unpacked
# Each step leaves a stamp with the versions in its name, so a second run does nothing.
# The cache can be deleted at any time. Needs root, apt and cargo; installs debootstrap.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
[ "$(id -u)" = 0 ] || die "the build root is a chroot: run as root"
mkdir -p "$CACHE"
exec 9>"$CACHE/lock"; flock -w 1800 9 || die "another set-up is running"

LAYOUT=3                                # raise when a step below changes what it makes
BUILD_PACKAGES=ca-certificates,make,gcc,gcc-14,libc6-dev,bc,bison,flex,libelf-dev,libssl-dev,xz-utils,kmod,cpio,rustc,rust-src,bindgen,libclang-19-dev,clang-19,lld-19,llvm-19,python3,rsync
VM_PACKAGES="qemu-system-x86 ipxe-qemu drbd-utils busybox-static e2fsprogs dmsetup util-linux zstd"

mirror() {
	local m=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/\?$' || true)}
	[ -n "$m" ] || die "no Debian mirror in the apt configuration; set DEBIAN_MIRROR"
	echo "${m%/}"
}

host_tools() {
	local missing=""
	for tool in debootstrap xz cpio rsync make gcc; do
		command -v "$tool" >/dev/null || missing="$missing ${tool/xz/xz-utils}"
	done
	[ -z "$missing" ] && return
	say "installing on this machine:$missing"
	command -v apt-get >/dev/null || die "need$missing, and there is no apt-get to install it"
	apt-get -q update >"$CACHE/apt.log" 2>&1 || true
	DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $missing >>"$CACHE/apt.log" 2>&1 ||
		die "apt-get could not install$missing (see $CACHE/apt.log)"
}

build_root() {
	local stamp=$CACHE/root-$LAYOUT.done m; m=$(mirror)
	[ -f "$stamp" ] && return
	say "build root: Debian 13 with compilers (about 300 MB to fetch)"
	rm -rf "$ROOT" "$CACHE"/*.done "$CACHE/kernel-release"; mkdir -p "$ROOT"
	quietly debootstrap.log debootstrap --variant=minbase --include="$BUILD_PACKAGES" trixie "$ROOT" "$m"
	echo "deb $m trixie-backports main" >"$ROOT/etc/apt/sources.list.d/backports.list"
	say "build root: QEMU and the tools for the virtual machines"
	quietly apt-update.log in_root apt-get -q update
	quietly apt-tools.log in_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -qy install --no-install-recommends $VM_PACKAGES
	touch "$stamp"
}

# The wanted kernel, or the newest 7.2 of the same flavour that the archive still has.
choose_kernel() {
	[ -f "$CACHE/kernel-release" ] && return
	local have flavour=${KERNEL_WANTED##*+deb13-}
	have=$(in_root apt-cache search --names-only "^linux-headers-7\.2\.[0-9]+\+deb13-$flavour\$" |
		sed 's/^linux-headers-//; s/ .*//' | sort -V)
	[ -n "$have" ] || die "the archive has no linux-headers-7.2.*+deb13-$flavour any more"
	if ! grep -qxF "$KERNEL_WANTED" <<<"$have"; then
		say "kernel $KERNEL_WANTED has left the archive; taking the newest 7.2"
		KERNEL_WANTED=$(tail -n 1 <<<"$have")
	fi
	echo "$KERNEL_WANTED" >"$CACHE/kernel-release"
}

kernel_packages() {
	local release stamp version; release=$(kernel_release)
	stamp=$CACHE/packages-$release.done
	[ -f "$stamp" ] && return
	version=$(in_root apt-cache show "linux-headers-$release" | sed -n 's/^Version: //p' | head -n 1)
	say "kernel $release: headers and source"
	quietly apt-kernel.log in_root env DEBIAN_FRONTEND=noninteractive apt-get -qy install \
		--no-install-recommends "linux-headers-$release" "linux-source-7.2=$version"
	say "kernel $release: image and modules for the virtual machines"
	quietly apt-image.log in_root sh -ec "cd /var/cache/apt/archives
		apt-get -q download linux-binary-$release linux-modules-$release
		for deb in linux-binary-* linux-modules-*; do dpkg-deb -x \$deb /; done; rm -f linux-*.deb"
	touch "$stamp"
}

# Debian's headers lack the Rust metadata: rebuild rust/ with the same configuration, and make
# sure that every symbol it exports is one the stock kernel has. prepare_tree RELEASE TREE
prepare_tree() {
	local release=$1 tree=$ROOT$2 headers=$ROOT/usr/src/linux-headers-$1
	say "kernel $release: rebuilding the Rust metadata (about a minute)"
	cp "$headers/.config" "$headers/Module.symvers" "$tree/"
	quietly kernel-prepare.log in_root make -C "$2" CC=$GCC HOSTCC=$GCC \
		LOCALVERSION= KERNELRELEASE="$release" olddefconfig
	quietly kernel-prepare.log in_root make -j"$(nproc)" -C "$2" CC=$GCC HOSTCC=$GCC \
		LOCALVERSION= KERNELRELEASE="$release" prepare modules_prepare
	cp "$headers/Module.symvers" "$tree/"
	check_symbols "$tree"
}

kernel_tree() {
	local release stamp; release=$(kernel_release)
	stamp=$CACHE/tree-$release.done
	[ -f "$stamp" ] && return
	[ -d "$ROOT/usr/src/linux-source-7.2" ] || tar -C "$ROOT/usr/src" -xf "$ROOT/usr/src/linux-source-7.2.tar.xz"
	prepare_tree "$release" /usr/src/linux-source-7.2
	touch "$stamp"
}

# The full flavour of the same kernel. Its tree holds the headers, scripts and Rust sources
# only: what prepares metadata and builds one module needs no driver.
full_tree() {
	local release stamp tree=$ROOT/build/kernel-full; release=$(full_release)
	stamp=$CACHE/tree-$release.done
	[ -f "$stamp" ] && return
	say "kernel $release: headers and source"
	quietly apt-full.log in_root env DEBIAN_FRONTEND=noninteractive apt-get -qy install \
		--no-install-recommends "linux-headers-$release"
	rm -rf "$tree"; mkdir -p "$tree"
	tar -C "$tree" --strip-components=1 --exclude='*/drivers/*.[cS]' --exclude='*/drivers/gpu/drm/amd/*.h' --exclude='*/sound/*.[ch]' \
		--exclude='*/fs/*.c' --exclude='*/net/*.c' --exclude='*/tools/testing/*' --exclude='*/Documentation/*.rst' \
		--exclude='*/arch/[!x]*/*.[chS]' --exclude='*/arch/*.dts*' -xf "$ROOT/usr/src/linux-source-7.2.tar.xz"
	prepare_tree "$release" /build/kernel-full
	touch "$stamp"
}

cluster_image() {
	local release stamp; release=$(full_release)
	stamp=$CACHE/cluster-$release-$(sha256sum "$TOP/qemu-testbed/scripts/cluster-image.sh" | cut -c1-12).done
	[ -f "$stamp" ] && return
	rm -f "$CACHE"/cluster-*.done
	bash "$TOP/qemu-testbed/scripts/cluster-image.sh" "$(mirror)" || die "no image for the cluster"
	touch "$stamp"
}

# The kernel of the cluster without its compression.
cluster_kernel() {
	local out=$CACHE/cluster
	[ "$out/vmlinux" -nt "$out/vmlinuz" ] && return
	unpack_kernel "$out/vmlinuz" "$out/vmlinux"
}

check_symbols() {
	local ours missing
	ours=$(sed -n 's/.*EXPORT_SYMBOL_RUST_GPL(\([^)]*\).*/\1/p' "$1"/rust/exports_*_generated.h | sort -u)
	missing=$(comm -23 <(echo "$ours") <(awk '{print $2}' "$1/Module.symvers" | sort -u))
	[ -n "$ours" ] || die "the rebuilt Rust metadata exports nothing"
	[ -z "$missing" ] || die "$(wc -l <<<"$missing") rebuilt Rust symbols are not in the stock kernel: $(head -n 3 <<<"$missing" | tr '\n' ' ')"
	say "kernel metadata: all $(wc -l <<<"$ours") exported Rust symbols are in the stock kernel"
}

vm_base() {
	local release stamp; release=$(kernel_release)
	stamp=$CACHE/vm-$release-$LAYOUT-$(sha256sum "$TOP/qemu-testbed/scripts/vm-base.sh" | cut -c1-12).done
	[ -f "$stamp" ] && return
	say "virtual machines: kernel and base file system"
	quietly vm-base.log bash "$TOP/qemu-testbed/scripts/vm-base.sh"
	touch "$stamp"
}

host_tools
build_root
choose_kernel
kernel_packages
kernel_tree
vm_base
if [ "${1:-}" = cluster ]; then
	full_tree
	cluster_image
	cluster_kernel
fi
say "ready: kernel $(kernel_release), cache $CACHE"
