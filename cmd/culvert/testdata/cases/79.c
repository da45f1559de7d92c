// /proc/self/exe: canonical path, openable and executable even after unlink
// Reported in: cooperative-computing-lab/cctools#930, bombela/backward-cpp#146, intoli/exodus#50, sysprog21/kbox#9,
// nanovms/nanos#714 Linux: readlink is absolute and canonical (symlinks resolved); open gives the ELF; after unlink it
// reads " (deleted)" yet exec via /proc/self/exe still works
#include "case.h"

int main(int argc, char **argv) {
	char b[512], d[128], x[256], y[256], rp[512];
	ssize_t n = readlink("/proc/self/exe", b, 511);
	CHECK(n > 0 && b[0] == '/');
	b[n] = 0;
	if (argc > 1 && !strcmp(argv[1], "del")) {
		CHECK(!strcmp(b, argv[2]));
		CHECK(!unlink(argv[2]));
		n = readlink("/proc/self/exe", b, 511);
		b[n] = 0;
		CHECK(strstr(b, " (deleted)"));
		execl("/proc/self/exe", "x", "fin", (char *)0);
		return 8;
	}
	if (argc > 1) {
		int f = open("/proc/self/exe", O_RDONLY);
		char e[4];
		CHECK(f >= 0 && read(f, e, 4) == 4 && !memcmp(e, "\177ELF", 4));
		return 0;
	}
	CHECK(!strstr(b, "/./") && !strstr(b, "//"));
	snprintf(d, 128, "/tmp/exe79.%d", getpid());
	CHECK(!mkdir(d, 0700));
	snprintf(x, 256, "%s/real", d);
	snprintf(y, 256, "%s/link", d);
	int s = open("/proc/self/exe", O_RDONLY), o = open(x, O_WRONLY | O_CREAT | O_EXCL, 0755);
	CHECK(s >= 0 && o >= 0);
	char buf[65536];
	while ((n = read(s, buf, sizeof buf)) > 0) CHECK(write(o, buf, n) == n);
	close(o);
	CHECK(!symlink(x, y));
	CHECK(realpath(x, rp));
	pid_t k = fork();
	if (!k) {
		execl(y, "argv0-lies", "del", rp, (char *)0);
		_exit(9);
	}
	CHECK(reap(k) == 0);
	unlink(y);
	CHECK(!rmdir(d));
	return 0;
}
