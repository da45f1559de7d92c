// Round trips between two processes, each waiting for the other by epoll or poll on pipes and eventfds, with and without
// a time-out.
#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void await(int ep, int fd, int timeout) {
	struct epoll_event e;
	struct pollfd p = {fd, POLLIN, 0};
	if ((ep >= 0 ? epoll_wait(ep, &e, 1, timeout) : poll(&p, 1, timeout)) != 1) {
		puts("not ready");
		exit(1);
	}
}

static void trips(int n, int by_epoll, unsigned mode, int counters, int timeout) {
	int a[2], b[2];
	uint64_t v = 1;
	if (counters) {
		a[0] = a[1] = eventfd(0, 0);
		b[0] = b[1] = eventfd(0, 0);
	} else {
		pipe(a);
		pipe(b);
	}
	int child = fork(), rd = child ? b[0] : a[0], wr = child ? a[1] : b[1], ep = -1;
	if (by_epoll) {
		struct epoll_event e = {.events = EPOLLIN | mode};
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, rd, &e);
	}
	for (int i = 0; i < n; i++) {
		if (child && write(wr, &v, 8) != 8)
			exit(1);
		await(ep, rd, timeout);
		if (read(rd, &v, 8) != 8 || !child && write(wr, &v, 8) != 8)
			exit(1);
	}
	if (!child)
		_exit(0);
	wait(0);
}

int main(int argc, char **argv) {
	int n = 2000;
	trips(n, 1, 0, 0, -1);
	trips(n, 1, EPOLLET, 0, -1);
	trips(n, 1, 0, 1, -1);
	trips(n, 0, 0, 0, -1);
	trips(n, 0, 0, 1, -1);
	trips(n, 1, 0, 0, 60000);
	trips(n, 0, 0, 0, 60000);
	puts("done");
	return 0;
}
