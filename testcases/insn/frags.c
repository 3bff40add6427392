// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * Packets of XDP that are in several parts: what is copied within one packet is what memmove()
 * would copy, wherever one part ends and the next one begins.
 */

#define PACKET_SIZE 5000
#define FILLED 24

/* offsets are from the end of the first part */
static const struct copy {
	const char *name;
	int dst;
	int src;
	int size;
} copies[] = {
	/* the first bytes overwrite what is read for the last */
	{ "copy_from_linear_part_up_over_its_end", -70, -120, 100 },
	{ "copy_from_over_end_of_linear_part_up", 30, -20, 100 },
	{ "copy_of_chunks_up_over_end_of_linear_part", -250, -300, 600 },
	/* the last bytes overwrite what is read for the first */
	{ "copy_from_over_end_of_linear_part_down", -120, -70, 100 },
	{ "copy_from_second_part_down_over_its_start", -30, 20, 100 },
	{ "copy_of_chunks_down_over_end_of_linear_part", -300, -250, 600 },
	/* in one part */
	{ "copy_up_in_linear_part", -950, -1000, 100 },
	{ "copy_down_in_second_part", 100, 150, 100 },
	{ "copy_over_end_of_linear_part_to_itself", -50, -50, 100 },
	/* nothing overlaps */
	{ "copy_from_linear_part_over_its_end", -50, -1000, 100 },
};

/* Bytes of the packet that are in its first part. */
static int linear_size(void *packet)
{
	static const struct func prog[] = {
		ROOT_AS("l", XDP, 0, BPF_F_XDP_HAS_FRAGS,
			BPF_LDX_MEM(BPF_W, R2, R1, offsetof(struct xdp_md, data)),
			BPF_LDX_MEM(BPF_W, R0, R1, offsetof(struct xdp_md, data_end)),
			BPF_ALU64_REG(BPF_SUB, R0, R2),
			EXIT),
	};
	int fd = LOAD_PROG(prog), size = -1, err;

	err = test_run_packet(fd, packet, PACKET_SIZE, &size);
	result("packet_in_two_parts", !err && size > 2000 && size < PACKET_SIZE - 1000,
	       "FD %d, run %d, size %d: %s", fd, err, size, log_tail());
	close(fd);
	return size;
}

static int first_difference(const unsigned char *a, const unsigned char *b)
{
	int i;

	for (i = 0; i < PACKET_SIZE; i++)
		if (a[i] != b[i])
			return i;
	return -1;
}

/* Fills bytes on both sides of @end, writes into them, and copies. */
static void check_copy(const struct copy *copy, int end, const unsigned char *packet)
{
	const struct func prog[] = {
		ROOT_AS("c", XDP, 0, BPF_F_XDP_HAS_FRAGS,
			MOV_IMM(R2, 0),
			STACK(R3, -16),
			KFUNC(bpf_dynptr_from_xdp),
			STACK(R1, -16),
			MOV_IMM(R2, end - FILLED / 2),
			MOV_IMM(R3, FILLED),
			MOV_IMM(R4, 'M'),
			KFUNC(bpf_dynptr_memset),
			BPF_ST_MEM(BPF_W, R10, -24, 0x64636261),
			BPF_ST_MEM(BPF_W, R10, -20, 0x68676665),
			STACK(R1, -16),
			MOV_IMM(R2, end - 3),
			STACK(R3, -24),
			MOV_IMM(R4, 8),
			MOV_IMM(R5, 0),
			HELPER(dynptr_write),
			STACK(R1, -16),
			MOV_IMM(R2, end + copy->dst),
			STACK(R3, -16),
			MOV_IMM(R4, end + copy->src),
			MOV_IMM(R5, copy->size),
			KFUNC(bpf_dynptr_copy),
			EXIT),
	};
	static unsigned char wanted[PACKET_SIZE], out[PACKET_SIZE];
	int fd = LOAD_PROG(prog), ret = -1, err, diff;

	memcpy(wanted, packet, PACKET_SIZE);
	memset(wanted + end - FILLED / 2, 'M', FILLED);
	memcpy(wanted + end - 3, "abcdefgh", 8);
	memmove(wanted + end + copy->dst, wanted + end + copy->src, copy->size);
	memset(out, 0, sizeof(out));
	err = test_run_copy(fd, packet, PACKET_SIZE, out, &ret);
	diff = first_difference(out, wanted);
	result(copy->name, !err && !ret && diff < 0,
	       "FD %d, run %d, returns %d, byte %d of %d differs: %s", fd, err, ret, diff, end,
	       log_tail());
	close(fd);
}

static void scenarios(void)
{
	static unsigned char packet[PACKET_SIZE];
	unsigned int x = 1;
	size_t i;
	int end;

	/* no two places look alike */
	for (i = 0; i < sizeof(packet); i++) {
		x = x * 1103515245 + 12345;
		packet[i] = x >> 16;
	}
	end = linear_size(packet);
	for (i = 0; i < ARRAY_SIZE(copies); i++)
		check_copy(&copies[i], end, packet);
	rcu_settle();
}

const struct insn_group frags_group = {
	.name = "frags",
	.scenarios = scenarios,
};
