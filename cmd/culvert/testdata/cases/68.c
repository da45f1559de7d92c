// file mapping longer than the file: extend later and use it; SIGBUS beyond EOF
// Reported in: microsoft/WSL#658, microsoft/WSL#2732
// Linux: map 16 KiB of a 0-byte file OK; access: SIGBUS(BUS_ADRERR); after ftruncate/write the same mapping works and
// is coherent with read(); shrinking makes pages SIGBUS again
#include "case.h"

static sigjmp_buf jb;
static volatile int code;
static void *volatile addr;
static void h(int s, siginfo_t *i, void *u) {
	(void)u;
	code = s * 100 + i->si_code;
	addr = i->si_addr;
	siglongjmp(jb, 1);
}
#define FAULT(x) (code = 0, sigsetjmp(jb, 1) == 0 ? ((void)(x), 0) : code)
int main(void) {
	struct sigaction a = {.sa_sigaction = h, .sa_flags = SA_SIGINFO};
	sigaction(SIGBUS, &a, 0);
	sigaction(SIGSEGV, &a, 0);
	char n[64], c;
	snprintf(n, 64, "/tmp/mm68.%d", getpid());
	int fd = open(n, O_RDWR | O_CREAT, 0600);
	unlink(n);
	volatile char *m = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(m != MAP_FAILED);
	CHECK(FAULT(c = m[4096]) == SIGBUS * 100 + BUS_ADRERR);
	CHECK(addr == m + 4096);
	CHECK(!ftruncate(fd, 8192));
	CHECK(FAULT(m[4096] = 'w') == 0);
	CHECK(pread(fd, &c, 1, 4096) == 1 && c == 'w');
	CHECK(pwrite(fd, "Z", 1, 10) == 1 && m[10] == 'Z');
	CHECK(FAULT(c = m[8192]) == SIGBUS * 100 + BUS_ADRERR);
	CHECK(!ftruncate(fd, 100));
	CHECK(m[10] == 'Z' && m[200] == 0);
	CHECK(FAULT(c = m[4096]) == SIGBUS * 100 + BUS_ADRERR);
	CHECK(!munmap((void *)m, 16384));
	CHECK(FAULT(c = m[0]) == SIGSEGV * 100 + SEGV_MAPERR);
	return 0;
}
