// zero-length pipe I/O: never blocks, never EOFs, never raises SIGPIPE
// Reported in: shadow/shadow#1281, asterinas/asterinas#2178, lat-opensource/lat#326
// Linux: read(...,0)=0 at once on an empty pipe; write(...,0)=0 even with no readers and without SIGPIPE; a reader
// stays blocked afterwards
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	char c;
	CHECK(read(p[0], &c, 0) == 0);
	CHECK(write(p[1], &c, 0) == 0);
	CHECK(writev(p[1], 0, 0) == 0);
	CHECK(pollfd1(p[0], POLLIN, 50) == 0);
	setnb(p[0]);
	CHECK(read(p[0], &c, 1) == -1 && errno == EAGAIN);
	CHECK(syscall(SYS_write, p[1], (void *)8, 0) == 0 &&
		  syscall(SYS_read, p[0], (void *)8, 0) == 0); /* bad pointer, zero length: no EFAULT */
	close(p[0]);
	CHECK(write(p[1], &c, 0) == 0); /* SIGPIPE default: would kill us */
	return 0;
}
