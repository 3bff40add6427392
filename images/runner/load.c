// SPDX-License-Identifier: GPL-2.0-only
/*
 * From an object file to verdicts. All programs are loaded together, so that they share maps and
 * global data. Where that fails, each is loaded alone, so that each has a verdict of its own; but
 * under multi_root the programs are one load, which has one verdict and one log. Under fd_name another
 * object, the library, is loaded before, and stays as long as its callers.
 */
#include "runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The log is sent whole: what it does not fit in is made larger. Address space alone costs
 * nothing, only what the verifier writes takes memory.
 */
#define LOG_SIZE_FIRST (16U << 20)
#define LOG_SIZE_LAST (256U << 20)
/* Statistics alone, or the complaint about a program that is refused: most often enough. */
#define LOG_SIZE_STATS (64U << 10)

/* An object and what became of loading it. */
struct attempt {
	struct bpf_object *obj;
	char *logs;		/* one log of log_size bytes per program, in the object's order */
	size_t nr_programs;
	size_t log_size;
	int err;		/* of bpf_object__load(), negative */
};

/* Small logs of the last attempt, kept for the next one: mapping them takes a tenth of a small program's load. */
static struct {
	char *logs;
	size_t size;
} spare;

static char *logs_take(size_t nr, size_t log_size)
{
	size_t i, size = nr * log_size;
	char *logs = spare.logs;

	if (logs && spare.size == size) {
		spare.logs = NULL;
		for (i = 0; i < nr; i++)
			logs[i * log_size] = '\0';
		return logs;
	}
	logs = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return logs == MAP_FAILED ? NULL : logs;
}

static void logs_give(char *logs, size_t nr, size_t log_size)
{
	if (logs && log_size == LOG_SIZE_STATS && !spare.logs) {
		spare.logs = logs;
		spare.size = nr * log_size;
	} else if (logs) {
		munmap(logs, nr * log_size);
	}
}

static void attempt_close(struct attempt *attempt)
{
	bpf_object__close(attempt->obj);
	logs_give(attempt->logs, attempt->nr_programs, attempt->log_size);
	memset(attempt, 0, sizeof(*attempt));
}

static char *attempt_log(const struct attempt *attempt, const struct bpf_program *prog)
{
	struct bpf_program *p;
	size_t i = 0;

	bpf_object__for_each_program(p, attempt->obj) {
		if (p == prog)
			return attempt->logs + i * attempt->log_size;
		i++;
	}
	return NULL;
}

/* Programs of one multi-root load have the same, all others have 0. */
static __u32 group_id(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
#ifdef HAVE_MULTI_ROOT
	__u32 len = sizeof(info);

	if (bpf_program__fd(prog) >= 0 && !bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		return info.group_id;
#else
	(void)prog;
	(void)info;
#endif
	return 0;
}

/*
 * As attempt_log(), also for a program that was loaded with others: libbpf has the one log
 * of a group written to the buffer of its first program.
 */
static const char *attempt_group_log(const struct attempt *attempt, const struct bpf_program *prog)
{
	const char *own = attempt_log(attempt, prog);
	__u32 group = group_id(prog);
	struct bpf_program *p;

	if (own[0])
		return own;
	bpf_object__for_each_program(p, attempt->obj)
		if (attempt_log(attempt, p)[0] && group_id(p) == group)
			return attempt_log(attempt, p);
	return own;
}

static bool in_set(json_t *set, const char *name)
{
	return !set || json_object_get(set, name);
}

#ifdef HAVE_PROG_CALL
/* What has one name is one map, and functions that are declared extern are the library's. */
static int link_library(struct bpf_object *obj, struct bpf_object *library)
{
	struct bpf_map *map, *shared;
	struct bpf_program *prog;
	int err;

	bpf_object__for_each_map(map, obj) {
		shared = bpf_map__is_internal(map) ? NULL : bpf_object__find_map_by_name(library, bpf_map__name(map));
		err = shared ? bpf_map__reuse_fd(map, bpf_map__fd(shared)) : 0;
		if (err)
			return err;
	}
	bpf_object__for_each_program(prog, library) {
		err = bpf_program__fd(prog) < 0 ? 0 : bpf_object__add_lib_prog(obj, bpf_program__fd(prog));
		if (err)
			return err;
	}
	return 0;
}
#else
static int link_library(struct bpf_object *obj, struct bpf_object *library)
{
	(void)obj;
	(void)library;
	return -EOPNOTSUPP;
}
#endif

/* Open and load. @only names the programs to load, NULL means all that are not optional. */
static int attempt_once(const struct load *load, struct bpf_object *library, json_t *only, size_t log_size,
			unsigned int log_level, struct attempt *attempt)
{
	struct bpf_program *prog;

	memset(attempt, 0, sizeof(*attempt));
	messages_clear();
	attempt->obj = bpf_object__open_file(load->object, NULL);
	if (!attempt->obj)
		return -errno;
	bpf_object__for_each_program(prog, attempt->obj)
		attempt->nr_programs++;
	attempt->log_size = log_size;
	if (attempt->nr_programs) {
		attempt->logs = logs_take(attempt->nr_programs, log_size);
		if (!attempt->logs) {
			attempt_close(attempt);
			return -ENOMEM;
		}
	}
	bpf_object__for_each_program(prog, attempt->obj) {
		const char *name = bpf_program__name(prog);

		if (only)
			bpf_program__set_autoload(prog, in_set(only, name));
		else if (load_is_root(load, name))
			bpf_program__set_autoload(prog, true); /* also where its section begins with '?' */
		bpf_program__set_log_buf(prog, attempt_log(attempt, prog), log_size);
		bpf_program__set_log_level(prog, log_level);
	}
#ifdef HAVE_MULTI_ROOT
	if (load->multi_root)
		bpf_object__set_multi_root(attempt->obj, LIBBPF_MULTI_ROOT_REQUIRE);
	else if (load->prefer_groups)
		bpf_object__set_multi_root(attempt->obj, LIBBPF_MULTI_ROOT_PREFER);
#endif
	attempt->err = set_target_tgid(attempt->obj);
	if (!attempt->err && library)
		attempt->err = link_library(attempt->obj, library);
	if (!attempt->err)
		attempt->err = bpf_object__load(attempt->obj);
	return 0;
}

/*
 * As attempt_once(), with logs as large as they need be. Where the largest is too small,
 * @truncated is set and the verdict is that of a load with statistics alone.
 */
static int attempt_load(const struct load *load, struct bpf_object *library, json_t *only,
			struct attempt *attempt, bool *truncated)
{
	size_t size;
	int err;

	*truncated = false;
	size = load->log_level & 3 ? LOG_SIZE_FIRST : LOG_SIZE_STATS;
	for (; size <= LOG_SIZE_LAST; size *= 4) {
		err = attempt_once(load, library, only, size, load->log_level, attempt);
		if (err == -ENOMEM && size > LOG_SIZE_FIRST)
			break;
		if (err || attempt->err != -ENOSPC || !messages.refused[0])
			return err;
		attempt_close(attempt);
	}
	*truncated = true;
	return attempt_once(load, library, only, LOG_SIZE_FIRST, load->log_level & ~3U, attempt);
}

/* Something other than a verdict: in libbpf's words, which name the map or symbol. */
static void fail_load(const struct load *load, struct result *result, int err)
{
	const char *text = messages.first;

	if (!strncmp(text, "libbpf: ", 8))
		text += 8;
	fail(result, "%s: cannot load: %s%s%s", load->object, errno_name(err), text[0] ? ": " : "", text);
}

/*
 * The verdict of one program, and whether it can be had: true where it is accepted and everything
 * it needs with it. A declarative prog array (".values") wants its targets loaded, and libbpf
 * fails the object otherwise, after the program itself was accepted: then again with the target that
 * it names, as often as it names another one. A target that is refused is seen in its own verdict.
 */
static bool load_alone(const struct load *load, struct bpf_object *library, struct result *result,
		       const char *name)
{
	json_t *only = json_pack("{s:b}", name, 1), *accepted = NULL, *refused = NULL;
	struct attempt attempt = {};
	bool truncated, more = true, loaded = false;
	int err = 0;

	while (more) {
		struct bpf_program *prog;

		more = false;
		err = attempt_load(load, library, only, &attempt, &truncated);
		if (err)
			break;
		loaded = !attempt.err;
		prog = bpf_object__find_program_by_name(attempt.obj, name);
		if (loaded || (messages.slot_target[0] && !accepted)) {
			json_decref(accepted);
			accepted = collect_accepted(load, prog, bpf_program__fd(prog), attempt_log(&attempt, prog),
						    truncated, result->symbols);
		}
		if (!loaded && messages.slot_target[0])
			more = !json_object_get(only, messages.slot_target);
		else if (!loaded && !accepted && messages.refused[0])
			refused = collect_refused(load, prog, -attempt.err, attempt_log(&attempt, prog), truncated);
		else if (!loaded && !accepted)
			err = attempt.err;
		if (more)
			json_object_set_new(only, messages.slot_target, json_true());
		attempt_close(&attempt);
	}
	if (err)
		fail_load(load, result, err);
	if (accepted || refused)
		json_array_append_new(result->programs, accepted ?: refused);
	json_decref(only);
	return loaded;
}

/*
 * Each program alone. @together is the program the kernel refused when all were loaded, NULL where
 * it was something else. It stays refused, also where it is accepted alone: a prog array belongs
 * to the type of the first program that uses it (kernel/bpf/core.c, bpf_prog_map_compatible()).
 */
static void load_each(const struct load *load, struct bpf_object *library, struct result *result, json_t *names,
		      json_t *together)
{
	const char *refused = json_string_value(json_object_get(together, "name"));
	bool accepted = true;
	json_t *name;
	size_t i;

	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);
		bool counts = !json_array_size(load->roots) || load_is_root(load, text);
		bool alone = load_alone(load, library, result, text);

		if (alone && refused && !strcmp(refused, text)) {
			json_array_set(result->programs, json_array_size(result->programs) - 1, together);
			alone = false;
		}
		if (counts)
			accepted = accepted && alone;
	}
	result->accepted = accepted && !result->error[0];
}

/*
 * All or nothing: whichever program the log complains of, none is loaded. libbpf calls a group
 * by the names of its programs, "a+b+c".
 */
static void refuse_all(const struct load *load, struct result *result, const struct attempt *attempt,
		       bool truncated)
{
	struct bpf_program *prog;
	const char *log;

	messages.refused[strcspn(messages.refused, "+")] = '\0';
	prog = bpf_object__find_program_by_name(attempt->obj, messages.refused);
	log = prog ? attempt_log(attempt, prog) : "";
	bpf_object__for_each_program(prog, attempt->obj)
		if (bpf_program__autoload(prog))
			json_array_append_new(result->programs,
					      collect_refused(load, prog, -attempt->err, log, truncated));
}

/* The programs to load, by name, in the object's order; complains of roots that are not there. */
static json_t *program_names(const struct load *load, struct result *result, struct bpf_object *obj)
{
	json_t *names = json_array(), *root;
	struct bpf_program *prog;
	size_t i;

	bpf_object__for_each_program(prog, obj)
		if (bpf_program__autoload(prog))
			json_array_append_new(names, json_string(bpf_program__name(prog)));
	json_array_foreach(load->roots, i, root) {
		const char *name = json_string_value(root);

		if (!name || !bpf_object__find_program_by_name(obj, name))
			fail(result, "%s: no program '%s' in it", load->object, name ? name : "");
	}
	if (!json_array_size(names))
		fail(result, "%s: no programs in it", load->object);
	return names;
}

static void collect_all(const struct load *load, const struct attempt *attempt, bool truncated, struct result *result)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, attempt->obj)
		if (bpf_program__fd(prog) >= 0)
			json_array_append_new(result->programs,
					      collect_accepted(load, prog, bpf_program__fd(prog),
							       attempt_group_log(attempt, prog), truncated,
							       result->symbols));
}

static void load_callers(const struct load *load, struct bpf_object *library, struct result *result)
{
	struct bpf_program *prog;
	struct attempt attempt;
	json_t *names, *together = NULL;
	bool truncated;
	int err;

	err = attempt_load(load, library, NULL, &attempt, &truncated);
	if (err) {
		fail_load(load, result, err);
		return;
	}
	names = program_names(load, result, attempt.obj);
	if (result->error[0]) {
		/* nothing to be said of it */
	} else if (!attempt.err) {
		result->accepted = true;
		run_steps(load, attempt.obj, result);
		collect_all(load, &attempt, truncated, result);
	} else if (messages.refused[0] && load->multi_root) {
		refuse_all(load, result, &attempt, truncated);
	} else if (messages.refused[0]) {
		prog = bpf_object__find_program_by_name(attempt.obj, messages.refused);
		if (prog)
			together = collect_refused(load, prog, -attempt.err, attempt_log(&attempt, prog), truncated);
		attempt_close(&attempt);
		load_each(load, library, result, names, together);
		json_decref(together);
	} else {
		fail_load(load, result, attempt.err);
	}
	json_decref(names);
	attempt_close(&attempt);
}

/*
 * The library is one load for all types of its programs, as far as they can be. Where it is refused,
 * that is the verdict of the whole.
 */
static void load_with_library(const struct load *load, struct result *result)
{
	struct load order = *load;
	struct attempt attempt;
	bool truncated;
	int err;

	order.object = load->library;
	order.multi_root = true;
	err = attempt_load(&order, NULL, NULL, &attempt, &truncated);
	if (err) {
		fail_load(&order, result, err);
		return;
	}
	if (!attempt.err) {
		load_callers(load, attempt.obj, result);
		collect_all(load, &attempt, truncated, result);
	} else if (messages.refused[0]) {
		refuse_all(&order, result, &attempt, truncated);
	} else {
		fail_load(&order, result, attempt.err);
	}
	attempt_close(&attempt);
}

void load_object(const struct load *load, struct result *result)
{
	if (result->error[0])
		return;
	if (load->library)
		load_with_library(load, result);
	else
		load_callers(load, NULL, result);
}
