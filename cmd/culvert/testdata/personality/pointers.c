// What each system call says to pointers that point nowhere, half out of a mapping, or where the access is not allowed.
// A line is a call and one of its pointers; on it stand, for each bad address, 0 for a result or the name of the errno.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
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
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>

#define PAGE 4096

// Descriptors that the rows name. They are made anew for each pointer.
enum { FD_FILE = 10, FD_DIR, FD_READ, FD_WRITE, FD_EPOLL, FD_EVENT, FD_TIMER, FD_SOCK, FD_PEER, FD_LISTEN, FD_DGRAM, FD_FULL, FD_LAST };

static char *good;	// a page of zeros that may be read and written
static char *edge;	// the end of a mapping
static char *ro, *none; // pages that may be read only, and not at all
static char *gone;	// no mapping

// What a pointer argument points at, if it is good.
enum kind { NUM, OUT, PATH, NEWPATH, IOVEC, TIME, SET8, POLLFDS, EVENT, ADDR, MSG, MMSG, ITIMER, RLIM, LEN, WORD, SIGEV, HOW, OPENHOW, OFFSET, ARGV, SCHED, FLOCKS };
struct arg { enum kind kind; long num; };
#define N(x) {NUM, (long)(x)}
#define P(k) {k, 0}

struct row { const char *name; long nr; struct arg a[6]; };
#define ROW(call, ...) {#call, SYS_##call, {__VA_ARGS__}}

static const struct row rows[] = {
	ROW(read, N(FD_FILE), P(OUT), N(64)), ROW(write, N(FD_FILE), P(OUT), N(64)),
	{"read of a pipe", SYS_read, {N(FD_READ), P(OUT), N(64)}}, {"write to a pipe", SYS_write, {N(FD_WRITE), P(OUT), N(64)}},
	{"read of an eventfd", SYS_read, {N(FD_EVENT), P(OUT), N(8)}}, {"write to an eventfd", SYS_write, {N(FD_EVENT), P(OUT), N(8)}},
	{"read of a timerfd", SYS_read, {N(FD_TIMER), P(OUT), N(8)}}, {"read of a socket", SYS_read, {N(FD_SOCK), P(OUT), N(64)}},
	{"write to a socket", SYS_write, {N(FD_SOCK), P(OUT), N(64)}}, {"read of a directory", SYS_read, {N(FD_DIR), P(OUT), N(64)}},
	ROW(pread64, N(FD_FILE), P(OUT), N(64), N(0)), ROW(pwrite64, N(FD_FILE), P(OUT), N(64), N(0)),
	ROW(readv, N(FD_FILE), P(IOVEC), N(2)), ROW(writev, N(FD_FILE), P(IOVEC), N(2)),
	{"readv of a pipe", SYS_readv, {N(FD_READ), P(IOVEC), N(2)}}, {"writev to a pipe", SYS_writev, {N(FD_WRITE), P(IOVEC), N(2)}},
	ROW(preadv, N(FD_FILE), P(IOVEC), N(2), N(0), N(0)), ROW(pwritev2, N(FD_FILE), P(IOVEC), N(2), N(0), N(0), N(0)),
	ROW(vmsplice, N(FD_WRITE), P(IOVEC), N(2), N(0)),
	ROW(splice, N(FD_FILE), P(OFFSET), N(FD_WRITE), N(0), N(64), N(0)),
	ROW(sendfile, N(FD_WRITE), N(FD_FILE), P(OFFSET), N(64)),
	ROW(copy_file_range, N(FD_FILE), P(OFFSET), N(FD_FILE), P(OFFSET), N(0), N(0)),
	ROW(getdents64, N(FD_DIR), P(OUT), N(1024)),
	ROW(open, P(PATH), N(O_RDONLY), N(0)), ROW(openat, N(AT_FDCWD), P(PATH), N(O_RDONLY), N(0)),
	ROW(openat2, N(AT_FDCWD), P(PATH), P(OPENHOW), N(24)), ROW(creat, P(NEWPATH), N(0600)),
	ROW(stat, P(PATH), P(OUT)), ROW(lstat, P(PATH), P(OUT)), ROW(fstat, N(FD_FILE), P(OUT)),
	ROW(newfstatat, N(AT_FDCWD), P(PATH), P(OUT), N(0)), ROW(statx, N(AT_FDCWD), P(PATH), N(0), N(STATX_BASIC_STATS), P(OUT)),
	ROW(statfs, P(PATH), P(OUT)), ROW(fstatfs, N(FD_FILE), P(OUT)),
	ROW(access, P(PATH), N(R_OK)), ROW(faccessat, N(AT_FDCWD), P(PATH), N(R_OK)), ROW(chmod, P(PATH), N(0600)),
	ROW(fchmodat, N(AT_FDCWD), P(PATH), N(0600)), ROW(chown, P(PATH), N(-1), N(-1)), ROW(fchownat, N(AT_FDCWD), P(PATH), N(-1), N(-1), N(0)),
	ROW(mkdir, P(NEWPATH), N(0700)), ROW(rmdir, P(NEWPATH)), ROW(unlink, P(NEWPATH)), ROW(unlinkat, N(AT_FDCWD), P(NEWPATH), N(0)),
	ROW(rename, P(PATH), P(PATH)), ROW(renameat2, N(AT_FDCWD), P(PATH), N(AT_FDCWD), P(PATH), N(0)), ROW(link, P(PATH), P(PATH)),
	ROW(symlink, P(PATH), P(PATH)), ROW(readlink, P(PATH), P(OUT), N(64)), ROW(mknod, P(NEWPATH), N(S_IFIFO | 0600), N(0)),
	ROW(truncate, P(PATH), N(0)), ROW(chdir, P(PATH)), ROW(getcwd, P(OUT), N(64)), ROW(utimensat, N(AT_FDCWD), P(PATH), P(TIME), N(0)),
	ROW(getxattr, P(PATH), P(PATH), P(OUT), N(64)), ROW(memfd_create, P(PATH), N(0)),
	{"fcntl F_GETLK", SYS_fcntl, {N(FD_FILE), N(F_GETLK), P(FLOCKS)}}, {"fcntl F_SETLK", SYS_fcntl, {N(FD_FILE), N(F_SETLK), P(FLOCKS)}},
	{"ioctl FIONREAD", SYS_ioctl, {N(FD_READ), N(0x541b), P(OUT)}},
	ROW(pipe, P(OUT)), ROW(pipe2, P(OUT), N(O_CLOEXEC)), ROW(poll, P(POLLFDS), N(2), N(0)), ROW(ppoll, P(POLLFDS), N(2), P(TIME), P(SET8), N(8)),
	ROW(select, N(20), P(OUT), P(OUT), P(OUT), P(TIME)), ROW(pselect6, N(20), P(OUT), N(0), N(0), P(TIME), P(HOW)),
	ROW(epoll_ctl, N(FD_EPOLL), N(EPOLL_CTL_ADD), N(FD_READ), P(EVENT)), ROW(epoll_wait, N(FD_EPOLL), P(OUT), N(4), N(0)),
	ROW(epoll_pwait, N(FD_EPOLL), P(OUT), N(4), N(0), P(SET8), N(8)), ROW(epoll_pwait2, N(FD_EPOLL), P(OUT), N(4), P(TIME), P(SET8), N(8)),
	ROW(socketpair, N(AF_UNIX), N(SOCK_STREAM), N(0), P(OUT)), ROW(bind, N(FD_DGRAM), P(ADDR), N(sizeof(struct sockaddr_un))),
	ROW(connect, N(FD_DGRAM), P(ADDR), N(sizeof(struct sockaddr_un))), ROW(accept, N(FD_LISTEN), P(OUT), P(LEN)),
	ROW(accept4, N(FD_LISTEN), P(OUT), P(LEN), N(0)), ROW(getsockname, N(FD_SOCK), P(OUT), P(LEN)), ROW(getpeername, N(FD_SOCK), P(OUT), P(LEN)),
	ROW(getsockopt, N(FD_SOCK), N(SOL_SOCKET), N(SO_TYPE), P(OUT), P(LEN)), ROW(setsockopt, N(FD_SOCK), N(SOL_SOCKET), N(SO_PASSCRED), P(OUT), N(4)),
	ROW(sendto, N(FD_SOCK), P(OUT), N(64), N(MSG_DONTWAIT), N(0), N(0)), ROW(recvfrom, N(FD_SOCK), P(OUT), N(64), N(MSG_DONTWAIT), P(OUT), P(LEN)),
	ROW(sendmsg, N(FD_SOCK), P(MSG), N(MSG_DONTWAIT)), ROW(recvmsg, N(FD_SOCK), P(MSG), N(MSG_DONTWAIT)),
	ROW(sendmmsg, N(FD_SOCK), P(MMSG), N(2), N(MSG_DONTWAIT)), ROW(recvmmsg, N(FD_SOCK), P(MMSG), N(1), N(MSG_DONTWAIT), P(TIME)),
	ROW(signalfd4, N(-1), P(SET8), N(8), N(0)), ROW(timerfd_settime, N(FD_TIMER), N(0), P(ITIMER), P(OUT)), ROW(timerfd_gettime, N(FD_TIMER), P(OUT)),
	ROW(rt_sigaction, N(SIGUSR2), P(HOW), P(OUT), N(8)), ROW(rt_sigprocmask, N(SIG_BLOCK), P(SET8), P(OUT), N(8)), ROW(rt_sigpending, P(OUT), N(8)),
	ROW(rt_sigtimedwait, P(SET8), P(OUT), P(TIME), N(8)), ROW(rt_sigqueueinfo, N(0), N(0), P(OUT)), ROW(sigaltstack, P(OUT), N(0)),
	{"sigaltstack, the old one", SYS_sigaltstack, {N(0), P(OUT)}},
	ROW(wait4, N(-1), P(OUT), N(WNOHANG), P(OUT)), ROW(waitid, N(P_ALL), N(0), P(OUT), N(WEXITED | WNOHANG), P(OUT)),
	ROW(nanosleep, P(TIME), P(OUT)), ROW(clock_nanosleep, N(CLOCK_MONOTONIC), N(0), P(TIME), P(OUT)), ROW(clock_gettime, N(CLOCK_MONOTONIC), P(OUT)),
	ROW(clock_getres, N(CLOCK_MONOTONIC), P(OUT)), ROW(gettimeofday, P(OUT), P(OUT)), ROW(time, P(OUT)), ROW(times, P(OUT)),
	ROW(setitimer, N(ITIMER_REAL), P(ITIMER), P(OUT)), ROW(getitimer, N(ITIMER_REAL), P(OUT)),
	ROW(timer_create, N(CLOCK_MONOTONIC), P(SIGEV), P(OUT)),
	ROW(getrusage, N(RUSAGE_SELF), P(OUT)), ROW(getrlimit, N(RLIMIT_NOFILE), P(OUT)), ROW(setrlimit, N(RLIMIT_CORE), P(RLIM)),
	ROW(prlimit64, N(0), N(RLIMIT_CORE), P(RLIM), P(OUT)), ROW(uname, P(OUT)), ROW(sysinfo, P(OUT)), ROW(getrandom, P(OUT), N(32), N(0)),
	ROW(getgroups, N(64), P(OUT)), ROW(getresuid, P(OUT), P(OUT), P(OUT)), ROW(getresgid, P(OUT), P(OUT), P(OUT)), ROW(capget, P(OUT), P(OUT)),
	ROW(sched_getaffinity, N(0), N(128), P(OUT)), ROW(sched_setaffinity, N(0), N(8), P(SET8)), ROW(sched_getparam, N(0), P(OUT)),
	ROW(sched_setparam, N(0), P(SCHED)), ROW(sched_rr_get_interval, N(0), P(OUT)), ROW(getcpu, P(OUT), P(OUT), N(0)),
	{"prctl PR_SET_NAME", SYS_prctl, {N(PR_SET_NAME), P(PATH)}}, {"prctl PR_GET_NAME", SYS_prctl, {N(PR_GET_NAME), P(OUT)}},
	{"prctl PR_GET_PDEATHSIG", SYS_prctl, {N(PR_GET_PDEATHSIG), P(OUT)}},
	{"futex FUTEX_WAIT", SYS_futex, {P(WORD), N(FUTEX_WAIT), N(0), P(TIME), N(0), N(0)}}, {"futex FUTEX_WAKE", SYS_futex, {P(WORD), N(FUTEX_WAKE), N(1), N(0), N(0), N(0)}},
	{"futex FUTEX_WAIT_PRIVATE", SYS_futex, {P(WORD), N(FUTEX_WAIT_PRIVATE), N(0), P(TIME), N(0), N(0)}},
	{"futex FUTEX_WAKE_PRIVATE", SYS_futex, {P(WORD), N(FUTEX_WAKE_PRIVATE), N(1), N(0), N(0), N(0)}},
	{"futex FUTEX_CMP_REQUEUE", SYS_futex, {P(WORD), N(FUTEX_CMP_REQUEUE), N(1), N(1), P(WORD), N(0)}},
	{"futex FUTEX_WAKE_OP", SYS_futex, {P(WORD), N(FUTEX_WAKE_OP), N(1), N(1), P(WORD), N(0)}},
	ROW(get_robust_list, N(0), P(OUT), P(OUT)), ROW(mincore, N(0), N(0), P(OUT)), ROW(execve, P(PATH), P(ARGV), P(ARGV)),
	ROW(process_vm_readv, N(0), P(IOVEC), N(1), P(IOVEC), N(1), N(0)),
	ROW(sched_getattr, N(0), P(OUT), N(56), N(0)), ROW(arch_prctl, N(0x1003), P(OUT)),
};

static const char *bad_names[] = {"NULL", "one", "gone", "edge", "none", "ro", "top", "kernel", "odd"};
enum { BADS = sizeof(bad_names) / sizeof(bad_names[0]) };

// bad returns an address that is bad in the nth way.
static char *bad(int n)
{
	switch (n) {
	case 0: return NULL;
	case 1: return (char *)1;
	case 2: return gone;
	case 3: return edge - 4;
	case 4: return none;
	case 5: return ro;
	case 6: return (char *)0x7fffffffeffc;
	case 7: return (char *)0xffff888000000000;
	}
	return (char *)0x8000000000000000;
}

static long target(enum kind k)
{
	static struct iovec iov[2];
	static struct timespec ts[2];
	static uint64_t set;
	static struct pollfd pfd[2];
	static struct epoll_event ev;
	static struct sockaddr_un addr;
	static struct msghdr msg;
	static struct mmsghdr mmsg[2];
	static struct itimerspec its;
	static struct rlimit rlim;
	static socklen_t len;
	static uint32_t word;
	static struct sigevent sev;
	static uint64_t how[4], open_how[3];
	static off_t offset;
	static char *argv[2];
	static int sched;
	static struct flock fl;
	switch (k) {
	case NUM: break;
	case OUT: memset(good, 0, PAGE); return (long)good;
	case PATH: return (long)"/tmp/pointers/file";
	case NEWPATH: return (long)"/tmp/pointers/none/none";
	case IOVEC: iov[0] = (struct iovec){good, 16}; iov[1] = (struct iovec){good + 64, 16}; return (long)iov;
	case TIME: memset(ts, 0, sizeof ts); return (long)ts;
	case SET8: set = 1 << (SIGUSR1 - 1) | 1; return (long)&set;
	case POLLFDS: pfd[0] = (struct pollfd){FD_READ, POLLIN, 0}; pfd[1] = (struct pollfd){FD_FILE, POLLIN, 0}; return (long)pfd;
	case EVENT: ev = (struct epoll_event){EPOLLIN, {0}}; return (long)&ev;
	case ADDR: addr = (struct sockaddr_un){AF_UNIX, "/tmp/pointers/none/socket"}; return (long)&addr;
	case MSG: iov[0] = (struct iovec){good, 16}; msg = (struct msghdr){.msg_iov = iov, .msg_iovlen = 1}; return (long)&msg;
	case MMSG: target(MSG); mmsg[0].msg_hdr = mmsg[1].msg_hdr = msg; return (long)mmsg;
	case ITIMER: memset(&its, 0, sizeof its); return (long)&its;
	case RLIM: rlim = (struct rlimit){0, 0}; return (long)&rlim;
	case LEN: len = 16; return (long)&len;
	case WORD: word = 1; return (long)&word;
	case SIGEV: memset(&sev, 0, sizeof sev); sev.sigev_notify = SIGEV_NONE; return (long)&sev;
	case HOW: memset(how, 0, sizeof how); return (long)how;
	case OPENHOW: memset(open_how, 0, sizeof open_how); return (long)open_how;
	case OFFSET: offset = 0; return (long)&offset;
	case ARGV: argv[0] = "x"; return (long)argv;
	case SCHED: sched = 0; return (long)&sched;
	case FLOCKS: memset(&fl, 0, sizeof fl); fl.l_type = F_RDLCK; return (long)&fl;
	}
	return 0;
}

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(2);
	}
}

static void put(int fd, int at)
{
	must(fd >= 0, "a descriptor");
	must(dup2(fd, at) == at, "dup2");
	if (fd < FD_FILE || fd >= FD_LAST)
		close(fd);
}

// descriptors makes them anew: calls may have emptied, filled or connected them.
static void descriptors(void)
{
	int p[2];
	struct sockaddr_un none = {AF_UNIX};
	put(open("/tmp/pointers/file", O_RDWR | O_CREAT, 0600), FD_FILE);
	must(pwrite(FD_FILE, good, 2000, 0) == 2000, "pwrite");
	put(open("/tmp/pointers", O_RDONLY | O_DIRECTORY), FD_DIR);
	must(pipe2(p, O_NONBLOCK) == 0, "pipe2");
	must(write(p[1], good, 2000) == 2000, "write");
	put(p[0], FD_READ);
	put(p[1], FD_WRITE);
	put(epoll_create1(0), FD_EPOLL);
	put(eventfd(5, EFD_NONBLOCK), FD_EVENT);
	struct epoll_event ev = {EPOLLIN, {0}};
	must(epoll_ctl(FD_EPOLL, EPOLL_CTL_ADD, FD_EVENT, &ev) == 0, "epoll_ctl");
	put(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), FD_TIMER);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0, "socketpair");
	must(write(p[1], good, 2000) == 2000, "write");
	put(p[0], FD_SOCK);
	put(p[1], FD_PEER);
	put(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), FD_LISTEN);
	must(bind(FD_LISTEN, (struct sockaddr *)&none, sizeof(sa_family_t)) == 0, "bind");
	must(listen(FD_LISTEN, 1) == 0, "listen");
	put(socket(AF_UNIX, SOCK_DGRAM, 0), FD_DGRAM);
}

static void nothing(int sig)
{
	(void)sig;
}

static const char *try(const struct row *r, int which, char *p)
{
	static char text[8][32];
	static int turn;
	long a[6];
	memset(edge - 8, 'x', 8); // a call that wrote half of something there is not to change what the next one reads
	for (int i = 0; i < 6; i++)
		a[i] = r->a[i].kind == NUM ? r->a[i].num : target(r->a[i].kind);
	if (which >= 0)
		a[which] = (long)p;
	// What would wait for ever ends with EINTR.
	struct itimerval soon = {{0, 100000}, {0, 100000}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &soon, NULL);
	long ret = syscall(r->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	int err = errno;
	setitimer(ITIMER_REAL, &never, NULL);
	sigset_t empty;
	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);
	char *out = text[turn++ % 8];
	if (ret < 0)
		return strerrorname_np(err);
	// A count that stops at the edge tells more than success; other results depend on the system.
	int counts = strstr(r->name, "read") == r->name || strstr(r->name, "write") == r->name || strstr(r->name, "pread") == r->name ||
		     strstr(r->name, "send") == r->name || strstr(r->name, "recv") == r->name || strstr(r->name, "splice");
	snprintf(out, 32, "%ld", counts ? ret : 0L);
	return out;
}

int main(void)
{
	good = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ro = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	gone = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(good != MAP_FAILED && edge != MAP_FAILED && ro != MAP_FAILED && none != MAP_FAILED && gone != MAP_FAILED, "mmap");
	munmap(gone, PAGE);
	edge += PAGE;
	munmap(edge, PAGE);
	signal(SIGPIPE, SIG_IGN);
	struct sigaction act = {.sa_handler = nothing};
	sigaction(SIGALRM, &act, NULL);
	mkdir("/tmp/pointers", 0700);
	must(chdir("/tmp/pointers") == 0, "chdir");
	printf("%-40s", "call and pointer");
	for (int n = 0; n < BADS; n++)
		printf(" %s", bad_names[n]);
	printf("\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		descriptors();
		printf("%s: %s\n", r->name, try(r, -1, NULL));
		for (int which = 0; which < 6; which++) {
			if (r->a[which].kind == NUM)
				continue;
			descriptors();
			printf("%s, %d:", r->name, which);
			for (int n = 0; n < BADS; n++)
				printf(" %s", try(r, which, bad(n)));
			printf("\n");
			fflush(stdout);
		}
	}
	unlink("/tmp/pointers/file");
	rmdir("/tmp/pointers");
	return 0;
}
