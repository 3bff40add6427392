#include "fake.h"
int start_kernel(void)
{
	return FAKE;
}
