#include "fake.h"

int bpf_prog_run(int insn)
{
	return insn;
}
