// Programs that misbehave on purpose. Usage: hostile MODE... Each mode ends by itself with status 0, or is ended by the
// limit that it runs into; on bare Linux with limits as tight as a VM's it does the same. All modes but the last run in
// children. The name of each is told first: the last name is the mode that did it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(c)                                                                                                       \
	do {                                                                                                               \
		if (!(c)) {                                                                                                    \
			fprintf(stderr, "hostile.c:%d: %s (errno %d)\n", __LINE__, #c, errno);                                     \
			_exit(1);                                                                                                  \
		}                                                                                                              \
	} while (0)

static double seconds(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

// Every process forks as fast as it can, until there are too many; the first one then ends, which ends all.
static int forkbomb(void) {
	pid_t first = getpid();
	double end = seconds() + 3;
	int refused = 0;
	while (seconds() < end && !(getpid() == first && refused)) {
		pid_t p = fork();
		if (p < 0) {
			CHECK(errno == EAGAIN || errno == ENOMEM);
			refused = 1;
			sched_yield();
		}
	}
	if (getpid() != first)
		for (;;) pause();
	return 0;
}

// Memory in every form, in many processes; ends with SIGKILL by the memory limit.
static int membomb(void) {
	for (int i = 0; i < 6; i++) {
		if (fork() == 0) {
			for (;;) {
				char *p;
				switch (i) {
				case 0:
					p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
					break;
				case 1:
					p = mmap(0, 1 << 20, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
					break;
				case 2: {
					int fd = memfd_create("m", 0);
					ftruncate(fd, 1 << 20);
					p = mmap(0, 1 << 20, 3, MAP_SHARED, fd, 0);
					close(fd);
					break;
				}
				case 3:
					p = sbrk(1 << 20);
					break;
				case 4: {
					int fd[2];
					if (pipe(fd)) {
						sched_yield();
						continue;
					}
					fcntl(fd[1], F_SETFL, O_NONBLOCK);
					static char b[65536];
					write(fd[1], b, sizeof b);
					continue;
				}
				default: {
					int fd = memfd_create("m", 0);
					static char b[1 << 20];
					if (fd < 0 || write(fd, b, sizeof b) < 0) sched_yield();
					continue;
				}
				}
				if (p == MAP_FAILED) {
					sched_yield();
					continue;
				}
				for (int j = 0; j < 1 << 20; j += 4096) p[j] = 1;
			}
		}
	}
	for (;;) {
		char *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) {
			sched_yield();
			continue;
		}
		memset(p, 1, 1 << 20);
	}
}

// One page in each table: the tables are what costs. Ends by the memory limit, or with ENOMEM.
static int tablebomb(void) {
	char *base = mmap(0, 1ul << 44, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) return 0;
	for (unsigned long i = 0; i < 1ul << 44; i += 1ul << 30) base[i] = 1;
	for (unsigned long i = 0; i < 1ul << 44; i += 1ul << 21) base[i] = 1;
	return 0;
}

// Descriptors of every kind until the process, then the system, has no more; then descriptors in flight in sockets.
static int fdbomb(void) {
	struct rlimit r;
	CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
	r.rlim_cur = r.rlim_max < 4000 ? r.rlim_max : 4000;
	CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
	for (int k = 0; k < 6; k++) {
		pid_t p = fork();
		if (p == 0) {
			int s[2], n = 0;
			for (;; n++) {
				int e = 0;
				switch (k) {
				case 0:
					e = pipe(s);
					break;
				case 1:
					e = socketpair(AF_UNIX, SOCK_STREAM, 0, s);
					break;
				case 2:
					e = eventfd(0, 0);
					break;
				case 3:
					e = epoll_create1(0);
					break;
				case 4:
					e = open("/dev/null", O_RDONLY);
					break;
				case 5:
					e = memfd_create("x", 0);
					break;
				}
				if (e < 0) break;
			}
			if (n > 10 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) _exit(0);
			fprintf(stderr, "kind %d: %d of them, then errno %d\n", k, n, errno);
			_exit(1);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p && st == 0);
	}
	// A socket that travels through itself.
	for (int i = 0; i < 300; i++) {
		int s[2];
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
		for (int j = 0; j < 10; j++) {
			char c = 1, buf[CMSG_SPACE(sizeof s)] = {0};
			struct iovec v = {&c, 1};
			struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof buf};
			struct cmsghdr *h = CMSG_FIRSTHDR(&m);
			h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof s);
			memcpy(CMSG_DATA(h), s, sizeof s);
			if (sendmsg(s[0], &m, MSG_DONTWAIT) < 0) {
				CHECK(errno == EAGAIN || errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENFILE);
				break;
			}
		}
		close(s[0]), close(s[1]);
	}
	return 0;
}

// Arguments up to and beyond every limit of execve.
static int hugeargv(void) {
	static char big[1 << 18];
	memset(big, 'x', sizeof big - 1);
	char *one[] = {"true", big, 0};
	CHECK(execv("/proc/self/exe", one) == -1 && errno == E2BIG); // MAX_ARG_STRLEN
	big[131071] = 0;
	static char *many[100000];
	many[0] = "true";
	for (int i = 1; i < 99; i++) many[i] = big;
	CHECK(execv("/proc/self/exe", many) == -1 && errno == E2BIG); // a quarter of the stack's limit
	for (int i = 1; i < 99999; i++) many[i] = "a-rather-long-argument-of-a-process";
	CHECK(execv("/proc/self/exe", many) == -1 && errno == E2BIG);
	CHECK(execv("/proc/self/exe", (char **)8) == -1 && errno == EFAULT);
	for (int i = 1; i < 15; i++) many[i] = big;
	many[15] = 0;
	many[1] = "nothing";
	pid_t p = fork();
	if (p == 0) {
		execv("/proc/self/exe", many);
		_exit(1);
	}
	int st;
	CHECK(waitpid(p, &st, 0) == p && st == 0);
	return 0;
}

// Directories so deep that no path leads to them.
static int deepdirs(void) {
	CHECK(chdir("/tmp") == 0);
	char name[251];
	memset(name, 'd', 250), name[250] = 0;
	for (int i = 0; i < 40; i++) CHECK(mkdir(name, 0755) == 0 && chdir(name) == 0);
	static char buf[PATH_MAX];
	CHECK(getcwd(buf, sizeof buf) == 0 && (errno == ENAMETOOLONG || errno == ERANGE));
	CHECK(open("f", O_CREAT | O_WRONLY, 0600) >= 0);
	memset(buf, 0, sizeof buf);
	for (int i = 0; i < 1300; i++) memcpy(buf + 3 * i, "../", 3);
	struct stat s;
	CHECK(stat(buf, &s) == 0);
	CHECK(symlink("/tmp/l", "/tmp/l") == 0 && open("/tmp/l", O_RDONLY) == -1 && errno == ELOOP);
	return 0;
}

static atomic_long caught;
static void count(int s) {
	caught++;
}

static void *storm(void *arg) {
	double end = seconds() + 1;
	unsigned r = (uintptr_t)arg;
	while (seconds() < end)
		for (int i = 0; i < 50; i++) kill(getpid(), i % 2 ? SIGUSR1 : SIGRTMIN + rand_r(&r) % 8);
	return 0;
}

// Signals from all threads to all, handlers within handlers, timers that fire all the time.
static int sigstorm(void) {
	struct sigaction sa = {.sa_handler = count, .sa_flags = SA_RESTART};
	for (int s = 1; s < 65; s++)
		if (s != SIGTERM) sigaction(s, &sa, 0);
	struct itimerval it = {{0, 50000}, {0, 50000}}; // not faster than a slow machine handles them
	CHECK(setitimer(ITIMER_REAL, &it, 0) == 0);
	CHECK(setitimer(ITIMER_VIRTUAL, &it, 0) == 0);
	CHECK(setitimer(ITIMER_PROF, &it, 0) == 0);
	pthread_t t[6];
	for (long i = 0; i < 6; i++) CHECK(pthread_create(&t[i], 0, storm, (void *)i) == 0);
	for (int i = 0; i < 6; i++) pthread_join(t[i], 0);
	memset(&it, 0, sizeof it);
	setitimer(ITIMER_REAL, &it, 0);
	CHECK(caught > 100);
	// Many timers, whose signals come at once.
	int n = 0;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	timer_t id;
	struct itimerspec ts = {{2, 0}, {0, 50000000}};
	while (n < 100 && timer_create(CLOCK_MONOTONIC, &ev, &id) == 0) {
		timer_settime(id, 0, &ts, 0);
		n++;
	}
	CHECK(n == 100);
	usleep(300000);
	return 0;
}

static void *execer(void *arg) {
	char *v[] = {"hostile", "nothing", 0};
	while (!*(atomic_int *)arg) sched_yield();
	execv("/proc/self/exe", v);
	return 0;
}

// All threads of a process execute a program at the same time, while others end it.
static int execthreads(void) {
	for (int round = 0; round < 9; round++) {
		pid_t p = fork();
		if (p == 0) {
			atomic_int go = 0;
			pthread_t t;
			for (int i = 0; i < 6; i++) pthread_create(&t, 0, execer, &go);
			go = 1;
			if (round % 3 == 0) kill(getpid(), SIGKILL);
			if (round % 3 == 1) execer(&go);
			pause();
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
		CHECK(st == 0 || WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	}
	return 0;
}

static void *quitter(void *arg) {
	while (!*(atomic_int *)arg) sched_yield();
	switch (gettid() % 4) {
	case 0:
		_exit(7);
	case 1:
		return 0;
	case 2:
		syscall(SYS_exit, 0);
	}
	if (fork() == 0) _exit(0);
	_exit(7);
}

// Threads end, end their process and fork at once.
static int exitrace(void) {
	for (int round = 0; round < 16; round++) {
		pid_t p = fork();
		if (p == 0) {
			atomic_int go = 0;
			pthread_t t;
			for (int i = 0; i < 8; i++) pthread_create(&t, 0, quitter, &go);
			go = 1;
			usleep(round * 200);
			_exit(7);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
		CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 7);
	}
	return 0;
}

static void *mapper(void *arg) {
	double end = seconds() + 1;
	while (seconds() < end) {
		char *p = mmap((void *)0x10000000000, 1 << 16, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (p == MAP_FAILED) continue;
		*(volatile char *)(p + 4096) = 1;
		madvise(p, 1 << 16, MADV_DONTNEED);
		mprotect(p, 8192, PROT_READ);
		munmap(p, 1 << 15);
	}
	return 0;
}

static void segv(int s) {
	syscall(SYS_exit, 0);
}

static void *toucher(void *arg) {
	struct timespec t;
	double end = seconds() + 1;
	while (seconds() < end) {
		int fd[2];
		if (pipe(fd)) continue;
		write(fd[1], (void *)0x10000001000, 6000);
		fcntl(fd[0], F_SETFL, O_NONBLOCK);
		read(fd[0], (void *)0x10000000800, 6000);
		close(fd[0]), close(fd[1]);
		syscall(SYS_futex, (void *)0x10000001000, FUTEX_WAKE, 1, 0, 0, 0);
	}
	return 0;
}

// Mappings change under threads that use them, in user mode and in calls.
static int maprace(void) {
	signal(SIGSEGV, segv);
	signal(SIGBUS, segv);
	pthread_t t[6];
	for (int i = 0; i < 6; i++) CHECK(pthread_create(&t[i], 0, i % 2 ? toucher : mapper, 0) == 0);
	for (int i = 0; i < 6; i++) pthread_join(t[i], 0);
	return 0;
}

// Random calls with random arguments, in children that may do to themselves what they like.
static int fuzz(void) {
	for (int round = 0; round < 10; round++) {
		fflush(0);
		pid_t p = fork();
		if (p == 0) {
			srand(1000 + round);
			setsid();
			chdir("/tmp");
			alarm(3);
			char *map = mmap(0, 1 << 16, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			mprotect(map + 0x8000, 0x1000, PROT_READ);
			munmap(map + 0xa000, 0x1000);
			strcpy(map, "/proc/self/fd");
			strcpy(map + 0x1000, "/tmp/x");
			strcpy(map + 0x2000, ".");
			int fds[2];
			pipe(fds), socketpair(AF_UNIX, SOCK_STREAM, 0, fds), epoll_create1(0), eventfd(1, 0), memfd_create("m", 0),
				open("/dev/zero", 2), open("/tmp", 0);
			for (int n = 0; n < 400; n++) {
				long nr = rand() % 10 == 0 ? rand() : rand() % 470, a[6];
				if (nr == SYS_exit_group || nr == SYS_exit || nr == SYS_kill || nr == SYS_pause ||
					nr == SYS_rt_sigsuspend || nr == SYS_reboot || nr == SYS_vhangup || nr == SYS_rt_sigqueueinfo ||
					nr == SYS_tkill || nr == SYS_alarm || nr == SYS_setitimer)
					continue;
				for (int i = 0; i < 6; i++) {
					switch (rand() % 12) {
					case 0:
						a[i] = 0;
						break;
					case 1:
						a[i] = -1;
						break;
					case 2:
					case 3:
					case 4:
						a[i] = rand() % 16;
						break;
					case 5:
						a[i] = (long)map + rand() % 0x10000;
						break;
					case 6:
					case 7:
						a[i] = (long)map + rand() % 4 * 0x1000;
						break;
					case 8:
						a[i] = 1l << rand() % 64;
						break;
					case 9:
						a[i] = (1l << rand() % 64) - 1;
						break;
					case 10:
						a[i] = rand() % 2 ? -100 : 4096 * (rand() % 16);
						break;
					case 11:
						a[i] = (long)rand() << 32 ^ rand();
						break;
					}
				}
				if (rand() % 8 == 0)
					for (int i = 0; i < 0x3000; i += 4) *(int *)(map + i + 0x3000) = rand() >> rand() % 32;
				if (nr == SYS_clone || nr == SYS_clone3 || nr == SYS_fork || nr == SYS_vfork) {
					if (rand() % 4) continue;
					pid_t c = fork();
					if (c == 0) continue;
				} else syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
			}
			_exit(0);
		}
		int st;
		while (waitpid(p, &st, 0) != p)
			;
		while (waitpid(-1, &st, WNOHANG) > 0)
			;
	}
	return 0;
}

// A list of held futexes that is a ring, one that leads nowhere, and requeues to itself.
static int futexes(void) {
	for (int i = 0; i < 6; i++) {
		pid_t p = fork();
		if (p == 0) {
			static struct {
				void *next;
				long offset;
				void *pending;
			} head;
			static void *node;
			head.next = &head, head.offset = 0, head.pending = 0;
			if (i == 1) head.next = &node, node = &node;
			if (i == 2) head.next = (void *)8;
			if (i == 3) head.next = &node, node = (void *)0xffff800000000000, head.offset = 1ul << 46;
			if (i == 4) head.next = &node, node = &head, head.offset = 1, head.pending = (void *)~0ul;
			syscall(SYS_set_robust_list, i == 5 ? (void *)8 : &head, 24);
			int w = 0;
			syscall(SYS_futex, &w, FUTEX_CMP_REQUEUE, INT_MAX, INT_MAX, &w, 0);
			syscall(SYS_futex, &w, FUTEX_WAKE_OP, INT_MAX, INT_MAX, &w, -1);
			syscall(SYS_futex, (char *)&w + 1, FUTEX_WAIT, 0, 0, 0, 0);
			_exit(0);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p && st == 0);
	}
	return 0;
}

static void *pinger(void *arg) {
	int *fd = arg;
	char b[100];
	double end = seconds() + 1;
	while (seconds() < end) {
		struct iovec v[3] = {{b, 10}, {0, 0}, {b + 50, 20}};
		writev(fd[1], v, 3);
		readv(fd[0], v, 3);
	}
	return 0;
}

static void *closer(void *arg) {
	int *fd = arg;
	double end = seconds() + 1;
	while (seconds() < end) {
		int n[2];
		if (pipe2(n, O_NONBLOCK)) continue;
		dup2(n[0], fd[0]), dup2(n[1], fd[1]);
		close(n[0]), close(n[1]);
	}
	return 0;
}

static void *poller(void *arg) {
	int *fd = arg, ep = epoll_create1(0);
	double end = seconds() + 1;
	while (seconds() < end) {
		struct epoll_event e = {EPOLLIN | EPOLLET, {0}};
		epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &e);
		epoll_wait(ep, &e, 1, 1);
		epoll_ctl(ep, EPOLL_CTL_DEL, fd[0], &e);
	}
	return 0;
}

// Descriptors are replaced and closed under threads that read, write and wait for them.
static int fdrace(void) {
	int fd[2];
	signal(SIGPIPE, SIG_IGN);
	CHECK(pipe2(fd, O_NONBLOCK) == 0);
	pthread_t t[8];
	void *(*fn[])(void *) = {pinger, closer, poller, pinger};
	for (int i = 0; i < 8; i++) CHECK(pthread_create(&t[i], 0, fn[i % 4], fd) == 0);
	for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
	return 0;
}

static void recurse(volatile char *p) {
	char b[4096];
	b[0] = *p;
	recurse(b);
	*p = b[0];
}

// Stacks that overflow, with a handler that has no stack either.
static int stacks(void) {
	for (int i = 0; i < 3; i++) {
		pid_t p = fork();
		if (p == 0) {
			stack_t ss = {.ss_sp = (void *)(i == 1 ? 0x1000 : 0x7ffffff00000), .ss_size = 65536};
			struct sigaction sa = {.sa_handler = count, .sa_flags = i ? SA_ONSTACK : 0};
			sigaltstack(&ss, 0);
			sigaction(SIGSEGV, &sa, 0);
			recurse("");
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p && WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);
	}
	return 0;
}

int main(int argc, char **argv) {
	static const struct {
		const char *name;
		int (*fn)(void);
	} modes[] = {
		{"forkbomb", forkbomb},		  {"membomb", membomb},	  {"tablebomb", tablebomb},
		{"fdbomb", fdbomb},			  {"hugeargv", hugeargv}, {"deepdirs", deepdirs},
		{"sigstorm", sigstorm},		  {"exitrace", exitrace}, {"maprace", maprace},
		{"execthreads", execthreads}, {"futexes", futexes},	  {"fdrace", fdrace},
		{"stacks", stacks},			  {"fuzz", fuzz},
	};
	if (argc > 1 && !strcmp(argv[1], "nothing")) return 0; // what modes execute
	for (int a = 1; a < argc; a++) {
		int (*fn)(void) = 0;
		for (int i = 0; i < sizeof modes / sizeof modes[0]; i++)
			if (!strcmp(argv[a], modes[i].name)) fn = modes[i].fn;
		if (!fn) return 2;
		printf("%s\n", argv[a]);
		fflush(stdout);
		if (a == argc - 1) return fn();
		pid_t p = fork();
		if (p == 0) _exit(fn());
		int st;
		CHECK(waitpid(p, &st, 0) == p && st == 0);
	}
	return 2;
}
