// SPDX-License-Identifier: GPL-2.0-only
/*
 * From an object file to verdicts. All programs are loaded together, so that they share maps and global data.
 * Where that fails, each is loaded alone, so that each has a verdict of its own, or the reason why there is none.
 * Under multi_root libbpf loads programs that share functions as groups; what a group is refused for is the
 * verdict of all in it, and the others are loaded without them. Under fd_name another object, the library, is
 * loaded before, and stays as long as its callers; so is the target of an extension.
 */
#include "runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An object and what became of loading it. */
struct attempt {
	struct bpf_object *obj;
	int err;		/* of bpf_object__load(), negative */
};

/* Objects that are loaded before, and stay: NULL for none. */
struct loaded_before {
	struct bpf_object *library, *target;
};

static void attempt_close(struct attempt *attempt)
{
	prog_loads_end();
	bpf_object__close(attempt->obj);
	memset(attempt, 0, sizeof(*attempt));
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

/* The program that an extension of @name's replaces a function of: the first, or the only one that has it. */
static int set_target(struct bpf_object *obj, struct bpf_object *target)
{
	struct bpf_program *prog, *replaced = bpf_object__next_program(target, NULL);
	int err;

	bpf_object__for_each_program(prog, obj) {
		const char *section = strchr(bpf_program__section_name(prog), '/');

		if (bpf_program__type(prog) != BPF_PROG_TYPE_EXT)
			continue;
		err = bpf_program__set_attach_target(prog, bpf_program__fd(replaced), section ? section + 1 : NULL);
		if (err)
			return err;
	}
	return 0;
}

static void choose_programs(const struct load *load, struct bpf_object *obj, json_t *only)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj) {
		const char *name = bpf_program__name(prog);

		if (only)
			bpf_program__set_autoload(prog, json_object_get(only, name));
		else if (load->fixups || (json_array_size(load->roots) && load_is_root(load, name)))
			bpf_program__set_autoload(prog, true); /* also where its section begins with '?' */
	}
}

/* What has to be so before the object is loaded. */
static int prepare(const struct load *load, const struct loaded_before *before, struct bpf_object *obj,
		   struct result *result)
{
	int err;

#ifdef HAVE_MULTI_ROOT
	if (load->multi_root)
		bpf_object__set_multi_root(obj, LIBBPF_MULTI_ROOT_REQUIRE);
	else if (load->prefer_groups)
		bpf_object__set_multi_root(obj, LIBBPF_MULTI_ROOT_PREFER);
#endif
	if (load->fixups)
		fix_up(obj, result);
	err = set_globals(obj, load->globals, result);
	err = err ?: set_target_tgid(obj);
	if (!err && before->library)
		err = link_library(obj, before->library);
	if (!err && before->target)
		err = set_target(obj, before->target);
	return err ?: prog_loads_begin(load, obj, result);
}

/* Under the name that libbpf gives an object of this file name: names of its maps begin with it. */
static struct bpf_object *open_object(const struct object *object)
{
	const char *base = basename(object->name);
	char name[BPF_OBJ_NAME_LEN];
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name);

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(base, "."), base);
	/* Of an empty file libbpf would only say EINVAL. */
	return bpf_object__open_mem(object->data, object->size ?: 1, &opts);
}

/*
 * Open and load. @only names the programs to load, NULL means all that are not optional. Returns an error where
 * the object cannot be opened.
 */
static int attempt_load(const struct load *load, const struct loaded_before *before, json_t *only,
			struct result *result, struct attempt *attempt)
{
	memset(attempt, 0, sizeof(*attempt));
	messages_clear();
	attempt->obj = open_object(load->object);
	if (!attempt->obj)
		return -errno;
	choose_programs(load, attempt->obj, only);
	attempt->err = prepare(load, before, attempt->obj, result);
	if (!attempt->err)
		attempt->err = bpf_object__load(attempt->obj);
	result->remarked = true;
	return 0;
}

/* Why there is no verdict: in libbpf's words, which name the map or symbol. */
static const char *why(int err)
{
	return messages.cause[0] ? messages.cause : errno_name(err);
}

static void fail_load(const struct load *load, struct result *result, int err)
{
	const char *what = !load->supports ? "" : load->multi_root ? "the library: " : "the target: ";

	fail(result, "%scannot load: %s", what, why(err));
}

/*
 * The verdict of one program, and whether it can be had: true where it is accepted and everything
 * it needs with it. A declarative prog array (".values") wants its targets loaded, and libbpf
 * fails the object otherwise, after the program itself was accepted: then again with the target that
 * it names, as often as it names another one. A target that is refused is seen in its own verdict.
 */
static bool load_alone(const struct load *load, const struct loaded_before *before, struct result *result,
		       const char *name)
{
	json_t *only = json_pack("{s:b}", name, 1), *found = NULL;
	bool more = true, loaded = false, accepted = false;
	struct attempt attempt;

	while (more) {
		struct prog_load *refused;
		struct bpf_program *prog;
		int err = attempt_load(load, before, only, result, &attempt);

		more = false;
		if (err) {
			fail_load(load, result, err);
			break;
		}
		loaded = !attempt.err;
		prog = bpf_object__find_program_by_name(attempt.obj, name);
		refused = prog_load_refused();
		if (loaded || (messages.slot_target[0] && !accepted)) {
			json_decref(found);
			found = collect_accepted(load, prog, result);
			accepted = true;
		}
		if (!loaded && messages.slot_target[0])
			more = !json_object_get(only, messages.slot_target);
		else if (!loaded && !accepted)
			found = refused ? collect_refused(load, prog, refused) :
					  collect_unknown(load, prog, attempt.err, why(attempt.err));
		if (more)
			json_object_set_new(only, messages.slot_target, json_true());
		attempt_close(&attempt);
	}
	if (found)
		json_array_append_new(result->programs, found);
	json_decref(only);
	return loaded;
}

/*
 * Each program alone. @together is the program the kernel refused when all were loaded, NULL where
 * it was something else. It stays refused, also where it is accepted alone: a prog array belongs
 * to the type of the first program that uses it (kernel/bpf/core.c, bpf_prog_map_compatible()).
 */
static void load_each(const struct load *load, const struct loaded_before *before, struct result *result,
		      json_t *names, json_t *together)
{
	const char *refused = json_string_value(json_object_get(together, "name"));
	const char *name;
	json_t *ignored;

	json_object_foreach(names, name, ignored) {
		bool accepted = load_alone(load, before, result, name);

		if (!accepted || !refused || strcmp(refused, name))
			continue;
		json_object_set_new(together, "accepted_alone", json_true());
		json_array_set(result->programs, json_array_size(result->programs) - 1, together);
	}
}

/* The programs to load, by name, in the object's order; complains of roots that are not there. */
static json_t *program_names(const struct load *load, struct result *result, struct bpf_object *obj)
{
	json_t *names = json_object(), *root;
	struct bpf_program *prog;
	size_t i;

	bpf_object__for_each_program(prog, obj)
		if (bpf_program__autoload(prog))
			json_object_set_new(names, bpf_program__name(prog), json_true());
	json_array_foreach(load->roots, i, root) {
		const char *name = json_string_value(root);

		if (!name || !bpf_object__find_program_by_name(obj, name))
			fail(result, "no program '%s' in the object", name ? name : "");
	}
	if (!json_object_size(names))
		fail(result, "no programs in the object");
	return names;
}

static void collect_all(const struct load *load, const struct attempt *attempt, struct result *result)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, attempt->obj)
		if (bpf_program__fd(prog) >= 0)
			json_array_append_new(result->programs, collect_accepted(load, prog, result));
}

/*
 * Report the programs of @group, "a+b+c" as libbpf calls those that it loads as one, or all in @names where that
 * says nothing; they are none of @names any more. @refused: by this load, or NULL where there is no verdict.
 */
static void drop_group(const struct load *load, const struct attempt *attempt, const char *group,
		       struct prog_load *refused, struct result *result, json_t *names)
{
	struct bpf_program *prog;
	bool any = false;

	bpf_object__for_each_program(prog, attempt->obj) {
		const char *name = bpf_program__name(prog), *at = strstr(group, name);
		size_t len = strlen(name);

		/* A name that is part of another one. */
		while (at && ((at > group && at[-1] != '+') || (at[len] && at[len] != '+')))
			at = strstr(at + 1, name);
		if (!json_object_get(names, name) || (group[0] && !at))
			continue;
		json_array_append_new(result->programs,
				      refused ? collect_refused(load, prog, refused) :
						collect_unknown(load, prog, attempt->err, why(attempt->err)));
		json_object_del(names, name);
		any = true;
	}
	if (!any)
		json_object_clear(names);
}

/* Without the groups that are refused, until the rest is accepted. @attempt is the first, and failed. */
static void load_others(const struct load *load, const struct loaded_before *before, struct result *result,
			json_t *names, struct attempt *attempt)
{
	while (attempt->err) {
		struct prog_load *refused = prog_load_refused();

		drop_group(load, attempt, refused ? messages.refused : messages.prog, refused, result, names);
		if (!json_object_size(names))
			return;
		attempt_close(attempt);
		if (attempt_load(load, before, names, result, attempt))
			return;
	}
	collect_all(load, attempt, result);
}

static void load_programs(const struct load *load, const struct loaded_before *before, struct result *result)
{
	struct attempt attempt;
	json_t *names, *together = NULL;
	int err;

	err = attempt_load(load, before, NULL, result, &attempt);
	if (err) {
		fail_load(load, result, err);
		return;
	}
	names = program_names(load, result, attempt.obj);
	if (result->error[0]) {
		/* nothing to be said of it */
	} else if (!attempt.err) {
		run_steps(load, attempt.obj, result);
		collect_all(load, &attempt, result);
	} else if (load->multi_root) {
		load_others(load, before, result, names, &attempt);
	} else {
		struct prog_load *refused = prog_load_refused();

		if (refused)
			together = collect_refused(load, prog_load_program(refused), refused);
		attempt_close(&attempt);
		load_each(load, before, result, names, together);
		json_decref(together);
	}
	json_decref(names);
	attempt_close(&attempt);
}

/* A load of another object on behalf of @load, of whose programs none is a root. */
static struct load load_of(const struct load *load, const struct object *object)
{
	struct load order = *load;

	order.object = object;
	order.supports = true;
	order.roots = NULL;
	order.globals = NULL;
	return order;
}

/* Where it is refused, its verdict is that of the whole. */
static int load_before(const struct load *order, struct result *result, struct attempt *attempt)
{
	const struct loaded_before nothing = {};
	int err = attempt_load(order, &nothing, NULL, result, attempt);
	json_t *names;

	if (err) {
		fail_load(order, result, err);
		return err;
	}
	if (attempt->err) {
		struct prog_load *refused = prog_load_refused();

		names = program_names(order, result, attempt->obj);
		drop_group(order, attempt, refused ? messages.refused : messages.prog, refused, result, names);
		json_decref(names);
		return attempt->err;
	}
	return 0;
}

/*
 * The library is one load for all types of its programs, as far as they can be; its own loads are reported
 * before those of its callers.
 */
void load_object(const struct load *load, struct result *result)
{
	const struct object *object = load->library ?: load->target;
	struct loaded_before before = {};
	struct attempt attempt = {};
	struct load order;

	if (result->error[0])
		return;
	if (object) {
		order = load_of(load, object);
		order.multi_root = !!load->library;
		if (load_before(&order, result, &attempt)) {
			attempt_close(&attempt);
			return;
		}
		collect_all(&order, &attempt, result);
		prog_loads_end();
		if (load->library)
			before.library = attempt.obj;
		else
			before.target = attempt.obj;
	}
	load_programs(load, &before, result);
	bpf_object__close(attempt.obj);
}
