/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of the bindgen run that fills the gaps of kernel::bindings (see Kbuild and kapi/raw.rs):
 * headers it does not include, constants behind macros with casts (KAPI_ is stripped again), and
 * one-line inlines for macros, fields of structures it does not know, and static inlines.
 * Keep the inlines free of warnings with gcc and clang.
 */
#ifndef DRBD_KAPI_EXTRA_H
#define DRBD_KAPI_EXTRA_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/part_stat.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/timekeeping.h>
#include <linux/version.h>

/* memory */
static const gfp_t KAPI_GFP_NOIO = GFP_NOIO;
static const gfp_t KAPI___GFP_NORETRY = __GFP_NORETRY;

static inline void *kapi_page_address(struct page *page) { return page_address(page); }

/* locks, threads and time */
static inline bool kapi_spin_trylock_irqsave(spinlock_t *lock, unsigned long *flags)
{
	return spin_trylock_irqsave(lock, *flags);
}
static inline void kapi_allow_signal(int sig) { allow_signal(sig); }
static inline unsigned int kapi_noio_save(void) { return memalloc_noio_save(); }
static inline void kapi_noio_restore(unsigned int flags) { memalloc_noio_restore(flags); }
static inline void kapi_cond_resched(void) { cond_resched(); }
static inline long long kapi_real_seconds(void) { return ktime_get_real_seconds(); }

/* block I/O */
static const unsigned int KAPI_REQ_OP_MASK = REQ_OP_MASK;
static const unsigned int KAPI_REQ_SYNC = REQ_SYNC;
static const unsigned int KAPI_REQ_META = REQ_META;
static const unsigned int KAPI_REQ_PRIO = REQ_PRIO;
static const unsigned int KAPI_REQ_FUA = REQ_FUA;
static const unsigned int KAPI_REQ_PREFLUSH = REQ_PREFLUSH;
static const unsigned int KAPI_REQ_RAHEAD = REQ_RAHEAD;
static const unsigned int KAPI_REQ_BACKGROUND = REQ_BACKGROUND;
static const unsigned int KAPI_REQ_NOUNMAP = REQ_NOUNMAP;
static const unsigned int KAPI_REQ_ALLOC_CACHE = REQ_ALLOC_CACHE;
/* what a clone keeps of its parent's flags besides those the driver decides about */
static const unsigned int KAPI_KEPT_HINTS = REQ_IDLE | REQ_NOMERGE | REQ_SWAP | REQ_PRIO;

static const unsigned int KAPI_BLK_STS_IOERR = (unsigned int)BLK_STS_IOERR;
static const unsigned int KAPI_BLK_STS_NOTSUPP = (unsigned int)BLK_STS_NOTSUPP;
static const unsigned int KAPI_BLK_STS_TIMEOUT = (unsigned int)BLK_STS_TIMEOUT;
static const unsigned int KAPI_BLK_STS_NOSPC = (unsigned int)BLK_STS_NOSPC;
static const unsigned int KAPI_BLK_STS_MEDIUM = (unsigned int)BLK_STS_MEDIUM;
static const unsigned int KAPI_BLK_STS_RESOURCE = (unsigned int)BLK_STS_RESOURCE;

static const unsigned int KAPI_BLK_OPEN_READ = BLK_OPEN_READ;
static const unsigned int KAPI_BLK_OPEN_WRITE = BLK_OPEN_WRITE;
static const unsigned int KAPI_BLK_OPEN_EXCL = BLK_OPEN_EXCL;
static const unsigned int KAPI_BLK_OPEN_NDELAY = BLK_OPEN_NDELAY;
static const unsigned int KAPI_ZERO_NOUNMAP = BLKDEV_ZERO_NOUNMAP;
static const unsigned int KAPI_GENHD_FL_NO_PART = GENHD_FL_NO_PART;

static const unsigned int KAPI_BLK_FEAT_WRITE_CACHE = BLK_FEAT_WRITE_CACHE;
static const unsigned int KAPI_BLK_FEAT_FUA = BLK_FEAT_FUA;
static const unsigned int KAPI_BLK_FEAT_STABLE_WRITES = BLK_FEAT_STABLE_WRITES;
static const unsigned int KAPI_BLK_FEAT_IO_STAT = BLK_FEAT_IO_STAT;
static const unsigned int KAPI_BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE =
	BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE;

/* bytes of the current vector that the iterator has passed; the field has a new name in 7.3 */
static inline unsigned int kapi_bio_skip(struct bio *bio)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
	return bio->bi_iter.bi_offset;
#else
	return bio->bi_iter.bi_bvec_done;
#endif
}

static inline void kapi_bio_set_range(struct bio *bio, sector_t sector, unsigned int size,
				      unsigned int index, unsigned int skip)
{
	bio->bi_iter = (struct bvec_iter) {
		.bi_sector = sector, .bi_size = size, .bi_idx = index,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
		.bi_offset = skip,
#else
		.bi_bvec_done = skip,
#endif
	};
}

static inline void kapi_bio_set_cloned(struct bio *bio) { bio_set_flag(bio, BIO_CLONED); }

/* aims a bio at a device, on the account of src's control group (or the caller's) */
static inline void kapi_bio_attach(struct bio *bio, struct block_device *bdev, struct bio *src)
{
	bio->bi_bdev = bdev;
	if (src)
		bio_clone_blkg_association(bio, src);
	else
		bio_associate_blkg(bio);
}

static inline bool kapi_bdev_read_only(struct block_device *bdev) { return bdev_read_only(bdev); }
static inline bool kapi_bdev_write_cache(struct block_device *bdev) { return bdev_write_cache(bdev); }
static inline bool kapi_bdev_fua(struct block_device *bdev) { return bdev_fua(bdev); }
static inline unsigned int kapi_disk_openers(struct gendisk *disk) { return disk_openers(disk); }

/* Sectors read and written so far on the whole disk of a device. */
static inline unsigned long kapi_bdev_sectors_done(struct block_device *bdev)
{
	return part_stat_read_accum(bdev->bd_disk->part0, sectors);
}

static inline void kapi_bdev_name(struct block_device *bdev, char *buf, size_t size)
{
	snprintf(buf, size, "%pg", bdev);
}

static inline void kapi_limits_start_update(struct request_queue *q, struct queue_limits *lim)
{
	*lim = queue_limits_start_update(q);
}

#include "extra_net.h"

#endif
