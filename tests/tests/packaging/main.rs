// SPDX-License-Identifier: GPL-2.0
//! System integration without a machine (issue 4 line 5): the scripts of `packaging/` run on the
//! host with stand-ins for drbdadm, the cluster and LVM, which record how they are called.

mod bed;
mod dkms;
mod fencing;
mod files;
mod guide;
mod handlers;
mod heartbeat;
mod init_script;
mod ocf;
mod ocf_parameters;
