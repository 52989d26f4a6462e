// SPDX-License-Identifier: GPL-2.0
//! Command numbers (wire-protocol.md section 3).

/// Which of the two connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Socket {
    /// Writes, requests, replies, bitmap, state reports.
    Data,
    /// Pings, acknowledgements, replies to state changes.
    Meta,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:expr, $text:expr, $socket:expr, $least:expr, $most:expr;)*) => {
        /// A packet of DRBD 8.4 that this driver handles.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum Command {
            $($(#[$doc])* $name = $number,)*
        }

        impl Command {
            /// Every command.
            pub const ALL: &'static [Command] = &[$(Command::$name,)*];

            /// From its number on the wire.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Command::$name),)*
                    _ => None,
                }
            }

            /// Its usual name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Command::$name => $text,)*
                }
            }

            /// The socket it travels on; `None`: both.
            pub const fn socket(self) -> Option<Socket> {
                match self {
                    $(Command::$name => $socket,)*
                }
            }

            /// Least and greatest length of what follows the header.
            pub const fn length_limits(self) -> (u32, u32) {
                match self {
                    $(Command::$name => ($least, $most),)*
                }
            }
        }
    };
}

/// Largest payload of a write or reply: 1 MiB (protocol >= 100).
pub const MAX_DATA_BYTES: u32 = 1 << 20;
/// Largest range of a discard or zero-out: 128 MiB.
pub const MAX_DISCARD_BYTES: u32 = 128 << 20;
/// Largest digest accepted.
pub const MAX_DIGEST_BYTES: u32 = 64;

const D: Option<Socket> = Some(Socket::Data);
const M: Option<Socket> = Some(Socket::Meta);
const DATA_MOST: u32 = 24 + MAX_DIGEST_BYTES + MAX_DATA_BYTES;

commands! {
    /// Replicated write.
    Data = 0x00, "P_DATA", D, 24, DATA_MOST;
    /// Answer to a read of the peer.
    DataReply = 0x01, "P_DATA_REPLY", D, 24, DATA_MOST;
    /// Answer to a resync request.
    RsDataReply = 0x02, "P_RS_DATA_REPLY", D, 24, DATA_MOST;
    /// End of a write epoch.
    Barrier = 0x03, "P_BARRIER", D, 8, 8;
    /// Plain piece of the bitmap.
    Bitmap = 0x04, "P_BITMAP", D, 0, 4088;
    /// Hint: nothing more for now.
    UnplugRemote = 0x07, "P_UNPLUG_REMOTE", D, 0, 0;
    /// Read request of an application.
    DataRequest = 0x08, "P_DATA_REQUEST", D, 24, 24;
    /// Read request of a resync.
    RsDataRequest = 0x09, "P_RS_DATA_REQUEST", D, 24, 24;
    /// Sync parameters up to version 88.
    SyncParam = 0x0a, "P_SYNC_PARAM", D, 4, 68;
    /// Settings that must match.
    Protocol = 0x0b, "P_PROTOCOL", D, 24, 88;
    /// Generation identifiers.
    Uuids = 0x0c, "P_UUIDS", D, 48, 48;
    /// Sizes and limits.
    Sizes = 0x0d, "P_SIZES", D, 32, 56;
    /// State report.
    State = 0x0e, "P_STATE", D, 4, 4;
    /// Start of a resync.
    SyncUuid = 0x0f, "P_SYNC_UUID", D, 8, 8;
    /// Authentication challenge.
    AuthChallenge = 0x10, "P_AUTH_CHALLENGE", D, 0, 128;
    /// Authentication response.
    AuthResponse = 0x11, "P_AUTH_RESPONSE", D, 0, MAX_DIGEST_BYTES;
    /// State change request for a volume.
    StateChgReq = 0x12, "P_STATE_CHG_REQ", D, 8, 8;
    /// Are you there?
    Ping = 0x13, "P_PING", M, 0, 0;
    /// Here I am.
    PingAck = 0x14, "P_PING_ACK", M, 0, 0;
    /// Data received (protocol B).
    RecvAck = 0x15, "P_RECV_ACK", M, 24, 24;
    /// Data written (protocol C).
    WriteAck = 0x16, "P_WRITE_ACK", M, 24, 24;
    /// Data written, range in sync.
    RsWriteAck = 0x17, "P_RS_WRITE_ACK", M, 24, 24;
    /// Conflict of two primaries: your write is superseded.
    Superseded = 0x18, "P_SUPERSEDED", M, 24, 24;
    /// Write failed.
    NegAck = 0x19, "P_NEG_ACK", M, 24, 24;
    /// Read failed.
    NegDReply = 0x1a, "P_NEG_DREPLY", M, 24, 24;
    /// Resync or verify read failed.
    NegRsDReply = 0x1b, "P_NEG_RS_DREPLY", M, 24, 24;
    /// Epoch finished.
    BarrierAck = 0x1c, "P_BARRIER_ACK", M, 8, 8;
    /// Answer to a state change request.
    StateChgReply = 0x1d, "P_STATE_CHG_REPLY", M, 4, 4;
    /// Online verify: send me the digest of a block.
    OvRequest = 0x1e, "P_OV_REQUEST", D, 24, 24;
    /// Online verify: the digest.
    OvReply = 0x1f, "P_OV_REPLY", D, 24, 24 + MAX_DIGEST_BYTES;
    /// Online verify: the verdict.
    OvResult = 0x20, "P_OV_RESULT", M, 24, 24;
    /// Resync request with the digest of the block here.
    CsumRsRequest = 0x21, "P_CSUM_RS_REQUEST", D, 24, 24 + MAX_DIGEST_BYTES;
    /// The block is equal.
    RsIsInSync = 0x22, "P_RS_IS_IN_SYNC", M, 24, 24;
    /// Sync parameters from version 89 on.
    SyncParam89 = 0x23, "P_SYNC_PARAM89", D, 132, 148;
    /// Run-length coded piece of the bitmap.
    CompressedBitmap = 0x24, "P_COMPRESSED_BITMAP", D, 2, 4088;
    /// Historic measurement packet: read and ignored.
    DelayProbe = 0x27, "P_DELAY_PROBE", None, 8, 8;
    /// A range went out of sync at the sender.
    OutOfSync = 0x28, "P_OUT_OF_SYNC", D, 16, 16;
    /// A resync request will not be served now.
    RsCancel = 0x29, "P_RS_CANCEL", M, 24, 24;
    /// State change request for the connection.
    ConnStChgReq = 0x2a, "P_CONN_ST_CHG_REQ", D, 8, 8;
    /// Answer to it.
    ConnStChgReply = 0x2b, "P_CONN_ST_CHG_REPLY", M, 4, 4;
    /// Conflict of two primaries: write again.
    RetryWrite = 0x2c, "P_RETRY_WRITE", M, 24, 24;
    /// Settings changed on a live connection.
    ProtocolUpdate = 0x2d, "P_PROTOCOL_UPDATE", D, 24, 88;
    /// Discard.
    Trim = 0x31, "P_TRIM", D, 28, 28;
    /// Resync request that may be answered "all zero".
    RsThinReq = 0x32, "P_RS_THIN_REQ", D, 24, 24;
    /// The range is deallocated at the source.
    RsDeallocated = 0x33, "P_RS_DEALLOCATED", D, 16, 16;
    /// Zero-out.
    Zeroes = 0x36, "P_ZEROES", D, 28, 28;
    /// First packet on the meta socket.
    InitialMeta = 0xfff1, "P_INITIAL_META", M, 0, 0;
    /// First packet on the data socket.
    InitialData = 0xfff2, "P_INITIAL_DATA", D, 0, 0;
    /// Version and feature agreement.
    ConnectionFeatures = 0xfffe, "P_CONNECTION_FEATURES", D, 72, 72;
}

impl Command {
    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }
}
