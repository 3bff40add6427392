// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names of addresses: /proc/kallsyms, read once for all loads, and the functions of the programs loaded
 * since, which collect.c adds. Reading it takes half a second in an emulated guest: a template does it
 * once (symbols_keep), and its clones take what it found.
 */
#include "runner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* As true as the boot it is from, and gone with it. */
#define KEPT "/run/bpfroots-symbols"

struct symbol {
	uint64_t addr;
	const char *name;
};

struct table {
	struct symbol *symbols;
	size_t count, size;
};

/* The kept file: this, then @count of kept_symbol, then the names they lead to. */
struct kept {
	uint64_t call_base;
	uint64_t count;
	struct kept_symbol {
		uint64_t addr;
		uint64_t name;
	} symbols[];
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

/* Symbols from the kept file; false where there is none. */
static bool load_kept(void)
{
	const struct kept *kept = MAP_FAILED;
	int fd = open(KEPT, O_RDONLY);
	const char *names;
	struct stat st;
	size_t i;

	if (fd < 0)
		return false;
	if (!fstat(fd, &st))
		kept = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (kept == MAP_FAILED)
		return false;
	kernel.symbols = calloc(kept->count, sizeof(*kernel.symbols));
	if (!kernel.symbols)
		return false;
	names = (const char *)&kept->symbols[kept->count];
	for (i = 0; i < kept->count; i++)
		kernel.symbols[i] = (struct symbol){ kept->symbols[i].addr, names + kept->symbols[i].name };
	kernel.count = kept->count;
	call_base = kept->call_base;
	return true;
}

int symbols_keep(void)
{
	struct kept head = {};
	uint64_t name = 0;
	FILE *file;
	size_t i;

	symbols_load();
	file = fopen(KEPT ".tmp", "w");
	if (!file || !kernel.count)
		return -1;
	head.call_base = call_base;
	head.count = kernel.count;
	fwrite(&head, sizeof(head), 1, file);
	for (i = 0; i < kernel.count; i++) {
		struct kept_symbol symbol = { kernel.symbols[i].addr, name };

		fwrite(&symbol, sizeof(symbol), 1, file);
		name += strlen(kernel.symbols[i].name) + 1;
	}
	for (i = 0; i < kernel.count; i++)
		fwrite(kernel.symbols[i].name, strlen(kernel.symbols[i].name) + 1, 1, file);
	if (fclose(file))
		return -1;
	return rename(KEPT ".tmp", KEPT);
}

void symbols_load(void)
{
	char line[1024], *name, *end;
	uint64_t addr;
	FILE *file;

	if (loaded)
		return;
	loaded = true;
	if (load_kept())
		return;
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

	/* The newest first: it may be where one was that is gone. */
	for (i = programs.count; i > 0; i--)
		if (programs.symbols[i - 1].addr == addr)
			return programs.symbols[i - 1].name;
	found = bsearch(&key, kernel.symbols, kernel.count, sizeof(key), compare);
	return found ? found->name : NULL;
}
