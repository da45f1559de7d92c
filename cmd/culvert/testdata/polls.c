// select and poll on more files than ring 0 waits for, with time-outs and signal masks: the answers, and what is left of the time.
//
//	polls [CALLS]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 100 };
static int rd[FILES], wr[FILES], ev, top;
static volatile int handled;

static void on_signal(int s) { handled++; }
static const char *name(long r) { return r < 0 ? strerrorname_np(errno) : ""; }

static void show(const char *what, long r, fd_set *in, fd_set *out, fd_set *ex) {
	printf("%s: %ld %s", what, r < 0 ? -1 : r, name(r));
	fd_set *sets[] = {in, out, ex};
	for (int s = 0; s < 3; s++, printf(" |"))
		for (int i = 0; sets[s] && i < top; i++) if (FD_ISSET(i, sets[s])) printf(" %d", i);
	puts("");
}

static void selects(void) {
	fd_set in, out, ex;
	struct timeval none = {0, 0}, second = {1, 0}, odd = {0, 2000000};
	struct timespec t = {0, 0};
#define SETS FD_ZERO(&in); FD_ZERO(&out); FD_ZERO(&ex); for (int i = 0; i < FILES; i++) FD_SET(rd[i], &in), FD_SET(wr[i], &out), FD_SET(rd[i], &ex);
	SETS show("nothing to read", select(rd[FILES - 1] + 1, &in, NULL, &ex, &none), &in, NULL, &ex);
	SETS show("some can be written", select(top, &in, &out, NULL, NULL), &in, &out, NULL);
	write(wr[3], "x", 1), write(wr[77], "x", 1), close(wr[50]);
	SETS FD_CLR(wr[50], &out);
	show("some can be read", select(top, &in, NULL, NULL, NULL), &in, NULL, NULL);
	SETS FD_CLR(wr[50], &out);
	show("both", select(top, &in, &out, &ex, &second), &in, &out, &ex);
	printf("left %s\n", second.tv_sec * 1000000 + second.tv_usec > 900000 ? "most" : "little");
	SETS show("one is not open", select(top, NULL, &out, NULL, NULL), NULL, NULL, NULL);
	SETS show("few", select(rd[2], &in, NULL, NULL, &none), &in, NULL, NULL);
	SETS show("odd time", select(rd[5], &in, NULL, NULL, &odd), &in, NULL, NULL);
	SETS show("bad time", pselect(top, &in, NULL, NULL, &(struct timespec){0, 1000000000}, NULL), NULL, NULL, NULL);
	SETS show("bad sets", select(top, (fd_set *)8, NULL, NULL, &none), NULL, NULL, NULL);
	SETS show("negative", select(-1, &in, NULL, NULL, &none), NULL, NULL, NULL);
	// Answers go to a page that is shared copy-on-write, and to one that is not writable.
	fd_set *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SETS *page = in;
	if (!fork()) _exit(0);
	show("copy-on-write", select(top, page, NULL, NULL, NULL), page, NULL, NULL);
	wait(NULL);
	*page = in;
	mprotect(page, 4096, PROT_READ);
	show("not writable", select(top, page, NULL, NULL, NULL), NULL, NULL, NULL);
	char c;
	read(rd[3], &c, 1), read(rd[77], &c, 1);
	int p[2];
	pipe(p);
	dup2(p[1], wr[50]), dup2(p[0], rd[50]);
	close(p[0]), close(p[1]);
}

static void polls(void) {
	struct pollfd f[FILES * 2 + 2];
	memset(f, 0xff, sizeof f);
	for (int i = 0; i < FILES; i++) f[i] = (struct pollfd){rd[i], POLLIN, 0x7fff}, f[FILES + i] = (struct pollfd){i % 3 ? wr[i] : -1, i % 2 ? POLLOUT : 0, 0x7fff};
	f[2 * FILES] = (struct pollfd){ev, POLLIN | POLLOUT, 0};
#define SHOW(what, call) do { long r = call; printf("%s: %ld %s", what, r, name(r)); for (int i = 0; i < 2 * FILES + 1; i++) if (f[i].revents) printf(" %d:%x", i, f[i].revents); puts(""); } while (0)
	SHOW("poll to read", poll(f, FILES, 0));
	SHOW("poll of all", poll(f, 2 * FILES + 1, -1));
	write(wr[9], "x", 1);
	SHOW("poll to read", poll(f, FILES, 1000));
	struct timespec t = {5, 0};
	SHOW("ppoll", ppoll(f, FILES, &t, NULL));
	f[7].fd = 800;
	SHOW("one is not open", poll(f, FILES, 0));
	f[7].fd = rd[7];
	char c;
	read(rd[9], &c, 1);
	SHOW("a millisecond", poll(f, FILES, 1));
	SHOW("bad array", poll((void *)8, 20, 0));
}

// masks: a signal that the call's mask lets through counts only if there is nothing else.
static void masks(void) {
	sigset_t all, none;
	sigemptyset(&none), sigemptyset(&all), sigaddset(&all, SIGUSR1);
	sigprocmask(SIG_BLOCK, &all, NULL);
	signal(SIGUSR1, on_signal);
	struct pollfd f = {rd[0], POLLIN, 0};
	struct timespec zero = {0, 0}, long_time = {3, 0};
	struct epoll_event e = {EPOLLIN}, got;
	int ep = epoll_create1(0);
	epoll_ctl(ep, EPOLL_CTL_ADD, rd[0], &e);
	fd_set in;
	for (int ready = 0; ready < 2; ready++) {
		if (ready) write(wr[0], "x", 1);
		for (int pending = 0; pending < 2; pending++) {
#define CALL(what, call) do { handled = 0; FD_ZERO(&in); FD_SET(rd[0], &in); if (pending) raise(SIGUSR1); long r = call; printf("%s, %s%s: %ld %s, %d handled\n", what, ready ? "ready" : "empty", pending ? ", signal" : "", r < 0 ? -1 : r, name(r), handled); \
	sigset_t now; sigprocmask(0, NULL, &now); if (!sigismember(&now, SIGUSR1)) puts("the mask has changed"); if (pending && !handled) sigtimedwait(&all, NULL, &zero); } while (0)
			CALL("ppoll 0", ppoll(&f, 1, &zero, &none));
			CALL("ppoll 0, no mask", ppoll(&f, 1, &zero, NULL));
			CALL("pselect 0", pselect(rd[0] + 1, &in, NULL, NULL, &zero, &none));
			CALL("epoll_pwait 0", epoll_pwait(ep, &got, 1, 0, &none));
			if (ready || pending) {
				CALL("ppoll", ppoll(&f, 1, &long_time, &none));
				CALL("pselect", pselect(rd[0] + 1, &in, NULL, NULL, &long_time, &none));
				CALL("epoll_pwait", epoll_pwait(ep, &got, 1, 3000, &none));
			}
			CALL("size", syscall(SYS_ppoll, &f, 1, &zero, &none, 4));
		}
	}
	char c;
	read(rd[0], &c, 1);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
}

// left: what ppoll says of its time, by the system call that the C library hides.
static void left(void) {
	struct pollfd f = {rd[1], POLLIN, 0};
	struct timespec t = {0, 3000000};
	long r = syscall(SYS_ppoll, &f, 1, &t, NULL, 8);
	printf("over: %ld, %ld.%09ld left\n", r, t.tv_sec, t.tv_nsec);
	t = (struct timespec){20, 0};
	if (!fork()) { usleep(20000); write(wr[1], "x", 1); _exit(0); }
	r = syscall(SYS_ppoll, &f, 1, &t, NULL, 8);
	printf("ready: %ld, %s\n", r, t.tv_sec == 19 || t.tv_sec == 18 ? "some time is gone" : "wrong time");
	wait(NULL);
	char c;
	read(rd[1], &c, 1);
	t = (struct timespec){20, 0};
	struct itimerval it = {.it_value = {0, 20000}};
	struct sigaction a = {.sa_handler = on_signal};
	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	r = syscall(SYS_ppoll, &f, 1, &t, NULL, 8);
	printf("interrupted: %s, %s\n", name(r), t.tv_sec == 19 || t.tv_sec == 18 ? "some time is gone" : "wrong time");
}

static void many(int calls) {
	struct pollfd f[FILES];
	for (int i = 0; i < FILES; i++) f[i] = (struct pollfd){rd[i], POLLIN, 0};
	sigset_t none;
	sigemptyset(&none);
	struct timespec t;
	struct timeval tv;
	struct epoll_event e = {EPOLLIN}, got;
	int ep = epoll_create1(0), found = 0;
	write(wr[60], "x", 1);
	epoll_ctl(ep, EPOLL_CTL_ADD, rd[60], &e);
	fd_set in;
	for (int i = 0; i < calls; i++) {
		FD_ZERO(&in); FD_SET(rd[60], &in); FD_SET(rd[2], &in);
		tv = (struct timeval){1, 0}, t = (struct timespec){1, 0};
		found += syscall(SYS_select, rd[60] + 1, &in, NULL, NULL, &tv);
		found += poll(f, FILES, 1000);
		found += ppoll(f, FILES, &t, &none);
		found += pselect(rd[60] + 1, &in, NULL, NULL, &t, &none);
		found += epoll_pwait(ep, &got, 1, 1000, &none);
	}
	printf("%d found\n", found);
	// Two processes that wait for each other with time-outs.
	int child = fork();
	struct pollfd mine = {child ? rd[11] : rd[10], POLLIN, 0};
	for (int i = 0; i < calls; i++) {
		char c;
		if (child) write(wr[10], "x", 1);
		t = (struct timespec){30, 0};
		if (ppoll(&mine, 1, &t, NULL) != 1) puts("timed out");
		read(mine.fd, &c, 1);
		if (!child) write(wr[11], "x", 1);
	}
	if (!child) _exit(0);
	wait(NULL);
}

int main(int argc, char **argv) {
	for (int i = 3; i < 64; i++) close(i); // the numbers are part of the answers
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	for (int i = 0; i < FILES; i++) {
		int p[2];
		pipe(p);
		rd[i] = p[0], wr[i] = p[1];
		top = p[1] + 1;
	}
	ev = eventfd(1, 0);
	selects();
	polls();
	masks();
	left();
	many(argc > 1 ? atoi(argv[1]) : 20);
}
