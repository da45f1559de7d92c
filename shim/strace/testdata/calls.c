// Makes many system calls with meaningful arguments. Its trace by strace and by this package must be the same.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#define S(nr, ...) syscall(SYS_##nr, ##__VA_ARGS__)

static char big[5000];
static char *bad; // the last byte before unmapped memory

static void files(void) {
	struct stat st;
	struct statx stx;
	struct statfs sfs;
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
	write(fd, "a \"quoted\"\\ \t\n\v\f\r\0\1\0018\377 string that is too long for one line", 60);
	write(fd, "", 0);
	write(fd, "exactly thirty-two bytes of text", 32);
	write(fd, "exactly thirty-three bytes of text", 33);
	write(fd, (void *)1, 5);
	write(fd, bad, 1);
	write(fd, bad, 2);
	write(fd, bad, 100);
	write(-1, "x", 1);
	write(fd, NULL, 0);
	lseek(fd, 0, SEEK_SET);
	read(fd, big, 10);
	read(fd, big, 5000);
	read(fd, big, 5000);
	read(-1, big, 5000);
	pread(fd, big, 4, 2);
	pwrite(fd, "xy", 2, 1L << 33);
	lseek(fd, -3, SEEK_END);
	lseek(fd, 0, SEEK_HOLE);
	ftruncate(fd, 100);
	fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 10);
	S(stat, "file", &st);
	S(fstat, fd, &st);
	S(lstat, "/dev/null", &st);
	S(stat, "/", &st);
	S(stat, "/nonexistent", &st);
	S(stat, bad, &st);
	S(newfstatat, AT_FDCWD, "/tmp", &st, AT_SYMLINK_NOFOLLOW);
	S(newfstatat, fd, "", &st, AT_EMPTY_PATH);
	S(statx, AT_FDCWD, "file", AT_STATX_SYNC_AS_STAT, STATX_SIZE | STATX_MODE, &stx);
	S(statx, AT_FDCWD, "/", AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, &stx);
	S(statx, AT_FDCWD, "/", AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &stx);
	statfs("/proc", &sfs);
	statfs("/nonexistent", &sfs);
	access("file", R_OK | W_OK);
	S(faccessat2, AT_FDCWD, "file", X_OK, AT_EACCESS);
	mkdir("dir", 0755);
	mkdir("dir", 01777);
	symlink("target", "link");
	readlink("link", big, 100);
	readlink("file", big, 100);
	link("file", "hard");
	rename("hard", "dir/hard");
	unlink("dir/hard");
	S(unlinkat, AT_FDCWD, "dir", AT_REMOVEDIR);
	rmdir("dir");
	chmod("file", 04755);
	S(fchmodat, AT_FDCWD, "file", 0600);
	chown("file", -1, 0);
	fchown(fd, 1, 2);
	umask(022);
	mknod("fifo", S_IFIFO | 0600, 0);
	mknod("node", S_IFCHR | 0600, 0x103);
	getcwd(big, 3);
	chdir("/nonexistent");
	fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK);
	fcntl(fd, F_GETFD);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_GETFD);
	fcntl(fd, F_DUPFD, 100);
	fcntl(fd, F_DUPFD_CLOEXEC, 200);
	struct flock fl = {F_WRLCK, SEEK_SET, 1, 2, 0};
	fcntl(fd, F_SETLK, &fl);
	fcntl(fd, F_GETLK, &fl);
	fcntl(fd, F_GETPIPE_SZ);
	flock(fd, LOCK_EX | LOCK_NB);
	dup(fd);
	dup2(fd, 50);
	dup3(fd, 51, O_CLOEXEC);
	fsync(fd);
	fdatasync(-1);
	int d = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	S(getdents64, d, big, 4096);
	S(getdents64, d, big, 4096);
	S(getdents64, fd, big, 4096);
	struct iovec iov[3] = {{"hello", 5}, {"a longer string that is surely cut", 34}, {NULL, 0}};
	writev(fd, iov, 3);
	writev(fd, iov, 0);
	writev(fd, (void *)8, 1);
	char a[4], b[40];
	struct iovec in[2] = {{a, 4}, {b, 40}};
	lseek(fd, 0, SEEK_SET);
	readv(fd, in, 2);
	readv(-1, in, 2);
	preadv(fd, in, 2, 3);
	struct timespec ts[2] = {{1, 2}, {0, UTIME_OMIT}};
	utimensat(AT_FDCWD, "file", ts, 0);
	ts[0].tv_nsec = UTIME_NOW;
	utimensat(AT_FDCWD, "file", ts, AT_SYMLINK_NOFOLLOW);
	utimensat(fd, NULL, NULL, 0);
	setxattr("file", "user.x", "value", 5, XATTR_CREATE);
	getxattr("file", "user.x", big, 100);
	listxattr("file", big, 100);
	removexattr("file", "user.y");
	S(renameat2, AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE);
	S(close_range, 50, 300, 0);
	long how[3] = {O_RDONLY | O_CLOEXEC, 0, 8};
	S(openat2, AT_FDCWD, "file", how, 24);
	open("/nonexistent/with/a/path/that/is/longer/than/thirty-two/characters", O_WRONLY);
	open("x\ny\200", O_RDONLY);
	memset(big, 'p', 4999);
	open(big, O_RDONLY);
	open("", O_PATH);
	openat(AT_FDCWD, ".", O_TMPFILE | O_RDWR, 0600);
	S(memfd_create, "name", 3);
	S(copy_file_range, fd, NULL, fd, NULL, 10, 0);
	off_t off = 3;
	S(sendfile, fd, fd, &off, 1);
	close(fd);
	close(fd);
	truncate("file", 5);
	mount("src", "/nonexistent", "tmpfs", MS_NOSUID | MS_NODEV, "size=1");
	umount2("/nonexistent", MNT_DETACH);
	int in_fd = inotify_init1(IN_CLOEXEC);
	inotify_add_watch(in_fd, "file", IN_MODIFY | IN_CLOSE_WRITE);
	inotify_rm_watch(in_fd, 1);
	chroot("/nonexistent");
}

static void memory(void) {
	void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(p, 4096, PROT_NONE);
	mprotect(p, 4096, PROT_READ | PROT_EXEC);
	madvise(p, 4096, MADV_DONTNEED);
	mremap(p, 8192, 16384, MREMAP_MAYMOVE);
	msync(p, 4096, MS_SYNC);
	munmap(p, 100);
	mmap((void *)0x10000000, 4096, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0x1000);
	mmap(NULL, 0, PROT_READ, MAP_PRIVATE, 5, 0x2000);
	mlock(p, 4096);
	munlockall();
	brk((void *)1);
	S(membarrier, 0, 0);
}

static void handler(int s) { (void)s; }

static void info(int s, siginfo_t *i, void *c) { (void)s, (void)i, (void)c; }

static void signals(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGRTMAX);
	sa.sa_mask = set;
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags = SA_SIGINFO;
	sa.sa_sigaction = info;
	sigaction(SIGUSR2, &sa, &sa);
	signal(SIGPIPE, SIG_IGN);
	S(rt_sigaction, SIGKILL, &sa, NULL, 8);
	S(rt_sigaction, SIGTERM, &sa, NULL, 4);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, &set);
	S(rt_sigprocmask, SIG_UNBLOCK, NULL, &set, 8);
	S(rt_sigprocmask, 77, &set, NULL, 8);
	S(rt_sigprocmask, SIG_SETMASK, &set, NULL, 9);
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	kill(getpid(), SIGUSR1);
	S(tgkill, getpid(), getpid(), SIGUSR2);
	S(tkill, getpid(), SIGUSR1);
	union sigval v = {.sival_int = 42};
	sigqueue(getpid(), SIGUSR2, v);
	siginfo_t own = {.si_signo = SIGUSR1, .si_code = 77};
	S(rt_sigqueueinfo, getpid(), SIGURG, &own);
	own.si_code = -77;
	S(rt_sigqueueinfo, getpid(), SIGURG, &own);
	own.si_code = SI_TIMER;
	S(rt_sigqueueinfo, getpid(), SIGURG, &own);
	kill(getpid(), 0);
	kill(1 << 22, 99);
	S(rt_sigpending, &set, 8);
	struct timespec zero = {0, 0};
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	siginfo_t si;
	sigtimedwait(&set, &si, &zero);
	kill(getpid(), SIGUSR1);
	sigtimedwait(&set, &si, &zero);
	kill(getpid(), SIGUSR1);
	S(rt_sigsuspend, &(unsigned long){0}, 8);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	stack_t ss = {big, 0, 4096};
	sigaltstack(&ss, NULL);
	ss.ss_flags = SS_DISABLE;
	sigaltstack(&ss, &ss);
	int sfd = signalfd(-1, &set, SFD_CLOEXEC);
	close(sfd);
	struct itimerval it = {{0, 0}, {0, 200000}};
	signal(SIGALRM, handler);
	setitimer(ITIMER_REAL, &it, NULL);
	pause();
	getitimer(ITIMER_VIRTUAL, &it);
	alarm(0);
}

static void times_(void) {
	struct timespec ts;
	struct timeval tv;
	S(clock_getres, CLOCK_MONOTONIC, &ts);
	S(clock_gettime, 12345, &ts);
	ts = (struct timespec){0, 1000};
	nanosleep(&ts, NULL);
	S(clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, &ts);
	ts.tv_nsec = 2000000000;
	nanosleep(&ts, &ts);
	S(gettimeofday, &tv, (void *)4);
	int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct itimerspec its = {{1, 2}, {3, 4}};
	timerfd_settime(t, TFD_TIMER_ABSTIME, &its, NULL);
	struct utimbuf ut = {1, 2};
	utime("file", &ut);
	S(utime, "file", &ut);
	S(utimes, "file", (struct timeval[2]){{1000000000, 2}, {0, 0}});
	utimes("file", (struct timeval[2]){{1, 2}, {3, 4}});
}

static void ids(void) {
	int a, b, c;
	unsigned g[3];
	getuid(), geteuid(), getgid(), getegid(), setuid(0);
	S(setresuid, -1, 0, -1);
	S(getresuid, &a, &b, &c);
	S(setgroups, 2, (unsigned[]){5, -1});
	S(getgroups, 3, g);
	S(setgroups, 0, NULL);
	S(setreuid, -1, -1);
	getpgid(-5);
	struct rlimit rl = {1024, 5000};
	S(setrlimit, RLIMIT_CORE, &rl);
	S(getrlimit, RLIMIT_CORE, &rl);
	S(prlimit64, 0, RLIMIT_NOFILE, NULL, &rl);
	getpriority(PRIO_PROCESS, 0);
	struct utsname u;
	uname(&u);
	S(sethostname, (void *)3, 5);
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	CPU_SET(1, &cpus);
	S(sched_setaffinity, 0, 8, &cpus);
	S(sched_getaffinity, 0, 128, &cpus);
	struct sched_param sp = {0};
	sched_getparam(0, &sp);
	S(sched_setscheduler, 0, SCHED_OTHER, &sp);
	sched_getscheduler(0);
	prctl(PR_SET_NAME, "a name that is far too long");
	prctl(PR_GET_NAME, big);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_GET_PDEATHSIG, &a);
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_GET_DUMPABLE);
	prctl(PR_CAPBSET_READ, 5);
	prctl(999, 1, 2, 3, 4);
	personality(0xffffffff);
	S(arch_prctl, 0x1003, big);
	S(arch_prctl, 0x3001, big);
	S(capget, NULL, NULL);
	S(getcpu, NULL, NULL, NULL);
	getrandom(big, 0, GRND_NONBLOCK);
}

static void sockets(void) {
	int sv[2], one = 1;
	struct sockaddr_un un = {AF_UNIX, "sock"};
	struct sockaddr_in sin = {AF_INET, htons(0), {htonl(0x7f000001)}};
	struct sockaddr_in6 sin6 = {AF_INET6, htons(1), htonl(5), IN6ADDR_LOOPBACK_INIT, 0};
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	bind(s, (void *)&un, sizeof un);
	bind(s, (void *)&un, 2);
	listen(s, 5);
	int c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	connect(c, (void *)&un, offsetof(struct sockaddr_un, sun_path) + 5);
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	int acc = accept(s, (void *)&ss, &len);
	len = sizeof ss;
	getsockname(s, (void *)&ss, &len);
	len = sizeof ss;
	getpeername(acc, (void *)&ss, &len);
	len = 4;
	getsockname(-1, (void *)&ss, &len);
	struct sockaddr_un abs = {AF_UNIX, "\0abstract"};
	connect(c, (void *)&abs, 2 + 9);
	int t = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
	socket(AF_INET6, SOCK_DGRAM, 0);
	socket(AF_NETLINK, SOCK_RAW, 0);
	socket(99, 77, 5);
	bind(t, (void *)&sin, sizeof sin);
	sin.sin_port = htons(1);
	connect(t, (void *)&sin, sizeof sin);
	connect(t, (void *)&sin6, sizeof sin6);
	connect(t, (void *)&sin, 3);
	setsockopt(t, SOL_SOCKET, SO_REUSEADDR, &one, 4);
	setsockopt(t, SOL_TCP, TCP_NODELAY, &one, 4);
	setsockopt(t, SOL_SOCKET, SO_LINGER, &(struct linger){1, 2}, 8);
	setsockopt(t, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){1, 2}, 16);
	setsockopt(t, SOL_SOCKET, 999, "ab", 2);
	setsockopt(t, 999, 3, &one, 4);
	len = 4;
	getsockopt(t, SOL_SOCKET, SO_ERROR, &one, &len);
	len = 12;
	struct ucred uc;
	getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &uc, &len);
	send(sv[0], "hello", 5, MSG_NOSIGNAL);
	recv(sv[1], big, 100, MSG_PEEK);
	len = sizeof ss;
	recvfrom(sv[1], big, 100, MSG_DONTWAIT, (void *)&ss, &len);
	recv(sv[1], big, 100, MSG_DONTWAIT);
	sendto(sv[0], "to", 2, 0, (void *)&un, 7);
	char control[CMSG_SPACE(8)];
	memset(control, 0, sizeof control);
	struct iovec iov = {"message", 7};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET, cm->cmsg_type = SCM_RIGHTS, cm->cmsg_len = CMSG_LEN(8);
	((int *)CMSG_DATA(cm))[0] = 0, ((int *)CMSG_DATA(cm))[1] = 1;
	sendmsg(sv[0], &mh, 0);
	struct iovec rv = {big, 100};
	struct msghdr rm = {.msg_iov = &rv, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	recvmsg(sv[1], &rm, 0);
	recvmsg(sv[1], &rm, MSG_DONTWAIT);
	recvmsg(sv[1], NULL, MSG_DONTWAIT);
	struct mmsghdr mm[2] = {{mh, 0}, {{.msg_iov = &iov, .msg_iovlen = 1}, 0}};
	S(sendmmsg, sv[0], mm, 2, 0);
	shutdown(sv[0], SHUT_WR);
	S(accept4, c, &ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void waiting(void) {
	int p[2];
	pipe(p);
	S(pipe2, p, O_CLOEXEC | O_NONBLOCK);
	S(pipe2, NULL, 0);
	S(pipe2, p, 12345);
	struct pollfd pf[3] = {{p[0], POLLIN | POLLRDHUP, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 0}};
	poll(pf, 3, 0);
	poll(pf, 1, 0);
	poll((void *)5, 1, 0);
	S(ppoll, pf, 2, &(struct timespec){1, 0}, &(unsigned long){4}, 8);
	fd_set r, w;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	S(select, p[1] + 1, &r, &w, NULL, &(struct timeval){1, 0});
	FD_SET(p[0], &r);
	FD_ZERO(&w);
	S(select, p[1] + 1, &r, NULL, &w, &(struct timeval){0, 0});
	struct { void *s; long n; } mask = {&(unsigned long){1}, 8};
	FD_SET(p[1], &w);
	S(pselect6, p[1] + 1, NULL, &w, NULL, &(struct timespec){1, 0}, &mask);
	int e = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {EPOLLIN | EPOLLET, {.u64 = 0x100000002}};
	epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev);
	ev.events = EPOLLOUT;
	epoll_ctl(e, EPOLL_CTL_ADD, p[1], &ev);
	epoll_ctl(e, EPOLL_CTL_DEL, p[0], NULL);
	epoll_ctl(e, EPOLL_CTL_MOD, 99, &ev);
	struct epoll_event out[4];
	epoll_wait(e, out, 4, 0);
	epoll_wait(e, out, -4, 0);
	S(epoll_pwait, e, out, 4, -1, &(unsigned long){1}, 8);
	eventfd(5, EFD_SEMAPHORE);
	ioctl(p[0], FIONREAD, &(int){0});
	ioctl(p[0], FIONBIO, &(int){1});
	ioctl(p[0], TCGETS, big);
	ioctl(p[0], TIOCGWINSZ, big);
	ioctl(p[0], FIOCLEX);
	ioctl(p[0], 0x12345678, 5);
	int f = 0;
	S(futex, &f, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
	S(futex, &f, FUTEX_WAIT, 1, NULL, NULL, 0);
	S(futex, &f, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 0, &(struct timespec){1, 0}, NULL, -1);
	S(futex, &f, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, 1000}, NULL, 0);
	S(futex, &f, FUTEX_REQUEUE, 1, 2, &f, 0);
	S(futex, &f, FUTEX_WAKE_OP_PRIVATE, 1, 1, &f, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_GT, 2));
	S(splice, p[0], NULL, p[1], NULL, 10, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	S(tee, p[0], p[1], 10, 0);
	S(vmsplice, p[1], &(struct iovec){"vm", 2}, 1, 0);
}

static void sysv(void) {
	int m = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	void *p = shmat(m, NULL, SHM_RDONLY);
	shmdt(p);
	shmctl(m, IPC_RMID, NULL);
	int s = semget(IPC_PRIVATE, 1, 0600);
	semop(s, (struct sembuf[]){{0, 1, 0}, {0, -1, IPC_NOWAIT | SEM_UNDO}}, 2);
	semctl(s, 0, IPC_RMID);
	semctl(s, 0, IPC_RMID);
	S(shmget, 0x1234, 1, 0);
}

static void processes(void) {
	int st;
	char *args[] = {"prog", "", "an argument that is longer than thirty-two bytes", "q\"", NULL};
	char *many[40];
	for (int i = 0; i < 39; i++) many[i] = "x";
	many[39] = NULL;
	char *env[] = {"A=1", "B=2", NULL}, *one[] = {"A=1", NULL};
	S(execve, "/nonexistent", args, env);
	S(execve, "/nonexistent", args, one);
	S(execve, "/nonexistent", many, NULL);
	S(execve, "/nonexistent", (void *)8, (void *)8);
	S(execve, "/nonexistent", (char *[]){"a", (char *)8, NULL}, &env[2]);
	S(execveat, AT_FDCWD, "", args, env, AT_EMPTY_PATH);
	S(wait4, -1, &st, WNOHANG | __WALL, NULL);
	S(waitid, P_ALL, 0, NULL, WEXITED, NULL);
	S(clone, 0x10000 | 17, NULL, NULL, NULL, NULL);
	unsigned long ca[11] = {0x10000, 0, 0, 0, 17, 0, 0, 0};
	S(clone3, ca, 64);
	S(clone3, ca, 3);
	int tid = 0, pidfd = 0;
	unsigned long cb[11] = {0x101000, (long)&pidfd, 0, (long)&tid, 0, 0, 0, 0};
	if (S(clone3, cb, 88) == 0) S(exit_group, 3);
	S(wait4, -1, &st, __WALL, NULL);
	if (S(clone, 0x1100000, NULL, &tid, &tid, NULL) == 0) S(kill, getpid(), SIGKILL);
	S(wait4, -1, &st, __WALL, NULL);
	S(unshare, CLONE_VM | CLONE_SIGHAND);
	S(setns, -1, CLONE_NEWNS);
	S(pidfd_open, -1, 0);
	S(seccomp, 77, 0, NULL);
}

int main(void) {
	bad = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(bad + 4096, 4096);
	bad += 4095;
	*bad = 'z';
	write(2, "begin\n", 6);
	files(), memory(), signals(), times_(), ids(), sockets(), waiting(), sysv(), processes();
	S(exit_group, 7);
}
