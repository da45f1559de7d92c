// What the cases share. A check that fails says where on standard error and ends the program with status 1; a hang
// ends it with SIGALRM.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#define CHECK(c)                                                                                                       \
	do {                                                                                                               \
		if (!(c)) {                                                                                                    \
			int e_ = errno;                                                                                            \
			dprintf(2, "FAIL %s:%d: %s (errno %d %s)\n", __FILE__, __LINE__, #c, e_, strerror(e_));                    \
			_exit(1);                                                                                                  \
		}                                                                                                              \
	} while (0)
__attribute__((constructor)) static void watchdog(void) {
	alarm(120);
}
__attribute__((unused)) static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
__attribute__((unused)) static void ms(int n) {
	double e = now() + n, d;
	while ((d = e - now()) > 0) usleep(d * 1000);
}
__attribute__((unused)) static void setnb(int fd) {
	CHECK(!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
}
__attribute__((unused)) static int pollfd1(int fd, int ev, int to) {
	struct pollfd p = {fd, ev, 0};
	int r = poll(&p, 1, to);
	return r < 0 ? -1 : r ? p.revents : 0;
}
__attribute__((unused)) static int pcap(int fd) {
	int c = fcntl(fd, F_GETPIPE_SZ);
	return c > 0 ? c : 65536;
}
__attribute__((unused)) static int reap(pid_t p) {
	int s;
	while (waitpid(p, &s, 0) != p) CHECK(errno == EINTR);
	return s;
}
