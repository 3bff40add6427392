#!/bin/bash
# Stands in for test_progs in a guest: takes what the harness gives it, prints
# as it does, and has tests that fail, leak, hang, complain and take the kernel
# down.
json=$2 list=${4#@} seconds=$6
passed=0 failed=0 results=

pass() {
	passed=$((passed + 1))
	echo "#$number $name:OK"
}

while read -r name; do
	number=$((number + 1))
	case $name in
	complains)
		echo "WARNING: CPU: 0 PID: 1 at kernel/x.c:1 complain+0x1/0x2" > /dev/kmsg && pass
		;;
	fails)
		echo "fails:FAIL:attach unexpected error: -22 (errno 22)"
		echo "#$number fails:FAIL"
		failed=$((failed + 1))
		results='{"name":"fails","number":1,"message":"","failed":true,"subtests":[]}'
		;;
	hangs)
		echo "WATCHDOG: test case hangs executes for $seconds seconds, terminating with SIGSEGV"
		sleep 1000
		;;
	leaks)
		ip netns add left && pass
		;;
	panics)
		echo c > /proc/sysrq-trigger
		sleep 1000
		;;
	sees_leak)
		[ -e /run/netns/left ] && echo "left behind" || pass
		;;
	*)
		pass
		;;
	esac
done < "$list"
echo "{\"success\":$passed,\"success_subtest\":0,\"skipped\":0,\"failed\":$failed,\"failed_subtest\":0,\"results\":[$results]}" > "$json"
