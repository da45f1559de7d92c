// Processes: waiting in all forms, groups and sessions, job control, parents that die, pidfds, limits, identities.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static const char *e(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }
static long pidfd_open(int pid, int flags) { return syscall(SYS_pidfd_open, pid, flags); }
#define CHILD(...) ({ pid_t p_ = fork(); if (!p_) { __VA_ARGS__; _exit(0); } p_; })
static void w(const char *what, int type, pid_t id, int opts, pid_t pid) {
	siginfo_t i;
	memset(&i, 0x55, sizeof i);
	long r = waitid(type, id, &i, opts);
	printf("%s: %s", what, e(r));
	if (!r && i.si_pid) printf(" signo %d code %d status %d pid %d", i.si_signo, i.si_code, i.si_status, i.si_pid == pid);
	else if (!r) printf(" nothing, signo %d", i.si_signo);
	printf("\n");
}
static int pfd[2];
static void sync_(void) { char c; read(pfd[0], &c, 1); }
static void go(void) { write(pfd[1], "x", 1); }

static void waits(void) {
	w("no children", P_ALL, 0, WEXITED, 0);
	pid_t p = CHILD(_exit(7));
	w("WNOWAIT", P_PID, p, WEXITED | WNOWAIT, p);
	w("again", P_ALL, 0, WEXITED | WNOWAIT, p);
	w("only stopped", P_PID, p, WSTOPPED | WNOHANG, p);
	w("no kind", P_PID, p, 0, p);
	w("bad option", P_PID, p, WEXITED | 0x100, p);
	w("bad type", 9, p, WEXITED, p);
	w("pid 0", P_PID, 0, WEXITED, p);
	w("pid -1", P_PID, -1, WEXITED, p);
	w("pgid -1", P_PGID, -1, WEXITED, p);
	w("own group", P_PGID, 0, WEXITED, p);
	w("gone", P_PID, p, WEXITED, p);
	p = CHILD(setpgid(0, 0); pause());
	setpgid(p, p);
	w("WNOHANG", P_PID, p, WEXITED | WNOHANG, p);
	w("another group", P_PGID, 0, WEXITED | WNOHANG, p);
	int fd = pidfd_open(p, 0);
	w("pidfd, WNOHANG", P_PIDFD, fd, WEXITED | WNOHANG, p);
	w("no pidfd", P_PIDFD, 0, WEXITED | WNOHANG, p);
	w("bad fd", P_PIDFD, 99, WEXITED | WNOHANG, p);
	int nb = pidfd_open(p, O_NONBLOCK);
	w("pidfd, O_NONBLOCK", P_PIDFD, nb, WEXITED, p);
	kill(p, SIGSTOP);
	w("stopped", P_PGID, p, WSTOPPED, p);
	w("once", P_PGID, p, WSTOPPED | WNOHANG, p);
	kill(p, SIGCONT);
	w("continued", P_PID, p, WCONTINUED, p);
	struct pollfd q = {fd, POLLIN, 0};
	printf("pidfd alive: %d", poll(&q, 1, 0));
	printf(" %s\n", e(syscall(SYS_pidfd_send_signal, fd, SIGKILL, 0, 0)));
	printf("pidfd dead: %d", poll(&q, 1, 5000));
	printf(" revents %x\n", q.revents);
	w("killed", P_PIDFD, fd, WEXITED, p);
	printf("signal to the dead: %s\n", e(syscall(SYS_pidfd_send_signal, fd, 0, 0, 0)));
	printf("pidfd_open: %s", e(pidfd_open(999999, 0)));
	printf(" %s", e(pidfd_open(-1, 0)));
	printf(" %s", e(pidfd_open(getpid(), 7)));
	fd = pidfd_open(getpid(), 0);
	printf(" cloexec %d", fcntl(fd, F_GETFD));
	printf(" getfd %s", e(syscall(SYS_pidfd_getfd, fd, 1, 0)));
	printf(" %s", e(syscall(SYS_pidfd_getfd, fd, 99, 0)));
	printf(" read %s\n", e(read(fd, &q, 1)));
	int st = 0;
	struct rusage ru;
	p = CHILD(_exit(300));
	printf("wait4 0: %d", wait4(0, &st, 0, &ru) == p);
	printf(" %x\n", st);
	printf("wait4: %s", e(wait4(-1, &st, WNOHANG, 0)));
	printf(" %s", e(wait4(INT32_MIN, &st, WNOHANG, 0)));
	printf(" %s", e(wait4(-1, &st, 0x1000, 0)));
	p = CHILD(abort());
	printf(" null %s", e(wait4(p, 0, 0, 0)));
	printf(" __WCLONE %s\n", (p = CHILD(_exit(0)), e(waitpid(p, &st, __WCLONE))));
	waitpid(p, &st, __WALL);
	// A child that tells with another signal, or none.
	for (int sig = 0; sig < 2; sig++) {
		p = syscall(SYS_clone, sig ? SIGUSR1 : 0, 0, 0, 0, 0);
		if (!p) _exit(9);
		signal(SIGUSR1, SIG_IGN);
		usleep(20000);
		printf("clone child: %s", e(waitpid(p, &st, 0)));
		printf(" __WCLONE %d\n", waitpid(p, &st, __WCLONE) == p);
	}
}

static void jobs(void) {
	printf("setpgid: %s", e(setpgid(0, -1)));
	printf(" %s", e(setpgid(999999, 0)));
	printf(" %s", e(setpgid(0, 999999)));
	pid_t p = CHILD(setsid(); go(); pause());
	sync_();
	printf(" other session %s", e(setpgid(p, 0)));
	printf(" getsid %d getpgid %d", getsid(p) == p, getpgid(p) == p);
	printf(" %s %s\n", e(getsid(999999)), e(getpgid(-1)));
	kill(p, SIGKILL);
	waitpid(p, 0, 0);
	p = CHILD(setpgid(0, 0); printf("setsid of a leader: %s\n", e(setsid())); fflush(stdout));
	waitpid(p, 0, 0);
	int st;
	p = CHILD(execl("/bin/sleep", "sleep", "5", NULL));
	usleep(200000);
	printf("after exec: %s\n", e(setpgid(p, p)));
	kill(p, SIGTERM);
	waitpid(p, &st, 0);
	// A group that becomes an orphan while a member is stopped.
	pid_t g = CHILD({
		setsid();
		p = CHILD({
		setpgid(0, 0);
		pid_t s = CHILD({
			sigset_t m;
			siginfo_t i;
			sigemptyset(&m), sigaddset(&m, SIGHUP), sigaddset(&m, SIGCONT);
			sigprocmask(SIG_BLOCK, &m, 0);
			go();
			raise(SIGSTOP);
			struct timespec t = {3, 0};
			int a = sigtimedwait(&m, &i, &t);
			int b = sigtimedwait(&m, &i, &t);
			printf("orphans: got %d and %d\n", a, b);
			// Orphans do not stop for the terminal's signals.
			raise(SIGTSTP);
			printf("SIGTSTP was ignored\n");
			fflush(stdout);
			go();
		});
		sync_();
		waitpid(s, &st, WUNTRACED);
		});
		waitpid(p, &st, 0);
		sync_();
	});
	waitpid(g, &st, 0);
	// Stop and continue: what is pending when.
	p = CHILD(signal(SIGTERM, SIG_DFL); for (;;) pause());
	kill(p, SIGSTOP);
	printf("stopped %d", waitpid(p, &st, WUNTRACED) == p);
	printf(" %x", st);
	kill(p, SIGTERM);
	usleep(20000);
	printf(" still there %d", waitpid(p, &st, WNOHANG | WUNTRACED));
	kill(p, SIGCONT);
	printf(" then %d", waitpid(p, &st, 0) == p);
	printf(" %x\n", st);
	p = CHILD(for (;;) pause());
	setpgid(p, p); // so that the parent is in another group of the session
	kill(p, SIGTSTP);
	printf("SIGTSTP %d", waitpid(p, &st, WUNTRACED) == p);
	printf(" %x", st);
	kill(p, SIGCONT);
	printf(" continued %d", waitpid(p, &st, WCONTINUED) == p);
	printf(" %x", st);
	kill(p, SIGSTOP);
	kill(p, SIGKILL);
	printf(" killed %d", waitpid(p, &st, 0) == p);
	printf(" %x\n", st);
}

static void *die(void *arg) { usleep(10000); syscall(SYS_exit, 0); return 0; }
static volatile int hup;
static void onhup(int s) { hup++; }
static void *parentthread(void *arg) {
	pid_t p = CHILD({
		signal(SIGHUP, onhup);
		prctl(PR_SET_PDEATHSIG, SIGHUP);
		go();
		for (int i = 0; i < 100 && !hup; i++) usleep(20000);
		printf("the thread's death is a parent's death: %d\n", hup);
		fflush(stdout);
	});
	sync_();
	return (void *)(long)p;
}
static void parents(void) {
	int sig = 77;
	printf("PDEATHSIG: %s", e(prctl(PR_SET_PDEATHSIG, 65)));
	prctl(PR_SET_PDEATHSIG, SIGUSR2);
	prctl(PR_GET_PDEATHSIG, &sig);
	printf(" %d", sig);
	pid_t p = CHILD(prctl(PR_GET_PDEATHSIG, &sig); printf(" child's %d\n", sig); fflush(stdout));
	waitpid(p, 0, 0);
	prctl(PR_SET_PDEATHSIG, 0);
	pthread_t t;
	pthread_create(&t, 0, parentthread, 0);
	void *v;
	pthread_join(t, &v);
	waitpid((long)v, 0, 0);
	int on = 5;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_GET_CHILD_SUBREAPER, &on);
	printf("subreaper %d", on);
	int ids[2];
	pipe(ids);
	p = CHILD({
		prctl(PR_GET_CHILD_SUBREAPER, &on);
		printf(" child's %d", on);
		fflush(stdout);
		pid_t q = CHILD(sync_(); _exit(3));
		write(ids[1], &q, sizeof q);
	});
	waitpid(p, 0, 0);
	pid_t q;
	read(ids[0], &q, sizeof q);
	go();
	int st;
	printf(" reaped %d", waitpid(q, &st, 0) == q);
	printf(" %x\n", st);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	// The leader ends before the last thread.
	p = CHILD({
		pthread_create(&t, 0, die, 0);
		syscall(SYS_exit, 5);
	});
	printf("leader first: %d", waitpid(p, &st, 0) == p);
	printf(" %x\n", st);
}

static void prctls(void) {
	char name[20] = "";
	prctl(PR_SET_NAME, "a-name-that-is-much-too-long");
	prctl(PR_GET_NAME, name);
	printf("name %s dumpable %d", name, prctl(PR_GET_DUMPABLE));
	printf(" %s", e(prctl(PR_SET_DUMPABLE, 2)));
	printf(" nnp %d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	printf(" %s", e(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)));
	printf(" %s", e(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0)));
	printf(" keepcaps %d %s", prctl(PR_GET_KEEPCAPS), e(prctl(PR_SET_KEEPCAPS, 2)));
	printf(" slack %d", prctl(PR_GET_TIMERSLACK));
	printf(" unknown %s", e(prctl(12345)));
	printf(" fp %s", e(prctl(PR_SET_FPEMU, 0)));
	printf(" cap %d %s\n", prctl(PR_CAPBSET_READ, 0), e(prctl(PR_CAPBSET_READ, 99)));
	printf("personality %x", personality(0xffffffff));
	printf(" %x", personality(ADDR_NO_RANDOMIZE));
	printf(" %x\n", personality(0));
	struct utsname u;
	uname(&u);
	struct sysinfo s;
	sysinfo(&s);
	printf("uname %s %s, sysinfo %d %d %d, getrandom %zd %s\n", u.sysname, u.machine, s.mem_unit > 0, s.totalram >= s.freeram, s.procs > 0,
		getrandom(name, 8, GRND_NONBLOCK), e(getrandom(name, 1, 77)));
	printf("membarrier: query %d", syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) > 0);
	printf(" unregistered %s", e(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)));
	printf(" register %s", e(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0)));
	printf(" then %s", e(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)));
	printf(" global %s", e(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0)));
	printf(" sync core %s", e(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0)));
	printf(" bad %s %s\n", e(syscall(SYS_membarrier, 1 << 30, 0, 0)), e(syscall(SYS_membarrier, 0, 5, 0)));
}

static void scheds(void) {
	struct sched_param sp = {0};
	printf("policy %d param %s", sched_getscheduler(0), e(sched_getparam(0, &sp)));
	printf(" max %d %d min %d %s", sched_get_priority_max(SCHED_FIFO), sched_get_priority_max(SCHED_OTHER), sched_get_priority_min(SCHED_RR), e(sched_get_priority_max(99)));
	sp.sched_priority = 5;
	printf(" other with priority %s", e(sched_setscheduler(0, SCHED_OTHER, &sp)));
	printf(" bad policy %s", e(sched_setscheduler(0, 99, &sp)));
	printf(" nobody %s", e(sched_setscheduler(999999, SCHED_OTHER, &(struct sched_param){0})));
	printf(" batch %s", e(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0})));
	printf(" %d", sched_getscheduler(0));
	printf(" back %s\n", e(sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0})));
	cpu_set_t c;
	CPU_ZERO(&c);
	printf("affinity: empty %s", e(sched_setaffinity(0, sizeof c, &c)));
	CPU_SET(0, &c);
	printf(" one %s", e(sched_setaffinity(0, sizeof c, &c)));
	printf(" small %s", e(syscall(SYS_sched_getaffinity, 0, 4, &c)));
	printf(" nobody %s", e(sched_getaffinity(999999, sizeof c, &c)));
	printf(" has %d %d\n", sched_getaffinity(0, sizeof c, &c), CPU_COUNT(&c));
	errno = 0;
	printf("nice %d", getpriority(PRIO_PROCESS, 0));
	printf(" %s", e(setpriority(PRIO_PROCESS, 0, 5)));
	printf(" %d", getpriority(PRIO_PROCESS, 0));
	printf(" raw %ld", syscall(SYS_getpriority, PRIO_PROCESS, 0));
	setpriority(PRIO_PROCESS, 0, 100);
	printf(" clamped %d", getpriority(PRIO_PROCESS, 0));
	printf(" bad %s %s\n", e(getpriority(9, 0)), e(setpriority(PRIO_PROCESS, 999999, 0)));
}

static void ids(void) {
	uid_t r, u, s;
	pid_t p = CHILD({
		printf("setresuid %s", e(setresuid(1000, 1001, 1002)));
		getresuid(&r, &u, &s);
		printf(" %d %d %d", r, u, s);
		printf(" setuid %s", e(setuid(0)));
		printf(" %s", e(setuid(1002)));
		printf(" %d", geteuid());
		printf(" setreuid %s", e(setreuid(-1, 1000)));
		printf(" %d kill %s", geteuid(), e(kill(getppid(), 0)));
		printf(" nice %s", e(setpriority(PRIO_PROCESS, 0, -5)));
		printf(" rlimit %s", e(setrlimit(RLIMIT_NOFILE, &(struct rlimit){10, RLIM_INFINITY})));
		printf(" groups %s", e(setgroups(0, 0)));
		printf(" host %s", e(sethostname("x", 1)));
		printf(" chroot %s\n", e(chroot("/")));
		fflush(stdout);
	});
	waitpid(p, 0, 0);
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	p = CHILD({
		printf("capget %s", e(syscall(SYS_capget, &h, d)));
		d[0].effective &= ~(1 << CAP_KILL);
		d[0].permitted &= ~(1 << CAP_KILL);
		printf(" drop %s", e(syscall(SYS_capset, &h, d)));
		d[0].permitted |= 1 << CAP_KILL;
		printf(" raise %s", e(syscall(SYS_capset, &h, d)));
		h.version = 5;
		printf(" version %s", e(syscall(SYS_capget, &h, d)));
		printf(" %x", h.version);
		h.pid = 999999;
		printf(" nobody %s", e(syscall(SYS_capget, &h, d)));
		prctl(PR_SET_KEEPCAPS, 1);
		setresuid(1000, 1000, 1000);
		h.pid = 0;
		syscall(SYS_capget, &h, d);
		printf(" kept: effective %d permitted %d\n", d[0].effective != 0, d[0].permitted != 0);
		fflush(stdout);
	});
	waitpid(p, 0, 0);
}

static void xfsz(int s) { printf("SIGXFSZ "); }
static int deep(int n) { volatile char b[65536]; b[0] = n; return n ? deep(n - 1) + b[0] : 0; }
static void limits(void) {
	int st;
	pid_t p = CHILD({
		signal(SIGXFSZ, xfsz);
		setrlimit(RLIMIT_FSIZE, &(struct rlimit){100, 100});
		int fd = open("/tmp/limited", O_RDWR | O_CREAT | O_TRUNC, 0600);
		char b[200] = {0};
		printf("FSIZE: %zd", write(fd, b, 200));
		printf(" %s", e(write(fd, b, 1)));
		printf(" %s", e(ftruncate(fd, 101)));
		printf(" %s\n", e(pwrite(fd, b, 10, 95)));
		fflush(stdout);
		unlink("/tmp/limited");
	});
	waitpid(p, &st, 0);
	p = CHILD({
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){8, 8});
		int n = 0;
		while (open("/dev/null", O_RDONLY) >= 0) n++;
		printf("NOFILE: %s", e(-1));
		printf(" dup2 %s", e(dup2(0, 8)));
		printf(" F_DUPFD %s", e(fcntl(0, F_DUPFD, 8)));
		printf(" poll %s", e(poll((struct pollfd[9]){{0}}, 9, 0)));
		printf(" more %s\n", e(setrlimit(RLIMIT_NOFILE, &(struct rlimit){9, 8})));
		fflush(stdout);
	});
	waitpid(p, &st, 0);
	p = CHILD({
		setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0});
		setresuid(4321, 4321, 4321);
		pid_t q = fork();
		if (!q) _exit(0);
		printf("NPROC: %s\n", e(q));
		fflush(stdout);
	});
	waitpid(p, &st, 0);
	p = CHILD({
		setrlimit(RLIMIT_AS, &(struct rlimit){64 << 20, 64 << 20});
		printf("AS: %s\n", mmap(0, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? e(-1) : "mapped");
		fflush(stdout);
	});
	waitpid(p, &st, 0);
	p = CHILD({
		setrlimit(RLIMIT_DATA, &(struct rlimit){16 << 20, 16 << 20});
		printf("DATA: %s", mmap(0, 32 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? e(-1) : "mapped");
		printf(" %s", mmap(0, 32 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? e(-1) : "mapped");
		void *b = sbrk(0);
		printf(" brk %s\n", sbrk(32 << 20) == (void *)-1 ? e(-1) : "grew");
		fflush(stdout);
	});
	waitpid(p, &st, 0);
	p = CHILD({
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		setrlimit(RLIMIT_STACK, &(struct rlimit){1 << 20, 1 << 20});
		deep(125);
	});
	waitpid(p, &st, 0);
	printf("STACK: %x\n", st & 0x7f);
	p = CHILD(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); deep(95));
	waitpid(p, &st, 0);
	printf("without: %x\n", st);
	printf("bad: %s", e(setrlimit(99, &(struct rlimit){0, 0})));
	printf(" %s", e(setrlimit(RLIMIT_CPU, &(struct rlimit){5, 4})));
	printf(" %s", e(prlimit(999999, RLIMIT_CPU, 0, 0)));
	printf(" %s\n", e(syscall(SYS_getrlimit, RLIMIT_CPU, 8)));
}

static void clones(void) {
	unsigned long bad[] = {CLONE_THREAD, CLONE_SIGHAND, CLONE_THREAD | CLONE_SIGHAND, CLONE_FS | CLONE_NEWNS};
	for (int i = 0; i < 4; i++) {
		long r = syscall(SYS_clone, bad[i] | SIGCHLD, 0, 0, 0, 0);
		if (!r) _exit(0);
		printf("clone %lx: %s\n", bad[i], e(r));
	}
	struct { uint64_t flags, pidfd, ctid, ptid, sig, stack, size, tls, settid, n, cgroup; } a = {0};
	int fd = -1;
	a.flags = CLONE_PIDFD, a.pidfd = (uint64_t)&fd, a.sig = SIGCHLD;
	long r = syscall(SYS_clone3, &a, sizeof a);
	if (!r) _exit(11);
	w("clone3 with a pidfd", P_PIDFD, fd, WEXITED, r);
	a.sig = 65;
	printf("clone3: %s", e(syscall(SYS_clone3, &a, sizeof a)));
	a.sig = SIGCHLD, a.stack = 4096;
	printf(" %s", e(syscall(SYS_clone3, &a, sizeof a)));
	printf(" %s", e(syscall(SYS_clone3, &a, 8)));
	printf(" %s\n", e(syscall(SYS_clone3, &a, 5000)));
	static volatile int x;
	int st;
	pid_t p = vfork();
	if (!p) { x = 1; _exit(2); }
	printf("vfork: %d %d\n", x, waitpid(p, &st, 0) == p);
	printf("unshare %s\n", e(unshare(CLONE_FS | CLONE_FILES)));
}

int main(void) {
	setvbuf(stdout, 0, _IONBF, 0);
	pipe(pfd);
	waits();
	jobs();
	parents();
	prctls();
	ids();
	limits();
	clones();
	scheds();
	return 0;
}
