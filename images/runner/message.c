// SPDX-License-Identifier: GPL-2.0-only
/* What libbpf says, and how errors are put. */
#include "runner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct messages messages;

/*
 * libbpf tells only in words whether the kernel refused a program or something before or
 * after that went wrong (libbpf.c, bpf_object_load_prog() and init_prog_array_slots()).
 */
static int note(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char text[1024];
	const char *p;
	va_list copy;

	if (level == LIBBPF_DEBUG)
		return 0;
	va_copy(copy, args);
	vsnprintf(text, sizeof(text), fmt, copy);
	va_end(copy);
	if (level == LIBBPF_WARN) {
		if (strstr(text, ": BPF program load failed") &&
		    sscanf(text, "libbpf: prog '%127[^']'", messages.refused) != 1)
			strcpy(messages.refused, "?");
		p = strstr(text, "failed to initialize slot");
		if (p && (p = strstr(p, "to prog '")))
			sscanf(p, "to prog '%127[^']'", messages.slot_target);
		if (!messages.first[0])
			snprintf(messages.first, sizeof(messages.first), "%.*s",
				 (int)strcspn(text, "\n"), text);
	}
	/* The verifier's log travels in the result; here it would come twice. */
	if (strstr(text, "-- BEGIN PROG LOAD LOG --"))
		return 0;
	return fputs(text, stderr);
}

void messages_init(void)
{
	libbpf_set_print(note);
}

void messages_clear(void)
{
	memset(&messages, 0, sizeof(messages));
}

/* Note @result's error unless an earlier one is there: the first is the cause. */
void fail(struct result *result, const char *fmt, ...)
{
	va_list args;

	if (result->error[0])
		return;
	va_start(args, fmt);
	vsnprintf(result->error, sizeof(result->error), fmt, args);
	va_end(args);
}

const char *errno_name(int err)
{
	static char text[64];
	const char *name;

	if (err < 0)
		err = -err;
	if (err == 524) /* the kernel's own, include/linux/errno.h */
		return "ENOTSUPP";
	name = strerrorname_np(err);
	if (name)
		return name;
	/* libbpf's own begin at 4000 */
	libbpf_strerror(err, text, sizeof(text));
	return text;
}
