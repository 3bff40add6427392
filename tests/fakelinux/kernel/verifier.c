#include "fake.h"

int check_ctx_access(int off)
{
	if (off < 0)
		return -22;
	return off;
}

int check_mem_access(int off)
{
	if (off < 0)
		return -13;
	return off;
}

int check_call(int id)
{
	if (id < 0)
		return -1;
	return id;
}
