// Source: oracle/dtrace#6 (97 quantize() actions: 16 MiB of log and "No space left on device" though the program is fine); oracle/dtrace-utils bpf/agg_qbin.c is the kind of code (own code)
// Expected: reject, "BPF program is too large. Processed 1000001 insn" (bpftool in the same guest: E2BIG after 40 s); never a crash or a time-out, nor ENOSPC taken for a verdict. 127 bins by comparison, 97 uses, one shared function, from two program types.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct bins {
	__u64 count[128];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bins);
} aggregation SEC(".maps");

/* Which power of two, without help from the CPU: a step for each. */
static __attribute__((noinline)) int bin_of(long value)
{
	if (value >= 4611686018427387904L)
		return 126;
	if (value >= 2305843009213693952L)
		return 125;
	if (value >= 1152921504606846976L)
		return 124;
	if (value >= 576460752303423488L)
		return 123;
	if (value >= 288230376151711744L)
		return 122;
	if (value >= 144115188075855872L)
		return 121;
	if (value >= 72057594037927936L)
		return 120;
	if (value >= 36028797018963968L)
		return 119;
	if (value >= 18014398509481984L)
		return 118;
	if (value >= 9007199254740992L)
		return 117;
	if (value >= 4503599627370496L)
		return 116;
	if (value >= 2251799813685248L)
		return 115;
	if (value >= 1125899906842624L)
		return 114;
	if (value >= 562949953421312L)
		return 113;
	if (value >= 281474976710656L)
		return 112;
	if (value >= 140737488355328L)
		return 111;
	if (value >= 70368744177664L)
		return 110;
	if (value >= 35184372088832L)
		return 109;
	if (value >= 17592186044416L)
		return 108;
	if (value >= 8796093022208L)
		return 107;
	if (value >= 4398046511104L)
		return 106;
	if (value >= 2199023255552L)
		return 105;
	if (value >= 1099511627776L)
		return 104;
	if (value >= 549755813888L)
		return 103;
	if (value >= 274877906944L)
		return 102;
	if (value >= 137438953472L)
		return 101;
	if (value >= 68719476736L)
		return 100;
	if (value >= 34359738368L)
		return 99;
	if (value >= 17179869184L)
		return 98;
	if (value >= 8589934592L)
		return 97;
	if (value >= 4294967296L)
		return 96;
	if (value >= 2147483648L)
		return 95;
	if (value >= 1073741824L)
		return 94;
	if (value >= 536870912L)
		return 93;
	if (value >= 268435456L)
		return 92;
	if (value >= 134217728L)
		return 91;
	if (value >= 67108864L)
		return 90;
	if (value >= 33554432L)
		return 89;
	if (value >= 16777216L)
		return 88;
	if (value >= 8388608L)
		return 87;
	if (value >= 4194304L)
		return 86;
	if (value >= 2097152L)
		return 85;
	if (value >= 1048576L)
		return 84;
	if (value >= 524288L)
		return 83;
	if (value >= 262144L)
		return 82;
	if (value >= 131072L)
		return 81;
	if (value >= 65536L)
		return 80;
	if (value >= 32768L)
		return 79;
	if (value >= 16384L)
		return 78;
	if (value >= 8192L)
		return 77;
	if (value >= 4096L)
		return 76;
	if (value >= 2048L)
		return 75;
	if (value >= 1024L)
		return 74;
	if (value >= 512L)
		return 73;
	if (value >= 256L)
		return 72;
	if (value >= 128L)
		return 71;
	if (value >= 64L)
		return 70;
	if (value >= 32L)
		return 69;
	if (value >= 16L)
		return 68;
	if (value >= 8L)
		return 67;
	if (value >= 4L)
		return 66;
	if (value >= 2L)
		return 65;
	if (value >= 1L)
		return 64;
	if (value <= -4611686018427387904L)
		return 0;
	if (value <= -2305843009213693952L)
		return 1;
	if (value <= -1152921504606846976L)
		return 2;
	if (value <= -576460752303423488L)
		return 3;
	if (value <= -288230376151711744L)
		return 4;
	if (value <= -144115188075855872L)
		return 5;
	if (value <= -72057594037927936L)
		return 6;
	if (value <= -36028797018963968L)
		return 7;
	if (value <= -18014398509481984L)
		return 8;
	if (value <= -9007199254740992L)
		return 9;
	if (value <= -4503599627370496L)
		return 10;
	if (value <= -2251799813685248L)
		return 11;
	if (value <= -1125899906842624L)
		return 12;
	if (value <= -562949953421312L)
		return 13;
	if (value <= -281474976710656L)
		return 14;
	if (value <= -140737488355328L)
		return 15;
	if (value <= -70368744177664L)
		return 16;
	if (value <= -35184372088832L)
		return 17;
	if (value <= -17592186044416L)
		return 18;
	if (value <= -8796093022208L)
		return 19;
	if (value <= -4398046511104L)
		return 20;
	if (value <= -2199023255552L)
		return 21;
	if (value <= -1099511627776L)
		return 22;
	if (value <= -549755813888L)
		return 23;
	if (value <= -274877906944L)
		return 24;
	if (value <= -137438953472L)
		return 25;
	if (value <= -68719476736L)
		return 26;
	if (value <= -34359738368L)
		return 27;
	if (value <= -17179869184L)
		return 28;
	if (value <= -8589934592L)
		return 29;
	if (value <= -4294967296L)
		return 30;
	if (value <= -2147483648L)
		return 31;
	if (value <= -1073741824L)
		return 32;
	if (value <= -536870912L)
		return 33;
	if (value <= -268435456L)
		return 34;
	if (value <= -134217728L)
		return 35;
	if (value <= -67108864L)
		return 36;
	if (value <= -33554432L)
		return 37;
	if (value <= -16777216L)
		return 38;
	if (value <= -8388608L)
		return 39;
	if (value <= -4194304L)
		return 40;
	if (value <= -2097152L)
		return 41;
	if (value <= -1048576L)
		return 42;
	if (value <= -524288L)
		return 43;
	if (value <= -262144L)
		return 44;
	if (value <= -131072L)
		return 45;
	if (value <= -65536L)
		return 46;
	if (value <= -32768L)
		return 47;
	if (value <= -16384L)
		return 48;
	if (value <= -8192L)
		return 49;
	if (value <= -4096L)
		return 50;
	if (value <= -2048L)
		return 51;
	if (value <= -1024L)
		return 52;
	if (value <= -512L)
		return 53;
	if (value <= -256L)
		return 54;
	if (value <= -128L)
		return 55;
	if (value <= -64L)
		return 56;
	if (value <= -32L)
		return 57;
	if (value <= -16L)
		return 58;
	if (value <= -8L)
		return 59;
	if (value <= -4L)
		return 60;
	if (value <= -2L)
		return 61;
	if (value <= -1L)
		return 62;
	return 63;
}

static __attribute__((always_inline)) inline void quantize(struct bins *b, long value)
{
	int bin = bin_of(value);

	if (bin >= 0 && bin < 128)
		b->count[bin]++;
}

#define FIVE(v) quantize(b, v); quantize(b, v + 1); quantize(b, v + 2); quantize(b, v + 3); quantize(b, v + 4);
#define FIFTY(v) FIVE(v) FIVE(v ^ 1) FIVE(v ^ 2) FIVE(v ^ 3) FIVE(v ^ 4) FIVE(v ^ 5) FIVE(v ^ 6) FIVE(v ^ 7) FIVE(v ^ 8) FIVE(v ^ 9)

static __attribute__((noinline)) int clause(long value)
{
	__u32 zero = 0;
	struct bins *b = bpf_map_lookup_elem(&aggregation, &zero);

	if (!b)
		return 0;
	FIFTY(value)
	FIVE(value * 3)
	FIVE(value * 4)
	FIVE(value * 5)
	FIVE(value * 6)
	FIVE(value * 7)
	FIVE(value * 8)
	FIVE(value * 9)
	FIVE(value * 10)
	FIVE(value * 11)
	quantize(b, -value);
	quantize(b, value >> 3);
	return 1;
}

SEC("tp/syscalls/sys_enter_getpgid")
int entry(struct trace_event_raw_sys_enter *ctx)
{
	clause(ctx->args[0]);
	return 0;
}

SEC("kprobe/__set_task_comm")
int fbt(struct pt_regs *ctx)
{
	clause(ctx->di);
	return 0;
}
