// O_NONBLOCK write larger than PIPE_BUF fills what fits and returns a short count
// Reported in: TroyMitchell911/caffeinix#64 (review), wasmerio/wasmer#6148
// Linux: write(cap+5000)=cap; then EAGAIN; after draining one page, write/writev(8192)=4096
#include "case.h"

int main(void) {
	int p[2], n;
	CHECK(!pipe2(p, O_NONBLOCK));
	int cap = pcap(p[1]);
	char *b = calloc(1, cap + 5000);
	CHECK(write(p[1], b, cap + 5000) == cap);
	CHECK(write(p[1], b, 1) == -1 && errno == EAGAIN);
	CHECK(read(p[0], b, 4096) == 4096);
	CHECK(write(p[1], b, 8192) == 4096);
	CHECK(read(p[0], b, 4096) == 4096);
	struct iovec v[3] = {{b, 3000}, {b, 3000}, {b, 3000}}; /* total > PIPE_BUF: partial is right even inside iov 2 */
	CHECK(writev(p[1], v, 3) == 4096);
	CHECK(!ioctl(p[0], FIONREAD, &n) && n == cap);
	return 0;
}
