// advertised CPU features really work (CPUID, HWCAP2, cpuinfo consistent)
// Reported in: google/gvisor#10625 (SIGILL on the KVM platform); related: google/gvisor#233 (AMD CPUID/MSR)
// Linux: any feature reported by CPUID+XGETBV executes; HWCAP2 FSGSBASE bit implies rdfsbase works; flags listed in
// /proc/cpuinfo agree
#include "case.h"

#include <cpuid.h>
#include <sys/auxv.h>
static void ill(int s) {
	dprintf(2, "FAIL signal %d on an advertised feature\n", s);
	_exit(1);
}
int main(void) {
#ifdef __x86_64__
	signal(SIGILL, ill);
	signal(SIGSEGV, ill);
	unsigned a, b, c, d, lo, hi;
	CHECK(__get_cpuid(1, &a, &b, &c, &d));
	char buf[65536];
	int f = open("/proc/cpuinfo", O_RDONLY);
	CHECK(f >= 0);
	int n = 0, k;
	while ((k = read(f, buf + n, sizeof buf - 1 - n)) > 0) n += k;
	buf[n] = 0;
	CHECK(strstr(buf, "processor") && strstr(buf, "flags"));
	CHECK(strstr(buf, " sse2 "));
	uint64_t x = 0;
	if (c & (1 << 23)) {
		__asm__ volatile("popcnt %1, %0" : "=r"(x) : "r"(0xffull));
		CHECK(x == 8);
	}
	if (c & (1 << 30)) __asm__ volatile("rdrand %0" : "=r"(x)::"cc");
	if (c & (1 << 27)) {
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		CHECK((lo & 3) == 3);
		if ((c & (1 << 28)) && (lo & 6) == 6) {
			__asm__ volatile("vpxor %%xmm0,%%xmm0,%%xmm0\n\tvaddps %%ymm0,%%ymm0,%%ymm1\n\tvzeroupper" ::
								 : "xmm0", "xmm1");
			CHECK(strstr(buf, " avx "));
			if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1 << 5))) {
				__asm__ volatile("vpaddd %%ymm0,%%ymm0,%%ymm1\n\tvzeroupper" ::: "xmm0", "xmm1");
				CHECK(strstr(buf, " avx2 "));
			}
			if ((b & (1 << 16)) && (lo & 0xe6) == 0xe6)
				__asm__ volatile("vpxord %%zmm0,%%zmm0,%%zmm0\n\tvzeroupper" ::: "xmm0");
			if (b & (1 << 8)) {
				__asm__ volatile("bzhi %2, %1, %0" : "=r"(x) : "r"(-1ll), "r"(4ll) : "cc");
				CHECK(x == 15);
			}
		}
	}
	if (getauxval(AT_HWCAP2) & 2) {
		uint64_t fs1, fs2 = 0;
		__asm__ volatile("rdfsbase %0" : "=r"(fs1));
		CHECK(!syscall(SYS_arch_prctl, 0x1003, &fs2));
		CHECK(fs1 == fs2);
	}
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_RANDOM) && getauxval(AT_CLKTCK) == 100);
#endif
	return 0;
}
