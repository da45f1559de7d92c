// Programs that misbehave on purpose. Usage: hostile MODE. Each mode ends by itself with status 0, or is ended by the
// limit that it runs into; on bare Linux with limits as tight as a VM's it does the same.
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

static void *forever(void *arg) {
	for (;;) pause();
}

// Threads until there are too many.
static int threadbomb(void) {
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 16384);
	pthread_t t;
	int n = 0, e = 0;
	while (n < 100000 && (e = pthread_create(&t, &a, forever, 0)) == 0) n++;
	CHECK(e == EAGAIN);
	CHECK(n > 50);
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

// As many areas as there may be, each with other rights than its neighbours.
static int areabomb(void) {
	int n = 0;
	char *p = mmap(0, 1ul << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(p != MAP_FAILED);
	for (; n < 100000; n++)
		if (mprotect(p + n * 8192l, 4096, PROT_READ)) break;
	CHECK(n > 1000 && n < 100000 && errno == ENOMEM);
	CHECK(munmap(p, 1ul << 30) == 0);
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

// Directories as deep as the file system lets them be.
static int deepdirs(void) {
	CHECK(chdir("/tmp") == 0);
	int n = 0;
	for (; n < 20000; n++)
		if (mkdir("d", 0755) || chdir("d")) break;
	CHECK(n > 1000);
	static char buf[PATH_MAX];
	CHECK(n < 2100 || getcwd(buf, sizeof buf) == 0 && (errno == ENAMETOOLONG || errno == ERANGE));
	CHECK(open("f", O_CREAT | O_WRONLY, 0600) >= 0);
	memset(buf, 0, sizeof buf);
	for (int i = 0; i < 1300; i++) strcat(buf, "../");
	struct stat s;
	CHECK(stat(buf, &s) == 0);
	// Names, until there is no room.
	for (int i = 0; i < 3000; i++) {
		char name[32];
		sprintf(name, "/tmp/f%d", i);
		int fd = open(name, O_CREAT | O_WRONLY, 0600);
		if (fd < 0) {
			CHECK(errno == ENOSPC);
			break;
		}
		close(fd);
	}
	char loop[32] = "/tmp/l0";
	CHECK(symlink("/tmp/l0", loop) == 0 && open(loop, O_RDONLY) == -1 && errno == ELOOP);
	return 0;
}

static atomic_long caught;
static void count(int s) {
	caught++;
}

static void *storm(void *arg) {
	double end = seconds() + 2;
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
	struct itimerval it = {{0, 100}, {0, 100}};
	CHECK(setitimer(ITIMER_REAL, &it, 0) == 0);
	CHECK(setitimer(ITIMER_VIRTUAL, &it, 0) == 0);
	CHECK(setitimer(ITIMER_PROF, &it, 0) == 0);
	pthread_t t[6];
	for (long i = 0; i < 6; i++) CHECK(pthread_create(&t[i], 0, storm, (void *)i) == 0);
	for (int i = 0; i < 6; i++) pthread_join(t[i], 0);
	memset(&it, 0, sizeof it);
	setitimer(ITIMER_REAL, &it, 0);
	CHECK(caught > 100);
	// More timers than there may be.
	int n = 0;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	timer_t id;
	struct itimerspec ts = {{0, 50000000}, {0, 50000000}};
	while (n < 300 && timer_create(CLOCK_MONOTONIC, &ev, &id) == 0) {
		timer_settime(id, 0, &ts, 0);
		n++;
	}
	CHECK(n > 10);
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
	for (int round = 0; round < 30; round++) {
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
	while (!*(atomic_int *)arg)
		;
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
	for (int round = 0; round < 60; round++) {
		pid_t p = fork();
		if (p == 0) {
			atomic_int go = 0;
			pthread_t t;
			for (int i = 0; i < 8; i++) pthread_create(&t, 0, quitter, &go);
			go = 1;
			usleep(round * 50);
			_exit(7);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
		CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 7);
	}
	return 0;
}

static void *mapper(void *arg) {
	double end = seconds() + 2;
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
	double end = seconds() + 2;
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

// Instructions and register values that are the kernel's, one in a child each. A child must end by a signal, or go on.
static void instruction(int k) {
	switch (k) {
	case 0:
		asm volatile("cli");
		break;
	case 1:
		asm volatile("hlt");
		break;
	case 2:
		asm volatile("inb $0x80, %%al" ::: "rax");
		break;
	case 3:
		asm volatile("outb %%al, $0x80" ::"a"(0));
		break;
	case 4:
		asm volatile("int $0x80" ::"a"(20) : "memory");
		break;
	case 5:
		asm volatile("sysenter");
		break;
	case 6:
		asm volatile("int3");
		break;
	case 7:
		asm volatile("wrmsr" ::"a"(0), "c"(0xc0000080), "d"(0));
		break;
	case 8:
		asm volatile("mov %%cr3, %%rax" ::: "rax");
		break;
	case 9:
		asm volatile("mov %0, %%dr7" ::"r"(0x455l));
		break;
	case 10:
		asm volatile("rdpmc" ::"c"(0) : "rax", "rdx");
		break;
	case 11:
		asm volatile("ud2");
		break;
	case 12:
		asm volatile("vmmcall" ::"a"(1));
		break;
	case 13:
		asm volatile("vmcall" ::"a"(1));
		break;
	case 14:
		asm volatile("xsetbv" ::"a"(7), "c"(0), "d"(0));
		break;
	case 15:
		asm volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "memory");
		break; // TF
	case 16:
		asm volatile("pushfq; orq $0x40000, (%%rsp); popfq; mov 1(%%rsp), %%eax" ::: "rax", "memory");
		break; // AC
	case 17:
		asm volatile("pushfq; orq $0x4000, (%%rsp); popfq; syscall" ::"a"(39) : "rcx", "r11", "memory");
		break; // NT
	case 18:
		asm volatile("pushfq; orq $0x3000, (%%rsp); popfq; inb $0x80, %%al" ::: "rax", "memory");
		break; // IOPL
	case 19:
		asm volatile("mov $0x23, %%eax; push %%rax; lea 1f(%%rip), %%rax; push %%rax; lretq; 1: nop" ::
						 : "rax", "memory");
		break; // 32-bit code
	case 20:
		asm volatile("mov %0, %%ss" ::"r"(0));
		asm volatile("push %%rax" ::: "memory");
		break;
	case 21:
		asm volatile("mov %0, %%ds" ::"r"(0x18));
		break;
	case 22:
		asm volatile("xor %%esp, %%esp; syscall; push %%rax" ::"a"(39) : "rcx", "r11", "memory");
		break;
	case 23:
		asm volatile("mov %0, %%rsp; push %%rax" ::"r"(0xffff800000000000) : "memory");
		break;
	case 24:
		asm volatile("mov %0, %%rsp; push %%rax" ::"r"(0x800000000000) : "memory");
		break;
	case 25:
		asm volatile("jmp *%0" ::"r"(0xffff800000001000));
		break;
	case 26:
		asm volatile("jmp *%0" ::"r"(0x8000000000000000));
		break;
	case 27:
		asm volatile("wrfsbase %0; syscall" ::"r"(0xffff800000000000), "a"(39) : "rcx", "r11", "memory");
		break;
	case 28:
		asm volatile("wrgsbase %0; syscall; mov %%gs:0, %%rax" ::"r"(0xffff800000000000), "a"(39)
					 : "rcx", "r11", "memory");
		break;
	case 29:
		asm volatile("swapgs");
		break;
	case 30:
		asm volatile("lgdt (%0)" ::"r"(&caught));
		break;
	case 31:
		asm volatile("invlpg (%0)" ::"r"(&caught));
		break;
	case 32:
		asm volatile("sgdt (%0)" ::"r"(&caught) : "memory");
		break;
	case 33:
		asm volatile("std; syscall; cld" ::"a"(39) : "rcx", "r11", "memory");
		break;
	case 34:
		asm volatile("int $0x20");
		break;
	case 35:
		asm volatile("int $14");
		break;
	case 36:
		asm volatile("int $2");
		break;
	case 37:
		asm volatile("clts");
		break;
	case 38:
		asm volatile("iretq");
		break;
	case 39:
		asm volatile("sysretq" ::"c"(0));
		break;
	case 40:
		asm volatile("monitor" ::"a"(&caught), "c"(0), "d"(0));
		asm volatile("mwait" ::"a"(0), "c"(0));
		break;
	case 41:
		asm volatile("wbinvd");
		break;
	case 42:
		asm volatile("vmrun" ::"a"(0));
		break;
	case 43:
		asm volatile("divl %0" ::"r"(0), "a"(1), "d"(0));
		break;
	case 44:
		asm volatile("fldcw (%0); fld1; fldz; fdivrp; fwait" ::"r"(&(short){0}));
		break;
	case 45:
		asm volatile("ldmxcsr (%0)" ::"r"(&(int){-1}));
		break;
	case 46: { // code at the end of the user's half: the address after SYSCALL is not canonical
		char *p = mmap((void *)0x7fffffffe000, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (p == MAP_FAILED) break;
		memcpy(p + 4094, "\x0f\x05", 2);
		asm volatile("jmp *%0" ::"r"(p + 4094), "a"(39) : "memory");
		break;
	}
	case 47:
		asm volatile("jmp *%0" ::"r"(0x7ffffffffffel), "a"(39) : "memory");
		break;
	case 48:
		asm volatile("str %%ax; sldt %%bx; smsw %%cx" ::: "rax", "rbx", "rcx");
		break;
	case 49:
		asm volatile("xor %%eax, %%eax; dec %%rax; syscall" ::: "rax", "rcx", "r11", "memory");
		break;
	case 50:
		asm volatile("fxrstor64 (%0)" ::"r"(&(char __attribute__((aligned(16)))[512]){[24] = -1, -1, -1, -1}));
		break;
	}
}
enum { instructions = 51 };

static int privileged(void) {
	for (int k = 0; k < instructions; k++) {
		fflush(0);
		pid_t p = fork();
		if (p == 0) {
			alarm(20);
			instruction(k);
			_exit(0);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
		if (WIFSIGNALED(st)) printf("%d: signal %d\n", k, WTERMSIG(st));
		else printf("%d: exit %d\n", k, WEXITSTATUS(st));
	}
	return 0;
}

// Frames for rt_sigreturn that no kernel made.
static int sigreturns(void) {
	unsigned seed = 1;
	for (int i = 0; i < 200; i++) {
		pid_t p = fork();
		if (p == 0) {
			static uint64_t f[1024] __attribute__((aligned(64)));
			srand(i);
			int fill = i % 4;
			for (int j = 0; j < 1024; j++)
				f[j] = fill == 0   ? 0
					   : fill == 1 ? (uint64_t)rand() << 32 ^ rand() << 8 ^ rand()
					   : fill == 2 ? ~0ull
								   : 0xffff800000000000 + rand();
			if (i & 4) f[5 + 18] = 0x2b << 16 | 0x33; // plausible selectors, cs and ss
			if (i & 8) f[27] = (uint64_t)&f[512];	  // a place for the FPU state
			if (i & 16) f[21] = (uint64_t)instruction;
			asm volatile("mov %0, %%rsp; mov $15, %%eax; syscall" ::"r"(f) : "memory");
			_exit(0);
		}
		int st;
		CHECK(waitpid(p, &st, 0) == p);
	}
	return 0;
}

// Random calls with random arguments, in children that may do to themselves what they like.
static int fuzz(long seed, int rounds) {
	for (int round = 0; round < rounds; round++) {
		fflush(0);
		pid_t p = fork();
		if (p == 0) {
			srand(seed * 1000 + round);
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
	double end = seconds() + 2;
	while (seconds() < end) {
		struct iovec v[3] = {{b, 10}, {0, 0}, {b + 50, 20}};
		writev(fd[1], v, 3);
		readv(fd[0], v, 3);
	}
	return 0;
}

static void *closer(void *arg) {
	int *fd = arg;
	double end = seconds() + 2;
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
	double end = seconds() + 2;
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
		{"forkbomb", forkbomb},		{"threadbomb", threadbomb},	  {"membomb", membomb},	  {"tablebomb", tablebomb},
		{"areabomb", areabomb},		{"fdbomb", fdbomb},			  {"hugeargv", hugeargv}, {"deepdirs", deepdirs},
		{"sigstorm", sigstorm},		{"execthreads", execthreads}, {"exitrace", exitrace}, {"maprace", maprace},
		{"privileged", privileged}, {"sigreturns", sigreturns},	  {"futexes", futexes},	  {"fdrace", fdrace},
		{"stacks", stacks},
	};
	if (argc < 2) return 2;
	if (!strcmp(argv[1], "nothing")) return 0;
	if (!strcmp(argv[1], "fuzz")) return fuzz(argc > 2 ? atol(argv[2]) : 1, argc > 3 ? atoi(argv[3]) : 20);
	for (int i = 0; i < sizeof modes / sizeof modes[0]; i++)
		if (!strcmp(argv[1], modes[i].name)) return modes[i].fn();
	return 2;
}
