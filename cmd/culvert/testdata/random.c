// Random system calls of one process, the same for the same seed: what they answer must not depend on the system.
//
//	random SEED STEPS [trace]
//
// Nothing blocks: what would is tried with O_NONBLOCK, or ends by an alarm. Left out is what may differ: numbers of inodes and
// devices, times, the order of a directory, how many pages a pipe holds, and what kernels of late years answer differently.
#define _GNU_SOURCE
#include <dirent.h>
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
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 10, FDS = 24, ARENA = 16, PAGE = 4096 };

static uint64_t state;
static int step;
static char buf[1 << 16];
static char *arena; // ARENA pages whose mappings come and go

static uint32_t rnd(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

static long say(long v);

#define PICK(...) say(((const long[]){__VA_ARGS__})[rnd(sizeof((const long[]){__VA_ARGS__}) / sizeof(long))])

static int trace;

static int fd(void)
{
	int f = say(FIRST + rnd(FDS));
	if (trace) {
		char name[32], to[64] = "";
		snprintf(name, sizeof name, "/proc/self/fd/%d", f);
		if (readlink(name, to, sizeof to - 1) > 0) {
			char *p = strstr(to, "/dev/shm/random");
			printf("   [%d is %.5s %x", f, p ? p + 22 : to, fcntl(f, F_GETFL) & 0x402c03);
			int v = 0; socklen_t n = sizeof v;
			if (getsockopt(f, SOL_SOCKET, SO_TYPE, &v, &n) == 0)
				printf(" type %d", v);
			printf("]\n");
		}
	}
	return f;
}

static const char *path(void)
{
	static const char *const names[] = {"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "l", "m", "f", "d/../a", "a/x", "", ".", "..", "d/", "a/", "nothing",
					    "l/a", "d/.", "/proc/self/fd/10", "/proc/self/fd/13", "d/e/..", "s"};
	return names[rnd(sizeof(names) / sizeof(names[0]))];
}

static long size(void) { return PICK(0, 1, 2, 3, 7, 8, 9, 16, 100, 511, 512, 1000, 4095, 4096, 4097, 5000, 8192, 10000); }

static long offset(void) { return PICK(0, 1, 2, 8, 100, 4095, 4096, 4097, 8192, 20000, -1, -100, 1L << 40); }

static long said[32]; // the numbers that were drawn for the step
static int drawn;

static long say(long v)
{
	if (drawn < 32)
		said[drawn++] = v;
	return v;
}

// report prints a result: a number, or an errno; and the numbers that were drawn before it.
static void report(const char *what, long r)
{
	int err = errno;
	printf("%d %s", step, what);
	for (int i = 0; i < drawn; i++)
		printf(" %ld", said[i]);
	drawn = 0;
	if (r < 0)
		printf(": %s\n", strerrorname_np(err));
	else
		printf(": %ld\n", r);
}

// put moves a new descriptor to one of ours.
static void put(const char *what, int new)
{
	char text[64];
	if (new < 0) {
		report(what, new);
		return;
	}
	int at = fd();
	fcntl(new, F_SETFL, fcntl(new, F_GETFL) | O_NONBLOCK);
	dup3(new, at, rnd(2) ? O_CLOEXEC : 0);
	close(new);
	snprintf(text, sizeof text, "%s at %d", what, at);
	report(text, 0);
}

static uint32_t sum(const char *p, long n)
{
	uint32_t h = 2166136261u;
	for (long i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 16777619u;
	return h;
}

static void fill(long n)
{
	for (long i = 0; i < n; i++)
		buf[i] = (char)rnd(256);
}

static void status(const char *what, int r, const struct stat *st)
{
	if (r < 0) {
		report(what, r);
		return;
	}
	int dir = S_ISDIR(st->st_mode), odd = S_ISSOCK(st->st_mode) || S_ISFIFO(st->st_mode);
	printf("%d %s: mode %o nlink %ld size %ld uid %d\n", step, what, st->st_mode, dir || odd ? 0L : (long)st->st_nlink, dir ? 0L : (long)st->st_size, st->st_uid);
}

// is reports whether a descriptor's file has the text in its name. All anonymous inodes are one in Linux, so that their locks and modes
// meet; and kernels differ in when they find out that such a file cannot be spliced.
static int is(int f, const char *text)
{
	char name[32], to[64] = "";
	snprintf(name, sizeof name, "/proc/self/fd/%d", f);
	return readlink(name, to, sizeof to - 1) > 0 && strstr(to, text) != NULL;
}

static void reads(void)
{
	int f = fd();
	long n = size(), r;
	memset(buf, 0, sizeof buf);
	struct iovec iov[3] = {{buf, n ? n : 1}, {buf + 10000, rnd(100)}, {buf + 20000, size()}};
	switch (say(rnd(5))) {
	case 0: r = pread(f, buf, n, offset()); break;
	case 1: r = readv(f, iov, 1 + rnd(3)); break;
	case 2: r = preadv2(f, iov, 1 + rnd(3), PICK(-1, 0, 10), PICK(0, RWF_HIPRI, RWF_HIPRI)); break;
	default: r = read(f, buf, n);
	}
	report("read", r);
	if (r > 0 && !is(f, "signalfd")) // it says who sent it
		printf("  %08x\n", sum(buf, sizeof buf));
}

static void writes(void)
{
	int f = fd();
	long n = is(f, "eventfd") ? 8 : size(), r; // kernels differ in what they say to more
	fill(n);
	struct iovec iov[3] = {{buf, n ? n : 1}, {buf + 10000, rnd(100)}, {buf + 20000, rnd(200)}};
	switch (say(rnd(6))) {
	case 0: r = pwrite(f, buf, n, PICK(0, 1, 100, 4096, 5000, 8191, -1)); break;
	case 1: r = writev(f, iov, is(f, "eventfd") ? 1 : 1 + rnd(3)); break;
	case 2: r = pwritev2(f, iov, is(f, "eventfd") ? 1 : 1 + rnd(3), PICK(-1, 0, 10), PICK(0, RWF_APPEND, RWF_DSYNC)); break;
	default: r = write(f, buf, n);
	}
	report("write", r);
}

static void opens(void)
{
	int flags = PICK(O_RDONLY, O_WRONLY, O_RDWR, O_RDWR) | O_NONBLOCK;
	flags |= PICK(0, 0, O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_CREAT | O_TRUNC, O_DIRECTORY | O_NOFOLLOW);
	const char *p = path();
	char text[128];
	snprintf(text, sizeof text, "open %s %#x", p, flags);
	put(text, open(p, flags, PICK(0600, 0644, 0400, 0)));
}

static void news(void)
{
	int p[2] = {-1, -1};
	uint64_t set = 1u << (SIGUSR1 - 1);
	switch (say(rnd(9))) {
	case 0: case 1:
		if (pipe2(p, PICK(0, O_NONBLOCK, O_CLOEXEC)) == 0) {
			put("pipe", p[0]);
			put("pipe", p[1]);
		}
		break;
	case 2: put("eventfd", eventfd(rnd(3), PICK(0, EFD_SEMAPHORE, EFD_NONBLOCK))); break;
	case 3: put("epoll", epoll_create1(PICK(0, EPOLL_CLOEXEC))); break;
	case 4: put("timerfd", timerfd_create(PICK(CLOCK_MONOTONIC, CLOCK_REALTIME), 0)); break;
	case 5: put("signalfd", syscall(SYS_signalfd4, -1, &set, 8, SFD_NONBLOCK)); break;
	case 6: put("memfd", memfd_create("m", PICK(0, MFD_ALLOW_SEALING))); break;
	default:
		if (socketpair(AF_UNIX, PICK(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET), 0, p) == 0) {
			put("socketpair", p[0]);
			put("socketpair", p[1]);
		}
	}
}

static void descriptors(void)
{
	int f = fd(), g = fd();
	switch (say(rnd(9))) {
	case 0: case 1: case 2: report("close", close(f)); break;
	case 3: report("dup2", dup2(f, g)); break;
	case 4: report("dup3", dup3(f, g, PICK(0, O_CLOEXEC, 1))); break;
	case 5: report("F_GETFL", fcntl(f, F_GETFL)); break;
	case 6: report("F_SETFL", fcntl(f, F_SETFL, PICK(0, O_APPEND, O_ASYNC) | O_NONBLOCK)); break;
	case 7: report("F_GETFD", fcntl(f, F_GETFD)); break;
	default: report("close_range", syscall(SYS_close_range, f, f + rnd(3), PICK(0, 0, 4, 8))); break;
	}
}

static void fcntls(void)
{
	int f = fd(), n = 0;
	if (is(f, "anon_inode"))
		return;
	long r;
	struct flock fl = {.l_type = PICK(F_RDLCK, F_WRLCK, F_UNLCK), .l_whence = PICK(SEEK_SET, SEEK_CUR, SEEK_END), .l_start = PICK(0, 10, -5, 100), .l_len = PICK(0, 10, -3)};
	switch (say(rnd(10))) {
	case 0: report("F_GETPIPE_SZ", fcntl(f, F_GETPIPE_SZ)); break;
	case 1: report("F_SETPIPE_SZ", fcntl(f, F_SETPIPE_SZ, PICK(0, 1, 4096, 5000, 65536, 1 << 20, -1))); break;
	case 2: report("F_SETLK", fcntl(f, F_SETLK, &fl)); break;
	case 3: r = fcntl(f, F_GETLK, &fl); report("F_GETLK", r); if (r == 0) printf("  %d\n", fl.l_type); break;
	case 4: fl.l_pid = 0; report("F_OFD_SETLK", fcntl(f, F_OFD_SETLK, &fl)); break;
	case 5: report("flock", flock(f, PICK(LOCK_SH, LOCK_EX, LOCK_UN) | LOCK_NB)); break;
	case 6: report("F_GET_SEALS", fcntl(f, F_GET_SEALS)); break;
	case 7: report("F_ADD_SEALS", fcntl(f, F_ADD_SEALS, PICK(F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE, 99))); break;
	case 8: r = ioctl(f, FIONREAD, &n); report("FIONREAD", r); if (r == 0) printf("  %d\n", n); break;
	default: n = rnd(2); report("FIONBIO", ioctl(f, FIONBIO, &(int){1})); break;
	}
}

static void sizes(void)
{
	int f = fd();
	struct stat st;
	switch (say(rnd(6))) {
	case 0: report("ftruncate", ftruncate(f, PICK(0, 1, 100, 4096, 5000, 20000, -1))); break;
	case 1: report("fallocate", fallocate(f, PICK(0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0x80), PICK(0, 1, 4096, -1), PICK(0, 1, 4096, 10000, -1))); break;
	case 2:
		if (fstat(f, &st) == 0 && S_ISDIR(st.st_mode))
			break; // positions of directories are the file system's
		report("lseek", lseek(f, offset(), PICK(SEEK_SET, SEEK_CUR, SEEK_END, 9)));
		break;
	case 3: report("truncate", truncate(path(), PICK(0, 1, 5000, -1))); break;
	case 4: report("fsync", fsync(f)); break;
	default:
		if (!is(f, "anon_inode"))
			status("fstat", fstat(f, &st), &st);
	}
}

static void names(void)
{
	const char *p = path(), *q = path();
	struct stat st;
	char text[128];
	long r;
	snprintf(text, sizeof text, "on %s and %s", p, q);
	printf("%d %s\n", step, text);
	switch (say(rnd(14))) {
	case 0: report("unlink", unlink(p)); break;
	case 1: report("mkdir", mkdir(p, PICK(0755, 0700))); break;
	case 2: report("rmdir", rmdir(p)); break;
	case 3: report("rename", rename(p, q)); break;
	case 4: report("renameat2", renameat2(AT_FDCWD, p, AT_FDCWD, q, PICK(1, 2, 3, 8))); break;
	case 5: report("link", q[0] == '/' ? 0 : link(p, q)); break;
	case 6: report("symlink", symlink(p, q)); break;
	case 7: // not of an anonymous inode behind a link, which is that of the whole machine
		report("chmod", lstat(p, &st) == 0 && S_ISLNK(st.st_mode) || p[0] == '/' ? 0 : chmod(p, PICK(0600, 0644, 0755, 07777, 0))); break;
	case 8: r = readlink(p, buf, size()); report("readlink", p[0] == '/' ? 0 : r); break;
	case 9: status("lstat", lstat(p, &st), &st); break;
	case 10: status("stat", stat(p, &st), &st); break;
	case 11: report("mkfifo", mkfifo(q, 0600)); break;
	case 12: report("access", faccessat(AT_FDCWD, p, PICK(R_OK, W_OK, X_OK, F_OK, 9), PICK(0, AT_EACCESS, AT_SYMLINK_NOFOLLOW))); break;
	default: report("unlinkat", unlinkat(AT_FDCWD, p, PICK(0, AT_REMOVEDIR, 1))); break;
	}
}

static int order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void lists(void)
{
	const char *p = path();
	char *list[64];
	int n = 0;
	if (p[0] == '/' || strcmp(p, "..") == 0)
		return;
	DIR *d = opendir(p);
	if (d == NULL) {
		report("opendir", -1);
		return;
	}
	for (struct dirent *e; n < 64 && (e = readdir(d)) != NULL;)
		list[n++] = strdup(e->d_name);
	closedir(d);
	qsort(list, n, sizeof list[0], order);
	printf("%d list:", step);
	for (int i = 0; i < n; i++) {
		printf(" %s", list[i]);
		free(list[i]);
	}
	printf("\n");
}

static void moves(void)
{
	int f = fd(), g = fd();
	struct stat st[2];
	if (is(f, "anon_inode") || is(g, "anon_inode") || fstat(f, &st[0]) < 0 || fstat(g, &st[1]) < 0 || S_ISDIR(st[0].st_mode) || S_ISDIR(st[1].st_mode))
		return;
	loff_t in = rnd(100), out = rnd(100);
	loff_t *pin = rnd(2) ? &in : NULL, *pout = rnd(2) ? &out : NULL;
	long n = size(), r;
	switch (say(rnd(4))) {
	case 0: r = splice(f, pin, g, pout, n, SPLICE_F_NONBLOCK); report("splice", r); break;
	case 1: r = tee(f, g, n, SPLICE_F_NONBLOCK); report("tee", r); break;
	case 2: // of a pipe it fails for more than one reason
		if (!S_ISREG(st[1].st_mode))
			return;
		r = sendfile(f, g, pin, n);
		report("sendfile", r);
		break;
	default: r = copy_file_range(f, pin, g, pout, n, PICK(0, 0, 1)); report("copy_file_range", r); break;
	}
	if (r >= 0)
		printf("  %ld %ld\n", pin ? (long)in : -1, pout ? (long)out : -1);
}

static void sockets(void)
{
	int f = fd(), r, passed = fd();
	if (is(passed, "socket:"))
		passed = -1; // when sockets that hold each other go is the kernel's to choose
	char control[64];
	struct iovec iov = {buf, rnd(200)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	socklen_t len = sizeof r;
	switch (say(rnd(7))) {
	case 0: case 1:
		fill(200);
		if (rnd(2)) {
			memset(control, 0, sizeof control);
			m.msg_control = control;
			m.msg_controllen = CMSG_SPACE(sizeof(int));
			struct cmsghdr *c = CMSG_FIRSTHDR(&m);
			*c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
			memcpy(CMSG_DATA(c), &passed, sizeof(int));
		}
		report("sendmsg", sendmsg(f, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
		break;
	case 2: case 3: {
		memset(buf, 0, 200);
		m.msg_control = control;
		int flags = PICK(0, 0, MSG_PEEK, MSG_TRUNC, MSG_WAITALL);
		// A peek at a stream of Linux 6 finds descriptors that come later than its bytes.
		m.msg_controllen = flags == MSG_PEEK ? 0 : PICK(0, sizeof control, sizeof control);
		r = recvmsg(f, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
		report("recvmsg", r);
		if (r >= 0) {
			printf("  %08x flags %#x control %ld\n", sum(buf, 200), m.msg_flags, (long)m.msg_controllen);
			struct cmsghdr *c = m.msg_control ? CMSG_FIRSTHDR(&m) : NULL;
			if (c != NULL && c->cmsg_type == SCM_RIGHTS) {
				memcpy(&passed, CMSG_DATA(c), sizeof(int));
				put("received", passed);
			}
		}
		break;
	}
	case 4: report("shutdown", shutdown(f, PICK(SHUT_RD, SHUT_WR, SHUT_RDWR, 7))); break;
	case 5:
		r = -1;
		if (getsockopt(f, SOL_SOCKET, PICK(SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR, SO_ACCEPTCONN, SO_PASSCRED), &r, &len) < 0)
			report("getsockopt", -1);
		else
			printf("%d getsockopt: %d %d\n", step, r, (int)len);
		break;
	default:
		r = rnd(2);
		report("setsockopt", setsockopt(f, SOL_SOCKET, PICK(SO_PASSCRED, SO_KEEPALIVE, SO_REUSEADDR, 999), &r, PICK(4, 4, 2)));
	}
}

static void polls(void)
{
	struct pollfd p[4];
	struct epoll_event ev = {PICK(EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT, EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLEXCLUSIVE), {0}}, got[8];
	int n = 1 + rnd(4), f = fd(), g = fd();
	long r;
	switch (say(rnd(6))) {
	case 0: case 1:
		for (int i = 0; i < n; i++)
			p[i] = (struct pollfd){fd(), PICK(POLLIN, POLLOUT, POLLIN | POLLOUT, POLLRDHUP, POLLPRI, 0, POLLIN | POLLRDNORM), 0};
		r = poll(p, n, 0);
		report("poll", r);
		for (int i = 0; i < n && r > 0; i++)
			printf("  %#x\n", p[i].revents);
		break;
	case 2: case 3:
		ev.data.u32 = g;
		report("epoll_ctl", epoll_ctl(f, PICK(EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 9), g, &ev));
		break;
	default:
		r = epoll_wait(f, got, PICK(1, 2, 8, 0), 0);
		report("epoll_wait", r);
		for (long i = 0; i < r; i++)
			printf("  %d %#x\n", got[i].data.u32, got[i].events);
	}
}

static void memory(void)
{
	char *at = arena + PAGE * rnd(ARENA);
	long n = PAGE * (1 + rnd(4));
	say((at - arena) / PAGE), say(n / PAGE);
	long r;
	unsigned char vec[8];
	struct iovec here = {buf, 64}, there = {at + PICK(0, 4090), 64};
	if (at + n > arena + ARENA * PAGE)
		n = arena + ARENA * PAGE - at;
	int prot = PICK(PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE);
	switch (say(rnd(9))) {
	case 0: case 1:
		r = (long)mmap(at, n, prot, MAP_FIXED | PICK(MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS), -1, 0);
		report("mmap", r == -1 ? -1 : 0);
		break;
	case 2:
		r = (long)mmap(at, n, prot, MAP_FIXED | PICK(MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE), fd(), PAGE * rnd(3));
		report("mmap of a file", r == -1 ? -1 : 0);
		break;
	case 3: report("munmap", munmap(at, n)); break;
	case 4: report("mprotect", mprotect(at, n, prot)); break;
	case 5: report("madvise", madvise(at, n, PICK(MADV_NORMAL, MADV_DONTNEED, MADV_WILLNEED, 999))); break;
	case 6: report("mincore", mincore(at, n, vec)); break;
	case 7: report("msync", msync(at, n, PICK(MS_SYNC, MS_ASYNC, MS_INVALIDATE, MS_SYNC | MS_ASYNC))); break;
	default:
		fill(64);
		if (rnd(2)) {
			r = process_vm_writev(getpid(), &here, 1, &there, 1, 0);
			report("process_vm_writev", r);
		} else {
			memset(buf, 0, 64);
			r = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
			report("process_vm_readv", r);
			if (r > 0)
				printf("  %08x\n", sum(buf, r));
		}
	}
}

static int caught;
static void handler(int sig) { caught = caught * 3 + sig; }

static void signals(void)
{
	sigset_t set, old;
	int sig = PICK(SIGUSR1, SIGUSR2, SIGHUP, SIGRTMIN, SIGRTMIN + 3);
	struct timespec zero = {0, 0};
	siginfo_t info;
	sigemptyset(&set);
	sigaddset(&set, sig);
	switch (say(rnd(7))) {
	case 0: report("sigprocmask", sigprocmask(PICK(SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK), &set, &old)); break;
	case 1: caught = 0; report("kill", kill(getpid(), sig)); printf("  caught %d\n", caught); break;
	case 2: caught = 0; report("sigqueue", sigqueue(getpid(), sig, (union sigval){step})); printf("  caught %d\n", caught); break;
	case 3: report("sigpending", sigpending(&set)); printf("  %lx\n", *(unsigned long *)&set); break;
	case 4: {
		int r = sigtimedwait(&set, &info, &zero);
		report("sigtimedwait", r);
		if (r > 0)
			printf("  %d %d\n", info.si_code, info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
		break;
	}
	case 5: {
		struct sigaction act = {.sa_handler = PICK(0, 1) ? SIG_IGN : handler, .sa_flags = PICK(0, SA_RESTART, SA_NODEFER)};
		report("sigaction", sigaction(sig, &act, NULL));
		break;
	}
	default: sigprocmask(SIG_SETMASK, NULL, &old); printf("%d mask %lx\n", step, *(unsigned long *)&old);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	state = strtoul(argv[1], NULL, 0) * 2654435761u + 12345;
	int steps = atoi(argv[2]);
	trace = argc > 3;
	char dir[] = "/dev/shm/randomXXXXXX";
	if (mkdtemp(dir) == NULL || chdir(dir) < 0 || mkdir("top", 0700) < 0 || chdir("top") < 0) { // so that .. is ours too
		perror(dir);
		return 2;
	}
	umask(022);
	arena = mmap(NULL, ARENA * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct sigaction act = {.sa_handler = handler};
	for (int sig = 1; sig <= SIGRTMIN + 3; sig++)
		if (sig == SIGHUP || sig == SIGUSR1 || sig == SIGUSR2 || sig >= SIGRTMIN)
			sigaction(sig, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGIO, SIG_IGN);
	sigaction(SIGALRM, &act, NULL);
	static void (*const kinds[])(void) = {reads, reads, writes, writes, opens, opens, news, news, descriptors, fcntls, sizes, names, names, lists, moves, sockets, sockets, polls, polls, memory, signals};
	for (step = 1; step <= steps; step++) {
		alarm(5);
		drawn = 0;
		kinds[rnd(sizeof(kinds) / sizeof(kinds[0]))]();
	}
	alarm(0);
	fflush(stdout);
	if (chdir("/") == 0)
		execlp("rm", "rm", "-rf", dir, NULL);
	return 2;
}
