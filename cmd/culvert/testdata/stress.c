// 64 threads over 256 pipes, 64 eventfds and 32 epoll instances: random reads, writes, polls, waits, closes, dups,
// resizes and signals. It says "ok", or what went wrong: a wrong byte, a wake-up that was lost, a hang.
//
//	stress SECONDS [SEED]
//
// It works in rounds. For some milliseconds all threads do random things, and block wherever they like. Then no new call is
// begun, and once nothing moves any more, whoever still waits must have a reason to: a reader an empty pipe, a poller
// files without events. Whoever has none has lost a wake-up. Signals then get the rest out of their calls.
//
// Half of the pipes carry streams, with one reader and one writer at a time, whose bytes depend on their position only.
// The others carry packets with checksums, which anybody reads and writes. What the eventfds get must come out of them.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 64, PIPES = 256, EVENTS = 64, EPOLLS = 32, PRIVATE = 900, MAXPOLL = 12, MAXIO = 100000, PATTERN = 65521 };
// What epoll events carry: these plus the object's number.
enum { PIPE_DATA = 0x5a0000, EVENT_DATA = 0x5b0000, EPOLL_DATA = 0x5c0000 };

// What a thread is about to wait in. Private descriptors, PRIVATE plus the thread's number, are closed by anybody.
enum { RUNNING, READ, WRITE, READ_PACKET, WRITE_PACKET, READ_EVENT, WRITE_EVENT, POLL, EPOLL };
static const char *names[] = {"runs", "read", "write", "packet read", "packet write", "eventfd read", "eventfd write", "poll", "epoll_wait"};

// A descriptor that changes: seq is odd while it does.
struct ref { atomic_uint seq; atomic_int fd; };

struct stream {
	struct ref end[2];
	atomic_int lock[2], closed[2]; // of the reader and the writer
	atomic_ullong pos[2];
	unsigned gen;
	atomic_ullong packets[2], ids[2]; // read and written, of a pipe with packets
};

struct counter { struct ref ref; atomic_ullong sum[2]; }; // never replaced
struct instance { struct ref ref; atomic_int lock; };

struct thread {
	atomic_int what, object, parked, tid;
	atomic_ullong calls, value;
	int parts; size_t size; // of a read or write
	int n;
	struct { struct ref *ref; unsigned seq; short events; } polled[MAXPOLL];
	unsigned seq;
	uint64_t rng;
	char buf[MAXIO];
	pthread_t id;
};

static struct stream pipes[PIPES];
static struct counter counters[EVENTS];
static struct instance instances[EPOLLS];
static struct thread threads[THREADS];
static char pattern[PATTERN + MAXIO];
static atomic_int stop, finish, hot;
static atomic_uint round_no;
static atomic_ullong handled, ids, moved;

#define die(...) do { fail(__LINE__, __VA_ARGS__); } while (0)

static void report(void) {
	for (int i = 0; i < THREADS; i++)
		if (!threads[i].parked)
			fprintf(stderr, "thread %d: %s %d, %llu calls\n", i, names[threads[i].what], threads[i].object, threads[i].calls);
}

static void fail(int line, const char *format, ...) {
	static atomic_int once;
	if (atomic_exchange(&once, 1)) for (;;) pause();
	va_list a;
	va_start(a, format);
	fprintf(stderr, "stress.c:%d: round %u: ", line, round_no);
	vfprintf(stderr, format, a);
	fprintf(stderr, " (errno %d)\n", errno);
	report();
	fflush(stderr);
	_exit(1);
}

static uint64_t rnd(struct thread *t, uint64_t below) {
	t->rng ^= t->rng << 13, t->rng ^= t->rng >> 7, t->rng ^= t->rng << 17;
	return (t->rng >> 11) % below;
}

static int is_packet(int i) { return i & 1; }
static const char *bytes_at(int i, unsigned gen, uint64_t pos) { return pattern + (pos + i * 257 + gen * 8191) % PATTERN; }

static int try(atomic_int *l) { int zero = 0; return atomic_compare_exchange_strong(l, &zero, 1); }

static void enter(struct thread *t, int what, int object) { t->object = object; t->what = what; }
static void leave(struct thread *t) { int e = errno; t->what = RUNNING; t->calls++; errno = e; }

// Most of a round's work is on few objects, so that threads meet.
static int some(struct thread *t, int n) { return rnd(t, 3) ? (hot + rnd(t, 12)) % n : rnd(t, n); }

static void set(struct ref *r, int fd) {
	int old = r->fd;
	r->seq++;
	r->fd = fd;
	if (old >= 0) close(old);
	r->seq++;
}

static void new_pipe(int i) {
	struct stream *p = &pipes[i];
	int fd[2];
	if (pipe2(fd, is_packet(i) ? O_DIRECT : 0)) die("pipe2 %d", i);
	p->gen++;
	for (int e = 0; e < 2; e++) {
		p->pos[e] = p->packets[e] = p->ids[e] = 0;
		set(&p->end[e], fd[e]);
		p->closed[e] = 0;
	}
}

static int split(struct thread *t, struct iovec *v, char *buf, size_t n) {
	int parts = 1 + rnd(t, 11), i = 0;
	for (; i < parts - 1 && n > 0; i++) {
		v[i] = (struct iovec){buf, rnd(t, n + 1)};
		buf += v[i].iov_len, n -= v[i].iov_len;
	}
	v[i] = (struct iovec){buf, n};
	return i + 1;
}

static ssize_t transfer(struct thread *t, int fd, char *buf, size_t n, int out) {
	struct iovec v[12];
	t->parts = 1, t->size = n;
	if (rnd(t, 3)) return out ? write(fd, buf, n) : read(fd, buf, n);
	int parts = t->parts = split(t, v, buf, n);
	return out ? writev(fd, v, parts) : readv(fd, v, parts);
}

static int ready(int fd, short events) { struct pollfd p = {fd, events, 0}; return poll(&p, 1, 0) > 0 ? p.revents : 0; }

// size of a transfer: mostly small.
static size_t size(struct thread *t) {
	int k = rnd(t, 16);
	return 1 + rnd(t, k < 8 ? 64 : k < 14 ? 5000 : MAXIO);
}

// renew replaces a pipe of which an end is closed; the caller has the lock of side e.
static void renew(int i, int e) {
	struct stream *p = &pipes[i];
	if (!try(&p->lock[!e])) return;
	if (p->closed[0] || p->closed[1]) new_pipe(i);
	p->lock[!e] = 0;
}

static void stream_io(struct thread *t, int i, int e) {
	struct stream *p = &pipes[i];
	if (!try(&p->lock[e])) return;
	int fd = p->end[e].fd;
	if (p->closed[e]) {
		renew(i, e);
	} else if (rnd(t, 60) == 0) {
		p->closed[e] = 1;
		set(&p->end[e], -1);
	} else if (rnd(t, 30) == 0) {
		set(&p->end[e], dup(fd));
	} else if (rnd(t, 2) == 0 && !ready(fd, e ? POLLOUT : POLLIN)) {
	} else {
		size_t n = size(t);
		if (e) memcpy(t->buf, bytes_at(i, p->gen, p->pos[1]), n);
		enter(t, e ? WRITE : READ, i);
		ssize_t r = transfer(t, fd, t->buf, n, e);
		leave(t);
		if (r > (ssize_t)n) die("%zd of %zu bytes", r, n);
		if (r > 0 && !e && memcmp(t->buf, bytes_at(i, p->gen, p->pos[0]), r)) die("wrong bytes in pipe %d at %llu", i, p->pos[0]);
		if (r > 0) p->pos[e] += r, moved += r;
		if (r == 0) {
			if (e) die("write of nothing");
			if (!p->closed[1]) die("end of pipe %d, whose writer is open", i);
			if (p->pos[0] != p->pos[1]) die("pipe %d ended after %llu of %llu bytes", i, p->pos[0], p->pos[1]);
			renew(i, e);
		}
		if (r < 0 && errno == EPIPE) {
			if (!e || !p->closed[0]) die("EPIPE of pipe %d, whose reader is open", i);
			renew(i, e);
		} else if (r < 0 && errno != EINTR && errno != EAGAIN) {
			die("stream %d", e);
		}
	}
	p->lock[e] = 0;
}

struct packet { uint32_t len, check; uint64_t id; char data[]; };

static uint32_t sum(const struct packet *k) {
	uint32_t s = k->len * 31 + (uint32_t)k->id;
	for (uint32_t i = 0; i < k->len - sizeof *k; i++) s = s * 33 + (unsigned char)k->data[i];
	return s;
}

static void got_packet(int i, const char *buf, ssize_t n) {
	const struct packet *k = (const struct packet *)buf;
	if (n < (ssize_t)sizeof *k || n != k->len || sum(k) != k->check) die("broken packet of %zd bytes in pipe %d", n, i);
	pipes[i].ids[0] += k->id;
	pipes[i].packets[0]++;
}

static void packet_io(struct thread *t, int me, int i, int e) {
	struct stream *p = &pipes[i];
	int fd = p->end[e].fd;
	if (rnd(t, 2) && !ready(fd, e ? POLLOUT : POLLIN)) return;
	if (rnd(t, 4) == 0) fd = dup2(fd, PRIVATE + me);
	struct packet *k = (struct packet *)t->buf;
	size_t n = 4096;
	if (e) {
		n = sizeof *k + rnd(t, rnd(t, 4) ? 40 : 4000);
		k->len = n;
		k->id = ++ids;
		memcpy(k->data, pattern + k->id % PATTERN, n - sizeof *k);
		k->check = sum(k);
	}
	enter(t, e ? WRITE_PACKET : READ_PACKET, i);
	ssize_t r = transfer(t, fd, t->buf, n, e);
	leave(t);
	if (r > 0 && e) {
		if (r != (ssize_t)n) die("%zd of %zu bytes of a packet", r, n);
		p->ids[1] += k->id;
		p->packets[1]++;
		moved += r;
	} else if (r > 0) {
		got_packet(i, t->buf, r);
	} else if (r == 0 || errno != EINTR && errno != EAGAIN && (errno != EBADF || fd != PRIVATE + me)) {
		die("packet %d of pipe %d: %zd", e, i, r);
	}
}

// shared reports whether the eventfd may have interests with EPOLLEXCLUSIVE: then nobody blocks in it.
static int shared(int i) { return i % 4 == 0; }

static void event_io(struct thread *t, int me, int i, int e) {
	struct counter *c = &counters[i];
	int fd = c->ref.fd;
	uint64_t v = rnd(t, 40) ? rnd(t, 4) : UINT64_MAX - 1 - rnd(t, 3);
	if (rnd(t, 2) && !ready(fd, e ? POLLOUT : POLLIN)) return;
	if (rnd(t, 4) == 0) fd = dup2(fd, PRIVATE + me);
	t->value = v;
	enter(t, e ? WRITE_EVENT : READ_EVENT, i);
	ssize_t r = e ? write(fd, &v, 8) : read(fd, &v, 8);
	leave(t);
	if (r == 8)
		c->sum[e] += v;
	else if (r >= 0 || errno != EINTR && errno != EAGAIN && (errno != EBADF || fd != PRIVATE + me))
		die("eventfd %d: %zd", e, r);
}

// any_ref is an object to poll, to watch or to change.
static struct ref *any_ref(struct thread *t, short *events, uint64_t *data) {
	int k = rnd(t, 10);
	if (k < 7) {
		int i = some(t, PIPES), e = rnd(t, 2);
		*events = e ? POLLOUT : POLLIN, *data = PIPE_DATA + i * 2 + e;
		return &pipes[i].end[e];
	}
	if (k < 9) {
		int i = some(t, EVENTS);
		*events = rnd(t, 2) ? POLLIN : POLLOUT, *data = EVENT_DATA + i;
		return &counters[i].ref;
	}
	int i = rnd(t, EPOLLS);
	*events = POLLIN, *data = EPOLL_DATA + i;
	return &instances[i].ref;
}

static void poll_some(struct thread *t) {
	struct pollfd f[MAXPOLL];
	fd_set in, out;
	FD_ZERO(&in);
	FD_ZERO(&out);
	uint64_t data;
	int n = 0, most = 1 + rnd(t, MAXPOLL), top = 0, as_select = rnd(t, 4) == 0;
	for (int tries = 0; n < most && tries < 40; tries++) {
		struct ref *r = any_ref(t, &t->polled[n].events, &data);
		t->polled[n].ref = r;
		t->polled[n].seq = r->seq;
		int fd = r->fd;
		if (t->polled[n].seq & 1 || fd < 0 || rnd(t, 3) && ready(fd, t->polled[n].events)) continue;
		f[n] = (struct pollfd){fd, t->polled[n].events, 0};
		if (fd >= top) top = fd + 1;
		FD_SET(fd, t->polled[n].events == POLLIN ? &in : &out);
		n++;
	}
	t->n = n;
	int ms = (int[]){0, 1, 5, -1, -1, -1}[rnd(t, 6)];
	if (n == 0 && ms < 0) return;
	struct timeval tv = {0, ms * 1000};
	enter(t, POLL, as_select);
	int r = as_select ? select(top, &in, &out, NULL, ms < 0 ? NULL : &tv) : poll(f, n, ms);
	leave(t);
	if (r < 0 && errno != EINTR && !(as_select && errno == EBADF)) die("poll");
	if (r == 0 && ms < 0) die("poll of %d ends with nothing", n);
}

static void epoll_some(struct thread *t) {
	int i = some(t, EPOLLS), k = rnd(t, 12);
	struct instance *x = &instances[i];
	struct epoll_event ev[8];
	short events;
	if (k < 6) {
		struct ref *r = any_ref(t, &events, &ev[0].data.u64);
		ev[0].events = events | (rnd(t, 3) ? 0 : EPOLLET) | (rnd(t, 5) ? 0 : EPOLLONESHOT);
		// It would take the wake-ups of readers and writers that block, in Linux too.
		if (ev[0].data.u64 >= EVENT_DATA && ev[0].data.u64 < EPOLL_DATA && shared(ev[0].data.u64 - EVENT_DATA) && rnd(t, 2))
			ev[0].events = events | EPOLLEXCLUSIVE;
		epoll_ctl(x->ref.fd, k < 4 ? EPOLL_CTL_ADD : k < 5 ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, r->fd, ev);
		t->calls++;
	} else if (k == 6 && rnd(t, 10) == 0) {
		if (!try(&x->lock)) return;
		set(&x->ref, epoll_create1(0));
		x->lock = 0;
	} else {
		t->seq = x->ref.seq;
		int fd = x->ref.fd, ms = (int[]){0, 2, -1, -1}[rnd(t, 4)];
		if (t->seq & 1) return;
		enter(t, EPOLL, i);
		int r = epoll_wait(fd, ev, 1 + rnd(t, 8), ms);
		leave(t);
		if (r < 0 && errno != EINTR && errno != EBADF && errno != EINVAL) die("epoll_wait");
		if (r == 0 && ms < 0) die("epoll_wait ends with nothing");
		for (int j = 0; j < r; j++)
			if (ev[j].data.u64 < PIPE_DATA || ev[j].data.u64 >= EPOLL_DATA + EPOLLS || !ev[j].events)
				die("event %x of %llx", ev[j].events, (unsigned long long)ev[j].data.u64);
	}
}

static void change(struct thread *t) {
	short events;
	uint64_t data;
	int i = some(t, PIPES), fd = pipes[i].end[rnd(t, 2)].fd;
	switch (rnd(t, 6)) {
	case 0:
		fcntl(fd, F_SETPIPE_SZ, 4096 << rnd(t, 6));
		break;
	case 1: // the flags of packet pipes keep O_DIRECT
		if (is_packet(i)) fcntl(fd, F_SETFL, O_DIRECT | (rnd(t, 3) ? 0 : O_NONBLOCK));
		else if (try(&pipes[i].lock[1])) {
			fcntl(pipes[i].end[1].fd, F_SETFL, rnd(t, 3) ? 0 : O_NONBLOCK);
			pipes[i].lock[1] = 0;
		}
		break;
	case 2:
		if (!shared(i %= EVENTS)) fcntl(counters[i].ref.fd, F_SETFL, rnd(t, 3) ? 0 : O_NONBLOCK);
		break;
	case 3:
		close(PRIVATE + rnd(t, THREADS));
		break;
	case 4: {
		int copy = dup(any_ref(t, &events, &data)->fd);
		if (copy >= 0) close(copy);
		break;
	}
	case 5:
		sched_yield();
	}
	t->calls++;
}

static void futex(atomic_uint *a, int op, unsigned v) { syscall(SYS_futex, a, op | FUTEX_PRIVATE_FLAG, v, NULL, NULL, 0); }

static void *run(void *arg) {
	int me = (int)(intptr_t)arg;
	struct thread *t = &threads[me];
	t->tid = syscall(SYS_gettid);
	for (;;) {
		unsigned now = round_no;
		t->parked = 1;
		while (round_no == now) futex(&round_no, FUTEX_WAIT, now);
		t->parked = 0;
		if (finish) return NULL;
		while (!stop) {
			int k = rnd(t, 20), e = rnd(t, 2);
			if (k < 7) stream_io(t, some(t, PIPES / 2) * 2, e);
			else if (k < 11) packet_io(t, me, some(t, PIPES / 2) * 2 + 1, e);
			else if (k < 13) event_io(t, me, some(t, EVENTS), e);
			else if (k < 15) poll_some(t);
			else if (k < 19) epoll_some(t);
			else change(t);
		}
	}
}

static uint64_t count_of(int fd) {
	char path[64], text[256];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	int f = open(path, O_RDONLY);
	ssize_t n = read(f, text, sizeof text - 1);
	close(f);
	if (n <= 0) die("%s", path);
	text[n] = 0;
	char *at = strstr(text, "eventfd-count:");
	if (!at) die("no count in %s", text);
	return strtoull(at + 14, NULL, 16);
}

// should_run reports whether what the thread waits for is there.
static int should_run(struct thread *t) {
	int i = t->object;
	switch (t->what) {
	case READ: case READ_PACKET: return ready(pipes[i].end[0].fd, POLLIN);
	case WRITE: case WRITE_PACKET: return ready(pipes[i].end[1].fd, POLLOUT);
	case READ_EVENT: return ready(counters[i].ref.fd, POLLIN);
	case WRITE_EVENT: return count_of(counters[i].ref.fd) < UINT64_MAX - t->value;
	case EPOLL: return instances[i].ref.seq == t->seq && ready(instances[i].ref.fd, POLLIN);
	case POLL:
		for (int j = 0; j < t->n; j++)
			if (t->polled[j].ref->seq == t->polled[j].seq && ready(t->polled[j].ref->fd, t->polled[j].events)) return 1;
		return 0;
	}
	return 1;
}

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static uint64_t progress(void) { uint64_t n = 0; for (int i = 0; i < THREADS; i++) n += threads[i].calls + threads[i].parked; return n; }

// lost tells of a thread that sleeps on.
static void lost(int i) {
	struct thread *t = &threads[i];
	int what = t->what, n = -1, o = t->object;
	if (what >= READ && what <= WRITE_PACKET) {
		int fd = pipes[o].end[0].fd, out = pipes[o].end[1].fd;
		ioctl(out < 0 ? fd : out, FIONREAD, &n);
		die("thread %d has lost a wake-up: %s %d of %zu bytes in %d parts; %d bytes of %d in the pipe, poll says %x and %x", i, names[what], o, t->size,
			t->parts, n, fcntl(out < 0 ? fd : out, F_GETPIPE_SZ), ready(fd, POLLIN), ready(out, POLLOUT));
	}
	die("thread %d has lost a wake-up: %s %d", i, names[what], o);
}

static uint64_t waiting; // threads found waiting with reason, in all rounds

// settle waits until nothing moves, and finds whoever sleeps in front of what it waits for.
static void settle(void) {
	double end = now() + 60;
	for (uint64_t last = 0, same = 0; same < 3; usleep(4000)) {
		uint64_t n = progress();
		same = n == last ? same + 1 : 0, last = n;
		if (now() > end) die("it does not come to rest");
	}
	for (int i = 0; i < THREADS; i++) {
		struct thread *t = &threads[i];
		uint64_t calls = t->calls;
		int looks = 0; // by count as well as by the clock
		for (double late = now() + 10; !t->parked && t->calls == calls && should_run(t); usleep(2000))
			if (looks++ > 500 && now() > late) lost(i);
		waiting += !t->parked;
	}
}

// interrupt gets all threads out of their calls.
static void interrupt_all(void) {
	double end = now() + 60;
	for (;;) {
		int left = 0;
		for (int i = 0; i < THREADS; i++)
			if (!threads[i].parked) left++, syscall(SYS_tgkill, getpid(), threads[i].tid, SIGUSR1);
		if (!left) return;
		if (now() > end) die("a hang: %d threads do not end their calls", left);
		usleep(1000);
	}
}

// check looks at what is in pipes and eventfds while nobody uses them, and empties them if all.
static void check(struct thread *t, int all) {
	for (int i = 0; i < PIPES; i++) {
		struct stream *p = &pipes[i];
		if (!all && rnd(t, 8)) continue;
		if (is_packet(i)) {
			while (all && ready(p->end[0].fd, POLLIN)) got_packet(i, t->buf, read(p->end[0].fd, t->buf, 4096));
			if (all && (p->packets[0] != p->packets[1] || p->ids[0] != p->ids[1]))
				die("pipe %d: %llu packets went in and %llu came out", i, p->packets[1], p->packets[0]);
			continue;
		}
		int n;
		if (p->closed[0]) continue;
		if (ioctl(p->end[0].fd, FIONREAD, &n)) die("FIONREAD");
		if (n != (int)(p->pos[1] - p->pos[0])) die("pipe %d has %d bytes, not %llu", i, n, p->pos[1] - p->pos[0]);
		for (ssize_t r; all && n > 0; n -= r, p->pos[0] += r) {
			r = read(p->end[0].fd, t->buf, n < MAXIO ? n : MAXIO);
			if (r <= 0 || memcmp(t->buf, bytes_at(i, p->gen, p->pos[0]), r)) die("wrong bytes left in pipe %d", i);
		}
	}
	for (int i = 0; i < EVENTS; i++) {
		struct counter *c = &counters[i];
		if (!all && rnd(t, 16)) continue;
		if (count_of(c->ref.fd) != c->sum[1] - c->sum[0]) die("eventfd %d counts wrong", i);
	}
}

static void on_signal(int sig) { handled++; }

int main(int argc, char **argv) {
	static struct thread me;
	double seconds = argc > 1 ? atof(argv[1]) : 10, start = now();
	me.rng = 88172645463325252ull ^ (argc > 2 ? strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15ull : 0);
	for (int i = 0; i < PATTERN; i++) pattern[i] = rnd(&me, 256);
	for (int i = PATTERN; i < PATTERN + MAXIO; i++) pattern[i] = pattern[i - PATTERN];
	signal(SIGPIPE, SIG_IGN);
	struct sigaction a = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &a, NULL);
	a.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &a, NULL);
	for (int i = 0; i < PIPES; i++) {
		pipes[i].end[0].fd = pipes[i].end[1].fd = -1;
		new_pipe(i);
	}
	for (int i = 0; i < EVENTS; i++) counters[i].ref.fd = eventfd(0, (i % 2 ? EFD_SEMAPHORE : 0) | (shared(i) ? EFD_NONBLOCK : 0));
	for (int i = 0; i < EPOLLS; i++) instances[i].ref.fd = epoll_create1(0);
	for (int i = 0; i < THREADS; i++) {
		threads[i].rng = me.rng + i * 7919 + 1;
		if (pthread_create(&threads[i].id, NULL, run, (void *)(intptr_t)i)) die("pthread_create");
	}
	for (;;) {
		for (int i = 0; i < THREADS; i++) while (!threads[i].parked) usleep(100);
		finish = now() - start > seconds;
		check(&me, finish || rnd(&me, 20) == 0);
		stop = 0;
		hot = rnd(&me, PIPES);
		round_no++;
		futex(&round_no, FUTEX_WAKE, THREADS);
		if (finish) break;
		for (int n = rnd(&me, 8); n >= 0; n--) {
			usleep(1000 + rnd(&me, 3000));
			syscall(SYS_tgkill, getpid(), threads[rnd(&me, THREADS)].tid, rnd(&me, 2) ? SIGUSR1 : SIGUSR2);
		}
		stop = 1;
		settle();
		interrupt_all();
	}
	for (int i = 0; i < THREADS; i++) pthread_join(threads[i].id, NULL);
	uint64_t calls = 0;
	for (int i = 0; i < THREADS; i++) calls += threads[i].calls;
	fprintf(stderr, "%u rounds, %llu calls, %llu bytes, %llu signals, %llu waits with reason\n", round_no,
		(unsigned long long)calls, moved, handled, (unsigned long long)waiting);
	puts("ok");
}
