// Memory: mappings of all kinds, what fails and how, growing stacks, moves, locks, seals.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PG 4096L
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
static const char *e(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }
static char *map(long n, int prot, int flags) { return mmap(0, n, prot, flags, -1, 0); }
static const char *m(void *a, long n, int prot, int flags, int fd, long off) {
	void *r = mmap(a, n, prot, flags, fd, off);
	if (r == MAP_FAILED) return e(-1);
	munmap(r, n);
	return "ok";
}
static sigjmp_buf back;
static int code, sig;
static void *at;
static void fault(int s, siginfo_t *i, void *u) { code = i->si_code, at = i->si_addr, sig = s; siglongjmp(back, 1); }
#define FAULTS(c) (sigsetjmp(back, 1) ? sig * 10 + code : ({ c; 0; }))

static void mapping(void) {
	char *a = map(8 * PG, RW, ANON);
	int fd = open("/proc/self/exe", O_RDONLY), wo = open("/tmp/memory-wo", O_WRONLY | O_CREAT, 0600);
	printf("length 0 %s", m(0, 0, RW, ANON, -1, 0));
	printf(", no type %s", m(0, PG, RW, MAP_ANONYMOUS, -1, 0));
	printf(", both types %s", m(0, PG, RW, MAP_ANONYMOUS | MAP_SHARED | MAP_PRIVATE, -1, 0));
	printf(", huge %s", m(0, 1L << 47, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
	printf(", reserve %s", m(0, 1L << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
	printf(", offset %s", m(0, PG, PROT_READ, MAP_PRIVATE, fd, 1));
	printf(", bad fd %s", m(0, PG, PROT_READ, MAP_PRIVATE, 99, 0));
	printf(", shared write of read-only %s", m(0, PG, RW, MAP_SHARED, fd, 0));
	printf(", private %s", m(0, PG, RW, MAP_PRIVATE, fd, 0));
	printf(", write-only %s", m(0, PG, PROT_READ, MAP_PRIVATE, wo, 0));
	printf(", directory %s\n", m(0, PG, PROT_READ, MAP_PRIVATE, open("/", O_RDONLY), 0));
	printf("fixed unaligned %s", m(a + 1, PG, RW, ANON | MAP_FIXED, -1, 0));
	printf(", noreplace %s", m(a + PG, PG, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	printf(", beyond %s", m((void *)0x7ffffffff000, PG, RW, ANON | MAP_FIXED, -1, 0));
	printf(", hint taken %d", mmap(a, PG, RW, ANON, -1, 0) != a);
	printf(", 32 bit %d", (uint64_t)map(PG, RW, ANON | MAP_32BIT) < 1UL << 32);
	printf(", hugetlb %s", m(0, 2 << 20, RW, ANON | MAP_HUGETLB, -1, 0));
	printf(", odd %s", m(0, 2 << 20, RW, ANON | MAP_HUGETLB | 13 << MAP_HUGE_SHIFT, -1, 0));
	printf(", validate %s", m(0, PG, PROT_READ, MAP_SHARED_VALIDATE | 0x400000, fd, 0));
	printf(", anon validate %s\n", m(0, PG, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
	printf("munmap unaligned %s", e(munmap(a + 1, PG)));
	printf(", 0 %s", e(munmap(a, 0)));
	printf(", hole %s", e(munmap(a + 2 * PG, PG)));
	printf(" %s", e(munmap(a, 8 * PG)));
	printf(", wrap %s\n", e(munmap((void *)-PG, PG)));
	a = map(4 * PG, RW, ANON);
	munmap(a + 2 * PG, PG);
	printf("mprotect hole %s", e(mprotect(a, 4 * PG, PROT_READ)));
	printf(" and then %d", FAULTS(*(volatile char *)a = 1));
	printf(", unaligned %s", e(mprotect(a + 1, PG, RW)));
	printf(", 0 %s", e(mprotect(a, 0, RW)));
	printf(", both grows %s", e(mprotect(a, PG, RW | PROT_GROWSDOWN | PROT_GROWSUP)));
	printf(", grows %s", e(mprotect(a, PG, RW | PROT_GROWSDOWN)));
	char *s = mmap(0, PG, PROT_READ, MAP_SHARED, fd, 0);
	printf(", more than opened for %s\n", e(mprotect(s, PG, RW)));
	unlink("/tmp/memory-wo");
}

static void growing(void) {
	char *a = map(400 * PG, PROT_NONE, ANON);
	munmap(a, 400 * PG);
	char *g = mmap(a + 396 * PG, 4 * PG, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	printf("grows %d", FAULTS(g[-1] = 1));
	printf(", far %d", FAULTS(g[-40 * PG] = 1));
	mmap(a, PG, RW, ANON | MAP_FIXED, -1, 0);
	printf(", into the gap %d", FAULTS(a[200 * PG] = 1));
	printf(", outside %d", FAULTS(a[300 * PG] = 1));
	printf(", by a call %s", e(read(open("/dev/zero", O_RDONLY), a + 290 * PG, 1)));
	printf(", shared %s\n", m(0, PG, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
}

static void moving(void) {
	char *a = map(8 * PG, RW, ANON);
	strcpy(a, "moved");
	a[PG] = 'x';
	char *b = mremap(a, 4 * PG, 2 * PG, 0);
	printf("shrink %d", b == a);
	printf(", cut %d", FAULTS(a[3 * PG] = 1));
	b = mremap(a, 2 * PG, 3 * PG, 0);
	printf(", grow in place %d", b == a);
	b = mremap(a, 3 * PG, 16 * PG, 0);
	printf(", no room %s", b == MAP_FAILED ? e(-1) : "grew");
	b = mremap(a, 3 * PG, 16 * PG, MREMAP_MAYMOVE);
	printf(", moved %d %s", b != a && b != MAP_FAILED, b);
	printf(", old gone %d", FAULTS(a[0] = 1));
	char *t = map(32 * PG, PROT_NONE, ANON);
	char *c = mremap(b, 16 * PG, 16 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, t + PG);
	printf(", fixed %d %s", c == t + PG, c);
	printf(", fixed alone %s", e((long)mremap(c, PG, PG, MREMAP_FIXED, t)));
	printf(", overlap %s", e((long)mremap(c, 4 * PG, 4 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, c + PG)));
	printf(", unaligned %s", e((long)mremap(c + 1, PG, PG, 0)));
	printf(", to 0 %s", e((long)mremap(c, PG, 0, MREMAP_MAYMOVE)));
	printf(", hole %s", e((long)mremap(a, PG, 2 * PG, MREMAP_MAYMOVE)));
	printf(", bad flag %s", e((long)mremap(c, PG, PG, 8)));
	printf(", private copy %s", e((long)mremap(c, 0, PG, MREMAP_MAYMOVE)));
	char *d = mremap(c, 2 * PG, 2 * PG, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	printf(", dontunmap %d", d != MAP_FAILED && d != c && !strcmp(d, "moved") && c[0] == 0);
	char *s = mmap(0, 2 * PG, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s[5] = 7;
	char *s2 = mremap(s, 0, 2 * PG, MREMAP_MAYMOVE);
	printf(", shared copy %d", s2 != MAP_FAILED && (s2[6] = 8, s[6] == 8) && s2[5] == 7);
	printf(", partly mapped %s\n", e((long)mremap(s + PG, 8 * PG, 9 * PG, MREMAP_MAYMOVE)));
}

static void files(void) {
	int fd = memfd_create("m", MFD_ALLOW_SEALING);
	ftruncate(fd, PG + 100);
	char *s = mmap(0, 3 * PG, RW, MAP_SHARED, fd, 0), *p = mmap(0, 3 * PG, RW, MAP_PRIVATE, fd, 0);
	s[0] = 1;
	printf("private sees %d", p[0]);
	p[1] = 2, s[2] = 3;
	printf(", own then %d %d", s[1], p[2]);
	printf(", past the end %d %d", FAULTS(s[2 * PG] = 1), FAULTS(*(volatile char *)(p + 2 * PG)));
	printf(" but within the page %d", FAULTS(s[2 * PG - 1] = 1));
	p[PG] = 9;
	ftruncate(fd, 10);
	printf(", cut off %d %d", FAULTS(s[PG] = 1), FAULTS(p[PG] = 1));
	ftruncate(fd, 2 * PG);
	printf(", again there %d %d", FAULTS(s[PG] = 1), p[2 * PG - 1]);
	printf(", zeroed %d", s[2 * PG - 1]);
	printf(", read by a call past it %s\n", e(write(1, s + 2 * PG, 1)));
	printf("seals %d", fcntl(fd, F_GET_SEALS));
	printf(", write while mapped %s", e(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)));
	printf(", future %s", e(fcntl(fd, F_ADD_SEALS, 0x10)));
	printf(" %s", e(write(fd, "x", 1)));
	printf(" %s", m(0, PG, RW, MAP_SHARED, fd, 0));
	printf(" %s", m(0, PG, PROT_READ, MAP_SHARED, fd, 0));
	printf(" %s", e(mprotect(mmap(0, PG, PROT_READ, MAP_SHARED, fd, 0), PG, RW)));
	printf(" %s", e(mprotect(mmap(0, PG, PROT_READ, MAP_PRIVATE, fd, 0), PG, RW)));
	printf(", shrink %s", e(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)));
	printf(" %s %s", e(ftruncate(fd, 1)), e(ftruncate(fd, 5 * PG)));
	printf(", grow %s %s", e(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW)), e(ftruncate(fd, 9 * PG)));
	printf(", seal %s", e(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL)));
	printf(" %s %x", e(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW)), fcntl(fd, F_GET_SEALS));
	int un = memfd_create("n", 0);
	printf(", not allowed %s", e(fcntl(un, F_ADD_SEALS, F_SEAL_GROW)));
	printf(", bad flags %s\n", e(memfd_create("x", 0x8000)));
	printf("msync %s", e(msync(s, PG, MS_SYNC)));
	printf(" %s", e(msync(s + 1, PG, MS_SYNC)));
	printf(" %s", e(msync(s, PG, MS_SYNC | MS_ASYNC)));
	munmap(s + PG, PG);
	printf(" hole %s\n", e(msync(s, 3 * PG, MS_ASYNC)));
}

static void advice(void) {
	char *a = map(4 * PG, RW, ANON);
	unsigned char v[4];
	memset(a, 5, 4 * PG);
	printf("DONTNEED %s", e(madvise(a, PG, MADV_DONTNEED)));
	printf(" %d %d", a[0], a[PG]);
	a[0] = 1;
	printf(", mincore %s", e(mincore(a, 4 * PG, v)));
	printf(" %d%d%d%d", v[0] & 1, v[1] & 1, v[2] & 1, v[3] & 1);
	printf(", unaligned %s", e(mincore(a + 1, PG, v)));
	printf(", bad vector %s", e(mincore(a, PG, (void *)8)));
	munmap(a + 2 * PG, PG);
	printf(", hole %s", e(mincore(a, 4 * PG, v)));
	printf(", advice over it %s", e(madvise(a, 4 * PG, MADV_DONTNEED)));
	printf(" %d", a[3 * PG]);
	printf(", unknown %s", e(madvise(a, PG, 77)));
	printf(", unaligned %s", e(madvise(a + 1, PG, MADV_NORMAL)));
	printf(", length 0 %s", e(madvise(a, 0, MADV_DONTNEED)));
	printf(", REMOVE %s", e(madvise(a, PG, MADV_REMOVE)));
	printf(", WIPEONFORK %s", e(madvise(a, PG, MADV_WIPEONFORK)));
	a[0] = 3, a[PG] = 4;
	printf(", DONTFORK %s", e(madvise(a + 3 * PG, PG, MADV_DONTFORK)));
	fflush(stdout);
	if (!fork()) {
		printf(", child sees %d %d %d", a[0], a[PG], FAULTS(a[3 * PG] = 1));
		fflush(stdout);
		_exit(0);
	}
	wait(0);
	printf(", POPULATE_WRITE %s", e(madvise(a, PG, 23)));
	char *s = mmap(0, PG, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s[0] = 1;
	printf(", shared DONTNEED %s", e(madvise(s, PG, MADV_DONTNEED)));
	printf(" %d", s[0]);
	printf(", REMOVE %s", e(madvise(s, PG, MADV_REMOVE)));
	printf(" %d", s[0]);
	printf(", WIPEONFORK %s", e(madvise(s, PG, MADV_WIPEONFORK)));
	printf(", FREE %s\n", e(madvise(s, PG, MADV_FREE)));
}

static void locks(void) {
	char *a = map(8 * PG, RW, ANON);
	unsigned char v[8];
	printf("mlock %s", e(mlock(a + 10, PG)));
	mincore(a, 8 * PG, v);
	printf(" %d%d%d", v[0] & 1, v[1] & 1, v[2] & 1);
	printf(", mlock2 on fault %s", e(syscall(SYS_mlock2, a + 4 * PG, PG, 1)));
	mincore(a, 8 * PG, v);
	printf(" %d", v[4] & 1);
	printf(", bad flag %s", e(syscall(SYS_mlock2, a, PG, 8)));
	printf(", munlock %s", e(munlock(a, 8 * PG)));
	munmap(a + 3 * PG, PG);
	printf(", hole %s", e(mlock(a, 8 * PG)));
	printf(", mlockall 0 %s", e(mlockall(0)));
	printf(", on fault alone %s", e(mlockall(4)));
	printf(", all %s %s\n", e(mlockall(MCL_FUTURE)), e(munlockall()));
	fflush(stdout);
	if (!fork()) {
		setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){2 * PG, 2 * PG});
		setresuid(1000, 1000, 1000);
		char *b = map(8 * PG, RW, ANON);
		printf("limit: %s", e(mlock(b, 2 * PG)));
		printf(" %s", e(mlock(b, 3 * PG)));
		printf(" mmap %s\n", m(0, 3 * PG, RW, ANON | MAP_LOCKED, -1, 0));
		fflush(stdout);
		_exit(0);
	}
	wait(0);
}

static void others(void) {
	char buf[16] = "before", *a = map(2 * PG, RW, ANON);
	strcpy(a, "hello");
	struct iovec l = {buf, 6}, r = {a, 6};
	printf("process_vm_readv %zd %s", process_vm_readv(getpid(), &l, 1, &r, 1, 0), buf);
	r.iov_base = (void *)16;
	printf(", bad %s", e(process_vm_readv(getpid(), &l, 1, &r, 1, 0)));
	printf(", nobody %s", e(process_vm_readv(999999, &l, 1, &r, 1, 0)));
	printf(", flags %s\n", e(process_vm_readv(getpid(), &l, 1, &r, 1, 1)));
	// Code that is written, then run, in turns.
	unsigned char *x = (void *)map(PG, RW, ANON);
	for (int i = 0; i < 3; i++) {
		mprotect(x, PG, RW);
		memcpy(x, (unsigned char[]){0xb8, i, 0, 0, 0, 0xc3}, 6);
		printf("%d", FAULTS(((int (*)(void))x)()));
		mprotect(x, PG, PROT_READ | PROT_EXEC);
		printf(" %d", ((int (*)(void))x)());
		printf(" %d, ", FAULTS(x[0] = 1));
	}
	x = (void *)map(PG, RW | PROT_EXEC, ANON);
	for (int i = 0; i < 3; i++) {
		memcpy(x, (unsigned char[]){0xb8, i, 0, 0, 0, 0xc3}, 6);
		printf("%d ", ((int (*)(void))x)());
	}
	char *b = sbrk(0);
	printf("brk %d", sbrk(10 * PG) == b);
	b[5 * PG] = 1;
	printf(" %d", (char *)sbrk(-10 * PG) == b + 10 * PG);
	printf(" %d\n", FAULTS(b[6 * PG] = 1));
	printf("to the kernel: %s", e(read(0, (void *)0xffff880000000000, 1)));
	int p[2];
	pipe(p);
	write(p[1], "abcdef", 6);
	munmap(a + PG, PG);
	printf(" half %zd", read(p[0], a + PG - 3, 6));
	printf(" %s\n", e(write(p[1], a + PG, 1)));
}

int main(void) {
	setvbuf(stdout, 0, _IONBF, 0);
	struct sigaction a = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGSEGV, &a, 0);
	sigaction(SIGBUS, &a, 0);
	mapping();
	growing();
	moving();
	files();
	advice();
	locks();
	others();
	return 0;
}
