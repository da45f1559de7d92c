// impossible mappings fail with ENOMEM instead of killing the sandbox
// Reported in: google/gvisor#2534, google/gvisor#793
// Linux: > address space: ENOMEM; length 0: EINVAL; brk past the limit leaves brk unchanged; RLIMIT_AS makes
// mmap/malloc fail cleanly and the process keeps running
#include "case.h"

int main(void) {
	int f = MAP_PRIVATE | MAP_ANONYMOUS;
	CHECK(mmap(0, 1ul << 47, PROT_READ | PROT_WRITE, f, -1, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK(mmap(0, -4096ul, PROT_NONE, f, -1, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK(mmap(0, 0, PROT_READ, f, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(0, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(0, 4096, PROT_READ, MAP_PRIVATE, 777, 0) == MAP_FAILED && errno == EBADF);
	long b0 = syscall(SYS_brk, 0);
	CHECK(syscall(SYS_brk, b0 + (1l << 46)) == b0);
	pid_t k = fork();
	if (!k) {
		struct rlimit r = {256 << 20, 256 << 20};
		CHECK(!setrlimit(RLIMIT_AS, &r));
		CHECK(mmap(0, 512 << 20, PROT_READ | PROT_WRITE, f, -1, 0) == MAP_FAILED && errno == ENOMEM);
		CHECK(mmap(0, 16 << 20, PROT_READ | PROT_WRITE, f, -1, 0) != MAP_FAILED);
		_exit(0);
	}
	CHECK(reap(k) == 0);
	return 0;
}
