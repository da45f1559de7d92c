// descriptor exhaustion is an error, not a crash; many pipes at once
// Reported in: related: google/gvisor#793 (fd table), kata-containers/kata-containers#6455 (fd leak), vm0-ai/vm0#28285
// Linux: pipe()/open()/dup()/eventfd give EMFILE at RLIMIT_NOFILE (both ends or none); lowest-free-fd rule; 1000 pipes
// work; 5000 open/close cycles keep working; setrlimit above hard EPERM/ok
#include "case.h"

int main(void) {
	struct rlimit r = {40, 0};
	int p[2], n = 0, k;
	struct rlimit o;
	CHECK(!getrlimit(RLIMIT_NOFILE, &o));
	r.rlim_max = o.rlim_max;
	CHECK(!setrlimit(RLIMIT_NOFILE, &r));
	int first = dup(0);
	CHECK(first >= 3);
	close(first);
	while (!pipe(p)) n++;
	CHECK(errno == EMFILE && n >= 10);
	int spare = dup(0);
	if (spare >= 0) {
		CHECK(pipe(p) == -1 && errno == EMFILE);
	}
	CHECK(dup(0) == -1 && errno == EMFILE);
	CHECK(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE);
	CHECK(eventfd(0, 0) == -1 && errno == EMFILE);
	CHECK(epoll_create1(0) == -1 && errno == EMFILE);
	CHECK(fcntl(0, F_DUPFD, 40) == -1 && errno == EINVAL);
	close(7);
	close(5);
	CHECK(dup(0) == 5 && dup(0) == 7);
	for (int i = 3; i < 40; i++) close(i);
	r.rlim_cur = o.rlim_max < 2100 ? o.rlim_max : 2100;
	CHECK(!setrlimit(RLIMIT_NOFILE, &r));
	int want = r.rlim_cur >= 2100 ? 1000 : (int)r.rlim_cur / 2 - 20;
	static int q[1000][2];
	for (int i = 0; i < want; i++) {
		CHECK(!pipe(q[i]));
		char c = i;
		CHECK(write(q[i][1], &c, 1) == 1);
	}
	for (int i = 0; i < want; i++) {
		char c;
		CHECK(read(q[i][0], &c, 1) == 1 && c == (char)i);
		close(q[i][0]);
		close(q[i][1]);
	}
	for (int i = 0; i < 5000; i++) {
		CHECK(!pipe(p));
		CHECK(p[0] == 3 && p[1] == 4);
		close(3);
		close(4);
	}
	k = eventfd(0, 0);
	CHECK(k == 3);
	return 0;
}
