// CPU and memory information agree with each other
// Reported in: related: gristlabs/grist-help#330 (cpuinfo flags probing), python/cpython#131398 (cpuinfo probing),
// wishstudio/flinux#64 Linux: affinity count == sysconf(NPROCESSORS_ONLN) <= cpuinfo processors; getcpu in range;
// MemTotal matches sysinfo; MemAvailable present; status/stat/limits/cgroup/uptime/loadavg/version readable and parse
#include "case.h"

#include <sys/sysinfo.h>
static char b[1 << 17];
static char *rd(const char *f) {
	int fd = open(f, O_RDONLY), n = 0, k;
	if (fd < 0) {
		dprintf(2, "FAIL open %s errno %d\n", f, errno);
		_exit(1);
	}
	while ((k = read(fd, b + n, sizeof b - 1 - n)) > 0) n += k;
	b[n] = 0;
	close(fd);
	CHECK(n > 0);
	return b;
}
int main(void) {
	cpu_set_t s;
	CHECK(!sched_getaffinity(0, sizeof s, &s));
	long n = CPU_COUNT(&s), p = 0;
	CHECK(n >= 1 && sysconf(_SC_NPROCESSORS_ONLN) >= n);
	for (char *c = rd("/proc/cpuinfo"); (c = strstr(c, "processor")); c++) p++;
	CHECK(p >= n);
	CHECK(CPU_ISSET(sched_getcpu(), &s));
	unsigned long mt, ma;
	rd("/proc/meminfo");
	CHECK(sscanf(b, "MemTotal: %lu kB", &mt) == 1 && mt > 1000);
	char *q = strstr(b, "MemAvailable:");
	CHECK(q && sscanf(q, "MemAvailable: %lu kB", &ma) == 1 && ma <= mt);
	CHECK(strstr(b, "MemFree:") && strstr(b, "SwapTotal:"));
	struct sysinfo si;
	CHECK(!sysinfo(&si));
	double r = (double)si.totalram * si.mem_unit / 1024 / mt;
	CHECK(r > 0.98 && r < 1.02);
	int pid;
	char nm[64], st;
	CHECK(sscanf(rd("/proc/self/stat"), "%d (%63[^)]) %c", &pid, nm, &st) == 3 && pid == getpid() && st == 'R');
	rd("/proc/self/status");
	CHECK(strstr(b, "\nVmRSS:") && strstr(b, "\nThreads:\t1\n") && strstr(b, "\nPPid:\t"));
	CHECK(strstr(rd("/proc/self/limits"), "Max open files"));
	double up;
	CHECK(sscanf(rd("/proc/uptime"), "%lf", &up) == 1 && up > 0);
	CHECK(sscanf(rd("/proc/loadavg"), "%lf", &up) == 1);
	CHECK(strstr(rd("/proc/version"), "Linux"));
	CHECK(strstr(rd("/proc/stat"), "cpu ") && strstr(b, "btime "));
	rd("/proc/sys/kernel/osrelease");
	rd("/proc/self/cmdline");
	rd("/proc/self/comm");
	return 0;
}
