// vmsplice gathers user memory into a pipe and scatters it out
// Reported in: google/gvisor#138, coreutils/coreutils#253, cloudius-systems/osv#1425
// Linux: vmsplice(write end) queues the iov bytes; vmsplice(read end) copies out; non-pipe: EBADF
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	static char s[8192], d[8192];
	memset(s, 'v', sizeof s);
	struct iovec v[2] = {{s, 5000}, {s + 5000, 100}};
	CHECK(vmsplice(p[1], v, 2, 0) == 5100);
	struct iovec o = {d, sizeof d};
	ssize_t n = vmsplice(p[0], &o, 1, 0);
	CHECK(n > 0);
	while (n < 5100) {
		ssize_t k = read(p[0], d + n, sizeof d - n);
		CHECK(k > 0);
		n += k;
	}
	CHECK(n == 5100 && d[0] == 'v' && d[5099] == 'v' && d[5100] == 0);
	int z = open("/dev/zero", O_RDWR);
	CHECK(vmsplice(z, v, 1, 0) == -1 && errno == EBADF);
	return 0;
}
