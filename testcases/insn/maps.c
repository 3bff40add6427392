// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What a program type may do with a map is checked for each root that reaches it, for no other root.
 */

void maps_cases(void)
{
	int pea = map_create(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0);
	/* maps */
	{
		int sl = map_create_btf(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, 3);
		struct func s = SUB("s", BPF_JMP_IMM(BPF_JNE, R1, 2, 6), BPF_ST_MEM(BPF_W, R10, -4, 0),
				    MOV_REG(R2, R10), BPF_ALU64_IMM(BPF_ADD, R2, -4), LD_MAP(R1, sl),
				    HELPER(map_lookup_elem), MOV_IMM(R0, 0), EXIT);
		struct func f[] = { ROOT("kp", KPROBE, MOV_IMM(R1, 1), CALL_EXIT(2)),
				    ROOT("xd", XDP, MOV_IMM(R1, 2), CALL_EXIT(2)), s };
		ACCEPT_CLOSE("T26 spin_lock map in X arm", f);
		struct func g[] = { ROOT("kp", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)),
				    ROOT("xd", XDP, MOV_IMM(R1, 2), CALL_EXIT(2)), s };
		REFUSE("T26b spin_lock map live in K", g, EINVAL, "progs cannot use bpf_spin_lock yet");
		close(sl);
	}
	{
		struct func s =
			SUB("s", BPF_JMP_IMM(BPF_JNE, R1, 2, 2), LD_MAP(R1, pea), MOV_IMM(R0, 0), EXIT);
		struct func f[] = { ROOTE("ka", KPROBE, 0, BPF_F_SLEEPABLE, MOV_IMM(R1, 2), CALL_EXIT(2)),
				    ROOT("kb", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)), s };
		REFUSE("T27 sleepable perf array", f, EINVAL, "Sleepable programs can only use array");
		struct func g[] = { ROOTE("ka", KPROBE, 0, BPF_F_SLEEPABLE, MOV_IMM(R1, 1), CALL_EXIT(2)),
				    ROOT("kb", KPROBE, MOV_IMM(R1, 2), CALL_EXIT(2)), s };
		ACCEPT_CLOSE("T27b perf array dead for sleepable", g);
		struct func h[] = { g[1], g[0], s };
		ACCEPT_CLOSE("T27c other order", h);
	}
	{
		int h8 = map_create(BPF_MAP_TYPE_HASH, 4, 8, 2, 0);
		struct func s = SUB("s", BPF_ST_MEM(BPF_W, R10, -4, 0), MOV_REG(R2, R10),
				    BPF_ALU64_IMM(BPF_ADD, R2, -4), HELPER(map_lookup_elem),
				    BPF_JMP_IMM(BPF_JEQ, R0, 0, 2), BPF_ST_MEM(BPF_DW, R0, 0, 5),
				    MOV_IMM(R0, 4), EXIT);
		s.insns[5].off = 56;
		struct func f[] = { ROOT("xa", XDP, LD_MAP(R1, h8), CALL_EXIT(2)),
				    ROOT("xb", XDP, LD_MAP(R1, array_map), CALL_EXIT(2)), s };
		REFUSE("T28 map by value_size", f, EACCES,
		       "invalid access to map value, value_size=8 off=56");
		struct func r[] = { f[1], f[0], s };
		REFUSE("T28b other order", r, EACCES, "invalid access to map value, value_size=8 off=56");
		struct bpf_insn ok[8];
		memcpy(ok, s.insns, 64);
		ok[5].off = 0;
		s.insns = ok;
		s.n = 8;
		uint64_t z = 0, v[8];
		map_set(h8, 0, &z);
		struct func q[] = { ROOT("xa", XDP, LD_MAP(R1, h8), CALL_FUNC(2), EXIT),
				    ROOT("kb", XDP, LD_MAP(R1, array_map), CALL_FUNC(2), EXIT), s };
		int a = -1, b = -1;
		char zz[64] = "";
		map_set(array_map, 0, zz);
		if (ACCEPT("T28c two maps, lookup not inlined", q)) {
			test_run(loaded.fds[0], &a);
			test_run(loaded.fds[1], &b);
			map_get(h8, 0, &z);
			map_get(array_map, 0, v);
			result("T28c/run", a == 4 && b == 4 && z == 5 && v[0] == 5,
			       "%d %d hash %llu array %llu", a, b, (long long)z, (long long)v[0]);
		}
		close_all(&loaded);
		close(h8);
	}
	{
		int m0 = map_create(BPF_MAP_TYPE_CGROUP_STORAGE, sizeof(struct bpf_cgroup_storage_key), 8, 0,
				    0),
		    m1 = map_create(BPF_MAP_TYPE_CGROUP_STORAGE, sizeof(struct bpf_cgroup_storage_key), 8, 0,
				    0);
		struct func s = SUB("s", MOV_IMM(R2, 0), HELPER(get_local_storage), MOV_IMM(R1, 1),
				    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0), BPF_LDX_MEM(BPF_DW, R1, R0, 0),
				    LD_VALUE(R2, counter_map, 0), BPF_STX_MEM(BPF_DW, R2, R1, 0),
				    MOV_IMM(R0, 0), EXIT);
		struct func f[] = {
			ROOTE("ga", CGROUP_SKB, 0, 0, LD_MAP(R1, m0), CALL_FUNC(2), MOV_IMM(R0, 1), EXIT),
			ROOTE("gb", CGROUP_SKB, 0, 0, LD_MAP(R1, m1), CALL_FUNC(2), MOV_IMM(R0, 1), EXIT), s
		};
		counters_zero();
		if (ACCEPT("T30 cgroup storage per root", f)) {
			uint64_t v[16];
			int e = cgroup_attach(loaded.fds[1], 0, 0);
			udp_ping(4);
			counters_read(v);
			result("T30/run", !e && v[0] == 4, "attach %d counter %llu", e, (long long)v[0]);
			cgroup_attach(loaded.fds[1], 0, 1);
		}
		close_all(&loaded);
		struct func g[] = { ROOTE("ga", CGROUP_SKB, 0, 0, LD_MAP(R1, m0), CALL_FUNC(2),
					  LD_MAP(R1, m1), CALL_FUNC(2), MOV_IMM(R0, 1), EXIT),
				    ROOTE("gb", CGROUP_SKB, 0, 0, MOV_IMM(R0, 1), EXIT), s };
		REFUSE("T30b two storages in one root", g, EBUSY,
		       "only one cgroup storage of each type is allowed");
		close(m0);
		close(m1);
	}
	close(pea);
}
