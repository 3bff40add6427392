// SPDX-License-Identifier: GPL-2.0-only
/* The job file: protocol.py's Job. */
#include "runner.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int collect_flags(json_t *names, unsigned int *flags)
{
	size_t i;
	json_t *name;

	if (!names) {
		*flags = COLLECT_LOG | COLLECT_XLATED | COLLECT_JITED;
		return 0;
	}
	*flags = 0;
	json_array_foreach(names, i, name) {
		const char *text = json_string_value(name);

		if (text && !strcmp(text, "log"))
			*flags |= COLLECT_LOG;
		else if (text && !strcmp(text, "xlated"))
			*flags |= COLLECT_XLATED;
		else if (text && !strcmp(text, "jited"))
			*flags |= COLLECT_JITED;
		else
			return -1;
	}
	return 0;
}

/* Where the value of a key goes. */
enum kind { STRING, VALUE, REAL, BOOL };

struct key {
	const char *name;
	enum kind kind;
	void *to;
};

/* A value of the right type is stored, and NULL for one of another. */
static int take(const struct key *key, json_t *value)
{
	switch (key->kind) {
	case STRING:
		*(const char **)key->to = json_string_value(value);
		return json_is_string(value) ? 0 : -1;
	case VALUE:
		*(json_t **)key->to = value;
		return 0;
	case REAL:
		*(double *)key->to = json_number_value(value);
		return json_is_number(value) ? 0 : -1;
	case BOOL:
		*(bool *)key->to = json_is_true(value);
		return json_is_boolean(value) ? 0 : -1;
	}
	return -1;
}

/* json_unpack() with JSON_STRICT makes a hash table of the keys that it has seen: a third of what a job costs. */
static int parse_load(json_t *json, struct load *load)
{
	json_t *collect = NULL, *value;
	const struct key keys[] = {
		{ "id", STRING, &load->id },
		{ "mechanism", STRING, &load->mechanism },
		{ "object", STRING, &load->object },
		{ "roots", VALUE, &load->roots },
		{ "steps", VALUE, &load->steps },
		{ "collect", VALUE, &collect },
		{ "timeout_s", REAL, &load->timeout_s },
		{ "prefer_groups", BOOL, &load->prefer_groups },
		{ "fixups", BOOL, &load->fixups },
		{ "library", STRING, &load->library },
		{ "target", STRING, &load->target },
		{ "globals", VALUE, &load->globals },
	};
	const char *name;

	load->timeout_s = 30;
	json_object_foreach(json, name, value) {
		const struct key *key = keys;

		while (key < keys + ARRAY_SIZE(keys) && strcmp(key->name, name))
			key++;
		if (key == keys + ARRAY_SIZE(keys) || take(key, value)) {
			fprintf(stderr, "job: load %s: bad %s\n", load->id ?: "", name);
			return -1;
		}
	}
	if (!load->id || !load->mechanism || !load->object) {
		fprintf(stderr, "job: load %s: no id, mechanism or object\n", load->id ?: "");
		return -1;
	}
	if (!json_is_array(load->roots) || (load->steps && !json_is_array(load->steps)) ||
	    (load->globals && !json_is_object(load->globals)) || collect_flags(collect, &load->collect)) {
		fprintf(stderr, "job: load %s: bad roots, steps, globals or collect\n", load->id);
		return -1;
	}
	load->multi_root = !strcmp(load->mechanism, "multi_root");
	return 0;
}

static int parse(struct job *job)
{
	json_error_t error;
	json_t *loads;
	int version;
	size_t i;

	if (json_unpack_ex(job->json, &error, JSON_STRICT, "{s:i, s:o}", "version", &version,
			   "loads", &loads)) {
		fprintf(stderr, "job: %s\n", error.text);
		return -1;
	}
	if (version != PROTOCOL_VERSION) {
		fprintf(stderr, "job: version %d, this runner speaks %d\n", version, PROTOCOL_VERSION);
		return -1;
	}
	job->nr_loads = json_array_size(loads);
	job->loads = calloc(job->nr_loads + 1, sizeof(*job->loads));
	if (!job->loads)
		return -1;
	for (i = 0; i < job->nr_loads; i++)
		if (parse_load(json_array_get(loads, i), &job->loads[i]))
			return -1;
	return 0;
}

/* Not json_load_file(), which takes a job byte by byte: with a locked read for each. */
static json_t *read_json(const char *path, json_error_t *error)
{
	json_t *json = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *file = fopen(path, "r");
	ssize_t got = file ? getdelim(&text, &len, '\0', file) : -1;

	if (got < 0) {
		error->line = 0;
		snprintf(error->text, sizeof(error->text), "%s", errno ? strerror(errno) : "empty");
	} else {
		json = json_loadb(text, got, 0, error);
	}
	free(text);
	if (file)
		fclose(file);
	return json;
}

/* Read the job and go to its directory, from which object paths count. */
int job_read(const char *path, struct job *job)
{
	json_error_t error;
	char *copy;

	job->json = read_json(path, &error);
	if (!job->json) {
		fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
		return -1;
	}
	if (parse(job))
		return -1;
	copy = strdup(path);
	if (!copy || chdir(dirname(copy))) {
		perror(path);
		return -1;
	}
	free(copy);
	return 0;
}

/* Without names all programs are roots. */
bool load_is_root(const struct load *load, const char *name)
{
	json_t *root;
	size_t i;

	if (!json_array_size(load->roots))
		return !load->supports;
	json_array_foreach(load->roots, i, root)
		if (json_is_string(root) && !strcmp(json_string_value(root), name))
			return true;
	return false;
}
