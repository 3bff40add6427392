// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* One line per check: "ok NAME", or "not ok NAME: what was seen". Names are unique. */

#define MAX_CHECKS 1024

int passed, failed;
static char *names[MAX_CHECKS];

static bool used(const char *name)
{
	int i;

	for (i = 0; i < passed + failed; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static void __result(const char *name, bool ok, const char *fmt, va_list args)
{
	char seen[1024];
	int i;

	if (passed + failed == MAX_CHECKS || used(name)) {
		printf("# one check too many: %s\n", name);
		abort();
	}
	names[passed + failed] = strdup(name);
	if (ok) {
		passed++;
		printf("ok %s\n", name);
		return;
	}
	failed++;
	vsnprintf(seen, sizeof(seen), fmt, args);
	for (i = 0; seen[i]; i++)
		if (seen[i] == '\n')
			seen[i] = '|';
	printf("not ok %s: %s\n", name, seen);
}

void result(const char *name, bool ok, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	__result(name, ok, fmt, args);
	va_end(args);
}

/* A check of its own within a case: NAME/WHAT. */
void sub_result(const char *name, const char *what, bool ok, const char *fmt, ...)
{
	char whole[128];
	va_list args;

	snprintf(whole, sizeof(whole), "%s/%s", name, what);
	va_start(args, fmt);
	__result(whole, ok, fmt, args);
	va_end(args);
}

/* A check that this kernel's configuration does not allow passes, with a remark. */
void skipped(const char *name, const char *why)
{
	printf("# skip %s: %s\n", name, why);
	result(name, true, "%s", why);
}

/* Was the load answered by @err (0: accepted), with @msg in the log? */
bool expect_load(const char *name, int got, int err, const char *msg)
{
	bool ok = got == err && (!msg || strstr(log_text, msg));

	result(name, ok, "errno %d (%s), expected %d %s; log: %s", got,
	       got ? strerror(got) : "accepted", err, msg ?: "", log_tail());
	return ok;
}

/* An ordinary load that is accepted. Returns the FD, or -1. */
int accept_prog(const char *name, const struct func *funcs, int n)
{
	int fd = load_prog(funcs, n);

	expect_load(name, fd < 0 ? -fd : 0, 0, NULL);
	return fd < 0 ? -1 : fd;
}

void refuse_prog(const char *name, const struct func *funcs, int n, int err, const char *msg)
{
	int fd = load_prog(funcs, n);

	expect_load(name, fd < 0 ? -fd : 0, err, msg);
	if (fd >= 0)
		close(fd);
}
