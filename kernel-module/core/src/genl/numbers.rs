// SPDX-License-Identifier: GPL-2.0
//! Commands, containers and return codes (netlink-and-tools.md sections 2, 3, 6).

/// Command numbers.
pub mod command {
    #![allow(missing_docs)]
    pub const EVENT: u8 = 1;
    pub const GET_STATUS: u8 = 2;
    pub const NEW_MINOR: u8 = 5;
    pub const DEL_MINOR: u8 = 6;
    pub const NEW_RESOURCE: u8 = 7;
    pub const DEL_RESOURCE: u8 = 8;
    pub const RESOURCE_OPTS: u8 = 9;
    pub const CONNECT: u8 = 10;
    pub const DISCONNECT: u8 = 11;
    pub const ATTACH: u8 = 12;
    pub const RESIZE: u8 = 13;
    pub const PRIMARY: u8 = 14;
    pub const SECONDARY: u8 = 15;
    pub const NEW_C_UUID: u8 = 16;
    pub const START_OV: u8 = 17;
    pub const DETACH: u8 = 18;
    pub const INVALIDATE: u8 = 19;
    pub const INVAL_PEER: u8 = 20;
    pub const PAUSE_SYNC: u8 = 21;
    pub const RESUME_SYNC: u8 = 22;
    pub const SUSPEND_IO: u8 = 23;
    pub const RESUME_IO: u8 = 24;
    pub const OUTDATE: u8 = 25;
    pub const GET_TIMEOUT_TYPE: u8 = 26;
    pub const DOWN: u8 = 27;
    pub const CHG_DISK_OPTS: u8 = 28;
    pub const CHG_NET_OPTS: u8 = 29;
    pub const GET_RESOURCES: u8 = 30;
    pub const GET_DEVICES: u8 = 31;
    pub const GET_CONNECTIONS: u8 = 32;
    pub const GET_PEER_DEVICES: u8 = 33;
    pub const RESOURCE_STATE: u8 = 34;
    pub const DEVICE_STATE: u8 = 35;
    pub const CONNECTION_STATE: u8 = 36;
    pub const PEER_DEVICE_STATE: u8 = 37;
    pub const GET_INITIAL_STATE: u8 = 38;
    pub const HELPER: u8 = 40;
    pub const INITIAL_STATE_DONE: u8 = 41;
}

/// Name of an administrative command, as drbdsetup calls it.
pub const fn command_name(number: u8) -> &'static str {
    match number {
        command::NEW_MINOR => "new-minor",
        command::DEL_MINOR => "del-minor",
        command::NEW_RESOURCE => "new-resource",
        command::DEL_RESOURCE => "del-resource",
        command::RESOURCE_OPTS => "resource-options",
        command::CONNECT => "connect",
        command::DISCONNECT => "disconnect",
        command::ATTACH => "attach",
        command::RESIZE => "resize",
        command::PRIMARY => "primary",
        command::SECONDARY => "secondary",
        command::NEW_C_UUID => "new-current-uuid",
        command::START_OV => "verify",
        command::DETACH => "detach",
        command::INVALIDATE => "invalidate",
        command::INVAL_PEER => "invalidate-remote",
        command::PAUSE_SYNC => "pause-sync",
        command::RESUME_SYNC => "resume-sync",
        command::SUSPEND_IO => "suspend-io",
        command::RESUME_IO => "resume-io",
        command::OUTDATE => "outdate",
        command::DOWN => "down",
        command::CHG_DISK_OPTS => "disk-options",
        command::CHG_NET_OPTS => "net-options",
        _ => "?",
    }
}

/// Numbers of the top-level containers.
pub mod container {
    #![allow(missing_docs)]
    pub const CFG_REPLY: u16 = 1;
    pub const CFG_CONTEXT: u16 = 2;
    pub const DISK_CONF: u16 = 3;
    pub const RESOURCE_OPTS: u16 = 4;
    pub const NET_CONF: u16 = 5;
    pub const SET_ROLE_PARMS: u16 = 6;
    pub const RESIZE_PARMS: u16 = 7;
    pub const STATE_INFO: u16 = 8;
    pub const START_OV_PARMS: u16 = 9;
    pub const NEW_C_UUID_PARMS: u16 = 10;
    pub const TIMEOUT_PARMS: u16 = 11;
    pub const DISCONNECT_PARMS: u16 = 12;
    pub const DETACH_PARMS: u16 = 13;
    pub const RESOURCE_INFO: u16 = 15;
    pub const DEVICE_INFO: u16 = 16;
    pub const CONNECTION_INFO: u16 = 17;
    pub const PEER_DEVICE_INFO: u16 = 18;
    pub const RESOURCE_STATISTICS: u16 = 19;
    pub const DEVICE_STATISTICS: u16 = 20;
    pub const CONNECTION_STATISTICS: u16 = 21;
    pub const PEER_DEVICE_STATISTICS: u16 = 22;
    pub const NOTIFICATION_HEADER: u16 = 23;
    pub const HELPER: u16 = 24;
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:expr, $text:expr;)*) => {
        /// Return codes above 100 (administrative). State codes are those of [`crate::state::Refusal`].
        pub mod ret {
            $($(#[$doc])* pub const $name: i32 = $code;)*

            /// The text the tools print for a code; `None`: unknown.
            pub const fn text(code: i32) -> Option<&'static str> {
                match code {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Success.
    NO_ERROR = 101, "No error";
    /// Local address in use.
    LOCAL_ADDR = 102, "Local address(port) already in use.";
    /// Remote address in use.
    PEER_ADDR = 103, "Remote address(port) already in use.";
    /// Backing device cannot be opened.
    OPEN_DISK = 104, "Can not open backing device.";
    /// Metadata device cannot be opened.
    OPEN_MD_DISK = 105, "Can not open meta device.";
    /// Not a block device.
    DISK_NOT_BDEV = 107, "Lower device is not a block device.";
    /// Not a block device.
    MD_NOT_BDEV = 108, "Meta device is not a block device.";
    /// Backing device too small.
    DISK_TOO_SMALL = 111, "Low.dev. smaller than requested DRBD-dev. size.";
    /// Metadata device too small.
    MD_DISK_TOO_SMALL = 112, "Meta device too small.";
    /// Backing device claimed.
    BDCLAIM_DISK = 114, "Lower device is already claimed. This usually means it is mounted.";
    /// Metadata device claimed.
    BDCLAIM_MD_DISK = 115, "Meta device is already claimed. This usually means it is mounted.";
    /// Index does not fit the devices.
    MD_IDX_INVALID = 116, "Lower device / meta device / index combination invalid.";
    /// Metadata I/O error.
    IO_MD_DISK = 118, "IO error(s) occurred during initial access to meta-data.\n";
    /// No valid metadata.
    MD_INVALID = 119, "No valid meta-data signature found.\n\n\t==> Use 'drbdadm create-md res' to initialize meta-data area. <==\n";
    /// Authentication digest unknown.
    AUTH_ALG = 120, "The 'cram-hmac-alg' you specified is not known in the kernel. (Maybe you need to modprobe it, or modprobe hmac?)";
    /// Not a digest.
    AUTH_ALG_ND = 121, "The 'cram-hmac-alg' you specified is not a digest.";
    /// Out of memory.
    NOMEM = 122, "kmalloc() failed. Out of memory?";
    /// discard-my-data while Primary.
    DISCARD_IMPOSSIBLE = 123, "--discard-my-data not allowed when primary.";
    /// A disk is configured.
    DISK_CONFIGURED = 124, "Device is attached to a disk (use detach first)";
    /// A network is configured.
    NET_CONFIGURED = 125, "Device has a net-config (use disconnect first)";
    /// An attribute is missing or not understood.
    MANDATORY_TAG = 126, "UnknownMandatoryTag";
    /// No such minor.
    MINOR_INVALID = 127, "Device minor not allocated";
    /// Interrupted.
    INTR = 129, "Interrupted by Signal";
    /// Resize during resync.
    RESIZE_RESYNC = 130, "Resize not allowed during resync.";
    /// No Primary.
    NO_PRIMARY = 131, "Need one Primary node to resize.";
    /// Bad resync-after.
    RESYNC_AFTER = 132, "The resync-after minor number is invalid";
    /// Cycle of resync-after.
    RESYNC_AFTER_CYCLE = 133, "This would cause a resync-after dependency cycle";
    /// Pause flag is set.
    PAUSE_IS_SET = 134, "Sync-pause flag is already set";
    /// Pause flag is clear.
    PAUSE_IS_CLEAR = 135, "Sync-pause flag is already cleared";
    /// Unknown request.
    PACKET_NR = 137, "Kernel does not know how to handle your request.\nMaybe API_VERSION mismatch?";
    /// No disk.
    NO_DISK = 138, "Device does not have a disk-config";
    /// Protocol C required.
    NOT_PROTO_C = 139, "Protocol C required";
    /// No memory for the bitmap.
    NOMEM_BITMAP = 140, "vmalloc() failed. Out of memory?";
    /// Integrity digest unknown.
    INTEGRITY_ALG = 141, "The 'data-integrity-alg' you specified is not known in the kernel. (Maybe you need to modprobe it, or modprobe hmac?)";
    /// Not a digest.
    INTEGRITY_ALG_ND = 142, "The 'data-integrity-alg' you specified is not a digest.";
    /// Bad CPU mask.
    CPU_MASK_PARSE = 143, "Invalid cpu-mask";
    /// Checksum digest unknown.
    CSUMS_ALG = 144, "CSUMSAlgNotAvail";
    /// Not a digest.
    CSUMS_ALG_ND = 145, "CSUMSAlgNotDigest";
    /// Verify digest unknown.
    VERIFY_ALG = 146, "VERIFYAlgNotAvail";
    /// Not a digest.
    VERIFY_ALG_ND = 147, "VERIFYAlgNotDigest";
    /// Resync runs.
    CSUMS_RESYNC_RUNNING = 148, "Can not change csums-alg while resync is in progress";
    /// Verify runs.
    VERIFY_RUNNING = 149, "Can not change verify-alg while online verify runs";
    /// Other data than the node works with.
    DATA_NOT_CURRENT = 150, "Can only attach to the data we lost last (see kernel log).";
    /// Connected.
    CONNECTED = 151, "Need to be StandAlone";
    /// Permission.
    PERM = 152, "Permission denied. CAP_SYS_ADMIN necessary";
    /// Protocol too old.
    NEED_APV_93 = 153, "Protocol version 93 required to use --assume-clean";
    /// Fencing and protocol A.
    STONITH_AND_PROT_A = 154, "Fencing policy resource-and-stonith only with prot B or C allowed";
    /// Congestion policy without protocol A.
    CONG_NOT_PROTO_A = 155, "on-congestion policy pull-ahead only with prot A allowed";
    /// Paused by dependency.
    PIC_AFTER_DEP = 156, "Sync-pause flag is already cleared.\nNote: Resync pause caused by a local resync-after dependency.";
    /// Paused by the peer.
    PIC_PEER_DEP = 157, "Sync-pause flag is already cleared.\nNote: Resync pause caused by the peer node.";
    /// Unknown resource.
    RES_NOT_KNOWN = 158, "Unknown resource";
    /// Volumes left.
    RES_IN_USE = 159, "Resource still in use (delete all minors first)";
    /// Minor in use.
    MINOR_CONFIGURED = 160, "Minor still configured (down it first)";
    /// Exists.
    MINOR_OR_VOLUME_EXISTS = 161, "Minor or volume exists already (delete it first)";
    /// Invalid request.
    INVALID_REQUEST = 162, "Invalid configuration request";
    /// Peer too old for a change.
    NEED_APV_100 = 163, "Prot version 100 required in order to change\nthese network options while connected";
    /// Both are Primary.
    NEED_ALLOW_TWO_PRI = 164, "Can not clear allow_two_primaries as long as\nthere a primaries on both sides";
    /// Unclean metadata.
    MD_UNCLEAN = 165, "Unclean meta-data found.\nYou need to 'drbdadm apply-al res'\n";
    /// Not connected.
    MD_LAYOUT_CONNECTED = 166, "DRBD need to be connected for online MD layout change\n";
    /// Too big.
    MD_LAYOUT_TOO_BIG = 167, "Resulting AL area too big\n";
    /// Too small.
    MD_LAYOUT_TOO_SMALL = 168, "Resulting AL are too small\n";
    /// Does not fit.
    MD_LAYOUT_NO_FIT = 169, "Resulting AL does not fit into available meta data space\n";
    /// Would shrink.
    IMPLICIT_SHRINK = 170, "Implicit device shrinking not allowed. See kernel log.\n";
}
