// poll() must not say POLLOUT when less than PIPE_BUF is free
// Reported in: microsoft/WSL#4525
// Linux: POLLOUT only when at least one whole page slot (>= PIPE_BUF) is free; full-minus-one-byte is not writable,
// draining 1 byte is not enough, draining a page is
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	int cap = pcap(p[1]);
	char *b = calloc(1, cap);
	CHECK(pollfd1(p[1], POLLOUT, 0) == POLLOUT);
	for (int done = 0; done < cap - 1;) {
		int k = cap - 1 - done < 1024 ? cap - 1 - done : 1024;
		CHECK(write(p[1], b, k) == k);
		done += k;
	}
	CHECK(pollfd1(p[1], POLLOUT, 50) == 0);
	CHECK(read(p[0], b, 1) == 1);
	CHECK(pollfd1(p[1], POLLOUT, 50) == 0);
	CHECK(read(p[0], b, 4095) == 4095);
	CHECK(pollfd1(p[1], POLLOUT, 50) == POLLOUT);
	setnb(p[1]);
	CHECK(write(p[1], b, 4096) == 4096 || errno == EAGAIN);
	return 0;
}
