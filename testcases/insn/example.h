/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The example of the series: kind 1 reads pt_regs->ip, 2 reads next_pid of sched_switch, 3 reads
 * skb->len. Counters 0 to 2 count the calls, counters 8 to 10 have what was read last.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include "insn.h"

#define EXAMPLE_SUB \
	SUB("bpf_subprog", \
	    BPF_JMP_IMM(BPF_JNE, R1, 1, 6), \
	    BPF_LDX_MEM(BPF_DW, R4, R2, 128), \
	    LD_VALUE(R5, MAP_COUNTERS, 0), \
	    BPF_STX_MEM(BPF_DW, R5, R4, 64), \
	    MOV_IMM(R0, 1), \
	    BPF_JMP_A(14), \
	    BPF_JMP_IMM(BPF_JNE, R1, 2, 6), \
	    BPF_LDX_MEM(BPF_W, R4, R3, 56), \
	    LD_VALUE(R5, MAP_COUNTERS, 8), \
	    BPF_STX_MEM(BPF_DW, R5, R4, 64), \
	    MOV_IMM(R0, 1), \
	    BPF_JMP_A(7), \
	    BPF_JMP_IMM(BPF_JNE, R1, 3, 8), \
	    BPF_LDX_MEM(BPF_W, R4, R2, 0), \
	    LD_VALUE(R5, MAP_COUNTERS, 16), \
	    BPF_STX_MEM(BPF_DW, R5, R4, 64), \
	    MOV_IMM(R0, 1), \
	    BPF_JMP_A(0), \
	    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R5, R0, 0), \
	    EXIT, \
	    RETURN(0))
/* @sub: number of that function */
#define EXAMPLE_KPROBE(sub) \
	ROOT("kp_root", KPROBE, \
	     MOV_REG(R2, R1), \
	     MOV_IMM(R1, 1), \
	     MOV_IMM(R3, 0), \
	     CALL_EXIT(sub))
#define EXAMPLE_TRACEPOINT(sub) \
	ROOT("tp_root", TRACEPOINT, \
	     MOV_REG(R3, R1), \
	     MOV_IMM(R1, 2), \
	     MOV_IMM(R2, 0), \
	     CALL_EXIT(sub))
#define EXAMPLE_CGROUP(sub) \
	ROOT_AS("cg_root", CGROUP_SKB, INGRESS, 0, \
		MOV_REG(R2, R1), \
		MOV_IMM(R1, 3), \
		MOV_IMM(R3, 0), \
		CALL_FUNC(sub), \
		RETURN(1))

#endif
