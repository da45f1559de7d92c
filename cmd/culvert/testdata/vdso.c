// The vDSO: what it answers, against the system call, and that no thread ever sees time go back. All output is the same
// wherever it is right.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t ns(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }

// The functions, found as a library finds them: by name, through the dynamic section.
static void *symbol(const char *name) {
	char *base = (char *)getauxval(AT_SYSINFO_EHDR);
	Elf64_Ehdr *e = (void *)base;
	Elf64_Phdr *p = (void *)(base + e->e_phoff);
	Elf64_Dyn *d = 0;
	int64_t bias = 0;
	for (int i = 0; i < e->e_phnum; i++) {
		if (p[i].p_type == PT_LOAD) bias = (int64_t)base + p[i].p_offset - p[i].p_vaddr;
		if (p[i].p_type == PT_DYNAMIC) d = (void *)(base + p[i].p_offset);
	}
	Elf64_Sym *sym = 0;
	char *str = 0;
	uint32_t *hash = 0;
	for (; d->d_tag; d++) {
		if (d->d_tag == DT_SYMTAB) sym = (void *)(bias + d->d_un.d_ptr);
		if (d->d_tag == DT_STRTAB) str = (void *)(bias + d->d_un.d_ptr);
		if (d->d_tag == DT_HASH) hash = (void *)(bias + d->d_un.d_ptr);
	}
	for (uint32_t i = 0; hash && i < hash[1]; i++)
		if (!strcmp(str + sym[i].st_name, name)) return (void *)(bias + sym[i].st_value);
	return 0;
}

static int (*vgettime)(clockid_t, struct timespec *);
static int (*vgetres)(clockid_t, struct timespec *);
static int (*vgettod)(struct timeval *, struct timezone *);
static time_t (*vtime)(time_t *);
static long (*vgetcpu)(unsigned *, unsigned *, void *);

// between: the vDSO's time lies between two answers of the system call. It may have been taken from a line that the host
// is about to replace, hence some room.
static void between(clockid_t id) {
	const int64_t room = 2000000;
	struct timespec a, b, c;
	int coarse = id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE, ok = 1;
	for (int i = 0; i < 20; i++) {
		syscall(SYS_clock_gettime, id, &a);
		int r = vgettime(id, &b);
		syscall(SYS_clock_gettime, id, &c);
		if (coarse) a.tv_nsec -= 12000000;
		ok &= r == 0 && ns(a) - room <= ns(b) && ns(b) <= ns(c) + room && b.tv_nsec >= 0 && b.tv_nsec < 1000000000;
	}
	struct timespec x = {-1, -1}, y = {-1, -1};
	int r = vgetres(id, &x), s = syscall(SYS_clock_getres, id, &y);
	printf("clock %d: %s, resolution %s, %d\n", id, ok ? "agrees" : "differs", r == s && ns(x) == ns(y) ? "agrees" : "differs",
		vgetres(id, 0));
}

// Two threads on two processors tell each other the time.
static int64_t last;
static volatile int stop;
static int backwards;
static void *relay(void *arg) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((long)arg % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof set, &set);
	while (!stop) {
		for (int i = 0; i < 200; i++) {
			int64_t before = __atomic_load_n(&last, __ATOMIC_SEQ_CST);
			struct timespec t;
			if (i % 10) vgettime(CLOCK_MONOTONIC, &t);
			else syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
			int64_t n = ns(t);
			if (n < before) __atomic_add_fetch(&backwards, 1, __ATOMIC_SEQ_CST);
			__atomic_compare_exchange_n(&last, &before, n, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		}
		sched_yield();
	}
	return 0;
}

static void maps(void) {
	char line[300], perms[8], name[64];
	FILE *f = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, f)) {
		unsigned long from, to, off, ino;
		if (sscanf(line, "%lx-%lx %7s %lx %*x:%*x %lu %63s", &from, &to, perms, &off, &ino, name) != 6) continue;
		if (strcmp(name, "[vdso]") && strcmp(name, "[vvar]")) continue;
		printf("%s %s %lu %lu\n", name, perms, off, ino);
		if (!strcmp(name, "[vvar]")) {
			errno = 0;
			int r = mprotect((void *)from, 4096, PROT_READ | PROT_WRITE);
			printf("writable: %d %s\n", r, strerrorname_np(errno));
		} else {
			printf("where the auxiliary vector says: %d\n", from == getauxval(AT_SYSINFO_EHDR));
		}
	}
	fclose(f);
}

int main(int argc, char **argv) {
	vgettime = symbol("__vdso_clock_gettime");
	vgetres = symbol("__vdso_clock_getres");
	vgettod = symbol("__vdso_gettimeofday");
	vtime = symbol("__vdso_time");
	vgetcpu = symbol("__vdso_getcpu");
	printf("found: %d %d %d %d %d, aliases %d, others %d\n", !!vgettime, !!vgetres, !!vgettod, !!vtime, !!vgetcpu,
		symbol("clock_gettime") == (void *)vgettime, !!symbol("__vdso_nothing"));
	clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE,
		CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
	for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) between(ids[i]);
	struct timespec t;
	for (int i = 12; i < 40; i += 4) printf("clock %d: %d\n", i, vgettime(i, &t));
	printf("clock -1: %d\n", vgettime(-1, &t));

	struct timeval tv;
	struct timezone tz = {5, 6};
	time_t when = 0;
	vgettime(CLOCK_REALTIME, &t);
	int r = vgettod(&tv, &tz);
	int64_t d = tv.tv_sec * 1000000LL + tv.tv_usec - ns(t) / 1000;
	time_t now = vtime(&when);
	printf("gettimeofday: %d %d %d %d %d\n", r, d >= 0 && d < 1000000, tv.tv_usec >= 0 && tv.tv_usec < 1000000,
		tz.tz_minuteswest, tz.tz_dsttime);
	printf("time: %d %d; null: %d %d\n", now == when, now - tv.tv_sec >= 0 && now - tv.tv_sec < 2, vgettod(0, 0), vtime(0) > 1600000000);

	for (int i = 0; i < sysconf(_SC_NPROCESSORS_ONLN) && i < 2; i++) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(i, &set);
		sched_setaffinity(0, sizeof set, &set);
		unsigned cpu = 99, node = 99, scpu = 99;
		r = vgetcpu(&cpu, &node, 0);
		syscall(SYS_getcpu, &scpu, 0, 0);
		if (r || cpu != i || node != 0 || scpu != cpu || vgetcpu(0, 0, 0)) printf("getcpu: %d %u %u %u\n", r, cpu, node, scpu);
	}
	maps();

	pthread_t th[2];
	for (long i = 0; i < 2; i++) pthread_create(&th[i], 0, relay, (void *)i);
	usleep(1200000);
	stop = 1;
	for (int i = 0; i < 2; i++) pthread_join(th[i], 0);
	printf("went back: %d times\n", backwards);

	// A child has the same pages, and a program that is executed finds its own.
	fflush(stdout);
	if (!fork()) {
		struct timespec a;
		vgettime(CLOCK_MONOTONIC, &a);
		_exit(ns(a) >= last ? 7 : 8);
	}
	int status;
	wait(&status);
	printf("child: %d\n", WEXITSTATUS(status));
	return 0;
}
