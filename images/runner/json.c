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

static void write_string(const char *text, size_t len)
{
	size_t i, done = 0;

	putc_unlocked('"', stdout);
	for (i = 0; i < len; i++) {
		unsigned char c = text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		fwrite_unlocked(text + done, 1, i - done, stdout);
		done = i + 1;
		if (c == '\n')
			fputs_unlocked("\\n", stdout);
		else
			fprintf(stdout, "\\u%04x", c);
	}
	fwrite_unlocked(text + done, 1, len - done, stdout);
	putc_unlocked('"', stdout);
}

/*
 * What json_dumpf() writes, for the types that there are in a result. That one takes the stream's lock for
 * every token and decodes every character again: a tenth of what a small program's load takes.
 */
static void write_json(json_t *json)
{
	const char *key, *comma = "";
	json_t *value;
	size_t i;

	switch (json_typeof(json)) {
	case JSON_OBJECT:
		putc_unlocked('{', stdout);
		json_object_foreach(json, key, value) {
			fputs_unlocked(comma, stdout);
			write_string(key, strlen(key));
			putc_unlocked(':', stdout);
			write_json(value);
			comma = ",";
		}
		putc_unlocked('}', stdout);
		break;
	case JSON_ARRAY:
		putc_unlocked('[', stdout);
		json_array_foreach(json, i, value) {
			fputs_unlocked(comma, stdout);
			write_json(value);
			comma = ",";
		}
		putc_unlocked(']', stdout);
		break;
	case JSON_STRING:
		write_string(json_string_value(json), json_string_length(json));
		break;
	case JSON_INTEGER:
		fprintf(stdout, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		fputs_unlocked(json_is_true(json) ? "true" : "false", stdout);
		break;
	default:
		fputs_unlocked("null", stdout);
	}
}

/* One line, to go out with the next one. Takes @line. */
void put(json_t *line)
{
	write_json(line);
	putc_unlocked('\n', stdout);
	json_decref(line);
}

/* One line, gone from our buffers before anything else happens. Takes @line. */
void emit(json_t *line)
{
	put(line);
	fflush(stdout);
}
