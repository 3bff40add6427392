// SPDX-License-Identifier: GPL-2.0-only
/* Tests for the kernel tree's own test_progs that hang, panic and leave things behind. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <test_progs.h>

void test_attack_1_before(void)
{
	ASSERT_OK(access("/proc/self", F_OK), "proc");
}

void test_attack_2_hangs(void)
{
	for (;;)
		pause();
}

void test_attack_3_between(void)
{
	if (test__start_subtest("one"))
		ASSERT_TRUE(true, "one");
}

void test_attack_4_panics(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY);

	if (ASSERT_GE(fd, 0, "sysrq"))
		write(fd, "c", 1);
	for (;;)
		pause();
}

/* Both a namespace that has a name, and one that the program is left in. */
void test_attack_5_leaks(void)
{
	ASSERT_OK(system("ip netns add left_behind"), "add");
	ASSERT_OK(unshare(CLONE_NEWNET), "unshare");
}

void test_attack_6_after(void)
{
	/* That of the program again: another one has no loopback that is up. */
	ASSERT_OK(system("ip -o link show dev lo up | grep -q lo"), "loopback");
}

void test_attack_7_elsewhere(void)
{
	ASSERT_ERR(access("/run/netns/left_behind", F_OK), "left behind");
}
