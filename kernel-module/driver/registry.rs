// SPDX-License-Identifier: GPL-2.0
//! Everything configured: resources by name, volumes by minor; and what all of them share.

use super::device::Device;
use super::prelude::*;
use super::resource::Resource;
use crate::kapi::genl::Family;
use crate::kapi::global::Global;
use crate::kapi::procfs::ProcFile;
use crate::kapi::disk::Major;
use crate::kapi::Runtime;

/// Where callbacks without context start.
pub(crate) static REGISTRY: Global<Registry> = Global::new();

/// See the module text. Lock order: `configuring`, `lists`, then a resource's `control`.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    pub(crate) lists: Mutex<Lists>,
    /// Log writers of all volumes.
    pub(crate) log_queue: WorkQueue,
    /// Late acknowledgements.
    pub(crate) ack_queue: WorkQueue,
    /// Helper programs that nobody waits for.
    pub(crate) helper_queue: WorkQueue,
    /// Held while names, minors and addresses are compared with those in use and then taken, and until the node of a deleted minor is gone.
    /// Taken after a resource's turn, before `lists`.
    #[pin]
    pub(crate) configuring: Mutex<()>,
    /// Held while resync-after dependencies are evaluated. Taken before `lists` and before any `control`.
    #[pin]
    pub(crate) dependencies: Mutex<()>,
    /// Held while a notification gets its number and is sent. Innermost of all mutexes.
    #[pin]
    pub(crate) notifications: Mutex<()>,
    /// Pages for data of the peers.
    pub(crate) pages: Arc<PagePool>,
}

/// The lists.
pub(crate) struct Lists {
    pub(crate) resources: KVec<Arc<Resource>>,
    /// Ascending by minor.
    pub(crate) devices: KVec<Arc<Device>>,
}

impl Registry {
    fn create() -> Result<Arc<Self>> {
        let log_queue = WorkQueue::new(c"drbd-log", WorkQueueKind::Unbound)?;
        let ack_queue = WorkQueue::new(c"drbd-ack", WorkQueueKind::HighPriority)?;
        let helper_queue = WorkQueue::new(c"drbd-helper", WorkQueueKind::Unbound)?;
        let pages = PagePool::new(512)?;
        let lists = Lists { resources: KVec::new(), devices: KVec::new() };
        Arc::pin_init(
            pin_init!(Self {
                lists <- new_mutex!(lists, "drbd_lists"),
                notifications <- new_mutex!((), "drbd_notifications"),
                configuring <- new_mutex!((), "drbd_configuring"),
                dependencies <- new_mutex!((), "drbd_dependencies"),
                log_queue, ack_queue, helper_queue, pages,
            }),
            GFP_KERNEL,
        )
    }

    /// The resource of this name.
    pub(crate) fn resource(&self, name: &[u8]) -> Option<Arc<Resource>> {
        self.lists.lock().resources.iter().find(|resource| resource.name() == name).cloned()
    }

    /// The volume of this minor.
    pub(crate) fn device(&self, minor: u32) -> Option<Arc<Device>> {
        self.lists.lock().devices.iter().find(|device| device.minor == minor).cloned()
    }

    /// The first volume with a minor of at least `minor`.
    pub(crate) fn next_device(&self, minor: u32) -> Option<Arc<Device>> {
        self.lists.lock().devices.iter().find(|device| device.minor >= minor).cloned()
    }

    /// Resource number `index`, in the order of creation.
    pub(crate) fn nth_resource(&self, index: usize) -> Option<Arc<Resource>> {
        self.lists.lock().resources.get(index).cloned()
    }
}

/// The running driver. Its parts go in the order they stand here.
pub(crate) struct Driver {
    _family: Family,
    _proc: ProcFile,
    _waits: ProcFile,
    _registered: Registered,
    _major: Major,
    runtime: Runtime,
}

struct Registered;

impl Drop for Registered {
    fn drop(&mut self) {
        REGISTRY.clear();
    }
}

impl Driver {
    /// Sets everything up.
    pub(crate) fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
        let major = Major::register()?;
        REGISTRY.set(Registry::create()?);
        let registered = Registered;
        let proc = ProcFile::create::<super::proc::Show>(c"drbd", 0o444)?;
        let waits = ProcFile::create::<super::waits::Show>(c"drbd_waits", 0o444)?;
        let family = Family::register::<super::admin::Admin>()?;
        pr_info!("initialized. Version: 8.4.11 (api:1/proto:86-101)\n");
        pr_info!("registered as block device major 147\n");
        Ok(Self { _family: family, _proc: proc, _waits: waits, _registered: registered, _major: major, runtime })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.runtime.flush();
        pr_info!("module cleanup done.\n");
    }
}
