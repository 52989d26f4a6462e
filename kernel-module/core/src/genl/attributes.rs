// SPDX-License-Identifier: GPL-2.0
//! Every attribute of the configuration containers, in one table (netlink-and-tools.md section 3, config-and-cli.md section 4). The
//! kernel takes types and lengths from it, the tools take option names, units, ranges and defaults.

use super::container;

/// Type of an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One byte, 0 or 1. In the tools yes or no.
    Flag,
    /// 32 bits.
    U32,
    /// 32 bits with sign.
    S32,
    /// 64 bits.
    U64,
    /// 32 bits naming one of a list of words.
    Enum(&'static [(u32, &'static str)]),
    /// NUL-terminated string with a maximum length.
    Text(u16),
    /// Raw bytes with a maximum length.
    Binary(u16),
}

/// How the tools read and print a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Plain.
    One,
    /// Sectors of 512 bytes.
    Sectors,
    /// KiB.
    Kib,
    /// KiB per second.
    KibPerSecond,
    /// 0.1 s.
    Deciseconds,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// One attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Number.
    pub number: u16,
    /// Name of the option in drbd.conf and drbdsetup; empty for positional ones.
    pub option: &'static str,
    /// Type.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// Default.
    pub default: u64,
    /// Least value the tools accept.
    pub least: i64,
    /// Greatest value the tools accept.
    pub most: i64,
    /// The tools set the mandatory mark.
    pub marked: bool,
}

const fn number(number: u16, option: &'static str, unit: Unit, default: u64, least: i64, most: i64, marked: bool) -> Spec {
    Spec { number, option, kind: Kind::U32, unit, default, least, most, marked }
}

const fn flag(number: u16, option: &'static str, default: bool, marked: bool) -> Spec {
    Spec { number, option, kind: Kind::Flag, unit: Unit::One, default: default as u64, least: 0, most: 1, marked }
}

const fn list(number: u16, option: &'static str, words: &'static [(u32, &'static str)], default: u64, marked: bool) -> Spec {
    Spec { number, option, kind: Kind::Enum(words), unit: Unit::One, default, least: 0, most: 0, marked }
}

const fn text(number: u16, option: &'static str, most: u16) -> Spec {
    Spec { number, option, kind: Kind::Text(most), unit: Unit::One, default: 0, least: 0, most: 0, marked: true }
}

const fn typed(number: u16, option: &'static str, kind: Kind, unit: Unit, least: i64, most: i64, marked: bool) -> Spec {
    Spec { number, option, kind, unit, default: 0, least, most, marked }
}

/// Words of on-io-error.
pub const ON_IO_ERROR: &[(u32, &str)] = &[(0, "pass_on"), (1, "call-local-io-error"), (2, "detach")];
/// Words of fencing.
pub const FENCING: &[(u32, &str)] = &[(0, "dont-care"), (1, "resource-only"), (2, "resource-and-stonith")];
/// Words of read-balancing.
pub const READ_BALANCING: &[(u32, &str)] = &[
    (0, "prefer-local"),
    (1, "prefer-remote"),
    (2, "round-robin"),
    (3, "least-pending"),
    (4, "when-congested-remote"),
    (5, "32K-striping"),
    (6, "64K-striping"),
    (7, "128K-striping"),
    (8, "256K-striping"),
    (9, "512K-striping"),
    (10, "1M-striping"),
];
/// Words of protocol.
pub const PROTOCOL: &[(u32, &str)] = &[(1, "A"), (2, "B"), (3, "C")];
/// Words of after-sb-0pri.
pub const AFTER_SB_0P: &[(u32, &str)] = &[
    (0, "disconnect"),
    (1, "discard-younger-primary"),
    (2, "discard-older-primary"),
    (3, "discard-zero-changes"),
    (4, "discard-least-changes"),
    (5, "discard-local"),
    (6, "discard-remote"),
];
/// Words of after-sb-1pri.
pub const AFTER_SB_1P: &[(u32, &str)] =
    &[(0, "disconnect"), (7, "consensus"), (8, "discard-secondary"), (9, "call-pri-lost-after-sb"), (10, "violently-as0p")];
/// Words of after-sb-2pri.
pub const AFTER_SB_2P: &[(u32, &str)] = &[(0, "disconnect"), (9, "call-pri-lost-after-sb"), (10, "violently-as0p")];
/// Words of rr-conflict.
pub const RR_CONFLICT: &[(u32, &str)] = &[(0, "disconnect"), (9, "call-pri-lost"), (10, "violently")];
/// Words of on-congestion.
pub const ON_CONGESTION: &[(u32, &str)] = &[(0, "block"), (1, "pull-ahead"), (2, "disconnect")];
/// Words of on-no-data-accessible.
pub const ON_NO_DATA: &[(u32, &str)] = &[(0, "io-error"), (1, "suspend-io")];

/// CFG_REPLY.
pub const CFG_REPLY: &[Spec] = &[text(1, "", 255)];
/// CFG_CONTEXT.
pub const CFG_CONTEXT: &[Spec] = &[
    typed(1, "", Kind::U32, Unit::One, 0, 0, true),
    text(2, "", 128),
    typed(3, "", Kind::Binary(128), Unit::One, 0, 0, true),
    typed(4, "", Kind::Binary(128), Unit::One, 0, 0, true),
];
/// DISK_CONF.
pub const DISK_CONF: &[Spec] = &[
    text(1, "", 128),
    text(2, "", 128),
    typed(3, "", Kind::S32, Unit::One, -3, 255, true),
    typed(4, "size", Kind::U64, Unit::Sectors, 0, 1 << 41, true),
    number(5, "max-bio-bvecs", Unit::One, 0, 0, 128, true),
    list(6, "on-io-error", ON_IO_ERROR, 2, true),
    list(7, "fencing", FENCING, 0, true),
    number(8, "resync-rate", Unit::KibPerSecond, 250, 1, 4_194_304, true),
    Spec { number: 9, option: "resync-after", kind: Kind::S32, unit: Unit::One, default: u64::MAX, least: -1, most: 1_048_575, marked: true },
    number(10, "al-extents", Unit::One, 1237, 67, 65_534, true),
    number(11, "c-plan-ahead", Unit::Deciseconds, 20, 0, 300, true),
    number(12, "c-delay-target", Unit::Deciseconds, 10, 1, 100, true),
    number(13, "c-fill-target", Unit::Sectors, 100, 0, 1_048_576, true),
    number(14, "c-max-rate", Unit::KibPerSecond, 102_400, 250, 4_194_304, true),
    number(15, "c-min-rate", Unit::KibPerSecond, 250, 0, 4_194_304, true),
    flag(16, "disk-barrier", false, true),
    flag(17, "disk-flushes", true, true),
    flag(18, "disk-drain", true, true),
    flag(19, "md-flushes", true, true),
    number(20, "disk-timeout", Unit::Deciseconds, 0, 0, 6000, true),
    list(21, "read-balancing", READ_BALANCING, 0, false),
    flag(23, "al-updates", true, false),
    flag(24, "discard-zeroes-if-aligned", true, false),
    number(25, "rs-discard-granularity", Unit::Bytes, 0, 0, 1_048_576, false),
    flag(26, "disable-write-same", false, false),
];
/// RESOURCE_OPTS.
pub const RESOURCE_OPTS: &[Spec] = &[text(1, "cpu-mask", 32), list(2, "on-no-data-accessible", ON_NO_DATA, 0, true)];
/// NET_CONF.
pub const NET_CONF: &[Spec] = &[
    text(1, "shared-secret", 64),
    text(2, "cram-hmac-alg", 64),
    text(3, "data-integrity-alg", 64),
    text(4, "verify-alg", 64),
    text(5, "csums-alg", 64),
    list(6, "protocol", PROTOCOL, 3, true),
    number(7, "connect-int", Unit::Seconds, 10, 1, 120, true),
    number(8, "timeout", Unit::Deciseconds, 60, 1, 600, true),
    number(9, "ping-int", Unit::Seconds, 10, 1, 120, true),
    number(10, "ping-timeout", Unit::Deciseconds, 5, 1, 300, true),
    number(11, "sndbuf-size", Unit::Bytes, 0, 0, 10_485_760, true),
    number(12, "rcvbuf-size", Unit::Bytes, 0, 0, 10_485_760, true),
    number(13, "ko-count", Unit::One, 7, 0, 200, true),
    number(14, "max-buffers", Unit::One, 2048, 32, 131_072, true),
    number(15, "max-epoch-size", Unit::One, 2048, 1, 20_000, true),
    number(16, "unplug-watermark", Unit::One, 128, 1, 131_072, true),
    list(17, "after-sb-0pri", AFTER_SB_0P, 0, true),
    list(18, "after-sb-1pri", AFTER_SB_1P, 0, true),
    list(19, "after-sb-2pri", AFTER_SB_2P, 0, true),
    list(20, "rr-conflict", RR_CONFLICT, 0, true),
    list(21, "on-congestion", ON_CONGESTION, 0, true),
    number(22, "congestion-fill", Unit::Sectors, 0, 0, 20_971_520, true),
    number(23, "congestion-extents", Unit::One, 1237, 67, 65_534, true),
    flag(24, "allow-two-primaries", false, true),
    flag(25, "discard-my-data", false, true),
    flag(26, "tcp-cork", true, true),
    flag(27, "always-asbp", false, true),
    flag(28, "tentative", false, true),
    flag(29, "use-rle", true, true),
    flag(33, "csums-after-crash-only", false, false),
    number(34, "socket-check-timeout", Unit::Deciseconds, 0, 0, 300, false),
];
/// SET_ROLE_PARMS.
pub const SET_ROLE_PARMS: &[Spec] = &[flag(1, "force", false, true)];
/// RESIZE_PARMS.
pub const RESIZE_PARMS: &[Spec] = &[
    typed(1, "size", Kind::U64, Unit::Sectors, 0, 1 << 41, true),
    flag(2, "assume-peer-has-space", false, true),
    flag(3, "assume-clean", false, true),
    number(4, "al-stripes", Unit::One, 1, 1, 1024, false),
    number(5, "al-stripe-size-kB", Unit::Kib, 32, 4, 16_777_216, false),
];
/// START_OV_PARMS.
pub const START_OV_PARMS: &[Spec] = &[
    typed(1, "start", Kind::U64, Unit::Sectors, 0, 1 << 41, true),
    typed(2, "stop", Kind::U64, Unit::Sectors, 0, 1 << 41, true),
];
/// NEW_C_UUID_PARMS.
pub const NEW_C_UUID_PARMS: &[Spec] = &[flag(1, "clear-bitmap", false, true)];
/// TIMEOUT_PARMS.
pub const TIMEOUT_PARMS: &[Spec] = &[number(1, "", Unit::One, 0, 0, 2, false)];
/// DISCONNECT_PARMS.
pub const DISCONNECT_PARMS: &[Spec] = &[flag(1, "force", false, true)];
/// DETACH_PARMS.
pub const DETACH_PARMS: &[Spec] = &[flag(1, "force", false, true)];

/// The attributes of a container that requests may carry.
pub const fn of_container(number: u16) -> &'static [Spec] {
    match number {
        container::CFG_REPLY => CFG_REPLY,
        container::CFG_CONTEXT => CFG_CONTEXT,
        container::DISK_CONF => DISK_CONF,
        container::RESOURCE_OPTS => RESOURCE_OPTS,
        container::NET_CONF => NET_CONF,
        container::SET_ROLE_PARMS => SET_ROLE_PARMS,
        container::RESIZE_PARMS => RESIZE_PARMS,
        container::START_OV_PARMS => START_OV_PARMS,
        container::NEW_C_UUID_PARMS => NEW_C_UUID_PARMS,
        container::TIMEOUT_PARMS => TIMEOUT_PARMS,
        container::DISCONNECT_PARMS => DISCONNECT_PARMS,
        container::DETACH_PARMS => DETACH_PARMS,
        _ => &[],
    }
}

/// How a command may be called, and the containers its requests may carry (section 2 and the policy of section 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandSpec {
    /// Number.
    pub number: u8,
    /// Can be asked with a `do` request.
    pub doit: bool,
    /// Can be asked with a dump request.
    pub dump: bool,
    /// Needs CAP_NET_ADMIN.
    pub admin: bool,
    /// Containers allowed at the top level.
    pub containers: &'static [u16],
}

const fn admin(number: u8, containers: &'static [u16]) -> CommandSpec {
    CommandSpec { number, doit: true, dump: false, admin: true, containers }
}

const fn dump(number: u8, containers: &'static [u16]) -> CommandSpec {
    CommandSpec { number, doit: false, dump: true, admin: false, containers }
}

/// Every command user space may send.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec { number: 2, doit: true, dump: true, admin: false, containers: &[2] },
    admin(5, &[2]),
    admin(6, &[2]),
    admin(7, &[2, 4]),
    admin(8, &[2]),
    admin(9, &[2, 4]),
    admin(10, &[2, 5]),
    admin(11, &[2, 12]),
    admin(12, &[2, 3]),
    admin(13, &[2, 7]),
    admin(14, &[2, 6]),
    admin(15, &[2, 6]),
    admin(16, &[2, 10]),
    admin(17, &[9]),
    admin(18, &[2, 13]),
    admin(19, &[2]),
    admin(20, &[2]),
    admin(21, &[2]),
    admin(22, &[2]),
    admin(23, &[2]),
    admin(24, &[2]),
    admin(25, &[2]),
    admin(26, &[2]),
    admin(27, &[2]),
    admin(28, &[2, 3]),
    admin(29, &[2, 5]),
    dump(30, &[2, 15, 19]),
    dump(31, &[2, 16, 20]),
    dump(32, &[2, 17, 21]),
    dump(33, &[2, 18, 22]),
    dump(38, &[2]),
];
