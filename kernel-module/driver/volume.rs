// SPDX-License-Identifier: GPL-2.0
//! What the control plane knows of a volume. Lives in [`super::resource::Control`], under the control mutex.

use super::device::Device;
use super::prelude::*;
use drbd_core::genl::DiskConf;
use drbd_core::md::{Index, Layout, Superblock, Uuids};
use drbd_core::resync::Progress;
use drbd_core::state::{Disk as DiskState, State};
use drbd_core::wire::bitmap_transfer::Transfer;
use drbd_core::wire::params::{Sizes, UuidsPacket};

/// A volume of a resource.
pub(crate) struct Volume {
    pub(crate) device: Arc<Device>,
    pub(crate) state: State,
    pub(crate) disk: Option<KBox<Attached>>,
    /// Generation of the data this node may use (behaviour.md UU-5).
    pub(crate) effective_uuid: u64,
    /// The peer's P_UUIDS; corrections included.
    pub(crate) peer_uuids: Option<UuidsPacket>,
    pub(crate) peer_sizes: Option<Sizes>,
    /// Disk and peer disk as attach found them, while Negotiating (SAN-4).
    pub(crate) found: Option<(DiskState, DiskState)>,
    /// A change that waits for the peer: its answer, when it came.
    pub(crate) pending_change: Option<Option<i32>>,
    /// A new current UUID has to be on disk before I/O goes on.
    pub(crate) uuid_pending: bool,
    /// A new current UUID is due when I/O is resumed without the peer (UU-7).
    pub(crate) uuid_deferred: bool,
    /// A handshake broke off after the peer was told of the state here; until the next connection.
    pub(crate) verdict_missed: bool,
    /// The node ran without its peer when it went down (AT-7); until the next connection.
    pub(crate) ran_degraded: bool,
    /// Times the volume got connected (FE-5).
    pub(crate) connects: u32,
    /// Since when the peer has everything it was sent, in the state Ahead: jiffies.
    pub(crate) caught_up_at: Option<Jiffies>,
    /// The disk has failed, and the peer has not been told yet.
    pub(crate) failure_untold: bool,
    /// The administrator (attach, detach) holds I/O back.
    pub(crate) frozen: u32,
    /// All bits are set while disconnected: the activity log is not needed (metadata.md 6.3).
    pub(crate) log_suspended: bool,
    pub(crate) consider_resync: bool,
    /// Bits left and time in ms at the last progress event.
    pub(crate) progress_shown: (u64, u64),
    /// The target has reported the end of the resync; some of its acknowledgements are still on their way.
    pub(crate) target_finished: bool,
    /// This source has answered a ping while no bit was left: that may be all the target waits for to end the resync.
    pub(crate) may_be_finished: bool,
    /// This source was Ahead, and the peer may not know yet that it is the target.
    pub(crate) left_behind: bool,
    /// Blocks that the disk lacks may have no bit here.
    pub(crate) bits_missing: bool,
    /// A resync is about to start, as source or not: the worker asks the helper first (RS-2).
    pub(crate) starting: Option<bool>,
    /// Size of the device in sectors.
    pub(crate) sectors: u64,
    /// Bitmap being received.
    pub(crate) receiving: Option<Transfer>,
    pub(crate) resync: Progress,
    /// A resync as target asks with checksums.
    pub(crate) checksums: bool,
    /// A verify has come to its end and is not reported yet.
    pub(crate) verified: bool,
    pub(crate) pacer: super::throttle::Pacer,
    /// Where the next resync request starts, in bits.
    pub(crate) resync_cursor: u64,
    /// Blocks that the turn under way may still ask for, as soon as there are places for them.
    pub(crate) turn_left: u32,
    /// The administrator has resized here; the peer's answer is awaited (SZ-9).
    pub(crate) resize_pending: bool,
    /// A new area is to be synced from here, from the state Connected (SZ-9).
    pub(crate) new_area_due: bool,
    /// A new area waits for a disk (AC-22).
    pub(crate) new_area_remembered: bool,
}

/// An attached disk.
pub(crate) struct Attached {
    pub(crate) conf: DiskConf,
    pub(crate) backing: BlockDev,
    pub(crate) meta: BlockDev,
    pub(crate) index: Index,
    pub(crate) layout: Layout,
    pub(crate) uuids: Uuids,
    pub(crate) device_uuid: u64,
    pub(crate) la_size: u64,
    pub(crate) peer_max_bio_bytes: u32,
    /// Crashed while Primary (UU-17).
    pub(crate) crashed_primary: bool,
    /// Flags that follow from the state, as of the last state in which the disk was usable (SC-6).
    pub(crate) state_flags: u32,
    /// Sizes of the data and the metadata device when they were last looked at, in sectors.
    pub(crate) known_sectors: (u64, u64),
    /// Size or place of the metadata is changing: log and bitmap on disk cannot be relied on (SZ-8).
    pub(crate) moving: bool,
    /// Not marked Primary any more, but the bitmap is not on disk yet: until then the superblock keeps the mark, so that the activity log counts.
    pub(crate) still_primary: bool,
    /// FULL_SYNC and AL_DISABLED, which no state decides.
    pub(crate) kept_flags: u32,
    /// The superblock as it was written last.
    pub(crate) written: Option<Superblock>,
}

impl Volume {
    /// An unconfigured volume.
    pub(crate) fn new(device: Arc<Device>) -> Self {
        Self {
            device,
            state: State::default(),
            disk: None,
            effective_uuid: 0,
            peer_uuids: None,
            peer_sizes: None,
            found: None,
            pending_change: None,
            uuid_pending: false,
            uuid_deferred: false,
            verdict_missed: false,
            ran_degraded: false,
            connects: 0,
            failure_untold: false,
            caught_up_at: None,
            frozen: 0,
            log_suspended: false,
            consider_resync: false,
            starting: None,
            target_finished: false,
            may_be_finished: false,
            left_behind: false,
            bits_missing: false,
            progress_shown: (0, 0),
            sectors: 0,
            receiving: None,
            resync: Progress::new(),
            checksums: false,
            verified: false,
            pacer: super::throttle::Pacer::new(),
            resync_cursor: 0,
            turn_left: 0,
            resize_pending: false,
            new_area_due: false,
            new_area_remembered: false,
        }
    }

    /// A new generation is about to begin: what the peer is told has to be whole.
    pub(crate) fn generation_is_due(&self) -> bool {
        self.uuid_pending || (self.uuid_deferred && self.state.thaws_by_fencing())
    }

    /// The disk fails by an error, and the policy calls for the helper local-io-error.
    pub(crate) fn calls_for_local_error(&self) -> bool {
        self.device.failed_by_error.load(Acquire) && self.disk.as_ref().is_some_and(|disk| disk.conf.on_io_error() == 1)
    }

    /// Number of the volume.
    pub(crate) fn number(&self) -> u16 {
        self.device.volume
    }

    /// Generations, with or without a disk.
    pub(crate) fn uuids(&self) -> Uuids {
        self.disk.as_ref().map_or(Uuids::default(), |disk| disk.uuids)
    }
}
