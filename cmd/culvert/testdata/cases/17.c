// pipes are not seekable/mappable and are not ttys: exact errnos and stat fields
// Reported in: google/gvisor#13737 (Zig's positional writer), microsoft/WSL#2370 (uv_guess_handle),
// pengutronix/genimage#116 Linux: lseek/pread/pwrite/pwritev: ESPIPE; isatty/TCGETS: ENOTTY; mmap: ENODEV;
// ftruncate/fsync: EINVAL; fstat S_IFIFO
#include "case.h"

int main(void) {
	int p[2];
	CHECK(!pipe(p));
	char b[4] = "abc";
	struct iovec v = {b, 3};
	struct stat st;
	CHECK(lseek(p[0], 0, SEEK_CUR) == -1 && errno == ESPIPE);
	CHECK(pread(p[0], b, 1, 0) == -1 && errno == ESPIPE);
	CHECK(pwrite(p[1], b, 1, 0) == -1 && errno == ESPIPE);
	CHECK(pwritev(p[1], &v, 1, 0) == -1 && errno == ESPIPE);
	CHECK(pwritev2(p[1], &v, 1, -1, 0) == 3);
	errno = 0;
	CHECK(!isatty(p[0]) && errno == ENOTTY);
	struct winsize w;
	CHECK(ioctl(p[1], TIOCGWINSZ, &w) == -1 && errno == ENOTTY);
	CHECK(mmap(0, 4096, PROT_READ, MAP_PRIVATE, p[0], 0) == MAP_FAILED && errno == ENODEV);
	CHECK(ftruncate(p[1], 0) == -1 && errno == EINVAL);
	CHECK(fsync(p[1]) == -1 && errno == EINVAL);
	CHECK(!fstat(p[0], &st) && S_ISFIFO(st.st_mode) && st.st_size == 0 && st.st_nlink == 1);
	return 0;
}
