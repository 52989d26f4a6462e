#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# install-module.sh: what a user with a prepared kernel tree does, `make KDIR=...` and
# `make install-module`, in the build root, on a copy of this checkout. Prints the folder below
# DESTDIR that got drbd.ko.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
key=$(printf %s "$TOP" | sha256sum | cut -c1-12)
work=/build/install-$key
rm -rf "${ROOT:?}$work"; mkdir -p "$ROOT$work/source" "$ROOT$work/dest"
(cd "$TOP" && tar -cf - --exclude=./target --exclude=./fuzz/target --exclude=./build --exclude=./.git .) | tar -C "$ROOT$work/source" -xf -
make="make -C $work/source KDIR=/build/kernel-full"
quietly "install-$key.log" in_root sh -ec "$make module; $make DESTDIR=$work/dest install-module"
find "$ROOT$work/dest" -name 'drbd.ko*' -printf '%h\n'
rm -rf "${ROOT:?}$work/source"
