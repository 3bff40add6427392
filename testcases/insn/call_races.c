// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/*
 * What another thread does while a caller is loaded: puts another program into fd_array, closes the
 * callee, or replaces the function that is called.
 */

#define ROUNDS 300

static const struct func library[] = { XDP_MAIN, EXPORT("f", PROTO_INT, IDENTITY) };

static const struct func twice[] = {
	ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), MOV_REG(R1, R0), CALL_PROG(0, 2), EXIT),
};

static const struct func caller[] = {
	ROOT("c", XDP, MOV_IMM(R1, 5), CALL_PROG(0, 1), EXIT),
};

static bool over;
static int xdp_lib, tc_lib, ext, attached, refused;

static bool is_over(void)
{
	return __atomic_load_n(&over, __ATOMIC_RELAXED);
}

static void set_over(bool value)
{
	__atomic_store_n(&over, value, __ATOMIC_RELAXED);
}

static void *swap_fds(void *arg)
{
	while (!is_over()) {
		__atomic_store_n(&fd_array[0], tc_lib, __ATOMIC_RELAXED);
		__atomic_store_n(&fd_array[0], xdp_lib, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * Two functions of the same FD, which is read for each of them: both are of a program of the type
 * of the caller, or the load fails.
 */
static void swapped_fd(void)
{
	static const struct func two[] = {
		XDP_MAIN,
		EXPORT("f", PROTO_INT, IDENTITY),
		EXPORT("g", PROTO_INT, IDENTITY),
	};
	static const struct func other[] = {
		MAIN(TC),
		EXPORT("f", PROTO_INT, RETURN(70)),
		EXPORT("g", PROTO_INT, RETURN(71)),
	};
	int before, i, fd, ret, loads = 0, failures = 0, wrong = 0, error = 0, returned = 5;
	char said[256] = "";
	pthread_t thread;

	rcu_settle();
	before = count_progs();
	xdp_lib = LOAD_PROG(two);
	tc_lib = LOAD_PROG(other);
	fd_array[0] = xdp_lib; /* the thread may be late */
	set_over(false);
	if (pthread_create(&thread, NULL, swap_fds, NULL))
		return;
	for (i = 0; i < ROUNDS; i++) {
		fd = LOAD_PROG(twice);
		if (fd < 0) {
			failures++;
			if (fd != -EINVAL) {
				wrong++;
				error = fd;
				snprintf(said, sizeof(said), "%s", log_tail());
			}
			continue;
		}
		loads++;
		ret = -1;
		test_run(fd, &ret);
		if (ret != 5) {
			wrong++;
			returned = ret;
		}
		close(fd);
	}
	set_over(true);
	pthread_join(thread, NULL);
	close(xdp_lib);
	close(tc_lib);
	for (i = 0; i < 20 && count_progs() != before; i++)
		rcu_settle();
	result("fd_swapped_while_caller_is_loaded", !wrong && count_progs() == before,
	       "%d loaded, %d not, %d wrong: %d, returns %d; %d programs, %d before; log: %s",
	       loads, failures, wrong, error, returned, count_progs(), before, said);
}

static void *replace(void *arg)
{
	int link;

	while (!is_over()) {
		link = attach_link(ext, 0);
		if (link >= 0) {
			attached++;
			usleep(1000);
			close(link);
		} else {
			refused++;
			usleep(500);
		}
	}
	return NULL;
}

/* Who is first keeps the other out: the callee of a caller that runs is never the extension. */
static void replaced(void)
{
	static const struct func returns_77 = EXTENSION("f", PROTO_INT, RETURN(77));
	int before, i, fd, ret, loads = 0, busy = 0, wrong = 0;
	pthread_t thread;

	rcu_settle();
	before = count_progs();
	xdp_lib = LOAD_PROG(library);
	fd_array[0] = xdp_lib;
	ext = load_on(BPF_PROG_TYPE_EXT, xdp_lib, 1, &returns_77);
	set_over(false);
	if (pthread_create(&thread, NULL, replace, NULL))
		return;
	for (i = 0; i < ROUNDS / 3; i++) {
		fd = LOAD_PROG(caller);
		if (fd < 0) {
			busy++;
			wrong += fd != -EBUSY;
			continue;
		}
		loads++;
		ret = -1;
		test_run(fd, &ret);
		wrong += ret != 5;
		close(fd);
		/* until the callee is let go */
		usleep(30000);
	}
	set_over(true);
	pthread_join(thread, NULL);
	close(ext);
	close(xdp_lib);
	for (i = 0; i < 20 && count_progs() != before; i++)
		rcu_settle();
	result("callee_replaced_while_caller_is_loaded", !wrong && count_progs() == before,
	       "%d loaded, %d busy, %d wrong, attached %d, refused %d; %d programs, %d before",
	       loads, busy, wrong, attached, refused, count_progs(), before);
	printf("# races: %d loaded, %d busy, attached %d, refused %d\n", loads, busy, attached,
	       refused);
}

static void scenarios(void)
{
	swapped_fd();
	replaced();
}

const struct insn_group call_races_group = {
	.name = "call_races",
	.scenarios = scenarios,
};
