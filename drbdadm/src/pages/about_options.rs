// SPDX-License-Identifier: GPL-2.0
//! What each option of a section means. Names, values, ranges, units and defaults come from the tables of drbd-config and
//! drbd-core.

use drbd_config::options::Place;

type Table = &'static [(&'static str, &'static str)];

const NET: Table = &[
    ("protocol", "When a write is done. A: it is on the own disk and handed to the network. B: the peer has received it. C: it is on both disks."),
    ("timeout", "How long an answer of the peer may take. Shorter than connect-int and ping-int."),
    ("max-epoch-size", "Most writes between two barriers."),
    ("max-buffers", "Most pages for data that was received and not yet written."),
    ("unplug-watermark", "Without effect; accepted from older configurations."),
    ("connect-int", "Pause between two attempts to connect."),
    ("ping-int", "How long the connection may be silent before a keep-alive packet is sent."),
    ("sndbuf-size", "Size of the send buffer; 0: the kernel chooses."),
    ("rcvbuf-size", "Size of the receive buffer; 0: the kernel chooses."),
    ("ko-count", "The peer is given up when a request has not ended for this many times timeout; 0: never."),
    ("allow-two-primaries", "Both nodes may be Primary at once, for a cluster file system."),
    ("cram-hmac-alg", "Digest with which the peers prove that they know the shared-secret; empty: no authentication."),
    ("shared-secret", "Secret of both nodes, up to 64 characters."),
    ("after-sb-0pri", "Whose changes are kept after a split brain when no node is Primary. In files also discard-node-HOST."),
    ("after-sb-1pri", "The same when one node is Primary."),
    ("after-sb-2pri", "The same when both are."),
    ("always-asbp", "Use these policies even if the data seems to have met a third node."),
    ("rr-conflict", "What to do when the direction of a resynchronisation contradicts the roles."),
    ("ping-timeout", "How long the answer to a keep-alive packet may take."),
    ("data-integrity-alg", "Digest that travels with every block; empty: none. For testing a network, it costs much."),
    ("tcp-cork", "Let the kernel gather small packets."),
    ("on-congestion", "What to do when the send queue is full: let writers wait, or run ahead of the peer and resynchronise later."),
    ("congestion-fill", "Amount of data on the way that counts as congestion."),
    ("congestion-extents", "Number of active extents that counts as congestion."),
    ("csums-alg", "Digest by which a resynchronisation skips equal blocks; empty: copy all."),
    ("csums-after-crash-only", "Do that only after the crash of a Primary."),
    ("verify-alg", "Digest of an online verification."),
    ("use-rle", "Compress the bitmaps that are exchanged."),
    ("socket-check-timeout", "How long new connections are checked for stability; 0: as ping-timeout."),
];

const DISK: Table = &[
    ("size", "Size of the device; 0: all there is."),
    ("max-bio-bvecs", "Most segments of a request to the disk; 0: what the disk takes."),
    ("on-io-error", "What to do when the disk fails: hand the error on, call the handler local-io-error, or go on without the disk."),
    ("fencing", "Whether a Primary that loses its peer calls the handler fence-peer, and whether I/O waits for it meanwhile."),
    ("disk-barrier", "Keep the order of writes with barriers of the disk. Present kernels have none."),
    ("disk-flushes", "Keep the order of writes with flushes of the disk."),
    ("disk-drain", "Keep the order of writes by waiting for the requests under way."),
    ("md-flushes", "Flush the disk with the metadata. Off only where its cache is kept by a battery."),
    ("resync-rate", "Rate of a resynchronisation while c-plan-ahead is 0."),
    ("resync-after", "Resynchronise only when this resource or volume (RES/VOL) is done."),
    ("al-extents", "Number of extents of 4 MiB that may be written to without updating the metadata."),
    ("al-updates", "Write the activity log. Without it a crashed Primary needs a full resynchronisation."),
    ("discard-zeroes-if-aligned", "Hand discards to the disk even if it does not promise zeroes."),
    ("disable-write-same", "Do not offer WRITE SAME."),
    ("c-plan-ahead", "How far ahead the rate of a resynchronisation is planned; 0: fixed rate."),
    ("c-delay-target", "Delay that resynchronisation requests should have on the way."),
    ("c-fill-target", "Amount of resynchronisation data that should be on the way; 0: use c-delay-target."),
    ("c-max-rate", "Highest rate of a resynchronisation."),
    ("c-min-rate", "Rate below which a resynchronisation does not make way for applications; 0: always."),
    ("disk-timeout", "The disk is given up when a request takes longer; 0: never."),
    ("read-balancing", "Which node's disk is read while both are up to date."),
    ("rs-discard-granularity", "Resynchronise empty areas of this size as discards; 0: do not."),
    ("use-bmbv", "Accepted from older configurations."),
];

const OPTIONS: Table = &[
    (
        "cpu-mask",
        "Processors the threads of the resource run on, hexadecimal; empty: chosen by the minor.",
    ),
    (
        "on-no-data-accessible",
        "What to do with I/O when no disk with good data is left: fail it, or let it wait.",
    ),
];

const STARTUP: Table = &[
    (
        "wfc-timeout",
        "How long the start waits for the peer; 0: for ever.",
    ),
    (
        "degr-wfc-timeout",
        "The same when this node was without its peer already before.",
    ),
    (
        "outdated-wfc-timeout",
        "The same when the peer is known to be outdated.",
    ),
    (
        "wait-after-sb",
        "Go on waiting when the peer came and a split brain was found.",
    ),
    (
        "become-primary-on",
        "Nodes that the start makes Primary: names, or both.",
    ),
    (
        "stacked-timeouts",
        "Use these time-outs for stacked resources too.",
    ),
];

const HANDLERS: Table = &[
    ("before-resync-target", "Before this node becomes target of a resynchronisation: a snapshot, for example. Other than exit code 0: not now."),
    ("after-resync-target", "When it is not the target any more."),
    ("before-resync-source", "Before this node becomes source of a resynchronisation."),
    ("pri-on-incon-degr", "This node is Primary, and neither its disk nor a peer has good data."),
    ("pri-lost-after-sb", "This node is Primary, and is to give up its changes after a split brain."),
    ("fence-peer", "The connection broke on a Primary: see to it that the peer is not promoted. Exit codes 3 to 7 say how that went."),
    ("unfence-peer", "The peer is in sync again."),
    ("local-io-error", "The disk failed, and on-io-error is call-local-io-error."),
    ("pri-lost", "This node is Primary, but has older data than the peer."),
    ("initial-split-brain", "A split brain was detected; policies may still resolve it."),
    ("split-brain", "A split brain was detected, and no policy resolves it."),
    ("out-of-sync", "An online verification found differences."),
];

const PROXY: Table = &[
    ("memlimit", "Memory of the proxy."),
    ("read-loops", "Handed to the proxy."),
    ("compression", "Handed to the proxy."),
    ("bwlimit", "Bandwidth of the proxy."),
    ("sndbuf-size", "Send buffer of the proxy."),
    ("rcvbuf-size", "Receive buffer of the proxy."),
    ("ping-timeout", "Handed to the proxy."),
];

const GLOBAL: Table = &[
    (
        "disable-ip-verification",
        "Do not check whether the own address exists on this machine.",
    ),
    (
        "minor-count",
        "How many devices the module should be ready for; default: what the configuration needs.",
    ),
    (
        "dialog-refresh",
        "How often the dialogue of the start is drawn anew, in seconds; 0: never. Default 1.",
    ),
    ("usage-count", "Accepted; nobody is contacted."),
    (
        "udev-always-use-vnr",
        "Names below /dev/drbd/by-res always have the number of the volume.",
    ),
    (
        "cmd-timeout-short",
        "Limit for quick commands, in seconds. Default 5.",
    ),
    (
        "cmd-timeout-medium",
        "Limit for attach, down, primary and the like, in seconds. Default 121.",
    ),
    (
        "cmd-timeout-long",
        "Limit for handlers and work on metadata, in seconds. Default 600.",
    ),
];

/// What an option of a section means.
pub fn find(place: Place, name: &str) -> Option<&'static str> {
    let table = match place {
        Place::Net => NET,
        Place::Disk => DISK,
        Place::Options => OPTIONS,
        Place::Startup => STARTUP,
        Place::Handlers => HANDLERS,
        Place::Proxy => PROXY,
        Place::Global => GLOBAL,
    };
    super::about_commands::find(table, name)
}

/// Options that are given on a command line only.
const ONCE: Table = &[
    (
        "force",
        "Do it even if that loses data or the peer, or without asking.",
    ),
    ("overwrite-data-of-peer", "Old name of --force."),
    (
        "tentative",
        "Find out whether the connection would work, and what would follow, then end it.",
    ),
    (
        "discard-my-data",
        "After a split brain: give up the changes of this node.",
    ),
    (
        "alternate-address",
        "Second own address; kernels of 8.4 refuse it.",
    ),
    (
        "alternate-peer-address",
        "Second address of the peer; kernels of 8.4 refuse it.",
    ),
    ("size", "Size of the device."),
    (
        "assume-peer-has-space",
        "Do so without a connection to the peer.",
    ),
    ("assume-clean", "Do not resynchronise what is added."),
    ("al-stripes", "Number of stripes of the activity log."),
    ("al-stripe-size-kB", "Size of a stripe of the activity log."),
    ("start", "First block to compare."),
    ("stop", "Block to stop at."),
    ("clear-bitmap", "Both nodes are in sync: nothing is copied."),
    ("set-defaults", "Set what is not given back to its default."),
    ("show-defaults", "Also show what has its default value."),
    (
        "json",
        "Print JSON; docs/json.md of the source describes it.",
    ),
    ("verbose", "Show more."),
    ("statistics", "Show counters too."),
    ("color", "Colours: auto, always or never."),
    ("timestamps", "Begin every line with the time."),
    ("now", "Show what is, and end."),
    (
        "wfc-timeout",
        "Wait at most that many seconds; 0: for ever.",
    ),
    (
        "degr-wfc-timeout",
        "The same when this node was without its peer already before.",
    ),
    (
        "outdated-wfc-timeout",
        "The same when the peer is known to be outdated.",
    ),
    ("wait-after-sb", "Go on waiting after a split brain."),
    (
        "ignore-sanity-checks",
        "Go on where existing data would refuse.",
    ),
    ("dry-run", "Only say what would be done."),
    ("help", "Print how to call it."),
    ("peer-max-bio-size", "Largest request the peer takes."),
    (
        "initialize-bitmap",
        "How the bitmap is zeroed: automatic, zeroout, pwrite or skip.",
    ),
    ("node-id", "Accepted for metadata of DRBD 9; 8.4 has none."),
    ("proc-drbd", "Read this file instead of /proc/drbd."),
    ("stacked", "Work on the stacked resources."),
    (
        "config-file",
        "Read this configuration instead of /etc/drbd.conf; - for standard input.",
    ),
    (
        "config-to-test",
        "Read this file too, to test it before it is put in place (dump, sh-nop).",
    ),
    ("drbdsetup", "Program to call instead of drbdsetup."),
    ("drbdmeta", "Program to call instead of drbdmeta."),
    (
        "drbd-proxy-ctl",
        "Program to call instead of drbd-proxy-ctl.",
    ),
    (
        "sh-varname",
        "Print the results of sh- commands as assignments to this variable.",
    ),
    (
        "peer",
        "Node to connect to, where the configuration has several.",
    ),
    (
        "version",
        "Print the versions of tools and driver, for a shell.",
    ),
    (
        "setup-option",
        "Option for drbdsetup or drbdmeta, handed on as it is.",
    ),
];

/// What an option of a command line means.
pub fn on_command_line(name: &str) -> Option<&'static str> {
    super::about_commands::find(ONCE, name)
}
