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

/*
 * Members of @object, under a key that is ours. json_pack() reads its format anew each time: a fifth of what a
 * small program's result takes.
 */
void set_value(json_t *object, const char *key, json_t *value)
{
	json_object_set_new_nocheck(object, key, value);
}

void set_text(json_t *object, const char *key, const char *text)
{
	set_value(object, key, json_text(text, strlen(text)));
}

void set_integer(json_t *object, const char *key, json_int_t value)
{
	set_value(object, key, json_integer(value));
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

/* The line that is being written: to stdout in one piece. */
static struct {
	char *text;
	size_t len, size;
} line;

/* Room for @more bytes. There is no line without memory. */
static char *room(size_t more)
{
	if (line.size - line.len < more) {
		line.size = 2 * line.size + more + 4096;
		line.text = realloc(line.text, line.size);
		if (!line.text)
			abort();
	}
	return line.text + line.len;
}

static void write_text(const char *text, size_t len)
{
	memcpy(room(len), text, len);
	line.len += len;
}

static void write_char(char c)
{
	*room(1) = c;
	line.len++;
}

static void write_string(const char *text, size_t len)
{
	/* Six bytes for each at the most. */
	char *start = room(6 * len + 2), *p = start;
	size_t i;

	*p++ = '"';
	for (i = 0; i < len; i++) {
		unsigned char c = text[i];

		if (c >= 0x20 && c != '"' && c != '\\') {
			*p++ = c;
		} else if (c == '\n') {
			*p++ = '\\';
			*p++ = 'n';
		} else {
			p += sprintf(p, "\\u%04x", c);
		}
	}
	*p++ = '"';
	line.len += p - start;
}

static void write_integer(json_int_t value)
{
	unsigned long long left = value < 0 ? -(unsigned long long)value : (unsigned long long)value;
	char digits[24], *p = digits + sizeof(digits);

	do
		*--p = '0' + left % 10;
	while (left /= 10);
	if (value < 0)
		*--p = '-';
	write_text(p, digits + sizeof(digits) - p);
}

/*
 * What json_dumpf() writes, for the types that there are in a result. That one takes the stream's lock for
 * every token and decodes every character again: a tenth of what a small program's load takes.
 */
static void write_json(json_t *json)
{
	json_t *value;
	void *at;
	size_t i;

	switch (json_typeof(json)) {
	case JSON_OBJECT:
		write_char('{');
		for (at = json_object_iter(json); at; at = json_object_iter_next(json, at)) {
			if (line.text[line.len - 1] != '{')
				write_char(',');
			write_string(json_object_iter_key(at), json_object_iter_key_len(at));
			write_char(':');
			write_json(json_object_iter_value(at));
		}
		write_char('}');
		break;
	case JSON_ARRAY:
		write_char('[');
		json_array_foreach(json, i, value) {
			if (i)
				write_char(',');
			write_json(value);
		}
		write_char(']');
		break;
	case JSON_STRING:
		write_string(json_string_value(json), json_string_length(json));
		break;
	case JSON_INTEGER:
		write_integer(json_integer_value(json));
		break;
	case JSON_TRUE:
		write_text("true", 4);
		break;
	case JSON_FALSE:
		write_text("false", 5);
		break;
	default:
		write_text("null", 4);
	}
}

/* One line, to go out with the next one. Takes @json. */
void put(json_t *json)
{
	line.len = 0;
	write_json(json);
	write_char('\n');
	fwrite_unlocked(line.text, 1, line.len, stdout);
	json_decref(json);
}

/* One line, gone from our buffers before anything else happens. Takes @json. */
void emit(json_t *json)
{
	put(json);
	fflush(stdout);
}
