/* SPDX-License-Identifier: GPL-2.0 */
/* What several files of cases about calls of other programs' functions have in common */
#ifndef PROGCALL_H
#define PROGCALL_H

#include "insn.h"

#define MAIN(ty) ROOT("lib", ty, MOV_IMM(R0, 0), EXIT)
#define RETURN(n) MOV_IMM(R0, n), EXIT
#define STACK(reg, off) MOV_REG(reg, R10), BPF_ALU64_IMM(BPF_ADD, reg, off)

/* a call of function 1 of the library, and of a copy of it in the program itself */
enum { OF_LIBRARY, OF_PROGRAM };

const char *case_name(const char *id, int whose, const char *what);
int either(const char *id, const char *what, int whose, struct func *l, struct func c, int err, const char *msg);
#define EITHER_REFUSE(id, what, l, c, msg)                                \
	for (int whose = OF_LIBRARY; whose <= OF_PROGRAM; whose++)        \
		either(id, what, whose, l, c, EINVAL, msg)
#define EITHER_ACCEPT(id, what, l, c)                                     \
	for (int whose = OF_LIBRARY; whose <= OF_PROGRAM; whose++)        \
		close(either(id, what, whose, l, c, 0, NULL))

int map_of(const char *special);
/* the value of that map in R0 */
#define VALUE(map)                                                                                            \
	BPF_ST_MEM(BPF_W, R10, -4, 0), STACK(R2, -4), LD_MAP(R1, map), HELPER(map_lookup_elem),               \
		BPF_JMP_IMM(BPF_JNE, R0, 0, 2), RETURN(0)
/* allocates, where the task has none yet: may sleep in a program that may */
#define TASK_STORAGE(map)                                                                                     \
	HELPER(get_current_task_btf), MOV_REG(R2, R0), LD_MAP(R1, map), MOV_IMM(R3, 0), MOV_IMM(R4, 1),       \
		HELPER(task_storage_get)
#define SET_TIMER(map, k) VALUE(map), MOV_REG(R1, R0), LD_FUNC(R2, k), HELPER(timer_set_callback)

/* a tweak: the program is for the kernel's type attach_id */
extern int attach_id;
void attach_to(struct load *l);
int load_on(int type, int prog, int k, struct func *f, int n);
int attach_on(int fd, int type);

#endif
