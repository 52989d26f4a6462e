// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU plugin that counts what the guest executes between two markers.
 *
 * A marker is the no-op `nopl N(%rax,%rax,1)` with N = 0x44524200 + code: odd codes start a
 * window, the following even code ends it. Iterations of `rep movs` and `rep stos` are counted
 * apart, in bytes: the emulator runs one per byte, hardware copies a page with one instruction.
 * One line per window goes to the file named by out=: START-CODE INSTRUCTIONS REP-BYTES.
 *
 * C because QEMU's plugin interface is C; the declarations below are the part of it we use.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
typedef struct {
	struct score *score;
	size_t offset;
} counter;

struct block;
struct insn;
struct info;
enum { ADD = 0, NO_REGISTERS = 0 };

struct score *qemu_plugin_scoreboard_new(size_t bytes);
void *qemu_plugin_scoreboard_find(struct score *score, unsigned cpu);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct block *block, int op, counter entry, uint64_t amount);
void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *insn, void (*executed)(unsigned, void *), int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct block *block);
struct insn *qemu_plugin_tb_get_insn(const struct block *block, size_t index);
size_t qemu_plugin_insn_data(const struct insn *insn, void *into, size_t bytes);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 4;

#define MARK 0x44524200u
enum { INSTRUCTIONS, REP_BYTES, COUNTERS };

static struct score *score;
static FILE *out;
static uint64_t begin[COUNTERS];
static unsigned begun;

static counter of(int which)
{
	return (counter){ score, which * sizeof(uint64_t) };
}

static void marked(unsigned cpu, void *data)
{
	const uint64_t *now = qemu_plugin_scoreboard_find(score, cpu);
	unsigned code = (uintptr_t)data;

	if (code & 1) {
		begun = code;
		memcpy(begin, now, sizeof(begin));
	} else if (begun) {
		fprintf(out, "%u %llu %llu\n", begun, (unsigned long long)(now[INSTRUCTIONS] - begin[INSTRUCTIONS]),
			(unsigned long long)(now[REP_BYTES] - begin[REP_BYTES]));
		fflush(out);
		begun = 0;
	}
}

/* Bytes one iteration of a repeated string instruction moves; 0: it is none. */
static unsigned rep_width(const uint8_t *code, size_t length)
{
	size_t at = 0;
	bool rep = false, wide = false, narrow = false;

	for (; at < length; at++) {
		if (code[at] == 0xf3)
			rep = true;
		else if (code[at] == 0x66)
			narrow = true;
		else if ((code[at] & 0xf0) == 0x40)
			wide = code[at] & 8;
		else
			break;
	}
	if (!rep || at >= length)
		return 0;
	if (code[at] == 0xa4 || code[at] == 0xaa)
		return 1;
	if (code[at] == 0xa5 || code[at] == 0xab)
		return wide ? 8 : narrow ? 2 : 4;
	return 0;
}

static void translated(plugin_id id, struct block *block)
{
	size_t count = qemu_plugin_tb_n_insns(block), plain = 0, i;

	(void)id;
	for (i = 0; i < count; i++) {
		struct insn *insn = qemu_plugin_tb_get_insn(block, i);
		uint8_t code[16];
		size_t length = qemu_plugin_insn_data(insn, code, sizeof(code));
		unsigned width = rep_width(code, length);
		uint32_t value = 0;

		if (width) {
			qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, ADD, of(REP_BYTES), width);
			continue;
		}
		plain++;
		if (length == 8 && !memcmp(code, "\x0f\x1f\x84\x00", 4)) {
			memcpy(&value, code + 4, 4);
			if ((value & ~0xffu) == MARK)
				qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, NO_REGISTERS, (void *)(uintptr_t)(value & 0xff));
		}
	}
	if (plain)
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, ADD, of(INSTRUCTIONS), plain);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct info *info, int argc, char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	if (!out)
		return -1;
	score = qemu_plugin_scoreboard_new(COUNTERS * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
