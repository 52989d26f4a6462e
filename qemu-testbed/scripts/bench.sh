#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Compiles the counting plugin and the load generator, and measures both modules.
# REPEATS=n runs of each (3), JSON=1 for machine-readable output.
TOP=$(cd "$(dirname "$0")/../.." && pwd)
. "$TOP/qemu-testbed/scripts/common.sh"
mkdir -p "$CACHE/bench"
gcc -O2 -Wall -shared -fPIC -fvisibility=hidden -o "$CACHE/bench/count.so" "$TOP/qemu-testbed/bench/count.c"
gcc -O2 -Wall -static -o "$CACHE/bench/load" "$TOP/qemu-testbed/bench/load.c"
cd "$TOP"
exec cargo run --quiet -p qemu-testbed -- bench --plugin "$CACHE/bench/count.so" --load "$CACHE/bench/load" \
	--repeats "${REPEATS:-3}" ${JSON:+--json}
