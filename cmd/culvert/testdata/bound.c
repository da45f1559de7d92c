// Round trips between two processes, each bound to a processor of its own if there are two: the waker's own processor
// may not run the other, and has to wake an idle one.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void bind_to(int cpu) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set)) {
		perror("sched_setaffinity");
		exit(1);
	}
}

int main(void) {
	int a[2], b[2], trips = 0, cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char c = 'x';
	alarm(60);
	pipe(a);
	pipe(b);
	if (fork() == 0) {
		bind_to(cpus - 1);
		close(a[1]);
		close(b[0]);
		while (read(a[0], &c, 1) == 1 && write(b[1], &c, 1) == 1)
			;
		_exit(0);
	}
	bind_to(0);
	close(a[0]);
	close(b[1]);
	while (trips < 500 && write(a[1], &c, 1) == 1 && read(b[0], &c, 1) == 1)
		trips++;
	close(a[1]);
	wait(NULL);
	printf("%d trips\n", trips);
}
