// N blocked readers: each byte wakes one, close wakes all
// Reported in: genodelabs/genode#3697; related: rivet-dev/agentos#1959 (pipe stage stalls at EOF), nanovms/nanos#1669
// Linux: 2 bytes satisfy two of five blocked readers; closing the write end makes the other three return 0
#include "case.h"

static int p[2];
static int res[5];
static int done;
static void *th(void *a) {
	char c;
	res[(long)a] = read(p[0], &c, 1);
	__sync_fetch_and_add(&done, 1);
	return 0;
}
int main(void) {
	CHECK(!pipe(p));
	pthread_t t[5];
	for (long i = 0; i < 5; i++) CHECK(!pthread_create(&t[i], 0, th, (void *)i));
	ms(200);
	CHECK(done == 0);
	CHECK(write(p[1], "ab", 2) == 2);
	for (int i = 0; i < 500 && __sync_fetch_and_add(&done, 0) < 2; i++) ms(10);
	ms(100);
	CHECK(done == 2);
	close(p[1]);
	int ones = 0, zeros = 0;
	for (int i = 0; i < 5; i++) {
		pthread_join(t[i], 0);
		ones += res[i] == 1;
		zeros += res[i] == 0;
	}
	CHECK(ones == 2 && zeros == 3);
	return 0;
}
