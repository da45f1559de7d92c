// splice basics and errnos
// Reported in: google/gvisor#138, cloudius-systems/osv#1425, golang/go#25486
// Linux: file->pipe->file moves bytes, advances offsets; EOF = 0; neither end a pipe: EINVAL; offset pointer on a pipe:
// ESPIPE; empty + SPLICE_F_NONBLOCK: EAGAIN
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	char n[64], b[64];
	snprintf(n, 64, "/tmp/spl20.%d", getpid());
	int f = open(n, O_RDWR | O_CREAT | O_TRUNC, 0600), g = open(n, O_RDWR);
	unlink(n);
	CHECK(f >= 0 && g >= 0);
	CHECK(write(f, "0123456789", 10) == 10);
	loff_t off = 2;
	CHECK(splice(f, &off, p[1], 0, 5, 0) == 5 && off == 7);
	CHECK(lseek(f, 0, SEEK_CUR) == 10);
	CHECK(read(p[0], b, 64) == 5 && !memcmp(b, "23456", 5));
	CHECK(splice(g, 0, p[1], 0, 100, 0) == 10 && lseek(g, 0, SEEK_CUR) == 10);
	CHECK(splice(g, 0, p[1], 0, 100, 0) == 0); /* file EOF */
	off = 20;
	CHECK(splice(p[0], 0, f, &off, 4, 0) == 4 && off == 24);
	CHECK(pread(f, b, 4, 20) == 4 && !memcmp(b, "0123", 4));
	CHECK(splice(p[0], &off, f, 0, 4, 0) == -1 && errno == ESPIPE);
	CHECK(splice(f, 0, g, 0, 4, 0) == -1 && errno == EINVAL);
	CHECK(read(p[0], b, 64) == 6);
	CHECK(splice(p[0], 0, f, 0, 4, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN);
	close(p[1]);
	CHECK(splice(p[0], 0, f, 0, 4, 0) == 0); /* pipe EOF */
	return 0;
}
