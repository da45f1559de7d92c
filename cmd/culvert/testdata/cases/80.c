// /proc/self/maps is truthful; main-thread stack bounds can be derived from it
// Reported in: wishstudio/flinux#64, ConchSandbox/Conch#138; related: google/gvisor#7000 (smaps_rollup)
// Linux: sorted non-overlapping lines; main() lies in an r-x line naming the executable; [stack] covers a local; new
// mmap appears with its permissions and vanishes after munmap; pthread_getattr_np bounds include a local
#include "case.h"

static int find(void *p, char *perm, char *name) {
	FILE *f = fopen("/proc/self/maps", "r");
	CHECK(f);
	char l[1024];
	unsigned long a, b, prev = 0;
	int r = 0;
	while (fgets(l, sizeof l, f)) {
		char pm[8], nm[512] = "";
		int k = sscanf(l, "%lx-%lx %4s %*s %*s %*s %500[^\n]", &a, &b, pm, nm);
		CHECK(k >= 3 && a < b && a >= prev);
		prev = b;
		if ((unsigned long)p >= a && (unsigned long)p < b) {
			strcpy(perm, pm);
			strcpy(name, nm);
			r = 1;
		}
	}
	fclose(f);
	return r;
}
int main(void) {
	char pm[8], nm[512], ex[512];
	int loc;
	ssize_t n = readlink("/proc/self/exe", ex, 511);
	CHECK(n > 0);
	ex[n] = 0;
	CHECK(find((void *)&main, pm, nm) && !strcmp(pm, "r-xp") && !strcmp(nm, ex));
	CHECK(find(&loc, pm, nm) && pm[0] == 'r' && pm[1] == 'w' && !strcmp(nm, "[stack]"));
	char *q = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(find(q, pm, nm) && !strcmp(pm, "rw-s"));
	CHECK(!mprotect(q + 4096, 4096, PROT_NONE));
	CHECK(find(q + 4096, pm, nm) && !strcmp(pm, "---s"));
	CHECK(find(q + 8192, pm, nm) && !strcmp(pm, "rw-s"));
	CHECK(!munmap(q, 3 * 4096));
	CHECK(!find(q, pm, nm));
	pthread_attr_t a;
	void *sa;
	size_t sz;
	CHECK(!pthread_getattr_np(pthread_self(), &a) && !pthread_attr_getstack(&a, &sa, &sz));
	CHECK((char *)&loc >= (char *)sa && (char *)&loc < (char *)sa + sz && sz >= 65536);
	return 0;
}
