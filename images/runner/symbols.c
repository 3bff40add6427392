// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names of addresses: /proc/kallsyms, read once for all loads (it takes half a second in an emulated
 * guest), and the functions of the programs loaded since, which collect.c adds.
 */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbol {
	uint64_t addr;
	const char *name;
};

struct table {
	struct symbol *symbols;
	size_t count, size;
};

static struct table kernel, programs;
static uint64_t call_base;
static bool loaded;

static int add(struct table *table, uint64_t addr, const char *name)
{
	struct symbol *grown;

	if (table->count == table->size) {
		table->size = table->size ? 2 * table->size : 1024;
		grown = realloc(table->symbols, table->size * sizeof(*grown));
		if (!grown)
			return -1;
		table->symbols = grown;
	}
	name = strdup(name);
	if (!name)
		return -1;
	table->symbols[table->count++] = (struct symbol){ addr, name };
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

void symbols_load(void)
{
	char line[1024], *name, *end;
	uint64_t addr;
	FILE *file;

	if (loaded)
		return;
	loaded = true;
	file = fopen("/proc/kallsyms", "r");
	if (!file) {
		perror("/proc/kallsyms");
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		/* ADDRESS TYPE NAME[\tMODULE] */
		addr = strtoull(line, &end, 16);
		if (!addr || end[0] != ' ' || !strchr("tTwW", end[1]) || end[2] != ' ')
			continue;
		name = end + 3;
		name[strcspn(name, "\t\n")] = '\0';
		/* Programs of others come and go, and their addresses with them. */
		if (!strncmp(name, "bpf_prog_", 9) && strstr(end + 3 + strlen(name) + 1, "[bpf]"))
			continue;
		if (!strcmp(name, "__bpf_call_base"))
			call_base = addr;
		/* Kernel addresses come in order: of aliases the first name stands. */
		if (kernel.count && kernel.symbols[kernel.count - 1].addr == addr)
			continue;
		if (add(&kernel, addr, name))
			break;
	}
	fclose(file);
	qsort(kernel.symbols, kernel.count, sizeof(*kernel.symbols), compare);
}

uint64_t symbols_call_base(void)
{
	return call_base;
}

void symbols_add(uint64_t addr, const char *name)
{
	add(&programs, addr, name);
}

const char *symbols_find(uint64_t addr)
{
	struct symbol key = { .addr = addr }, *found;
	size_t i;

	for (i = 0; i < programs.count; i++)
		if (programs.symbols[i].addr == addr)
			return programs.symbols[i].name;
	found = bsearch(&key, kernel.symbols, kernel.count, sizeof(key), compare);
	return found ? found->name : NULL;
}
