// SPDX-License-Identifier: GPL-2.0
#include "insn.h"

/* Programs as they are loaded: instructions, images, what they are part of. */

struct prog_view view0, view1, view2;

int view_get(int fd, struct prog_view *view)
{
	struct bpf_prog_info *info = &view->info;
	int err;

	memset(view, 0, sizeof(*view));
	info->nr_jited_ksyms = ARRAY_SIZE(view->ksyms);
	info->jited_ksyms = (long)view->ksyms;
	info->nr_jited_func_lens = ARRAY_SIZE(view->lens);
	info->jited_func_lens = (long)view->lens;
	info->xlated_prog_len = sizeof(view->xlated);
	info->xlated_prog_insns = (long)view->xlated;
	info->nr_func_info = ARRAY_SIZE(view->funcs);
	info->func_info = (long)view->funcs;
	info->func_info_rec_size = sizeof(view->funcs[0]);
	info->nr_callee_ids = ARRAY_SIZE(view->callees);
	info->callee_ids = (long)view->callees;
	info->nr_map_ids = ARRAY_SIZE(view->maps);
	info->map_ids = (long)view->maps;
	info->jited_prog_len = sizeof(view->jited);
	info->jited_prog_insns = (long)view->jited;
	err = obj_info(fd, info, sizeof(*info));
	if (err)
		return err;
	view->nr_xlated = info->xlated_prog_len / sizeof(view->xlated[0]);
	return 0;
}

/* How many images two programs have in common, and the last of them. */
int shared_image(const struct prog_view *a, const struct prog_view *b, __u64 *addr)
{
	unsigned int i, j;
	int n = 0;

	for (i = 0; i < a->info.nr_jited_ksyms; i++)
		for (j = 0; j < b->info.nr_jited_ksyms; j++)
			if (a->ksyms[i] == b->ksyms[j]) {
				n++;
				*addr = a->ksyms[i];
			}
	return n;
}

/* How many direct calls (e8) of this address there are in the images of a program. */
int calls_of(const struct prog_view *view, __u64 target)
{
	unsigned int f, i, at = 0;
	int n = 0;
	__s32 rel;

	for (f = 0; f < view->info.nr_jited_func_lens; at += view->lens[f++])
		for (i = 0; i + 5 <= view->lens[f]; i++) {
			memcpy(&rel, view->jited + at + i + 1, sizeof(rel));
			n += view->jited[at + i] == 0xe8 &&
			     view->ksyms[f] + i + 5 + rel == target;
		}
	return n;
}

/* Does the program start with what makes a packet private? That loads skb->cloned first. */
bool has_prologue(const struct prog_view *view)
{
	return view->nr_xlated && view->xlated[0].code == (BPF_LDX | BPF_MEM | BPF_B);
}
