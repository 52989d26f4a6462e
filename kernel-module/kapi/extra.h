/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of the bindgen run that fills the gaps of kernel::bindings (see Kbuild and kapi/raw.rs):
 * headers it does not include, constants behind macros with casts (KAPI_ is stripped again), and
 * one-line inlines for macros, fields of structures it does not know, and static inlines.
 * Keep the inlines free of warnings with gcc and clang.
 */
#ifndef DRBD_KAPI_EXTRA_H
#define DRBD_KAPI_EXTRA_H

#include <linux/gfp.h>

static const gfp_t KAPI_GFP_NOIO = GFP_NOIO;

static inline unsigned long kapi_jiffies(void) { return jiffies; }

#endif
