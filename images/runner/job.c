// SPDX-License-Identifier: GPL-2.0-only
/* The job file: protocol.py's Job. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int collect_flags(json_t *names, unsigned int *flags)
{
	size_t i;
	json_t *name;

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
enum kind { STRING, VALUE, REAL, BOOL, OBJECT, FLAGS };

struct key {
	const char *name;
	enum kind kind;
	void *to;
};

/* They come as loads name them: the next one is near. */
static const struct object *find_object(const struct job *job, const char *name)
{
	static size_t last;
	size_t i;

	for (i = 0; name && i < job->nr_objects; i++) {
		const struct object *object = &job->objects[(last + i) % job->nr_objects];

		if (!strcmp(object->name, name)) {
			last = object - job->objects;
			return object;
		}
	}
	return NULL;
}

/* A value of the right type is stored, and NULL for one of another. */
static int take(const struct job *job, const struct key *key, json_t *value)
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
	case OBJECT:
		*(const struct object **)key->to = find_object(job, json_string_value(value));
		return *(const struct object **)key->to ? 0 : -1;
	case FLAGS:
		return collect_flags(value, key->to);
	}
	return -1;
}

/* json_unpack() with JSON_STRICT makes a hash table of the keys that it has seen: a third of what a job costs. */
static int parse_fields(const struct job *job, json_t *json, struct load *load)
{
	json_t *value;
	const struct key keys[] = {
		{ "id", STRING, &load->id },
		{ "mechanism", STRING, &load->mechanism },
		{ "object", OBJECT, &load->object },
		{ "roots", VALUE, &load->roots },
		{ "steps", VALUE, &load->steps },
		{ "collect", FLAGS, &load->collect },
		{ "timeout_s", REAL, &load->timeout_s },
		{ "prefer_groups", BOOL, &load->prefer_groups },
		{ "fixups", BOOL, &load->fixups },
		{ "library", OBJECT, &load->library },
		{ "target", OBJECT, &load->target },
		{ "globals", VALUE, &load->globals },
	};
	const char *name;

	json_object_foreach(json, name, value) {
		const struct key *key = keys;

		while (key < keys + ARRAY_SIZE(keys) && strcmp(key->name, name))
			key++;
		if (key == keys + ARRAY_SIZE(keys) || take(job, key, value)) {
			fprintf(stderr, "job: load %s: bad %s\n", load->id ?: "", name);
			return -1;
		}
	}
	return 0;
}

/* @common has what all loads have. */
static int parse_load(const struct job *job, json_t *common, json_t *json, struct load *load)
{
	load->timeout_s = 30;
	load->collect = COLLECT_LOG | COLLECT_XLATED | COLLECT_JITED;
	if (parse_fields(job, common, load) || parse_fields(job, json, load))
		return -1;
	if (!load->id || !load->mechanism || !load->object) {
		fprintf(stderr, "job: load %s: no id, mechanism or object\n", load->id ?: "");
		return -1;
	}
	if (!json_is_array(load->roots) || (load->steps && !json_is_array(load->steps)) ||
	    (load->globals && !json_is_object(load->globals))) {
		fprintf(stderr, "job: load %s: bad roots, steps or globals\n", load->id);
		return -1;
	}
	load->multi_root = !strcmp(load->mechanism, "multi_root");
	return 0;
}

static int parse_loads(struct job *job, json_t *common, json_t *loads)
{
	size_t i;

	job->nr_loads = json_array_size(loads);
	job->loads = calloc(job->nr_loads + 1, sizeof(*job->loads));
	if (!job->loads)
		return -1;
	for (i = 0; i < job->nr_loads; i++)
		if (parse_load(job, common, json_array_get(loads, i), &job->loads[i]))
			return -1;
	return 0;
}

/* Checks the job's line; what it has goes to @common, @loads and @sizes. */
static int unpack(const struct job *job, json_t **common, json_t **loads, json_t **sizes)
{
	json_error_t error;
	int version;

	if (json_unpack_ex(job->json, &error, JSON_STRICT, "{s:i, s:o, s:o, s:o}", "version", &version,
			   "common", common, "loads", loads, "objects", sizes)) {
		fprintf(stderr, "job: %s\n", error.text);
		return -1;
	}
	if (version != PROTOCOL_VERSION) {
		fprintf(stderr, "job: version %d, this runner speaks %d\n", version, PROTOCOL_VERSION);
		return -1;
	}
	return 0;
}

/* What follows the job's line: the files, one after the other. Each is where its reader may want it aligned. */
static int read_objects(FILE *file, json_t *sizes, struct job *job)
{
	struct object *object;
	const char *name;
	json_t *size;

	job->objects = calloc(json_object_size(sizes) + 1, sizeof(*job->objects));
	if (!job->objects)
		return -1;
	json_object_foreach(sizes, name, size) {
		object = &job->objects[job->nr_objects++];
		object->name = name;
		object->size = json_integer_value(size);
		object->data = calloc(1, object->size + 1);
		if (!object->data || fread(object->data, 1, object->size, file) != object->size) {
			fprintf(stderr, "job: object %s: not all of its %zu bytes\n", name, object->size);
			return -1;
		}
	}
	return 0;
}

/* A line of JSON, and the objects that it names. */
int job_read(FILE *file, struct job *job)
{
	json_error_t error;
	json_t *common, *loads, *sizes;
	char *text = NULL;
	size_t len = 0;
	ssize_t got = getline(&text, &len, file);

	/* Not json_loadf(), which takes a job byte by byte: with a locked read for each. */
	job->json = got < 0 ? NULL : json_loadb(text, got, 0, &error);
	free(text);
	if (!job->json) {
		fprintf(stderr, "job: %s\n", got < 0 ? "nothing on standard input" : error.text);
		return -1;
	}
	if (unpack(job, &common, &loads, &sizes) || read_objects(file, sizes, job))
		return -1;
	return parse_loads(job, common, loads);
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
