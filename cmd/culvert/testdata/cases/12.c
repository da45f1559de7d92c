// FIFO open rendezvous: ENXIO, O_RDWR never blocks, blocking open waits for the partner
// Reported in: google/gvisor#12504, google/gvisor#3501, firecracker-microvm/firecracker#5698
// Linux: O_WRONLY|O_NONBLOCK without reader: ENXIO; O_RDWR: immediate; O_RDONLY blocks until a writer opens, then both
// proceed
#include "case.h"

int main(void) {
	char n[64], c;
	snprintf(n, 64, "/tmp/fifo12.%d", getpid());
	unlink(n);
	CHECK(!mkfifo(n, 0600));
	struct stat st;
	CHECK(!stat(n, &st) && S_ISFIFO(st.st_mode));
	CHECK(open(n, O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO);
	int rw = open(n, O_RDWR);
	CHECK(rw >= 0);
	CHECK(write(rw, "q", 1) == 1 && read(rw, &c, 1) == 1 && c == 'q');
	close(rw);
	pid_t k = fork();
	if (!k) {
		ms(300);
		int w = open(n, O_WRONLY);
		CHECK(w >= 0 && write(w, "hello", 5) == 5);
		_exit(0);
	}
	double t = now();
	int r = open(n, O_RDONLY);
	CHECK(r >= 0);
	CHECK(now() - t > 150);
	char b[8];
	CHECK(read(r, b, 8) == 5 && !memcmp(b, "hello", 5));
	CHECK(reap(k) == 0);
	CHECK(read(r, b, 8) == 0);
	unlink(n);
	return 0;
}
