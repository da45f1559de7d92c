// rseq: registration succeeds and cpu_id is maintained, or clean ENOSYS
// Reported in: golang/go#51315, google/syzkaller#3869, checkpoint-restore/criu#1696, DynamoRIO/dynamorio#5431
// Linux: if glibc registered (__rseq_size>0): cpu_id in [0,ncpu) and follows sched_setaffinity; second registration
// elsewhere: EINVAL/EBUSY; fork keeps it, exec re-registers, threads register too
#include "case.h"

#include <sys/rseq.h>
static struct rseq *me(void) {
	char *tp;
	__asm__("movq %%fs:0,%0" : "=r"(tp));
	return (struct rseq *)(tp + __rseq_offset);
}
static void verify(void) {
	cpu_set_t all, s;
	CHECK(!sched_getaffinity(0, sizeof all, &all));
	for (int c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, &all)) {
			CPU_ZERO(&s);
			CPU_SET(c, &s);
			CHECK(!sched_setaffinity(0, sizeof s, &s));
			volatile struct rseq *r = me();
			CHECK((int)r->cpu_id == c);
			CHECK(sched_getcpu() == c);
		}
	CHECK(!sched_setaffinity(0, sizeof all, &all));
}
static void *th(void *a) {
	verify();
	return a;
}
int main(int argc, char **argv) {
	struct rseq mine __attribute__((aligned(32)));
	memset(&mine, 0, sizeof mine);
	errno = 0;
	if (__rseq_size == 0) {
		CHECK(syscall(SYS_rseq, &mine, 32, 0, 0x53053053) == -1 && errno == ENOSYS);
		return argc > 1 ? 0 : 0;
	}
	verify();
	CHECK(syscall(SYS_rseq, &mine, 32, 0, 0x53053053) == -1 && (errno == EINVAL || errno == EBUSY));
	if (argc > 1) return 0;
	pthread_t t;
	for (int i = 0; i < 20; i++) CHECK(!pthread_create(&t, 0, th, 0) && !pthread_join(t, 0));
	pid_t k = fork();
	if (!k) {
		verify();
		execl("/proc/self/exe", argv[0], "again", (char *)0);
		_exit(99);
	}
	CHECK(reap(k) == 0);
	return 0;
}
