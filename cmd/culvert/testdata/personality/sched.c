// sched_getattr and sched_setattr: sizes, policies, flags, and what is told afterwards.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
	uint32_t later[4];
};

static void get(int pid, unsigned size, unsigned flags)
{
	struct attr a;
	memset(&a, 0xaa, sizeof a);
	printf("get %u %u: ", size, flags);
	if (syscall(SYS_sched_getattr, pid, &a, size, flags) < 0)
		printf("%s\n", strerrorname_np(errno));
	else // runtime is the slice of a fair policy in later kernels
		printf("size %u policy %u flags %#lx nice %d priority %u clamp %#x %#x\n", a.size, a.policy, a.flags, a.nice, a.priority, a.util_min,
		       a.util_max);
}

static void set(const char *what, struct attr a, unsigned flags)
{
	int r = syscall(SYS_sched_setattr, 0, &a, flags);
	printf("set %s: %s, size %u; ", what, r < 0 ? strerrorname_np(errno) : "0", a.size);
	get(0, 56, 0);
}

int main(void)
{
	get(0, 48, 0);
	get(0, 56, 0);
	get(0, 64, 0);
	get(0, 47, 0);
	get(0, 4097, 0);
	get(0, 56, 1);
	get(-1, 56, 0);
	get(99999999, 56, 0);
	get(getpid(), 56, 0);
	set("size 0", (struct attr){0}, 0);
	set("size 47", (struct attr){.size = 47}, 0);
	set("size 72", (struct attr){.size = 72}, 0);
	set("size 72, not zero", (struct attr){.size = 72, .later = {0, 1}}, 0);
	set("size 5000", (struct attr){.size = 5000}, 0);
	set("nice 5", (struct attr){.size = 56, .nice = 5}, 0);
	set("nice 100", (struct attr){.size = 56, .nice = 100}, 0);
	set("nice -5", (struct attr){.size = 56, .nice = -5}, 0);
	set("batch", (struct attr){.size = 56, .policy = SCHED_BATCH, .nice = 1}, 0);
	set("idle", (struct attr){.size = 56, .policy = SCHED_IDLE, .nice = 2}, 0);
	set("fifo 10", (struct attr){.size = 56, .policy = SCHED_FIFO, .priority = 10}, 0);
	set("rr 0", (struct attr){.size = 56, .policy = SCHED_RR}, 0);
	set("rr 100", (struct attr){.size = 56, .policy = SCHED_RR, .priority = 100}, 0);
	set("rr 7, reset on fork", (struct attr){.size = 56, .policy = SCHED_RR, .priority = 7, .flags = 1}, 0);
	set("keep policy", (struct attr){.size = 56, .priority = 9, .flags = 8}, 0);
	set("keep parameters", (struct attr){.size = 56, .nice = 3, .flags = 0x10}, 0);
	set("keep both", (struct attr){.size = 56, .nice = 4, .priority = 1, .flags = 0x18}, 0);
	set("other, priority 1", (struct attr){.size = 56, .priority = 1}, 0);
	set("policy 4", (struct attr){.size = 56, .policy = 4}, 0);
	set("policy 77", (struct attr){.size = 56, .policy = 77}, 0);
	set("policy -1", (struct attr){.size = 56, .policy = -1}, 0);
	set("flags 0x100", (struct attr){.size = 56, .flags = 0x100}, 0);
	set("an argument's flags", (struct attr){.size = 56}, 1);
	set("deadline without one", (struct attr){.size = 56, .policy = 6}, 0);
	set("clamps in 48 bytes", (struct attr){.size = 48, .flags = 0x20}, 0);
	set("other", (struct attr){.size = 56}, 0);
	set("reclaim", (struct attr){.size = 56, .flags = 2}, 0);
	struct sched_param p = {0};
	printf("setscheduler: %d", sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &p));
	printf(" %#x\n", sched_getscheduler(0));
	get(0, 56, 0);
	return 0;
}
