/* SPDX-License-Identifier: GPL-2.0 */
/* Load, run, attach and close groups of roots from many tasks at once. */
#ifndef STORM_H
#define STORM_H

#include "../insn/insn.h"

#define MAX_WORKERS 20

/* Shared by all workers: what each has done, and whether it is time to stop. */
struct board {
	volatile int stop;
	int prog_array;
	int library; /* a program with a function that many call */
	struct {
		volatile unsigned long done;	/* rounds that did what they are for */
		volatile unsigned long odd;	/* what must not happen */
		char why[128];			/* the first of them */
	} worker[MAX_WORKERS];
};
extern struct board *board;
extern int me;

/* A worker does one round of its work. */
struct work {
	const char *name;
	void (*round)(void);
};
extern const struct work works[];
extern const size_t nr_works;

__attribute__((format(printf, 1, 2))) void odd(const char *fmt, ...);
void done(void);
void expect_run(int fd, int wanted);

int load_library(void);
void call_and_close(void);
void call_through(void);
void call_group(void);
void call_shared(void);
void replace_shared(void);

#endif
