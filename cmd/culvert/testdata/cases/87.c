// huge non-blocking writev on a socketpair returns a partial count instead of blocking
// Reported in: microsoft/WSL#7796, microsoft/WSL#493, microsoft/WSL#611
// Linux: returns > 0 and < 32 MiB; then EAGAIN; POLLOUT after draining; stream content intact
#include "case.h"

int main(void) {
	int s[2];
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	enum { N = 32 << 20 };
	char *b = malloc(N), *r = malloc(N);
	for (int i = 0; i < N; i++) b[i] = i * 2654435761u >> 24;
	struct iovec v[2] = {{b, 1000}, {b + 1000, N - 1000}};
	double t = now();
	ssize_t n = writev(s[0], v, 2);
	CHECK(n > 0 && n < N && now() - t < 5000);
	ssize_t k;
	while ((k = write(s[0], b + n, N - n)) > 0) n += k;
	CHECK(k == -1 && errno == EAGAIN);
	CHECK(pollfd1(s[0], POLLOUT, 20) == 0);
	int q = 0;
	CHECK(!ioctl(s[1], FIONREAD, &q) && q == n);
	ssize_t g = 0;
	while (g < N) {
		k = read(s[1], r + g, 100000);
		if (k > 0) g += k;
		else CHECK(k == -1 && errno == EAGAIN);
		if (n < N && pollfd1(s[0], POLLOUT, 0) == POLLOUT) {
			k = write(s[0], b + n, N - n);
			if (k > 0) n += k;
		}
	}
	CHECK(!memcmp(b, r, N));
	close(s[0]);
	CHECK(read(s[1], r, 1) == 0);
	return 0;
}
