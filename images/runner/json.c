// SPDX-License-Identifier: GPL-2.0-only
/* Byte strings in JSON, and lines on stdout. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text of unknown origin. What is not UTF-8 becomes '?' byte by byte. */
json_t *json_text(const char *text, size_t len)
{
	json_t *json = json_stringn(text, len);
	char *copy;
	size_t i;

	if (json)
		return json;
	copy = malloc(len + 1);
	if (!copy)
		return json_string("");
	for (i = 0; i < len; i++)
		copy[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	json = json_stringn(copy, len);
	free(copy);
	return json;
}

json_t *json_hex(const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = data;
	char *text = malloc(2 * len + 1);
	json_t *json;
	size_t i;

	if (!text)
		return json_string("");
	for (i = 0; i < len; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	json = json_stringn_nocheck(text, 2 * len);
	free(text);
	return json;
}

json_t *json_base64(const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *bytes = data;
	char *text = malloc((len + 2) / 3 * 4 + 1), *p = text;
	json_t *json;
	size_t i;

	if (!text)
		return json_string("");
	for (i = 0; i < len; i += 3) {
		uint32_t v = bytes[i] << 16;

		if (i + 1 < len)
			v |= bytes[i + 1] << 8;
		if (i + 2 < len)
			v |= bytes[i + 2];
		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < len ? digits[v & 63] : '=';
	}
	json = json_stringn_nocheck(text, p - text);
	free(text);
	return json;
}

static int unhex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* @data is the caller's to free. */
int json_unhex(const char *hex, void **data, size_t *len)
{
	unsigned char *bytes;
	size_t i;

	*len = strlen(hex) / 2;
	bytes = malloc(*len + 1);
	if (!bytes || strlen(hex) % 2)
		goto bad;
	for (i = 0; i < *len; i++) {
		int high = unhex_digit(hex[2 * i]), low = unhex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			goto bad;
		bytes[i] = high << 4 | low;
	}
	*data = bytes;
	return 0;
bad:
	free(bytes);
	return -1;
}

/* One line, to go out with the next one. Takes @line. */
void put(json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);

	/* Not json_dumpf(), which takes a locked write for every token. */
	if (text)
		puts(text);
	free(text);
	json_decref(line);
}

/* One line, gone from our buffers before anything else happens. Takes @line. */
void emit(json_t *line)
{
	put(line);
	fflush(stdout);
}
