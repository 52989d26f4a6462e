// SPDX-License-Identifier: GPL-2.0
/*
 * Load generator of the measurements: direct I/O through the kernel's own asynchronous
 * interface, with the markers that count.c looks for around it.
 *
 *   load CODE DEVICE read|write BYTES DEPTH COUNT [random] [dsync]
 *   load mark CODE
 *
 * The first form does a quarter of COUNT to warm up, then COUNT requests between marker CODE
 * (odd) and CODE + 1. C because the marker is an instruction.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MARKERS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) \
	X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31) X(32) X(33) X(34) X(35) X(36) X(37) X(38)

static void mark(int code)
{
	switch (code) {
#define ONE(n) case n: __asm__ volatile("nopl 0x44524200+" #n "(%%rax,%%rax,1)" ::: "memory"); break;
	MARKERS(ONE)
	}
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

struct job {
	int fd, write, depth, random;
	size_t bytes;
	uint64_t blocks, at, seed;
	char *memory;
	aio_context_t context;
};

static void prepare(struct job *job, struct iocb *request, int slot)
{
	uint64_t block = job->random ? next_random(&job->seed) % job->blocks : job->at++ % job->blocks;

	memset(request, 0, sizeof(*request));
	request->aio_fildes = job->fd;
	request->aio_lio_opcode = job->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	request->aio_buf = (uintptr_t)(job->memory + (size_t)slot * job->bytes);
	request->aio_nbytes = job->bytes;
	request->aio_offset = block * job->bytes;
	request->aio_data = slot;
}

/* Whatever has completed is replaced by as many requests, submitted together. */
static void run(struct job *job, long count)
{
	struct iocb requests[64], *list[64];
	struct io_event done[64];
	long started = 0, finished = 0;
	int slot, ready = 0;

	for (slot = 0; slot < job->depth && started < count; slot++, started++) {
		prepare(job, &requests[slot], slot);
		list[ready++] = &requests[slot];
	}
	for (;;) {
		long got, i;

		if (ready && syscall(SYS_io_submit, job->context, ready, list) != ready)
			fail("io_submit");
		if (finished == count)
			return;
		do
			got = syscall(SYS_io_getevents, job->context, 1, 64, done, NULL);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			fail("io_getevents");
		for (ready = 0, i = 0; i < got; i++, finished++) {
			if (done[i].res != (int64_t)job->bytes) {
				fprintf(stderr, "request failed: %lld\n", (long long)done[i].res);
				exit(1);
			}
			if (started == count)
				continue;
			prepare(job, &requests[done[i].data], done[i].data);
			list[ready++] = &requests[done[i].data];
			started++;
		}
	}
}

int main(int argc, char **argv)
{
	struct job job = { .seed = 88172645463325252ull };
	uint64_t size;
	long count;
	int code, flags, i;

	if (argc == 3 && !strcmp(argv[1], "mark")) {
		mark(atoi(argv[2]));
		return 0;
	}
	if (argc < 7) {
		fprintf(stderr, "usage: load CODE DEVICE read|write BYTES DEPTH COUNT [random] [dsync]\n");
		return 2;
	}
	code = atoi(argv[1]);
	job.write = !strcmp(argv[3], "write");
	job.bytes = atol(argv[4]);
	job.depth = atoi(argv[5]);
	count = atol(argv[6]);
	flags = O_DIRECT | (job.write ? O_RDWR : O_RDONLY);
	for (i = 7; i < argc; i++) {
		job.random |= !strcmp(argv[i], "random");
		flags |= !strcmp(argv[i], "dsync") ? O_DSYNC : 0;
	}
	if (job.depth < 1 || job.depth > 64)
		return 2;
	job.fd = open(argv[2], flags);
	if (job.fd < 0 || ioctl(job.fd, BLKGETSIZE64, &size))
		fail(argv[2]);
	job.blocks = size / job.bytes;
	if (posix_memalign((void **)&job.memory, 4096, job.bytes * job.depth))
		fail("memory");
	memset(job.memory, 0x5a, job.bytes * job.depth);
	if (syscall(SYS_io_setup, 64, &job.context))
		fail("io_setup");
	run(&job, count / 4 + 1);
	mark(code);
	run(&job, count);
	if (job.write)
		usleep(50000); /* what the peer still has to do belongs to the window */
	mark(code + 1);
	return 0;
}
