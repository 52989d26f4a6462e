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
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/timekeeping.h>

static const gfp_t KAPI_GFP_NOIO = GFP_NOIO;
static const gfp_t KAPI___GFP_NORETRY = __GFP_NORETRY;

/* threads and time */
static inline void kapi_allow_signal(int sig) { allow_signal(sig); }
static inline unsigned int kapi_noio_save(void) { return memalloc_noio_save(); }
static inline void kapi_noio_restore(unsigned int flags) { memalloc_noio_restore(flags); }
static inline void kapi_cond_resched(void) { cond_resched(); }
static inline long long kapi_real_seconds(void) { return ktime_get_real_seconds(); }

#endif
