// SPDX-License-Identifier: GPL-2.0
#include "storm.h"

/* Programs that call functions of other programs, and go in any order. */

#define CALLER(k) ROOT("storm_caller", XDP, MOV_IMM(R1, 5), CALL_PROG(0, k), EXIT)
#define LIBRARY_OF(nm, ...) ROOT("storm_lib", XDP, MOV_IMM(R0, 2), EXIT), EXPORT(nm, PROTO_INT, __VA_ARGS__)

static int load_quietly(const struct func *f, int n)
{
	prepare_prog(f, n);
	no_log(&loaded, 0);
	return load_prepared();
}

static int checked(int fd)
{
	if (fd < 0)
		odd("load: errno %d", -fd);
	return fd;
}

int load_library(void)
{
	struct func lib[] = { LIBRARY_OF("storm_f", IDENTITY) };

	return load_quietly(lib, ARRAY_SIZE(lib));
}

/* Library and caller, either of which is closed first. */
void call_and_close(void)
{
	struct func caller[] = { CALLER(1) };
	int lib = checked(load_library()), fd;

	if (lib < 0)
		return;
	fd_array[0] = lib;
	fd = checked(load_quietly(caller, 1));
	if (rand() & 1) {
		close(lib);
		lib = -1;
	}
	if (fd >= 0) {
		expect_run(fd, 5);
		close(fd);
	}
	if (lib >= 0) {
		expect_run(lib, 2);
		close(lib);
	}
	done();
}

/* Three programs in a row, and nothing but the last one is held. */
void call_through(void)
{
	struct func middle[] = { LIBRARY_OF("storm_g", CALL_PROG(0, 1), EXIT) };
	struct func caller[] = { CALLER(1) };
	int lib = checked(load_library()), next, fd;

	if (lib < 0)
		return;
	fd_array[0] = lib;
	next = checked(load_quietly(middle, ARRAY_SIZE(middle)));
	close(lib);
	fd_array[0] = next;
	fd = next < 0 ? -1 : checked(load_quietly(caller, 1));
	close(next);
	if (fd < 0)
		return;
	expect_run(fd, 5);
	close(fd);
	done();
}

/* A group, a caller of one of its roots, and a caller that is refused. */
void call_group(void)
{
	struct func group[] = { ROOT("storm_k", KPROBE, MOV_IMM(R0, 0), EXIT), ROOT("storm_x", XDP, MOV_IMM(R0, 2), EXIT),
				EXPORT("storm_f", PROTO_INT, IDENTITY) };
	struct func caller[] = { CALLER(2) };
	int roots[2], first = rand() & 1, fd, wrong;

	load_prepare(&loaded, group, ARRAY_SIZE(group));
	if (load_do(&loaded)) {
		odd("group: errno %d: %s", loaded.err, log_tail());
		return;
	}
	memcpy(roots, loaded.fds, sizeof(roots));
	fd_array[0] = roots[0];
	wrong = load_quietly(caller, 1);
	if (wrong != -EINVAL)
		odd("call of a kprobe's function by XDP: %d", wrong);
	fd_array[0] = roots[1];
	fd = checked(load_quietly(caller, 1));
	close(roots[first]);
	if (fd >= 0) {
		expect_run(fd, 5);
		close(fd);
		done();
	}
	close(roots[!first]);
}

/* Either the library is called, or it is replaced: never both. */
void call_shared(void)
{
	struct func caller[] = { CALLER(1) };
	int fd;

	fd_array[0] = board->library;
	fd = load_quietly(caller, 1);
	if (fd == -EBUSY)
		return;
	if (checked(fd) < 0)
		return;
	expect_run(fd, 5);
	close(fd);
	done();
}

void replace_shared(void)
{
	struct func ext[] = { EXTENSION("storm_ext", PROTO_INT, RETURN(77)) };
	union bpf_attr attr;
	int fd, link;

	prepare_prog(ext, 1);
	loaded.attr.attach_prog_fd = board->library;
	loaded.attr.attach_btf_id = BTF_FUNC0 + 1;
	fd = checked(load_prepared());
	if (fd < 0)
		return;
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = fd;
	link = bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
	if (link >= 0)
		close(link);
	else if (errno != EBUSY)
		odd("freplace: errno %d", errno);
	close(fd);
	done();
}
