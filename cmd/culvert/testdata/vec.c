// readv and writev on pipes: every answer is printed, so that Linux's and the VM's can be compared.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int p[2];
static char *page; // two pages, of which the second is not mapped
static void fresh(int flags) {
	if (p[0]) close(p[0]), close(p[1]);
	if (pipe2(p, flags)) exit(1);
	fcntl(p[0], F_SETFL, fcntl(p[0], F_GETFL) | O_NONBLOCK);
}
static unsigned sum(const char *b, long n) {
	unsigned s = 1;
	for (long i = 0; i < n; i++) s = s * 31 + (unsigned char)b[i];
	return s;
}
static void say(const char *what, long r) {
	printf("%s: %ld %s\n", what, r, r < 0 ? strerrorname_np(errno) : "");
	fflush(stdout);
}
static void drain(void) {
	static char b[70000];
	long n = read(p[0], b, sizeof b);
	printf("  read %ld %08x\n", n, n > 0 ? sum(b, n) : 0);
}
static void handler(int s) { (void)s; }
static struct iovec late[2];
static char one[100000], two[100000];
static void *blocked(void *arg) {
	long r = writev(p[1], late, 2);
	say("blocked writev", r);
	return arg;
}

int main(void) {
	page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	memset(page, 'p', 4096);
	for (int i = 0; i < 100000; i++) one[i] = i * 7, two[i] = i * 13 + i / 256;
	struct iovec v[16];
#define V(i, a, n) (v[i].iov_base = (void *)(a), v[i].iov_len = (n))
	for (int n = 1; n <= 12; n++) { // short arrays and long ones
		fresh(0);
		for (int i = 0; i < n; i++) V(i, one + i * 321, i % 3 ? i * 97 : 0);
		say("writev", writev(p[1], v, n));
		char out[9000];
		for (int i = 0; i < n; i++) V(i, out + i * 400, i % 2 ? 5 : 350);
		memset(out, 0, sizeof out);
		say("readv", readv(p[0], v, n));
		printf("  %08x\n", sum(out, sizeof out));
		drain();
	}
	fresh(0);
	V(0, one, 10), V(1, one, -1L);
	say("negative length", writev(p[1], v, 2));
	V(0, one, 10), V(1, -4096L, 5);
	say("kernel address", writev(p[1], v, 2));
	V(0, -4096L, 0);
	say("empty at a kernel address", writev(p[1], v, 1));
	V(0, one, 0), V(1, two, 0);
	say("nothing", writev(p[1], v, 2));
	say("no iovecs", writev(p[1], v, 0));
	struct iovec *many = v; // the compiler would warn
	__asm__("" : "+r"(many));
	say("too many", writev(p[1], many, 1025));
	say("array unmapped", writev(p[1], (void *)(page + 4096), 2));
	say("array half mapped", writev(p[1], (void *)(page + 4096 - 16), 2));
	say("wrong end", writev(p[0], v, 2));
	say("no file", writev(99, v, 2));
	drain();
	V(0, one, 100), V(1, page + 4000, 200);
	say("record with a fault", writev(p[1], v, 2));
	drain();
	V(0, one, 10000), V(1, page + 4000, 200);
	say("stream with a fault", writev(p[1], v, 2));
	drain();
	V(0, page + 4096, 100), V(1, one, 10);
	say("fault at once", writev(p[1], v, 2));
	drain();
	write(p[1], one, 200);
	V(0, two, 50), V(1, page + 4096 - 20, 100);
	say("readv with a fault", readv(p[0], v, 2));
	drain();
	fresh(O_DIRECT);
	V(0, one, 3000), V(1, two, 3000);
	say("packets", writev(p[1], v, 2));
	V(0, one, 10), V(1, two, 20);
	say("packet", writev(p[1], v, 2));
	char *fault = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	V(0, fault + 4000, 200), V(1, fault + 12000, 5000); // demand pages
	say("readv of a packet", readv(p[0], v, 2));
	printf("  %08x %08x\n", sum(fault + 4000, 200), sum(fault + 12000, 5000));
	drain(), drain(), drain();
	fresh(O_DIRECT);
	V(0, one, 10), V(1, page + 4090, 10);
	say("packet with a fault", writev(p[1], v, 2));

	fresh(0); // atomic: 15 pages and 4000 bytes are full, so a record waits
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	write(p[1], one, 65536 - 90);
	V(0, one, 50), V(1, two, 50);
	say("record without room", writev(p[1], v, 2));

	// A blocked call keeps its own copy of the array.
	fresh(0);
	late[0] = (struct iovec){one, 70000}, late[1] = (struct iovec){two, 60000};
	pthread_t t;
	pthread_create(&t, 0, blocked, 0);
	usleep(100000);
	late[0] = (struct iovec){0, 1}, late[1] = (struct iovec){0, 1};
	static char got[130000];
	long n = 0;
	fcntl(p[0], F_SETFL, 0);
	while (n < 130000) {
		V(0, got + n, 1000), V(1, got + n + 1000, 129000 - n);
		long k = readv(p[0], v, n < 129000 ? 2 : 1);
		if (k <= 0) return 1;
		n += k;
	}
	pthread_join(t, 0);
	printf("  %d %d\n", memcmp(got, one, 70000), memcmp(got + 70000, two, 60000));

	// A signal ends a blocked call with what was moved.
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGALRM, &sa, 0);
	fresh(0);
	V(0, one, 30000), V(1, two, 60000);
	ualarm(200000, 0);
	say("interrupted writev", writev(p[1], v, 2));
	fresh(0);
	fcntl(p[0], F_SETFL, 0);
	V(0, got, 3), V(1, got, 5);
	ualarm(200000, 0);
	say("interrupted readv", readv(p[0], v, 2));
	signal(SIGPIPE, SIG_IGN);
	close(p[0]);
	say("writev without readers", writev(p[1], v, 2));
	return 0;
}
