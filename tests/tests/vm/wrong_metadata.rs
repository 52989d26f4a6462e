// SPDX-License-Identifier: GPL-2.0
//! Metadata that is wrong is refused with the documented code and stays as it is (issue 3, "what wrong input gets").

use crate::lifecycle::{end, single};
use crate::check;
use anyhow::{ensure, Result};
use qemu_testbed::Vm;

/// Sector of the superblock of /dev/vda, 64 MiB, metadata internal.
const SUPERBLOCK: u64 = 131_064;
const ATTACH: &str = "drbdsetup-84 attach 0 /dev/vda /dev/vda internal 2>&1";

/// Damage: where in the superblock, the bytes there, and the code.
const DAMAGE: &[(&str, u64, &[u8], i32)] = &[
    ("no magic", 60, &[0; 4], 119),
    ("magic of 0.7", 60, &[0x83, 0x74, 0x02, 0x6a], 119),
    ("log not applied", 60, &[0x83, 0x74, 0x02, 0x6c], 165),
    ("log not clean", 56, &[0; 4], 165),
    ("bits of 8 KiB", 80, &[0, 0, 0x20, 0], 119),
    ("no bit size", 80, &[0; 4], 119),
    ("stripes without end", 88, &[0xff; 4], 119),
    ("stripes of no size", 92, &[0; 4], 119),
    ("stripe size that overflows", 92, &[0x7f, 0xff, 0xff, 0xff], 119),
    ("log off its grid", 68, &[0xff, 0xff, 0xff, 0xc1], 119),
    ("log behind the superblock", 68, &[0, 0, 0, 64], 119),
    ("log far away", 68, &[0x80, 0, 0, 0], 119),
    ("bitmap behind the log", 76, &[0xff, 0xff, 0xff, 0xd0], 119),
    ("bitmap far away", 76, &[0x80, 0, 0, 0], 119),
    ("metadata larger than the device", 64, &[0xff; 4], 119),
    ("a size the bitmap cannot cover", 0, &[0, 0, 0, 1, 0, 0, 0, 0], 119),
    ("a size without end", 0, &[0xff; 8], 119),
    ("a consistent disk that would shrink", 0, &[0, 0, 0, 0, 0, 3, 0, 0], 170),
    ("nothing but ones", 0, &[0xff; 512], 119),
];

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

#[test]
fn debug_wrong_metadata_is_refused_with_its_code_and_stays_untouched() {
    check(one_node());
}

fn one_node() -> Result<()> {
    let mut vm = single("metadata")?;
    vm.ok("modprobe drbd && drbdsetup-84 new-resource r0 && drbdsetup-84 new-minor r0 0 0")?;
    vm.ok("drbdmeta --force 0 v08 /dev/vda internal create-md && cp /dev/vda /tmp/good")?;
    metadata(&mut vm)?;
    vm.ok("drbdsetup-84 down r0 && rmmod drbd")?;
    end(vm)
}

fn metadata(vm: &mut Vm) -> Result<()> {
    for (what, offset, bytes, code) in DAMAGE {
        let consistent = if *code == 170 { "printf '\\000\\000\\000\\221' | dd of=/dev/vda bs=1 seek=$((S + 56)) conv=notrunc 2>/dev/null;" } else { "" };
        vm.ok(&format!(
            "S=$(({SUPERBLOCK} * 512)); {consistent} printf '{}' | dd of=/dev/vda bs=1 seek=$((S + {offset})) conv=notrunc 2>/dev/null; sync; md5sum < /dev/vda > /tmp/before",
            escaped(bytes)
        ))?;
        let said = vm.exits(10, ATTACH)?;
        ensure!(said.contains(&format!("({code})")), "{what}: expected {code}, got {said}");
        vm.ok("echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/vda > /tmp/after; cmp /tmp/before /tmp/after")?;
        ensure!(vm.ok("cat /proc/drbd")?.contains("cs:Unconfigured"), "{what}");
        vm.ok("dd if=/tmp/good of=/dev/vda bs=1M conv=notrunc 2>/dev/null; sync")?;
    }
    Ok(())
}
