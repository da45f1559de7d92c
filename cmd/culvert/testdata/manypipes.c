// Pipes by the thousand, and whose they are: descriptors run out as they should, an unprivileged user's pipes get small beyond
// that user's share, and what is closed makes room for others.
//
//	manypipes [PIPES]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int pipes = 1000, fds[10000][2];

static void limit(int n) {
	struct rlimit l = {n, n};
	if (setrlimit(RLIMIT_NOFILE, &l)) perror("setrlimit");
}

static const char *name(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }

static void many(void) {
	for (int i = 0; i < pipes; i++) {
		if (pipe(fds[i])) { printf("pipe %d: %s\n", i, strerrorname_np(errno)); exit(1); }
		if (write(fds[i][1], &i, sizeof i) != sizeof i) printf("write %d: %s\n", i, strerrorname_np(errno));
	}
	for (int i = 0; i < pipes; i++) {
		int v = -1;
		if (read(fds[i][0], &v, sizeof v) != sizeof v || v != i) printf("pipe %d has %d\n", i, v);
		close(fds[i][0]), close(fds[i][1]);
	}
}

static void in_child(void (*f)(void)) {
	fflush(stdout);
	if (!fork()) { f(); fflush(stdout); _exit(0); }
	int st;
	wait(&st);
	if (st) printf("status %x\n", st);
}

static void user(void) {
	int small = -1, p[2], n;
	if (setresgid(4321, 4321, 4321) || setresuid(4321, 4321, 4321)) perror("setresuid");
	pipe(p);
	printf("to 2 MiB: %s\n", name(fcntl(p[0], F_SETPIPE_SZ, 2 << 20)));
	printf("to 1 MiB: %s\n", name(fcntl(p[0], F_SETPIPE_SZ, 1 << 20)));
	printf("to 1 page: %s\n", name(fcntl(p[0], F_SETPIPE_SZ, 4096)));
	close(p[0]), close(p[1]);
	for (int i = 0; i < 1100; i++) {
		if (pipe(fds[i])) { printf("pipe %d: %s\n", i, strerrorname_np(errno)); break; }
		n = fcntl(fds[i][0], F_GETPIPE_SZ);
		if (n != 65536 && small < 0) printf("pipe %d has %d bytes\n", small = i, n);
	}
	printf("a small one to 64 KiB: %s\n", name(fcntl(fds[1090][0], F_SETPIPE_SZ, 65536)));
	printf("a large one to 128 KiB: %s\n", name(fcntl(fds[0][0], F_SETPIPE_SZ, 131072)));
	printf("a large one to 4 KiB: %s\n", name(fcntl(fds[0][0], F_SETPIPE_SZ, 4096)));
	for (int i = 1; i < 4; i++) close(fds[i][0]), close(fds[i][1]);
	pipe(p);
	printf("after some were closed: %d\n", fcntl(p[0], F_GETPIPE_SZ));
}

static void exhausted(void) {
	int p[2];
	int next = dup(0);
	close(next);
	limit(next + 1);
	printf("room for one: %s", name(pipe(p)));
	printf(", then %s", name(dup(0) >= 0 ? 0 : -1));
	printf(", then %s\n", name(dup(0)));
}

int main(int argc, char **argv) {
	if (argc > 1) pipes = atoi(argv[1]);
	printf("%d %d\n", pipes, access("/proc/sys/fs/pipe-max-size", R_OK));
	limit(20000);
	for (int i = 0; i < 2; i++) in_child(many);
	in_child(user);
	in_child(exhausted);
}
