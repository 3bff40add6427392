// SPDX-License-Identifier: GPL-2.0-only
/* What libbpf says, and how errors are put. */
#include "runner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct messages messages;

/* What libbpf says on its way out: that it failed, and not why. */
static bool is_why(const char *text)
{
	static const char *const outcomes[] = {
		"failed to load object", "failed to load: ", "failed to prepare load attributes", "BPF program load failed",
		"-- BEGIN PROG LOAD LOG --", "Retrying without BTF", "BTF is optional, ignoring", "skipping uploading it",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(outcomes); i++)
		if (strstr(text, outcomes[i]))
			return false;
	return true;
}

/*
 * Why a load that the kernel was not asked for failed, libbpf tells only in words; so too which programs a refused
 * group has, and which target a prog array wants (init_prog_array_slots()).
 */
static void note_warning(const char *text)
{
	const char *p = strstr(text, "failed to initialize slot");

	if (p && (p = strstr(p, "to prog '")))
		sscanf(p, "to prog '%127[^']'", messages.slot_target);
	if (strstr(text, ": BPF program load failed"))
		sscanf(text, "libbpf: prog '%511[^']'", messages.refused);
	if (!is_why(text))
		return;
	messages.prog[0] = '\0';
	sscanf(text, "libbpf: prog '%511[^']'", messages.prog);
	text += strncmp(text, "libbpf: ", 8) ? 0 : 8;
	snprintf(messages.cause, sizeof(messages.cause), "%.*s", (int)strcspn(text, "\n"), text);
}

static int note(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char text[1024];
	va_list copy;

	if (level == LIBBPF_DEBUG)
		return 0;
	va_copy(copy, args);
	vsnprintf(text, sizeof(text), fmt, copy);
	va_end(copy);
	if (level == LIBBPF_WARN)
		note_warning(text);
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
