// What a signal does to each call that waits: with and without SA_RESTART, as signal(7) lists it, and the count of what had
// moved before. A call that goes on after the handler is let go by another thread.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t handled;
static void on_signal(int s) { handled++; }

static int empty[2], full[2], fullsock[2], emptysock[2], timeosock[2], counter, fullcounter, ep, tfd, sfd, listener, crowded, lockfd, lockfd2, file, child;
static uint32_t word;
static char big[1 << 20];
static struct sockaddr_un addr = {AF_UNIX}, crowd = {AF_UNIX};
static char fifo[40], lock[40];

static void fill(int fd) {
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int n = 65536; n >= 1; n /= 2) while (write(fd, big, n) > 0);
	fcntl(fd, F_SETFL, 0);
}

enum {
	READ, READV, WRITE, WRITEV, BIGWRITE, BIGREAD, SPLICE, TEE, VMSPLICE, SENDFILE, RECV, SEND, BIGSEND, RECVMSG, RECVTIMEO, ACCEPT, CONNECT, WAITALL,
	EVENTREAD, EVENTWRITE, TIMERREAD, SIGREAD, FIFO, POLL, POLLTIME, PPOLL, SELECT, SELECTTIME, PSELECT, EPOLL, EPOLLTIME, EPWAIT2, FUTEX, FUTEXTIME,
	NANOSLEEP, CLOCKSLEEP, PAUSE, SUSPEND, TIMEDWAIT, WAIT4, WAITID, FLOCK, SETLKW, CALLS
};
static const char *names[] = {
	"read", "readv", "write", "writev", "write of much", "read of much", "splice", "tee", "vmsplice", "sendfile", "recv", "send", "send of much", "recvmsg",
	"recv with SO_RCVTIMEO", "accept", "connect", "recv with MSG_WAITALL", "eventfd read", "eventfd write", "timerfd read", "signalfd read", "open of a FIFO", "poll",
	"poll with time-out", "ppoll", "select", "select with time-out", "pselect", "epoll_wait", "epoll_wait with time-out", "epoll_pwait2", "futex",
	"futex with time-out", "nanosleep", "clock_nanosleep", "pause", "sigsuspend", "sigtimedwait", "wait4", "waitid", "flock", "F_SETLKW",
};

static long call(int which) {
	char b[4096];
	uint64_t v = 1;
	struct iovec iov[2] = {{b, 5}, {b + 5, 5}}, much = {big, sizeof big};
	struct pollfd p = {empty[0], POLLIN, 0};
	struct timespec two = {2, 0}, none = {0, 0};
	struct timeval tv = {2, 0};
	struct epoll_event ev;
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	sigset_t set;
	siginfo_t si;
	fd_set f;
	FD_ZERO(&f);
	FD_SET(empty[0], &f);
	sigemptyset(&set);
	struct flock lk = {.l_type = F_WRLCK};
	switch (which) {
	case READ: return read(empty[0], b, 10);
	case READV: return readv(empty[0], iov, 2);
	case WRITE: return write(full[1], b, 10);
	case WRITEV: return writev(full[1], iov, 2);
	case BIGWRITE: return write(empty[1], big, 100000);
	case BIGREAD: return read(empty[0], big, 100000);
	case SPLICE: return splice(empty[0], NULL, full[1], NULL, 10, 0);
	case TEE: return tee(empty[0], full[1], 10, 0);
	case VMSPLICE: return vmsplice(full[1], &much, 1, 0);
	case SENDFILE: return sendfile(full[1], file, NULL, 10);
	case RECV: return recv(emptysock[0], b, 10, 0);
	case SEND: return send(fullsock[1], b, 4000, 0);
	case BIGSEND: return send(emptysock[0], big, sizeof big, 0);
	case RECVMSG: return recvmsg(emptysock[0], &m, 0);
	case RECVTIMEO: return recv(timeosock[0], b, 10, 0);
	case ACCEPT: return accept(listener, NULL, NULL) < 0 ? -1 : 0;
	case CONNECT: return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&crowd, sizeof crowd);
	case WAITALL: write(emptysock[1], b, 3); return recv(emptysock[0], b, 10, MSG_WAITALL);
	case EVENTREAD: return read(counter, &v, 8);
	case EVENTWRITE: return write(fullcounter, &v, 8);
	case TIMERREAD: return read(tfd, &v, 8);
	case SIGREAD: return read(sfd, b, sizeof b) < 0 ? -1 : 0;
	case FIFO: { int fd = open(fifo, O_RDONLY); if (fd < 0) return -1; close(fd); return 0; }
	case POLL: return poll(&p, 1, -1);
	case POLLTIME: return poll(&p, 1, 2000);
	case PPOLL: return ppoll(&p, 1, &two, NULL);
	case SELECT: return select(empty[0] + 1, &f, NULL, NULL, NULL);
	case SELECTTIME: return select(empty[0] + 1, &f, NULL, NULL, &tv);
	case PSELECT: return pselect(empty[0] + 1, &f, NULL, NULL, &two, NULL);
	case EPOLL: return epoll_wait(ep, &ev, 1, -1);
	case EPOLLTIME: return epoll_wait(ep, &ev, 1, 2000);
	case EPWAIT2: return syscall(441, ep, &ev, 1, &two, NULL, 8);
	case FUTEX: return syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL);
	case FUTEXTIME: return syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &two);
	case NANOSLEEP: two.tv_sec = 0, two.tv_nsec = 300000000; return nanosleep(&two, NULL);
	case CLOCKSLEEP: two.tv_sec = 0, two.tv_nsec = 300000000; errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &two, NULL); return errno ? -1 : 0;
	case PAUSE: return pause();
	case SUSPEND: return sigsuspend(&set);
	case TIMEDWAIT: sigaddset(&set, SIGUSR2); return sigtimedwait(&set, &si, NULL) < 0 ? -1 : 0;
	case WAIT4: return wait4(child, NULL, 0, NULL) < 0 ? -1 : 0;
	case WAITID: return waitid(P_PID, child, &si, WEXITED);
	case FLOCK: return flock(lockfd2, LOCK_EX);
	case SETLKW: return fcntl(lockfd, F_SETLKW, &lk);
	}
	return -1;
}

// set_up makes everything as the call wants to find it.
static void set_up(int which) {
	pipe(empty), pipe(full), socketpair(AF_UNIX, SOCK_STREAM, 0, emptysock), socketpair(AF_UNIX, SOCK_STREAM, 0, fullsock);
	socketpair(AF_UNIX, SOCK_STREAM, 0, timeosock);
	struct timeval tv = {5, 0};
	setsockopt(timeosock[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	fill(full[1]), fill(fullsock[1]);
	if (which == SPLICE || which == TEE) write(empty[1], "abc", 3);
	if (which == BIGREAD) write(empty[1], "abc", 3);
	counter = eventfd(0, 0), fullcounter = eventfd(0, 0);
	uint64_t v = UINT64_MAX - 1;
	write(fullcounter, &v, 8);
	ep = epoll_create1(0);
	struct epoll_event ev = {EPOLLIN};
	epoll_ctl(ep, EPOLL_CTL_ADD, empty[0], &ev);
	tfd = timerfd_create(CLOCK_MONOTONIC, 0);
	sigset_t set;
	sigemptyset(&set), sigaddset(&set, SIGUSR2);
	sfd = signalfd(-1, &set, 0);
	snprintf(fifo, sizeof fifo, "/tmp/eintr.fifo.%d", getpid());
	snprintf(lock, sizeof lock, "/tmp/eintr.lock.%d", getpid());
	mkfifo(fifo, 0600);
	addr.sun_path[0] = 0, snprintf(addr.sun_path + 1, 90, "eintr.%d.%d", getpid(), which);
	crowd = addr, crowd.sun_path[1] = 'c';
	listener = socket(AF_UNIX, SOCK_STREAM, 0), crowded = socket(AF_UNIX, SOCK_STREAM, 0);
	bind(listener, (struct sockaddr *)&addr, sizeof addr), listen(listener, 1);
	bind(crowded, (struct sockaddr *)&crowd, sizeof crowd), listen(crowded, 0);
	connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&crowd, sizeof crowd);
	file = open("/proc/self/exe", O_RDONLY);
	lockfd = open(lock, O_RDWR | O_CREAT, 0600);
	lockfd2 = open(lock, O_RDWR);
	flock(lockfd, LOCK_EX);
	int p[2];
	pipe(p);
	if (which == SETLKW) {
		struct flock lk = {.l_type = F_WRLCK};
		if (!(child = fork())) { fcntl(lockfd, F_SETLKW, &lk); write(p[1], "x", 1); pause(); }
		read(p[0], big, 1);
	} else if (which == WAIT4 || which == WAITID) {
		if (!(child = fork())) pause(), _exit(0);
	}
}

// let_go makes the call return.
static void let_go(int which, pid_t tid, pid_t kid) {
	uint64_t v = 1;
	struct itimerspec its = {.it_value = {0, 1}};
	static char sink[1 << 20];
	int fd;
	switch (which) {
	case READ: case READV: case POLL: case POLLTIME: case PPOLL: case SELECT: case SELECTTIME: case PSELECT: case EPOLL: case EPOLLTIME: case EPWAIT2:
		write(empty[1], "0123456789", 10); break;
	case WRITE: case WRITEV: case SPLICE: case TEE: case SENDFILE: read(full[0], sink, 8192); break;
	case VMSPLICE: read(full[0], sink, 65536); break;
	case BIGWRITE: for (int n = 0; n < 100000;) n += read(empty[0], sink, sizeof sink); break;
	case RECV: case RECVMSG: write(emptysock[1], "0123456789", 10); break;
	case WAITALL: write(emptysock[1], "0123456", 7); break;
	case RECVTIMEO: write(timeosock[1], "0123456789", 10); break;
	case SEND: for (int i = 0; i < 40; i++) recv(fullsock[0], sink, 65536, MSG_DONTWAIT); break;
	case BIGSEND: for (int n = 0; n < (int)sizeof big;) n += read(emptysock[1], sink, sizeof sink); break;
	case ACCEPT: connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&addr, sizeof addr); break;
	case CONNECT: accept(crowded, NULL, NULL); break;
	case EVENTREAD: write(counter, &v, 8); break;
	case EVENTWRITE: read(fullcounter, &v, 8); break;
	case TIMERREAD: timerfd_settime(tfd, 0, &its, NULL); break;
	case SIGREAD: case TIMEDWAIT: syscall(SYS_tgkill, getpid(), tid, SIGUSR2); break;
	case FIFO: fd = open(fifo, O_WRONLY); close(fd); break;
	case FUTEX: case FUTEXTIME: syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1); break;
	case WAIT4: case WAITID: kill(child, SIGKILL); break;
	case FLOCK: flock(lockfd, LOCK_UN); break;
	case SETLKW: kill(kid, SIGKILL); break;
	}
}

struct job { int which; volatile pid_t tid; volatile int done; };

// asleep waits until the thread sleeps or its call is over.
static void asleep(struct job *j) {
	char path[64], text[128] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", j->tid);
	for (int i = 0; i < 5000 && !j->done; i++, usleep(1000)) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, text, sizeof text - 1);
		close(fd);
		char *end = n > 0 ? strrchr(text, ')') : NULL;
		if (end && end[2] == 'S') break;
	}
}

static void *helper(void *arg) {
	struct job *j = arg;
	while (!j->tid) usleep(1000);
	usleep(2000);
	asleep(j);
	syscall(SYS_tgkill, getpid(), j->tid, SIGUSR1);
	for (int i = 0; i < 2000 && !handled && !j->done; i++) usleep(1000);
	usleep(2000);
	asleep(j);
	if (!j->done) let_go(j->which, j->tid, child);
	return NULL;
}

int main(int argc, char **argv) {
	sigset_t two;
	sigemptyset(&two), sigaddset(&two, SIGUSR2);
	sigprocmask(SIG_BLOCK, &two, NULL);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int which = 0; which < CALLS; which++) {
		if (argc > 1 && strcmp(argv[1], names[which])) continue;
		for (int restart = 0; restart < 2; restart++) {
			// Each in a process of its own: nothing is left for the next.
			fflush(stdout);
			pid_t pid = fork();
			if (pid) {
				int st;
				waitpid(pid, &st, 0);
				if (st) printf("%s %d: status %x\n", names[which], restart, st);
				continue;
			}
			alarm(20);
			struct sigaction a = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
			sigaction(SIGUSR1, &a, NULL);
			set_up(which);
			struct job j = {which};
			pthread_t th;
			pthread_create(&th, NULL, helper, &j);
			j.tid = syscall(SYS_gettid);
			errno = 0;
			long r = call(which);
			int e = errno;
			j.done = 1;
			printf("%s%s: ", names[which], restart ? ", SA_RESTART" : "");
			if (r < 0) printf("%s", strerrorname_np(e));
			else if (which == VMSPLICE || which == BIGSEND) printf(r < sizeof big ? "some" : "all"); // how much differs
			else printf("%ld", r);
			puts(handled ? "" : ", no signal");
			fflush(stdout);
			unlink(fifo), unlink(lock);
			if (child) kill(child, SIGKILL);
			_exit(0);
		}
	}
}
