// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters and version. Rust's module! macro knows only integers that never show up
 * under /sys/module/drbd/parameters, so these few lines are C. Names, modes and defaults:
 * netlink-and-tools.md section 9. Read by kapi/params.rs.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>

extern char drbd_usermode_helper[80];
extern unsigned int drbd_minor_count;
extern bool drbd_disable_sendpage;
extern int drbd_proc_details;
extern bool drbd_allow_oos;

char drbd_usermode_helper[80] = "/sbin/drbdadm";
unsigned int drbd_minor_count = 32;
bool drbd_disable_sendpage;
int drbd_proc_details;
bool drbd_allow_oos;

module_param_string(usermode_helper, drbd_usermode_helper, sizeof(drbd_usermode_helper), 0644);
MODULE_PARM_DESC(usermode_helper, "program called on events, with the event as first argument");

module_param_named(minor_count, drbd_minor_count, uint, 0444);
MODULE_PARM_DESC(minor_count, "approximate number of devices, 1..255; sizes memory pools");

module_param_named(disable_sendpage, drbd_disable_sendpage, bool, 0644);
MODULE_PARM_DESC(disable_sendpage, "copy data into socket buffers instead of lending pages");

module_param_named(proc_details, drbd_proc_details, int, 0644);
MODULE_PARM_DESC(proc_details, "amount of detail in /proc/drbd: 0, 1 or 2");

module_param_named(allow_oos, drbd_allow_oos, bool, 0);
MODULE_PARM_DESC(allow_oos, "allow read-only opening of a Secondary; for debugging");

MODULE_VERSION("8.4.11");
